"""Which family a checkpoint file is, read from its header once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from ..errors import UserError
from ..training.basefile import family_of


def family(path: Path) -> str:
    """``sd1``, ``sd2`` or ``sdxl``; "" for what is none of them or cannot be read. Remembered until the file changes."""
    try:
        facts = path.stat()
    except OSError:
        return ""
    return _family(str(path), facts.st_size, facts.st_mtime)


@lru_cache(maxsize=4096)
def _family(path: str, size: int, changed: float) -> str:
    try:
        return family_of(Path(path))
    except (UserError, OSError, ValueError):
        return ""
