"""What somebody else may have written: names, paths and numbers read from a project, a run, a bundle, an archive or a request.

What lies in a project is input, never an instruction. Each reader passes what it read through one of these, there where it reads it; what is refused
is a `RefusedError` that names the file it stands in. Standard library only.
"""

from __future__ import annotations

import math
import os
import stat
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from .errors import UserError
from .patience import patient
from .reading import is_deep, plain

#: bytes of one file's name, and of a text that is no caption, at most
LONGEST_NAME, LONGEST_TEXT = 255, 100_000
DEVICES = {"con", "prn", "aux", "nul", "conin$", "conout$", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")}
HINT = "It may have been changed by hand, or made to do harm: nothing was touched. Delete that file, or ask who sent it."


class RefusedError(UserError):
    """Something read from a file, or sent, that must not be followed."""


def refuse(what: str, value: object, why: str) -> RefusedError:
    """what: where it was read, for people ("the history of hanako")."""
    shown = repr(value)
    return RefusedError(f"{what} is refused: {shown[:120] + '…' if len(shown) > 120 else shown} {why}.", HINT)


def file_name(value: object, what: str) -> str:
    """`value` if it names one file directly in a folder, on every system.

    Refused: no text, empty, `.` and `..`, separators and drives, streams (`a:b`), device names, control characters, what Windows
    strips from an end (dots, spaces), half a character, longer than 255 bytes. Hidden names (`.x`) are fine.
    """
    if not isinstance(value, str):
        raise refuse(what, value, "is no name")
    if not value or value in (".", ".."):
        raise refuse(what, value, "names no file")
    if any(c in "/\\:" or unicodedata.category(c) in ("Cc", "Cs") for c in value):
        raise refuse(what, value, "is more than a file's name")
    if value[-1] in ". ":
        raise refuse(what, value, "ends with a dot or a space")
    if value.split(".")[0].strip().lower() in DEVICES:
        raise refuse(what, value, "is a device's name on Windows")
    if len(value.encode("utf-8")) > LONGEST_NAME:
        raise refuse(what, value, "is too long")
    return value


def name_in(folder: Path, value: object, what: str) -> str:
    """`file_name`, or a name that only Windows refuses (`re:zero.png`) of a file that lies directly in `folder`, where this is not Windows."""
    try:
        return file_name(value, what)
    except RefusedError:
        if os.name == "nt" or not isinstance(value, str) or value in ("", ".", "..") or any(c in value for c in "/\\\0"):
            raise
        if not os.path.lexists(folder / value):
            raise
        return value


def relative(value: object, what: str) -> str:
    """`value` as a path of plain names with `/` between them: never absolute, never upwards."""
    if not isinstance(value, str):
        raise refuse(what, value, "is no path")
    return "/".join(file_name(part, what) for part in value.replace("\\", "/").split("/"))


def inside(folder: Path, value: object, what: str) -> Path:
    """`folder / value` for a relative path that stays below `folder`, links on the way followed."""
    path = folder.joinpath(*relative(value, what).split("/"))
    if not is_inside(folder, path):
        raise refuse(what, value, "leads out of the folder")
    return path


def is_inside(folder: Path, path: Path) -> bool:
    """Whether `path` really lies below `folder` (or is it), all links followed, on this machine as it is now."""
    real, root = os.path.realpath(path), os.path.realpath(folder)
    try:
        return os.path.normcase(os.path.commonpath([real, root])) == os.path.normcase(root)
    except ValueError:  # other drives
        return False


def is_network(path: str) -> bool:
    """Whether a path names another machine (`\\\\host\\share`) or a device: on Windows a mere look at it sends that machine the person's log-in."""
    plain = path.strip().replace("/", "\\")
    if plain.startswith("\\??\\"):
        plain = "\\\\?\\" + plain[4:]
    local = plain.startswith("\\\\?\\") and plain[5:7] == ":\\"
    return plain.startswith("\\\\") and not local


def own_folder(root: Path, folder: Path, what: str) -> Path:
    """`folder` if what is written there lands below `root`: no link on the way leads out of it. It need not exist yet."""
    if not is_inside(root, folder):
        raise refuse(what, str(folder), "is a link to another place")
    return folder


def leads_out(path: Path) -> bool:
    """Whether a file is a link to something that lies neither in its folder nor beside it: of `raw/` and `dataset/` that is outside of their project.

    A link from `dataset/` to `raw/` leads nowhere else. The folder itself may be a link of its owner's to another disk.
    """
    return path.is_symlink() and not is_inside(path.parent, path) and not is_inside(path.parent.parent, path)


def content(path: Path, what: str, most: int) -> bytes:
    """The bytes of a plain file of at most `most`; RefusedError for a link, a pipe, a device and for more. Raises OSError as open() does."""
    return _read(path, what, most, lambda file: file.read(most + 1))


def first_line(path: Path, what: str, most: int) -> bytes:
    """The same of the first line alone."""
    return _read(path, what, most, lambda file: file.readline(most + 1))


def _read(path: Path, what: str, most: int, read: Callable[[BinaryIO], bytes]) -> bytes:
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise refuse(what, str(path), "is no plain file")
    with plain(path) as file:
        data = patient(lambda: read(file), path=path)
    if len(data) > most:
        raise refuse(what, str(path), f"is larger than {most // 2**20} MB")
    return data


def whole(value: object, what: str, low: int, high: int) -> int:
    """An integer within bounds; true and false are none, 3.0 is one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise refuse(what, value, f"is no whole number from {low} to {high}")
    return value


def number(value: object, what: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number within bounds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse(what, value, "is no number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found) or not low <= found <= high:
        raise refuse(what, value, f"is no number from {low:g} to {high:g}")
    return found


def text(value: object, what: str, longest: int = LONGEST_TEXT) -> str:
    """A string of at most `longest` characters."""
    if not isinstance(value, str):
        raise refuse(what, value, "is no text")
    if len(value) > longest:
        raise refuse(what, value, f"is longer than {longest} characters")
    return value


def shallow(value: Any, what: str, deepest: int = 50) -> Any:
    """A JSON value whose lists and objects lie no deeper in each other: whoever walks through it does not run out of stack."""
    if is_deep(value, deepest):
        raise refuse(what, f"more than {deepest} levels", "is nested too deeply")
    return value


def mapping(value: object, what: str) -> Mapping[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise refuse(what, value, "is no object")
    return value


def sequence(value: object, what: str, longest: int = 1_000_000) -> list[Any]:
    """A JSON list of at most `longest` entries."""
    if not isinstance(value, list) or len(value) > longest:
        raise refuse(what, value, f"is no list of at most {longest} entries")
    return value
