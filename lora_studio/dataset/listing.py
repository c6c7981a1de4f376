"""The pictures of a folder with their sizes, listed fast the second time: headers are read once for each state of a file."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from ..untrusted import leads_out
from .images import SUFFIXES, PictureError, image_size
from .items import OUTSIDE, is_own, is_picture_name
from .remembered import Remembered, stamp_of

FRESH = 1.0  # seconds for which a folder whose own time stands still is not walked again
LONGEST_SIDE = 2**24  # pixels: no format has more
FOLDERS = 8  # whose listings are kept in memory


@dataclass(frozen=True)
class Picture:
    """One picture: its upright size in pixels, its length in bytes, and a ``stamp`` that changes with it."""

    name: str
    width: int
    height: int
    stamp: str
    bytes: int


@dataclass(frozen=True)
class Listing:
    """Pictures in order of name, and (name, reason) of those that cannot be read."""

    pictures: tuple[Picture, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()


@dataclass
class _Known:
    sizes: Remembered
    # Not kept for the next start: what this Pillow cannot read, the one of another process may.
    failed: dict[str, tuple[str, str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    listing: Listing | None = None
    folder_time: int = 0
    looked: float = 0.0


_known: OrderedDict[Path, _Known] = OrderedDict()
_lock = threading.Lock()


def list_pictures(folder: str | Path, cache_dir: Path) -> Listing:
    """Every picture directly in ``folder``; a folder that is not there holds none. ``cache_dir`` keeps the sizes for the next start.

    Raises UserError when the folder cannot be read.
    """
    folder = Path(os.path.abspath(folder))
    with _lock:
        known = _known.get(folder)
        if known is None:
            known = _known[folder] = _Known(Remembered(cache_dir / f"sizes_{folder.name}.json", "sizes"))
        _known.move_to_end(folder)
        while len(_known) > FOLDERS:
            _known.popitem(last=False)
    with known.lock:  # whoever asks meanwhile gets what the first one finds
        return _look(folder, known)


def _look(folder: Path, known: _Known) -> Listing:
    now = time.monotonic()
    try:
        folder_time = folder.stat().st_mtime_ns
        if known.listing is not None and folder_time == known.folder_time and now - known.looked < FRESH:
            return known.listing
        found = sorted(_files(folder))
    except FileNotFoundError:
        return Listing()
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be read: {error.strerror}.", "Check the path.") from error
    known.sizes.refresh()
    pictures: list[Picture] = []
    unreadable: list[tuple[str, str]] = []
    failed: dict[str, tuple[str, str]] = {}
    fresh = False
    for name, stat, own in found:
        if not own:
            unreadable.append((name, OUTSIDE))
            continue
        stamp = stamp_of(stat)
        size = known.sizes.get(name, stamp)
        if not _is_size(size):
            before = known.failed.get(name)
            size, reason = (None, before[1]) if before is not None and before[0] == stamp else _measured(folder / name)
            if size is None:
                failed[name] = (stamp, reason)
                unreadable.append((name, reason))
                continue
            known.sizes.put(name, stamp, size)
            fresh = True
        pictures.append(Picture(name, size[0], size[1], stamp, stat.st_size))
    known.failed = failed
    known.sizes.keep_only({row[0] for row in found})
    if fresh:
        known.sizes.save()
    known.listing = Listing(tuple(pictures), tuple(unreadable))
    known.folder_time, known.looked = folder_time, now
    return known.listing


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result, bool]]:
    """(name, stat, whether it is no link that leads out)"""
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_picture_name(entry.name) and not entry.name.startswith("."):
                with suppress(FileNotFoundError):  # taken away while the folder is walked, or a link to nothing
                    if entry.is_file():
                        yield entry.name, entry.stat(), is_own(entry, folder)


def _measured(path: Path) -> tuple[list[int] | None, str]:
    try:
        return list(image_size(path)), ""
    except PictureError as error:
        return None, error.reason


def _is_size(fact: object) -> bool:
    return isinstance(fact, list) and len(fact) == 2 and all(type(n) is int and 0 < n <= LONGEST_SIDE for n in fact)


def picture_path(folder: Path, name: str) -> Path | None:
    """The picture of this name directly in ``folder``; None for anything that is no picture there or is a link out of the project."""
    apart = "/\\:\0" if os.name == "nt" else "/\\\0"  # elsewhere a colon is a character like others
    if not name or Path(name).name != name or name.startswith(".") or any(c in name for c in apart) or not is_picture_name(name):
        return None
    path = folder / name
    try:
        return path if path.is_file() and not leads_out(path) and path.resolve().suffix.lower() in SUFFIXES else None
    except (OSError, ValueError):
        return None
