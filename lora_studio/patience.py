"""Files that somebody holds for a moment (a virus scanner, OneDrive, an indexer, a program reading a LoRA): wait, then go on.

Whatever the product replaces, renames or deletes goes through here. Only errors that pass by themselves are waited for; all others come at once.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

Result = TypeVar("Result")
PathLike = str | os.PathLike[str]
#: seconds that an error is waited for, by Windows' number of it: 5 access denied (also: being deleted), 32 in use, 33 locked, 145 not empty yet
BY_WINERROR = {5: 10.0, 32: 30.0, 33: 30.0, 145: 10.0}
BY_ERRNO = {errno.EBUSY: 10.0, errno.ETXTBSY: 10.0}
#: seconds between two tries: the first are quick, a scanner needs milliseconds
PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)

sleep = time.sleep
clock = time.monotonic


def waits_for(error: BaseException) -> float:
    """Seconds that it is worth waiting for this error to pass; 0 for one that does not pass by itself."""
    if not isinstance(error, OSError):
        return 0.0
    return BY_WINERROR.get(getattr(error, "winerror", None) or 0, 0.0) or BY_ERRNO.get(error.errno or 0, 0.0)


def is_held(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, says that another program holds the file."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:  # `raise error from error` makes a ring
        if waits_for(error):
            return True
        seen.append(error)
        error = error.__cause__
    return False


def patient(action: Callable[[], Result], longest: float | None = None) -> Result:
    """Do it; while another program holds the file, again and again. longest: seconds, instead of what suits the error.

    Raises what `action` raised last.
    """
    began, tries = clock(), 0
    while True:
        try:
            return action()
        except OSError as error:
            wait = waits_for(error) if longest is None else min(longest, waits_for(error))
            if clock() - began >= wait:
                raise
        sleep(PAUSES[min(tries, len(PAUSES) - 1)])
        tries += 1


def replace(source: PathLike, target: PathLike) -> None:
    """os.replace: afterwards `target` is what `source` was."""
    patient(lambda: os.replace(source, target))


def rename(source: PathLike, target: PathLike) -> None:
    """os.rename: a file or folder under another name; never onto something on Windows."""
    patient(lambda: os.rename(source, target))


def unlink(path: PathLike, missing_ok: bool = False) -> None:
    """Delete a file; a read-only one too, as everywhere but on Windows."""

    def delete() -> None:
        try:
            os.unlink(path)
        except PermissionError:
            if sys.platform != "win32" or os.stat(path).st_mode & stat.S_IWRITE:
                raise
            os.chmod(path, stat.S_IWRITE)
            os.unlink(path)

    with suppress(*([FileNotFoundError] if missing_ok else [])):
        patient(delete)


def rmdir(path: PathLike) -> None:
    """Delete an empty folder."""
    patient(lambda: os.rmdir(path))


def rmtree(path: PathLike, ignore_errors: bool = False) -> None:
    """Delete a folder with all that is in it; links in it are deleted, never followed. A folder that is gone is as good."""

    def writable(function: Callable[..., Any], name: str, error: Any) -> None:
        if sys.platform != "win32" or os.stat(name).st_mode & stat.S_IWRITE:
            raise error[1] if isinstance(error, tuple) else error  # onerror gives a tuple, onexc the error itself
        os.chmod(name, stat.S_IWRITE)
        function(name)

    def delete() -> None:
        handler: dict[str, Any] = {"onexc" if sys.version_info >= (3, 12) else "onerror": writable}
        shutil.rmtree(path, **handler)

    errors: list[type[OSError]] = [OSError if ignore_errors else FileNotFoundError]
    with suppress(*errors):
        patient(delete)


def opened(path: PathLike, mode: str, **options: Any) -> Any:
    """open(): a file that is being scanned can be opened a moment later."""
    return patient(lambda: Path(path).open(mode, **options))
