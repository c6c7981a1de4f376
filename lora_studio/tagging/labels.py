"""What each output of a tagger means: `selected_tags.csv`."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..reading import read_bytes

LARGEST = 64 * 2**20  # bytes of a list
CATEGORIES = {"9": "rating", "0": "general", "4": "character"}


@dataclass(frozen=True)
class Label:
    """A tag as the model's list spells it (Danbooru, with underscores) and what it is: rating, general or character."""

    name: str
    category: str


def read_labels(path: str | Path) -> tuple[Label, ...]:
    """The labels in the order of the model's outputs.

    The file has the columns tag_id, name, category, count. Categories other than rating (9), character (4)
    and general (0), which other boorus' lists have, count as general. Raises UserError when it cannot be read.
    """
    path = Path(path)
    hint = "Take model.onnx and selected_tags.csv from the same place."
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(path, LARGEST).decode("utf-8-sig"), newline="")))
        columns = set(rows[0]) if rows else set()
    except UserError as error:
        raise UserError(error.message, hint) from error
    except (ValueError, csv.Error) as error:
        raise UserError(f"The tag list {path} cannot be read: {error}", hint) from error
    if not {"name", "category"} <= columns:
        raise UserError(f"{path} is not a WD14 tag list: it has no rows with name and category.", hint)
    labels = []
    for number, row in enumerate(rows, 2):
        if not row["name"] or row["category"] is None:
            raise UserError(f"{path} is damaged in line {number}.", hint)
        labels.append(Label(row["name"], CATEGORIES.get(row["category"].strip(), "general")))
    return tuple(labels)
