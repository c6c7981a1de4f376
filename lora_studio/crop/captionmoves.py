"""Captions that get other names along with their crops: noted with their text before the first is touched, so that no text is lost on the way."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path

from ..errors import UserError
from ..files import atomic_write_bytes, atomic_write_json, read_json
from ..patience import HeldError, unlink
from ..project import Project
from ..untrusted import file_name, sequence

FILE = "caption_moves.json"
Row = tuple[str, str, bytes]
"""Name before, name afterwards, content."""


def move_captions(project: Project, wanted: Mapping[str, str]) -> None:
    """Rename captions of dataset/ {before: afterwards}, also around in a ring; one that somebody else put under a new name stays.

    Raises UserError when it cannot be carried out now; the next call goes on with it.
    """
    finish(project)
    texts = {old: data for old in wanted if (data := _read(project.dataset_dir / old)) is not None}
    rows = [(old, new, texts[old]) for old, new in wanted.items() if old in texts and (new in texts or not (project.dataset_dir / new).exists())]
    if rows:
        plain = [[old, new, base64.b64encode(data).decode("ascii")] for old, new, data in rows]
        atomic_write_json(project.studio_dir / FILE, {"version": 1, "moves": plain})
        finish(project)


def finish(project: Project) -> None:
    """Carry out what was noted and not done to the end. What was changed since is left as it is."""
    record = project.studio_dir / FILE
    rows = _noted(record)
    texts = {old: data for old, _, data in rows}
    for _, new, data in rows:
        if (now := _read(project.dataset_dir / new)) is None or now == texts.get(new):
            atomic_write_bytes(project.dataset_dir / new, data)
    for old in texts.keys() - {new for _, new, _ in rows}:
        if _read(project.dataset_dir / old) == texts[old]:
            unlink(project.dataset_dir / old)
    unlink(record, missing_ok=True)


def _noted(record: Path) -> list[Row]:
    if not record.is_file():
        return []
    try:
        return [
            (file_name(old, record.name), file_name(new, record.name), base64.b64decode(text, validate=True))
            for old, new, text in sequence(read_json(record)["moves"], record.name)
        ]
    except HeldError:
        raise
    except (UserError, KeyError, TypeError, ValueError, binascii.Error):
        return []  # damaged: nothing that could be trusted


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None
