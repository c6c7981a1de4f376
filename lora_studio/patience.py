"""Files that somebody holds for a moment (a virus scanner, OneDrive, an indexer, a program reading a LoRA): wait, then go on.

Whatever the product replaces, renames, deletes or opens for writing goes through here. Only errors that pass by themselves are waited for; all others
come at once. What is still held in the end is a `HeldError`, which says so to people and names the program.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from .errors import UserError
from .holders import holders

Result = TypeVar("Result")
PathLike = str | os.PathLike[str]
WINDOWS = sys.platform == "win32"
#: seconds that an error is waited for, by Windows' number of it: 5 access denied (also: being deleted), 32 in use, 33 locked, 145 not empty yet
BY_WINERROR = {5: 10.0, 32: 30.0, 33: 30.0, 145: 10.0}
BY_ERRNO = {errno.EBUSY: 10.0, errno.ETXTBSY: 10.0}
#: seconds between two tries: the first are quick, a scanner needs milliseconds
PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
#: seconds that tidying up waits, where what stays is taken away another time
TIDYING = 3.0

sleep = time.sleep
clock = time.monotonic


class HeldError(UserError, PermissionError):
    """Another program still holds a file: for people as every UserError, for code an OSError with the numbers of the one behind it."""

    def __init__(self, message: str, hint: str = "", path: str = "", number: int | None = None, winerror: int | None = None) -> None:
        super().__init__(message, hint)
        self.errno, self.strerror, self.filename, self.winerror = number, message, path, winerror

    def __str__(self) -> str:
        return self.message


def waits_for(error: BaseException) -> float:
    """Seconds that it is worth waiting for this error to pass; 0 for one that does not pass by itself."""
    if not isinstance(error, OSError):
        return 0.0
    winerror = getattr(error, "winerror", None) or 0
    if WINDOWS and not winerror and error.errno == errno.EACCES:
        return BY_WINERROR[5]  # open() on Windows only says "permission denied", whichever of the three it was
    return BY_WINERROR.get(winerror, 0.0) or BY_ERRNO.get(error.errno or 0, 0.0)


def is_held(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, says that another program holds the file."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:  # `raise error from error` makes a ring
        if isinstance(error, HeldError) or waits_for(error):
            return True
        seen.append(error)
        error = error.__cause__
    return False


def held(error: BaseException, path: PathLike) -> HeldError:
    """What people are told of a file that was held to the end; asks the system who holds it."""
    cause: BaseException = error
    while not isinstance(cause, OSError) and cause.__cause__ is not None:
        cause = cause.__cause__
    number, winerror = getattr(cause, "errno", None), getattr(cause, "winerror", None)
    allowance = _allowance.get()
    who = ", ".join(holders(path)) if allowance is None or allowance.asks() else ""
    if who:
        hint = "Nothing that was there before has changed. Close that program, then do the step again."
        return HeldError(f"Another program holds {path}: {who}.", hint, str(path), number, winerror)
    if winerror in (5, None) and number == errno.EACCES:
        what = f"Windows denies access to {path}: another program holds it, or you may not write there."
        hint = "Nothing that was there before has changed. Close programs that may have it open, or choose another folder; then do the step again."
        return HeldError(what, hint, str(path), number, winerror)
    hint = "Nothing that was there before has changed. Close the program that has it open (a viewer, OneDrive, a scanner), then do the step again."
    return HeldError(f"Another program holds {path}.", hint, str(path), number, winerror)


class _Allowance:
    """Seconds of waiting that a block has, and the one around it. ask: whether to find out in the end who holds the file, which takes a moment."""

    def __init__(self, seconds: float, ask: bool, outer: _Allowance | None) -> None:
        self.seconds, self.ask, self.outer = seconds, ask, outer

    def asks(self) -> bool:
        return self.ask and (self.outer is None or self.outer.asks())

    def left(self) -> float:
        return min(self.seconds, self.outer.left() if self.outer else self.seconds)

    def spend(self, seconds: float) -> None:
        self.seconds -= seconds
        if self.outer:
            self.outer.spend(seconds)


_allowance: ContextVar[_Allowance | None] = ContextVar("allowance", default=None)


def _left() -> float:
    now = _allowance.get()
    return float("inf") if now is None else now.left()


@contextmanager
def within(seconds: float, ask: bool = True) -> Iterator[None]:
    """All waiting in the block (of this thread) together takes at most so long: for many files, for who waits in another way, and 0 for caches.

    ask: whether to find out in the end which program it is, which takes a moment.
    """
    token = _allowance.set(_Allowance(seconds, ask and seconds > 0, _allowance.get()))
    try:
        yield
    finally:
        _allowance.reset(token)


def patient(action: Callable[[], Result], longest: float | None = None, path: PathLike | None = None) -> Result:
    """Do it; while another program holds the file, again and again. longest: seconds, instead of what suits the error; path: what to call the file.

    Raises HeldError when it was in vain; what does not pass by itself at once, as it is.
    """
    began, tries = clock(), 0
    while True:
        try:
            return action()
        except HeldError:
            raise  # somebody further in has waited already
        except OSError as error:
            wait = waits_for(error) if longest is None else min(longest, waits_for(error))
            if not waits_for(error):
                raise
            if clock() - began >= wait or _left() <= 0:
                raise held(error, path or error.filename or "") from error
        pause = min(PAUSES[min(tries, len(PAUSES) - 1)], _left())
        sleep(pause)
        if allowance := _allowance.get():
            allowance.spend(pause)
        tries += 1


def replace(source: PathLike, target: PathLike) -> None:
    """os.replace: afterwards `target` is what `source` was."""
    patient(lambda: os.replace(source, target), path=target)


def rename(source: PathLike, target: PathLike) -> None:
    """os.rename: a file or folder under another name; never onto something on Windows."""
    patient(lambda: os.rename(source, target), path=source)


def unlink(path: PathLike, missing_ok: bool = False) -> None:
    """Delete a file; a read-only one too, as everywhere but on Windows."""

    def delete() -> None:
        try:
            os.unlink(path)
        except PermissionError:
            if not WINDOWS or os.stat(path).st_mode & stat.S_IWRITE:
                raise
            os.chmod(path, stat.S_IWRITE)
            os.unlink(path)

    with suppress(*([FileNotFoundError] if missing_ok else [])):
        patient(delete, path=path)


def rmdir(path: PathLike) -> None:
    """Delete an empty folder."""
    patient(lambda: os.rmdir(path), path=path)


def rmdir_if_empty(path: PathLike) -> bool:
    """Delete a folder if nothing is in it; whether it is gone. One that is not empty is no reason to wait, nor an error."""
    try:
        os.rmdir(path)
    except OSError:
        return not os.path.lexists(path)
    return True


def rmtree(path: PathLike, ignore_errors: bool = False) -> None:
    """Delete a folder with all that is in it; links in it are deleted, never followed. A folder that is gone is as good.

    ignore_errors: what can be deleted is, and nothing is raised.
    """

    def mend(function: Callable[..., Any], name: str, error: Any) -> None:
        found = error[1] if isinstance(error, tuple) else error  # onerror gives a tuple, onexc the error itself
        if isinstance(found, FileNotFoundError):
            return  # somebody else was quicker
        if not WINDOWS or function not in (os.unlink, os.rmdir) or os.stat(name).st_mode & stat.S_IWRITE:
            raise found
        os.chmod(name, stat.S_IWRITE)
        function(name)

    handler: dict[str, Any] = {"onexc" if sys.version_info >= (3, 12) else "onerror": mend}
    try:
        patient(lambda: shutil.rmtree(path, **handler), TIDYING if ignore_errors else None)
    except OSError:
        if not ignore_errors:
            raise
        shutil.rmtree(path, ignore_errors=True)  # all but what is held


def opened(path: PathLike, mode: str, **options: Any) -> Any:
    """open(): a file that is being scanned can be opened a moment later."""
    return patient(lambda: io.open(path, mode, **options), path=path)  # noqa: UP020 - found anew at each call, so that tests can stand in for it


def touch(path: PathLike) -> None:
    """Make an empty file where there is none."""
    opened(path, "ab").close()


def copy(source: PathLike, target: PathLike, times: bool = False) -> None:
    """A file's bytes under another name. times: with its time of change."""
    patient(lambda: shutil.copyfile(source, target))
    if times:
        shutil.copystat(source, target)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder of the system's for temporary files, gone after the block as far as nobody holds what is in it."""
    folder = tempfile.mkdtemp(prefix="lora_studio_")
    try:
        yield Path(folder)
    finally:
        rmtree(folder, ignore_errors=True)
