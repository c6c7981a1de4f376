"""The pictures of a folder and how long their captions are, looked at again and again while a form is filled in: each file is read once."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from ..dataset import ImageItem, read_caption
from ..dataset.images import PictureError
from ..dataset.items import OUTSIDE, FolderScan, is_own, is_picture_name, unusable
from ..errors import UserError

REMEMBERED = 1 << 16


def scan(folder: Path) -> FolderScan:
    """As `dataset.scan_folder`; a file that has not changed since is not opened again."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((e.name, e.stat(), is_own(e, folder)) for e in entries if is_picture_name(e.name) and e.is_file())
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be read: {error.strerror}.", "Check the path.") from error
    looked = [_usable(_look(str(folder), name, stat.st_size, stat.st_mtime_ns)) if own else OUTSIDE for name, stat, own in found]
    items = tuple(x for x in looked if isinstance(x, ImageItem))
    return FolderScan(items, tuple((folder / row[0], x) for row, x in zip(found, looked) if isinstance(x, str)))


def caption_lengths(items: tuple[ImageItem, ...]) -> Iterator[int]:
    """About how many tokens each caption has; 0 where there is none."""
    for item in items:
        path = item.caption_path
        try:
            stat = path.stat()
        except OSError:
            yield 0
            continue
        yield _tokens(str(path), stat.st_size, stat.st_mtime_ns)


def rough_tokens(caption: str) -> int:
    """About how many CLIP tokens a caption has: one a word, comma or digit and one more for each 6 letters beyond the first 8.

    An estimate, used only to warn; the trainer counts exactly.
    """
    words = re.findall(r"[^\W\d_]+|\d|[^\w\s]", caption)
    return sum(1 + max(0, math.ceil((len(w) - 8) / 6)) for w in words)


def _usable(look: ImageItem | str) -> ImageItem | str:
    reason = unusable(look) if isinstance(look, ImageItem) else ""
    return reason or look


@lru_cache(maxsize=REMEMBERED)
def _look(folder: str, name: str, size: int, changed: int) -> ImageItem | str:
    try:
        return ImageItem.from_path(Path(folder) / name)
    except PictureError as error:
        return error.reason


@lru_cache(maxsize=REMEMBERED)
def _tokens(path: str, size: int, changed: int) -> int:
    tags = read_caption(Path(path)).tags
    return max(1, rough_tokens(", ".join(tags))) if tags else 0
