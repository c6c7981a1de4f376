"""Files and folders moved: several of them all or none, onto another disk too, and what was broken off brought to an end."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .errors import UserError
from .files import TEMPORARY_PREFIX, atomic_path, explain_os_error
from .patience import copy, patient, rename, rmtree, unlink, within

Move = tuple[Path, Path]
#: seconds that all files of one move together wait for programs that hold them
LONGEST = 30.0


def move_all(moves: Sequence[Move]) -> None:
    """All or none: after a failure what was moved goes back, and the failure is told.

    Raises UserError naming the file. Where even the way back is barred, the rest stays at its target: nothing is deleted.
    """
    done: list[Move] = []
    try:
        with within(LONGEST):
            for source, target in moves:
                move_file(source, target)
                done.append((source, target))
    except (OSError, UserError) as error:
        with within(LONGEST):
            for source, target in reversed(done):
                with suppress(OSError, UserError):
                    move_file(target, source)
        if isinstance(error, UserError):
            raise
        friendly = explain_os_error(error, source)
        raise friendly or UserError(f"{source.name} could not be moved: {error.strerror or error}.", "Nothing has changed. Try again.") from error


def move_file(source: Path, target: Path) -> None:
    """Move a file; onto another disk by a copy that is complete before the original goes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        rename(source, target)
    except OSError as error:
        if not _another_disk(error):
            raise
        with atomic_path(target) as temporary:
            copy(source, temporary, times=True)
        try:
            unlink(source)
        except OSError:
            with suppress(OSError):
                unlink(target)  # one of the two is enough
            raise


def move_folder(source: Path, target: Path) -> None:
    """Move a folder at once, never file by file; a move that an earlier version left half-done is brought to its end.

    Raises UserError when something else is in its place, or the folder cannot be moved: then it is where it was.
    """
    try:
        if target.exists():
            if not (_is_within(source, target) or _is_within(target, source)):
                raise UserError(f"{target} is there already.", "Rename one of the two folders.")
            if _is_within(source, target):  # a copy that was whole, and an original that was half deleted
                rmtree(source)
                return
            rmtree(target)  # a copy that was not whole
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            rename(source, target)
        except OSError as error:
            if not _another_disk(error):
                raise
            _copy_folder(source, target)
            rmtree(source)
    except UserError:
        raise
    except OSError as error:
        raise explain_os_error(error, source) or UserError(f"{source} could not be moved: {error}.", "Close the programs that use it.") from error


def _copy_folder(source: Path, target: Path) -> None:
    """Under its name when it is whole."""
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}")
    try:
        patient(lambda: shutil.copytree(source, temporary, symlinks=True, dirs_exist_ok=True))
        rename(temporary, target)
    except BaseException:
        rmtree(temporary, ignore_errors=True)
        raise


def _is_within(part: Path, whole: Path) -> bool:
    """Whether every file below `part` is below `whole` too, with the same content."""
    for folder, _, names in os.walk(part):
        for name in names:
            mine = Path(folder) / name
            other = whole / mine.relative_to(part)
            if not other.is_file() or not filecmp.cmp(mine, other, shallow=False):
                return False
    return True


def _another_disk(error: OSError) -> bool:
    return error.errno == errno.EXDEV or getattr(error, "winerror", None) == 17
