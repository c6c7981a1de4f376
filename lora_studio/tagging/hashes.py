"""The content hashes of a dataset's pictures, kept so that gigabytes are not read again to find what is known of them."""

from __future__ import annotations

import time
from pathlib import Path

from ..dataset.remembered import Remembered, stamp_of
from .store import content_hash

FILE = "hashes.json"
SETTLED = 2.0  # seconds: a file changed so lately may change again within one tick of its disk's clock (two seconds on FAT)


class Hashes:
    """Hashes of the files of one folder; `studio_dir` keeps them for the next program. Safe to use from several threads."""

    def __init__(self, folder: Path, studio_dir: Path) -> None:
        self.folder = folder
        self.path = studio_dir / FILE
        self._known = Remembered(self.path, "hashes")
        self._stamp = self._look()

    def _look(self) -> str:
        try:
            return stamp_of(self.path.stat())
        except OSError:
            return ""

    def refresh(self) -> None:
        """Take over what another program has found since."""
        if (now := self._look()) != self._stamp:
            self._known, self._stamp = Remembered(self.path, "hashes"), now

    def of(self, name: str) -> bytes:
        """The SHA-256 of a file's content. Raises OSError."""
        path = self.folder / name
        about = path.stat()
        known = self.known(name, stamp_of(about))
        if known is not None:
            return known
        digest = content_hash(path)
        if time.time() - about.st_mtime > SETTLED:
            self._known.put(name, stamp_of(about), digest.hex())
        return digest

    def known(self, name: str, stamp: str) -> bytes | None:
        """The hash if it is known for the file as this stamp tells it."""
        found = self._known.get(name, stamp)
        try:
            return bytes.fromhex(found) if isinstance(found, str) and len(found) == 64 else None
        except ValueError:
            return None

    def save(self, names: set[str] | None = None) -> None:
        """Keep what was found; names: the files that are still there, others are forgotten."""
        if names is not None:
            self._known.keep_only(names)
        self._known.save()
        self._stamp = self._look()
