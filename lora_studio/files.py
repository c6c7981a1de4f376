"""Writing files so that nobody ever meets half of one, and names that work on every system."""

from __future__ import annotations

import errno
import json
import os
import time
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import UserError

TEMPORARY_PREFIX = ".tmp-"
# Windows refuses these in names; the colon and angle brackets would also break <lora:NAME:1> in a prompt.
FORBIDDEN = '<>:"/\\|?*'
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
LONGEST_NAME = 200  # bytes of UTF-8: leaves room for "-000010.safetensors" under the usual limit of 255

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


def explain_os_error(error: OSError, path: Path) -> UserError | None:
    """The error for people behind a failed write, or None when it is not one a person can act on."""
    if error.errno in _FULL or getattr(error, "winerror", None) == 112:
        return UserError(
            f"The disk is full: {path} could not be written.",
            "Nothing that was there before has changed. Free some space and do the step again.",
        )
    if error.errno in _REFUSED:
        return UserError(f"No permission to write {path}.", "Choose another folder, or close the program that holds the file.")
    return None


def _replace(temporary: Path, path: Path) -> None:
    """os.replace, patient with Windows, where a virus scanner or viewer may hold the target for a moment."""
    for pause in (0.05, 0.1, 0.2, 0.4):
        try:
            os.replace(temporary, path)
            return
        except PermissionError:
            if os.name != "nt":
                raise
            time.sleep(pause)
    os.replace(temporary, path)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path in the same folder (same suffix) that becomes `path` when the block succeeds.

    When the block fails the temporary file is removed and `path` is as it was.
    Folders on the way are made. Raises UserError for a full disk or a lack of permission.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and (friendly := explain_os_error(error, path)) is not None:
            raise friendly from error
        raise


def atomic_write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` whole or not at all. Raises UserError for a full disk or a lack of permission."""
    with atomic_path(path) as temporary, temporary.open("xb") as file:
        file.write(data)


def atomic_write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 with the line ends it has, whole or not at all."""
    atomic_write_bytes(path, text.encode("utf-8"))


def atomic_write_json(path: str | Path, obj: Any) -> None:
    """Write `obj` as readable JSON (UTF-8, not escaped), whole or not at all."""
    atomic_write_text(path, json.dumps(obj, ensure_ascii=False, indent=2) + "\n")


def read_json(path: str | Path) -> Any:
    """The object in a JSON file. Raises UserError when it is missing or not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.", "Check the path.") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}", "Correct the file, or put it aside and start anew.") from error


def validate_name(name: str) -> str:
    """The name, trimmed and in Unicode's composed form, if it can be a folder and a LoRA's name on every system.

    Spaces, emoji and any script are fine. Raises UserError otherwise.
    """
    cleaned = unicodedata.normalize("NFC", name).strip()
    wrong = ""
    if not cleaned:
        wrong = "it is empty"
    elif bad := sorted({c for c in cleaned if c in FORBIDDEN or ord(c) < 32 or ord(c) == 127}):
        wrong = "it contains " + " ".join(c if c.isprintable() else repr(c) for c in bad)
    elif cleaned[0] == "." or cleaned[-1] == ".":
        wrong = "it begins or ends with a dot"
    elif cleaned.split(".")[0].strip().lower() in RESERVED:
        wrong = "Windows keeps this name for a device"
    elif len(cleaned.encode("utf-8", "replace")) > LONGEST_NAME:
        wrong = f"it is longer than {LONGEST_NAME} bytes"
    elif any(0xD800 <= ord(c) <= 0xDFFF for c in cleaned):
        wrong = "it contains characters that are not valid text"
    if wrong:
        raise UserError(f"The name {name!r} cannot be used: {wrong}.", f"Use letters, digits, spaces, - or _, none of {FORBIDDEN}")
    return cleaned
