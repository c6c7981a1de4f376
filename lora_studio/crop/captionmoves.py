"""Captions that get other names along with their crops: noted with their text before the first is touched, so that no text is lost on the way."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path

from ..dataset.captions import caption_bytes, problem
from ..errors import UserError
from ..files import atomic_write_bytes, atomic_write_json, read_json
from ..patience import HeldError, unlink
from ..project import Project, in_place, is_in_place
from ..untrusted import file_name, refuse, sequence

FILE = "caption_moves.json"
Row = tuple[str, str, bytes]
"""Name before, name afterwards, content."""


def move_captions(project: Project, wanted: Mapping[str, str]) -> None:
    """Rename captions of dataset/ {before: afterwards}, also around in a ring; one that somebody else put under a new name stays.

    Raises UserError when it cannot be carried out now; the next call goes on with it.
    """
    finish(project)
    folder = project.dataset_dir
    texts = {old: data for old in wanted if not problem(folder / old) and (data := caption_bytes(folder / old)) is not None}
    rows = [(old, new, texts[old]) for old, new in wanted.items() if old in texts and (new in texts or not os.path.lexists(folder / new))]
    if rows:
        plain = [[old, new, base64.b64encode(data).decode("ascii")] for old, new, data in rows]
        atomic_write_json(in_place(project.studio_dir) / FILE, {"version": 1, "moves": plain})
        finish(project)


def finish(project: Project) -> None:
    """Carry out what was noted and not done to the end. What was changed since is left as it is."""
    record = project.studio_dir / FILE
    rows = _noted(record) if is_in_place(record) else []
    if not rows:
        return
    texts = {old: data for old, _, data in rows}
    for _, new, data in rows:
        target = project.dataset_dir / new
        if not problem(target) and ((now := caption_bytes(target)) is None or now == texts.get(new)):
            atomic_write_bytes(target, data)
    for old in texts.keys() - {new for _, new, _ in rows}:
        source = project.dataset_dir / old
        if not problem(source) and caption_bytes(source) == texts[old]:
            unlink(source)
    unlink(record, missing_ok=True)


def _noted(record: Path) -> list[Row]:
    if not record.is_file():
        return []
    try:
        return [
            (_caption(old, record.name), _caption(new, record.name), base64.b64decode(text, validate=True))
            for old, new, text in sequence(read_json(record)["moves"], record.name)
        ]
    except HeldError:
        raise
    except (UserError, KeyError, TypeError, ValueError, binascii.Error):
        return []  # damaged: nothing that could be trusted


def _caption(name: object, what: str) -> str:
    """The name of a caption, and of nothing else."""
    if not file_name(name, what).lower().endswith(".txt"):
        raise refuse(what, name, "is no caption")
    return str(name)
