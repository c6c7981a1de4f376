"""What was found out about the files of a folder, kept until a file changes."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write_bytes
from ..patience import within
from ..project import is_in_place
from ..reading import finite, parse_json
from ..untrusted import content

VERSION = 1
LARGEST = 2**28  # bytes: a million pictures


def stamp_of(stat: os.stat_result) -> str:
    """What changes when a file does: its time and its length."""
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"


class Remembered:
    """Facts (JSON values) by file name and stamp, in one file of a cache folder. Safe to use from several threads.

    A damaged or older file is begun anew, one that cannot be written (or is none of the project's, but behind a link) is done without:
    everything in it can be found out again.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        self.kind = kind
        self._lock = threading.Lock()
        self._changed = False
        self._facts: dict[str, tuple[str, Any]] = {}
        self._read_at = -1
        self.refresh()

    def refresh(self) -> None:
        """Take in what another process has written since; what is known here already stays."""
        with self._lock, suppress(OSError, ValueError, KeyError, TypeError, AttributeError, UserError):
            written = self.path.stat().st_mtime_ns
            if written == self._read_at:
                return
            self._read_at = written
            found = parse_json(content(self.path, self.path.name, LARGEST))
            if found["version"] == VERSION and found["kind"] == self.kind:
                self._facts = {**{str(name): (str(stamp), fact) for name, (stamp, fact) in found["files"].items()}, **self._facts}

    def get(self, name: str, stamp: str) -> Any:
        """What is known of the file as it is now, or None."""
        known = self._facts.get(name)
        return known[1] if known is not None and known[0] == stamp else None

    def put(self, name: str, stamp: str, fact: Any) -> None:
        with self._lock:
            self._facts[name] = (stamp, fact)
            self._changed = True

    def keep_only(self, names: set[str]) -> None:
        """Forget the files that are gone."""
        with self._lock:
            if gone := self._facts.keys() - names:
                self._facts = {name: fact for name, fact in self._facts.items() if name not in gone}
                self._changed = True

    def save(self) -> None:
        """Write what is new."""
        with self._lock:
            if not self._changed:
                return
            data = json.dumps({"version": VERSION, "kind": self.kind, "files": finite(self._facts)}, separators=(",", ":"))
            with suppress(OSError, UserError), within(1, ask=False):
                if not is_in_place(self.path.parent):
                    return
                atomic_write_bytes(self.path, data.encode("ascii"))
                self._changed = False
                self._read_at = self.path.stat().st_mtime_ns
