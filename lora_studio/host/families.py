"""Which family a checkpoint file is, read from its header once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ..errors import UserError
from ..patience import HeldError
from ..training.basefile import family_of
from .base import Checkpoint


def family(path: Path) -> str:
    """``sd1``, ``sd2`` or ``sdxl``; "" for what is none of them or cannot be read. Remembered until the file changes."""
    return look(path)[0]


def look(path: Path) -> tuple[str, str]:
    """The family, and where it is "" the reason."""
    try:
        facts = path.stat()
    except OSError as error:
        return "", f"{path.name} cannot be read: {error.strerror}."
    try:
        return _family(str(path), facts.st_size, facts.st_mtime)
    except HeldError as error:  # not kept: it is free a moment later
        return "", error.message


@lru_cache(maxsize=4096)
def _family(path: str, size: int, changed: float) -> tuple[str, str]:
    try:
        return family_of(Path(path)), ""
    except HeldError:
        raise
    except UserError as error:
        return "", error.message


def known_checkpoint(title: str, path: Path) -> Checkpoint:
    """A checkpoint of the host's with what its file says of it."""
    kind, problem = look(path)
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    return Checkpoint(title, path, kind, size, problem)
