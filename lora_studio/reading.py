"""Reading JSON that somebody else may have written, or that broke: plain data of a bounded depth and size, or a UserError that says why not.

What comes out can be shown, compared and saved again: no depth that overflows the stack, no number that JSON has no word for, no text that no
file can hold. A pipe or a device in the place of a file is never waited for.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .errors import UserError
from .patience import HeldError, patient

LARGEST = 256 * 2**20  # bytes of a file
DEEPEST = 64  # lists and objects within each other
DIGITS = 20  # of a whole number: 64 bits
ODD = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)")  # how JSON writes what is no text
MEND = "Correct the file, or put it aside and start anew."


class OddNumberError(ValueError):
    """A number that no program can count with."""


def plain(path: str | Path) -> BinaryIO:
    """A file for reading, bytes. Raises OSError as open() does, and UserError for a folder, a pipe, a device."""

    def attempt() -> int:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UserError(f"{path} cannot be read: it is no file.", "Put it aside.")
        # should it become a pipe just now, it is not waited for
        return os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))

    return open(patient(attempt, path=path), "rb")  # noqa: PTH123


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[BinaryIO, int]]:
    """A file for reading and its bytes' number. Raises UserError where there is none, it cannot be read, or is a folder, a pipe, a device."""
    try:
        with plain(path) as file:
            yield file, os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.", "Check the path.") from None
    except HeldError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.", "Check the file's permissions.") from error
    except MemoryError:
        raise UserError(f"{path} is too large to be read.", MEND) from None


def read_bytes(path: str | Path, largest: int = LARGEST, offset: int = 0) -> bytes:
    """A file's bytes from `offset` on. Raises UserError as `opened`, and for a larger file."""
    with opened(path) as (file, size):
        if size > largest:
            raise UserError(f"{path} is larger than {largest // 2**20 or 1} MB.", MEND)

        def read() -> bytes:
            file.seek(offset)
            return file.read(max(0, size - offset))

        return patient(read, path=path)


def entries(folder: str | Path) -> list[Path]:
    """What lies in a folder, by name; nothing where there is none. Raises UserError where it cannot be read."""
    try:
        return sorted(Path(folder).iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be read: {error.strerror}.", "Check its permissions.") from error


def parse_json(data: bytes | str, forgiving: bool = False) -> Any:
    """The value of a JSON text in UTF-8. forgiving: numbers beyond all bounds become None.

    Raises ValueError, and nothing else, for whatever is none, or is no plain data: see above.
    """
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    try:
        text = raw.decode("utf-8-sig")
        hooks = _FORGIVING if forgiving else _STRICT
        found = json.loads(text, **hooks)
    except (RecursionError, MemoryError):
        raise ValueError("it is nested too deeply, or too large") from None
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and is_deep(found):
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    if ODD.search(raw) and not is_text(found):
        raise ValueError("it holds characters that are not valid text")
    return found


def read_json(path: str | Path, largest: int = LARGEST, forgiving: bool = False) -> Any:
    """The value in a JSON file. forgiving: as in `parse_json`. Raises UserError when it is missing or not JSON."""
    try:
        return parse_json(read_bytes(path, largest), forgiving)
    except ValueError as error:
        raise UserError(f"{path} cannot be read as JSON: {error}", MEND) from error


def read_object(path: str | Path) -> dict[str, Any]:
    """The object in a JSON file. Raises UserError when it is missing, not JSON, or something else."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise UserError(f"{path} does not hold what belongs there.", MEND)
    return found


def parse_lines(data: bytes) -> Iterator[dict[str, Any]]:
    """The objects of a text that has one a line; lines that are none are passed over, a last one without an end too."""
    for line in io.BytesIO(data):  # one after the other: a list of them would be many times as large as a file of empty lines
        if line.endswith(b"\n") and line != b"\n" and (found := parse_line(line)) is not None:
            yield found


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The object of one line, numbers beyond all bounds as None; None where it holds none."""
    try:
        found = parse_json(line, forgiving=True)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def is_deep(value: Any, deepest: int = DEEPEST) -> bool:
    """Whether lists and objects lie deeper within each other. Takes no stack."""
    kinds = (dict, list, tuple)
    level = [value] if isinstance(value, kinds) else []
    for _ in range(deepest):
        inner = (part for one in level for part in (one.values() if isinstance(one, dict) else one))
        level = [part for part in inner if isinstance(part, kinds)]
        if not level:
            return False
    return True


def is_text(value: Any) -> bool:
    """Whether every text in it can be written to a file and given to the system: no halves of characters, no NUL. At most DEEPEST deep."""
    if isinstance(value, dict):
        return all(is_text(k) and is_text(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(is_text, value))
    return not isinstance(value, str) or not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)


def finite(value: Any) -> Any:
    """Plain values without the numbers that JSON has no word for: they become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    return [finite(v) for v in value] if isinstance(value, (list, tuple)) else value


def _float(text: str) -> float:
    found = float(text)
    if not math.isfinite(found):
        raise OddNumberError(f"the number {text[:40]} is too large")
    return found


def _int(text: str) -> int:
    if len(text) > DIGITS + 1:
        raise OddNumberError(f"the number {text[:40]}… is too large")
    return int(text)


def _constant(text: str) -> float:
    raise OddNumberError(f"{text} is no number")


def _or_none(parse: Any) -> Any:
    def parsed(text: str) -> Any:
        try:
            return parse(text)
        except OddNumberError:
            return None

    return parsed


_STRICT: dict[str, Any] = {"parse_float": _float, "parse_int": _int, "parse_constant": _constant}
_FORGIVING: dict[str, Any] = {name: _or_none(parse) for name, parse in _STRICT.items()}
