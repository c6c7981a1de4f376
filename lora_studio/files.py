"""Writing files so that nobody ever meets half of one, and names that work on every system."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import time
import unicodedata
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import UserError
from .patience import HeldError, held, is_held, opened, patient, replace, unlink, within
from .reading import finite, is_deep
from .reading import read_json as read_json

TEMPORARY_PREFIX = ".tmp-"
# Windows refuses these in names; the colon and angle brackets would also break <lora:NAME:1> in a prompt.
FORBIDDEN = '<>:"/\\|?*'
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
LONGEST_NAME = 200  # bytes of UTF-8: leaves room for "-000010.safetensors" under the usual limit of 255

LONGEST_NEW = 100  # characters, of names that are given now: Windows without long paths has 260 for a whole path
LONG_DIRECTORY = 240  # characters from which on a folder that "is not there" is rather one with too long a name
SPARE = re.compile(r"[0-9a-f]{12}-\d+")  # names in a Rewriter's folder

_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_REFUSED = {errno.EACCES, errno.EPERM}


def explain_os_error(error: OSError, path: Path) -> UserError | None:
    """The error for people behind a failed write, or None when it is not one a person can act on."""
    number = getattr(error, "winerror", None)
    if error.errno in _FULL or number == 112:
        return UserError(
            f"The disk is full: {path} could not be written.",
            "Nothing that was there before has changed. Free some space and do the step again.",
        )
    if error.errno == errno.EROFS or number == 19:  # 19: write-protected
        return UserError(f"This disk can only be read: {path} could not be written.", "Choose a folder on another disk, or make this one writable.")
    if error.errno == errno.ENAMETOOLONG or number == 206 or (number == 3 and len(str(path)) >= LONG_DIRECTORY):
        return UserError(
            f"The path is too long for this system ({len(str(path))} characters): {path}",
            "Use shorter names, or a folder nearer to the drive's root; on Windows long paths can be switched on (LongPathsEnabled).",
        )
    if number == 3:
        return UserError(f"The folder of {path} cannot be reached.", "Check that its drive or network folder is connected, then do the step again.")
    if isinstance(error, HeldError) and error.filename == str(path):
        return HeldError(error.message, error.hint, str(path), error.errno, error.winerror)
    if is_held(error):
        return held(error, path)
    if error.errno in _REFUSED:
        return UserError(f"No permission to write {path}.", "Choose another folder, or close the program that holds the file.")
    return None


def told_os_error(error: OSError) -> UserError:
    """Any failed reading or writing as people are told it: what happened, and to which file."""
    named = error.filename2 or error.filename
    path = os.fsdecode(named) if isinstance(named, (str, bytes)) else ""
    why = error.strerror or str(error)
    return explain_os_error(error, Path(path or "a file")) or UserError(
        f"{path} could not be read or written: {why}." if path else f"The computer could not do this: {why}.",
        "Check that the folder is there and can be written, then do the step again.",
    )


@contextmanager
def atomic_path(path: str | Path, suffix: str | None = None) -> Iterator[Path]:
    """A temporary path in the same folder (same suffix, or `suffix`) that becomes `path` when the block succeeds.

    When the block fails the temporary file is removed and `path` is as it was.
    Folders on the way are made. Raises UserError for a full disk or a lack of permission.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}{path.suffix if suffix is None else suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        replace(temporary, path)
    except BaseException as error:
        with suppress(OSError), within(1):
            unlink(temporary, missing_ok=True)
        names_another = isinstance(error, HeldError) and error.filename != str(temporary)
        if isinstance(error, OSError) and not names_another and (friendly := explain_os_error(error, path)) is not None:
            raise friendly from error
        raise


def atomic_write_bytes(path: str | Path, data: bytes, sync: bool = False) -> None:
    """Write `data` whole or not at all. Raises UserError for a full disk or a lack of permission.

    sync: return only once the disk itself has the data, so that a power cut cannot take them back.
    """
    # another suffix: whoever is killed here leaves nothing that looks like a picture or a LoRA to the WebUI
    with atomic_path(path, ".part") as temporary, opened(temporary, "xb") as file:
        file.write(data)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def atomic_write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 with the line ends it has, whole or not at all."""
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        wrong = text[error.start : error.end].encode("ascii", "backslashreplace").decode()
        raise UserError(f"{path} cannot be written: {wrong} is not valid text.", "Rename the file, or take the character out.") from error
    atomic_write_bytes(path, data)


def atomic_write_json(path: str | Path, obj: Any) -> None:
    """Write `obj` as readable JSON (UTF-8, not escaped), whole or not at all; a number that is none becomes null."""
    atomic_write_text(path, json_text(obj))


def json_text(obj: Any) -> str:
    """`obj` as readable JSON. Raises UserError for what is nested too deeply to be read again."""
    try:
        plain = finite(obj)
        if is_deep(plain):
            raise RecursionError
        return json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    except RecursionError as error:
        raise UserError("This cannot be kept: it is nested too deeply.") from error


class Rewriter:
    """Replaces many small files, each whole or not at all, several times faster than `atomic_write_bytes` one by one.

    A replaced file is not freed: a hard link keeps it in the folder `spare`, and the next Rewriter writes over it. ext4, for
    one, is slow to find room for a new file for minutes after thousands were freed. Where there are no hard links, files
    are made anew. Only a file of which `spare` holds the only link is written over, and never in the round that replaced
    it: a program that has it open still reads what it opened.
    """

    def __init__(self, spare: str | Path) -> None:
        self.spare = Path(spare)
        self.spare.mkdir(parents=True, exist_ok=True)
        # Only files that a Rewriter made and named, whatever else somebody put there: they are written over.
        self._kept = [entry.path for entry in os.scandir(self.spare) if SPARE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]
        self._prefix = os.path.join(str(self.spare), uuid.uuid4().hex[:12] + "-")
        self._count = 0
        self._linking = True

    def write(self, path: str | Path, data: bytes) -> os.stat_result:
        """Make `data` the file's content; returns its stat. Raises UserError for a full disk or a lack of permission."""
        try:
            temporary, found = self._filled(data)
            self._keep(str(path))
            replace(temporary, path)
            return found
        except OSError as error:
            if (friendly := explain_os_error(error, Path(path))) is not None:
                raise friendly from error
            raise

    def _new_name(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count}"

    def _filled(self, data: bytes) -> tuple[str, os.stat_result]:
        """A file in `spare` that holds `data`, and its stat."""
        flags = os.O_WRONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        while self._kept:
            name = self._kept.pop()
            try:
                file = patient(lambda name=name: os.open(name, flags), 0)  # type: ignore[misc]
            except PermissionError:
                continue  # there are others
            try:
                found = os.fstat(file)
                if found.st_nlink == 1:
                    return name, _fill(file, data, found.st_size)
            finally:
                os.close(file)
            with suppress(PermissionError), within(0):
                unlink(name)
        name = self._new_name()
        file = patient(lambda: os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            return name, _fill(file, data, 0)
        finally:
            os.close(file)

    def _keep(self, path: str) -> None:
        if not self._linking:
            return
        try:
            if os.lstat(path).st_nlink == 1:
                os.link(path, self._new_name())
        except FileNotFoundError:
            pass
        except OSError:
            self._linking = False


def _fill(file: int, data: bytes, size: int) -> os.stat_result:
    """Make `data` the content of an open file of `size` bytes."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
    if size > len(data):
        os.ftruncate(file, len(data))
    return os.fstat(file)


@contextmanager
def locked(path: str | Path, timeout: float = 30.0) -> Iterator[None]:
    """Hold a lock file: one thread of one process at a time is inside the block. The file stays and stays empty.

    A process that ends, however it does, gives its locks back. On a file system without locks the block runs unlocked.
    Raises UserError when another one holds the lock longer than `timeout` seconds, or the file cannot be made.
    """
    path = Path(path)
    if path.is_symlink():  # it would make a file at the place that the link names
        raise UserError(f"{path} is a link, but should be an empty file.", "Delete it, then try again.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = patient(lambda: os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666))
    except OSError as error:
        if (friendly := explain_os_error(error, path)) is not None:
            raise friendly from error
        raise
    try:
        held = _lock(file, path, time.monotonic() + timeout)
        try:
            yield
        finally:
            if held:
                _unlock(file)
    finally:
        os.close(file)


def _lock(file: int, path: Path, until: float) -> bool:
    while True:
        try:
            _try_lock(file)
            return True
        except OSError as error:
            if error.errno not in _HELD:
                return False
        if time.monotonic() > until:
            raise UserError(f"Another program is working in {path.parent}.", "Wait for it to end, then try again.")
        time.sleep(0.01)


if sys.platform == "win32":
    import msvcrt

    _HELD = {errno.EACCES, errno.EDEADLK}

    def _try_lock(file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _unlock(file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
else:
    import fcntl

    _HELD = {errno.EWOULDBLOCK, errno.EACCES}

    def _try_lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


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


def new_name(name: str) -> str:
    """`validate_name` for a name that is given now: a shorter one, so that all that comes below it has room in a path on Windows.

    Longer names of before stay good. Raises UserError.
    """
    cleaned = validate_name(name)
    if len(cleaned) > LONGEST_NEW:
        raise UserError(f"The name {name!r} cannot be used: it is longer than {LONGEST_NEW} characters.", "Choose a shorter one.")
    return cleaned
