"""Captions that other programs would read wrongly: strange encodings, byte order marks, line breaks. Found, shown, repaired."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dataset import format_tags, parse_tags
from ..dataset.captions import decode
from ..errors import UserError
from .dataset_edits import record_captions
from .index import open_index
from .reports import EditReport

CHOICES = ("auto", "utf-8", "cp932", "gbk", "big5", "euc-kr", "cp1252", "utf-16")


@dataclass(frozen=True)
class Finding:
    """A caption to repair. encoding: as it is read; problems: what is odd about the file; text: what it would hold afterwards."""

    file: str
    encoding: str
    problems: tuple[str, ...]
    text: str

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "problems": list(self.problems)}


def _read(data: bytes, encoding: str) -> tuple[str, str]:
    if encoding == "auto":
        return decode(data)
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError:
        return decode(data)  # not this one: as if it had not been said


def examine(file: str, data: bytes, encoding: str = "auto") -> Finding | None:
    """What is odd about a caption's bytes; None for plain UTF-8 on one line."""
    try:
        plain = data.decode("utf-8")
    except UnicodeDecodeError:
        plain = None
    if plain is not None and not plain.startswith("\ufeff") and "\x00" not in plain:
        text, found = plain, "utf-8"
    else:
        text, found = _read(data, encoding)
    problems = []
    if plain is None:
        problems.append("not UTF-8")
    elif found != "utf-8":
        problems.append("byte order mark")
    body = text.lstrip("\ufeff").rstrip("\r\n")
    if "\n" in body or "\r" in body:
        problems.append("several lines")
    if "，" in body:
        problems.append("full-width commas")
    if any(ord(char) < 32 and char not in "\r\n\t" for char in body) or "\ufffd" in body:
        problems.append("characters that are no text")
    return Finding(file, found, tuple(problems), format_tags(parse_tags(text))) if problems else None


def find(dataset_dir: str | Path, encoding: str = "auto") -> list[Finding]:
    """All captions of a folder that are odd, in order of name. encoding: one of CHOICES, for those that are not UTF-8."""
    if encoding not in CHOICES:
        raise UserError(f"{encoding!r} is no encoding that captions come in.", f"Take one of {', '.join(CHOICES)}.")
    if not Path(dataset_dir).is_dir():
        return []
    index = open_index(dataset_dir)
    with index.lock:
        index.refresh(now=True)
        captions = index.captions()
    found = (examine(name, picture.data, encoding) for name, picture in sorted(captions.items()) if picture.data)
    return [one for one in found if one is not None]


def repair(dataset_dir: str | Path, encoding: str = "auto") -> EditReport:
    """Write them anew as plain UTF-8 on one line, as one undoable step."""
    found = find(dataset_dir, encoding)
    if not found:
        return EditReport()
    return record_captions(dataset_dir, "encoding", {one.file: parse_tags(one.text) for one in found}, {"encoding": encoding, "files": len(found)})
