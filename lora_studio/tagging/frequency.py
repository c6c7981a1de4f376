"""How often each tag is in the captions of a dataset, without reading them all anew each time."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, OrderedDict
from pathlib import Path

from ..dataset import read_caption
from ..dataset.items import is_picture_name
from ..errors import UserError
from .seen import Seen, listing

FOLDERS = 8  # datasets whose captions stay in memory
SOON = 2.0  # seconds for which a hurried reader takes the counts of before


class Captions:
    """The captions of one dataset folder, and how often each tag is in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: Seen[tuple[str, ...]] = Seen(_tags)
        self._counts: tuple[float, dict[str, int]] = (float("-inf"), {})

    def tags(self, name: str, about: os.stat_result | None) -> tuple[str, ...]:
        """The tags of a caption file, given how it looks in a listing (None: it is not there)."""
        return () if about is None else self._seen.get(self.folder / name, about)

    def counts(self, soon: bool = False) -> dict[str, int]:
        """{tag: captions with it}, the most frequent first. Only captions of pictures count, each once. soon: two seconds old will do."""
        if soon and time.monotonic() - self._counts[0] < SOON:
            return self._counts[1]
        files = listing(self.folder)
        names = dict.fromkeys(os.path.splitext(name)[0] + ".txt" for name in files if is_picture_name(name))
        found: Counter[str] = Counter()
        for name in names:
            if name in files:
                found.update(set(self.tags(name, files[name])))
        self._seen.forget_all_but(files)
        counts = dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))
        self._counts = (time.monotonic(), counts)
        return counts


def _tags(path: Path) -> tuple[str, ...]:
    try:
        return read_caption(path).tags
    except UserError:  # whoever edits it is told; here it has no tags
        return ()


_folders: OrderedDict[Path, Captions] = OrderedDict()
_lock = threading.Lock()


def captions_of(folder: Path) -> Captions:
    """The captions of a folder, kept in memory for the next time."""
    folder = Path(folder).absolute()
    with _lock:
        found = _folders.pop(folder, None) or Captions(folder)
        _folders[folder] = found
        while len(_folders) > FOLDERS:
            _folders.popitem(last=False)
        return found
