"""The files of a history, read as what others may have written: each name, id, size and kind is checked before anything is made of it."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dataset.captions import LARGEST
from ..reading import parse_json
from ..untrusted import RefusedError, content, file_name, first_line, mapping, number, refuse, sequence, shallow, text, whole

LARGEST_ENTRY = 2**28  # bytes: 50,000 long captions before and after
LARGEST_HEAD = 2**24
LARGEST_STATE = 2**24
MOST_FILES = 1_000_000
LONGEST = 4 * (LARGEST // 3 + 1)  # letters of base64
ID = re.compile(r"[0-9]{6,12}")
ACTIONS = ("do", "undo", "redo")
HISTORY = "The history of these captions"


@dataclass(frozen=True)
class FileChange:
    """One file of an entry. before, after: its bytes, None where there is no file."""

    name: str
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True)
class Entry:
    """One bulk edit. kind: what did it; when: seconds since 1970; count: files changed; details: its options."""

    id: str
    kind: str
    when: float
    count: int
    details: dict[str, Any]


@dataclass(frozen=True)
class State:
    """What is in force. done, undone: ids of entries; last: the highest id ever given; pending: the change under way, None for none.

    id, owners: whose it is (see `owner`); "" and () in what an earlier version wrote.
    """

    done: tuple[str, ...] = ()
    undone: tuple[str, ...] = ()
    last: int = 0
    pending: Mapping[str, str] | None = None
    id: str = ""
    owners: tuple[str, ...] = ()


def caption_name(value: object, folder: Path) -> str:
    """`value` if it is the plain name of a caption directly in `folder`, ending in .txt.

    On Linux and macOS a picture may have a name that Windows refuses (`re:zero.png`); its caption may be called so as well, there alone.
    """
    if not isinstance(value, str) or not value.lower().endswith(".txt"):
        raise refuse(HISTORY, value, "is no caption of this folder")
    try:
        return file_name(value, HISTORY)
    except RefusedError:
        if os.name == "nt" or any(c in value for c in "/\\\0") or not _has_picture(folder, value[:-4]):
            raise
        return value


def _has_picture(folder: Path, stem: str) -> bool:
    from ..dataset import SUFFIXES

    return bool(stem) and any(os.path.isfile(folder / (stem + suffix)) for suffix in sorted(SUFFIXES))


def entry_id(value: object) -> str:
    """`value` if it is an id as we give them: six digits and more."""
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise refuse(HISTORY, value, "is no id of an edit")
    return value


def read_state(path: Path) -> State:
    """What a state.json says. Raises UserError for one that nobody of us wrote, ValueError, KeyError or OSError for a damaged one."""
    data = mapping(parse_json(content(path, HISTORY, LARGEST_STATE)), HISTORY)
    done, undone = (tuple(entry_id(one) for one in sequence(data[name], HISTORY)) for name in ("done", "undone"))
    last = whole(data["last"], HISTORY, 0, 10**11)
    if len({*done, *undone}) < len(done) + len(undone) or any(int(one) > last for one in (*done, *undone)):
        raise refuse(HISTORY, str(path), "names edits twice, or edits yet to come")
    owners = tuple(text(one, HISTORY, 100) for one in sequence(data.get("owners", []), HISTORY, 100))
    return State(done, undone, last, _pending(data["pending"], done, undone, last), text(data.get("id", ""), HISTORY, 100), owners)


def _pending(data: object, done: tuple[str, ...], undone: tuple[str, ...], last: int) -> dict[str, str] | None:
    """The change under way, if it is one that can be."""
    if data is None:
        return None
    found = mapping(data, HISTORY)
    action, entry, merged = found.get("action"), entry_id(found.get("entry")), found.get("merged", "")
    known = {"do": (), "undo": done[-1:], "redo": undone[-1:]}
    if action not in ACTIONS or int(entry) > last or (merged and (action != "do" or merged not in done[-1:])):
        raise refuse(HISTORY, dict(found), "is no change of captions")
    if entry not in known[action] if action != "do" else entry in (*done, *undone):
        raise refuse(HISTORY, dict(found), "is no change of captions that can be under way")
    return {"action": action, "entry": entry, **({"merged": entry_id(merged)} if merged else {})}


def read_entry(path: Path) -> Entry:
    """What an entry was, without its bytes."""
    data = mapping(parse_json(first_line(path, HISTORY, LARGEST_HEAD)), HISTORY)
    if entry_id(data["id"]) != path.stem:
        raise refuse(HISTORY, data["id"], "is the id of another edit")
    when, count = number(data["when"], HISTORY, 0, 1e11), whole(data["count"], HISTORY, 0, MOST_FILES)
    return Entry(path.stem, text(data["kind"], HISTORY, 100), when, count, dict(mapping(shallow(data["details"], HISTORY), HISTORY)))


def read_changes(path: Path, folder: Path) -> tuple[FileChange, ...]:
    """The bytes of an entry, of captions of `folder`: all of it is right, or nothing is returned."""
    rows = sequence(parse_json(content(path, HISTORY, LARGEST_ENTRY).split(b"\n")[1]), HISTORY, MOST_FILES)
    found = []
    for row in rows:
        name, before, after = sequence(row, HISTORY, 3)
        found.append(FileChange(caption_name(name, folder), unpack(before), unpack(after)))
    if len({change.name for change in found}) < len(found):
        raise refuse(HISTORY, str(path), "changes a caption twice")
    return tuple(found)


def pack(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def unpack(value: object) -> bytes | None:
    return None if value is None else base64.b64decode(text(value, HISTORY, LONGEST), validate=True)
