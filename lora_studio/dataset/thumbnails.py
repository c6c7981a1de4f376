"""Small upright pictures, made when they are first asked for and kept in a cache of bounded size."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

from PIL import Image

from ..errors import UserError
from ..files import atomic_write_bytes
from ..patience import unlink, within
from ..project import is_in_place
from .images import _orientation, open_image, to_rgb
from .remembered import stamp_of

SIZES = (160, 256, 512)
GROUND = (200, 200, 200)
"""Behind what is transparent: neither black hair nor white clothes vanish on it."""

LARGEST = 400 * 2**20  # bytes of a cache: 30,000 thumbnails of 256 pixels
LOOK_EVERY = 500  # thumbnails written between two looks at the cache's size
SUFFIX = ".jpg"
OWN = re.compile(r"[0-9a-f]{40}\.jpg")  # as `cached_path` names them; nothing else is ever taken away

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip

_lock = threading.Lock()
_making: dict[Path, threading.Lock] = {}
_written: dict[Path, int] = {}
# Decoding is what takes memory: however many pictures a page asks for, few are decoded at a time.
_decoding = threading.BoundedSemaphore(max(2, min(4, os.cpu_count() or 1)))


def best_size(wanted: int) -> int:
    """The smallest size on offer that is no smaller than ``wanted``, else the largest."""
    return next((size for size in SIZES if size >= wanted), SIZES[-1])


def small_picture(path: Path, size: int) -> Image.Image:
    """The picture upright within ``size`` x ``size``, RGB, never enlarged. Raises UserError when it cannot be read."""
    with open_image(path) as image:
        orientation = _orientation(image)
        scale = min(1.0, size / max(image.size))
        fitting = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        if image.format in ("JPEG", "MPO"):
            image.draft(None, fitting)
        image.load()
        plain = image if image.mode in ("RGB", "RGBA", "L", "LA") and "transparency" not in image.info else to_rgb(image, GROUND)
        small = plain.resize(fitting, Image.Resampling.LANCZOS, reducing_gap=2.0)
        if orientation in _TURNS:
            small = small.transpose(_TURNS[orientation])
        return to_rgb(small, GROUND)


def cached_path(path: Path, size: int, cache_dir: Path) -> Path:
    """Where the thumbnail of the picture as it is now lies, or would lie. Raises OSError when there is no picture."""
    key = f"{path.parent.name}/{path.name}\n{stamp_of(path.stat())}\n{size}"
    return cache_dir / (hashlib.sha1(key.encode("utf-8", "surrogatepass")).hexdigest() + SUFFIX)


def thumbnail(path: Path, size: int, cache_dir: Path) -> bytes:
    """The thumbnail as JPEG. Asked for twice at a time it is made once.

    Raises UserError when the picture cannot be read. A cache that cannot be written is done without.
    """
    size = best_size(size)
    try:
        kept = cached_path(path, size, cache_dir)
    except OSError:
        raise UserError(f"The picture {path} is not there.") from None
    if (data := _read(kept)) is not None:
        return data
    with _one_at_a_time(kept):
        if (data := _read(kept)) is not None:
            return data
        with _decoding:
            data = _encoded(small_picture(path, size))
        with suppress(OSError, UserError), within(0):
            if is_in_place(cache_dir):
                atomic_write_bytes(kept, data)
                _count(cache_dir)
    return data


def _encoded(image: Image.Image) -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", quality=86, optimize=False)
    return file.getvalue()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes() or None
    except OSError:
        return None


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    with _lock:
        lock = _making.setdefault(path, threading.Lock())
    try:
        with lock:
            yield
    finally:
        with _lock:
            _making.pop(path, None)


def _count(cache_dir: Path) -> None:
    with _lock:
        _written[cache_dir] = _written.get(cache_dir, LOOK_EVERY - 1) + 1
        due = _written[cache_dir] >= LOOK_EVERY
        if due:
            _written[cache_dir] = 0
    if due:
        prune(cache_dir, LARGEST)


def prune(cache_dir: Path, largest: int) -> int:
    """Take the oldest thumbnails away until the cache is well below ``largest`` bytes; returns how many.

    Only files that `thumbnail` made, in a cache that is no link to another place.
    """
    if not is_in_place(cache_dir):
        return 0
    with os.scandir(cache_dir) as entries:
        ours = [(e.stat(follow_symlinks=False), e.path) for e in entries if OWN.fullmatch(e.name)]
    kept = sorted((stat.st_mtime_ns, stat.st_size, path) for stat, path in ours)
    total, gone = sum(size for _, size, _ in kept), 0
    if total <= largest:
        return 0
    for _, size, path in kept:
        if total <= 0.8 * largest:
            break
        with suppress(OSError), within(0):
            unlink(path)
        total, gone = total - size, gone + 1
    return gone
