"""What was read from files, kept as long as the files do not change: a second look costs a `stat` each."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
SETTLED = 2.0  # seconds: a file changed so lately may change again within one tick of its clock (two seconds on FAT)


def stamp(about: os.stat_result) -> tuple[int, int]:
    """What changes with the file: its time of change and size."""
    return about.st_mtime_ns, about.st_size


def settled(about: os.stat_result) -> bool:
    """Whether a file changed long enough ago that its stamp tells its content."""
    return time.time() - about.st_mtime > SETTLED


def listing(folder: str | Path) -> dict[str, os.stat_result]:
    """The files directly in a folder by name, in order; empty for a folder that cannot be read."""
    found: dict[str, os.stat_result] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.is_file():
                        found[entry.name] = entry.stat()
                except OSError:  # gone since
                    continue
    except OSError:
        return {}
    return dict(sorted(found.items()))


class Seen(Generic[T]):
    """Values read from the files of one folder. `read` is given a path; what it raises is not kept."""

    def __init__(self, read: Callable[[Path], T]) -> None:
        self._read = read
        self._known: dict[str, tuple[tuple[int, int], T]] = {}
        self._lock = threading.Lock()

    def get(self, path: Path, about: os.stat_result) -> T:
        """The value of this file, which looked like `about` a moment ago."""
        known = self._known.get(path.name)
        if known is not None and known[0] == stamp(about):
            return known[1]
        value = self._read(path)
        if settled(about):
            with self._lock:
                self._known[path.name] = (stamp(about), value)
        return value

    def put(self, name: str, about: tuple[int, int], value: T) -> None:
        """Take over a value known from elsewhere."""
        self._known[name] = (about, value)

    def items(self) -> Iterator[tuple[str, tuple[int, int], T]]:
        with self._lock:
            known = list(self._known.items())
        return ((name, about, value) for name, (about, value) in known)

    def forget_all_but(self, names: set[str] | dict[str, os.stat_result]) -> None:
        """Drop what was read from files that are not there any more."""
        with self._lock:
            for name in [n for n in self._known if n not in names]:
                del self._known[name]
