"""The history of a dataset's captions: every bulk edit with the exact bytes before and after, undo and redo without limit.

`dataset/.lora_studio/history/`:
- `entries/000001.jsonl`: one edit, never changed once in force. Line 1 says what it was, line 2 holds each changed
  file's bytes before and after (base64, so any encoding survives; null = no file);
- `first/<name>`: each caption as it was before this program first touched it (`<name>.absent`, empty, when there was none);
- `state.json`: which entries are in force and which can be redone, and the change under way, if any;
- `spare/`: replaced files that the next bulk edit writes over (see `files.Rewriter`);
- `lock`: held while one of two programs changes captions.

A change is announced in state.json, with all its bytes already on the disk itself, before the first caption is touched;
each caption is then replaced whole. Whatever interrupts it, each caption is the old one or the new one, and `recover`
finishes the change. The captions themselves are left to the system to write out: a power cut may take the last seconds of
them, and their bytes are in the entry.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import reading
from ..errors import UserError
from ..files import Rewriter, atomic_write_bytes, atomic_write_text, explain_os_error, locked, read_json

FOLDER = Path(".lora_studio") / "history"
CHANGED_SINCE = "it was changed outside this program since, and is left as it is"
MANY = 20  # captions from which on a change uses spare files

Stamp = tuple[int, int]
"""A file's time of change in nanoseconds and its size: the same stamp, the same bytes."""
Peek = Callable[[str], "tuple[bytes | None, Stamp] | None"]


@dataclass(frozen=True)
class FileChange:
    """One file of an entry. before, after: its bytes, None where there is no file."""

    name: str
    before: bytes | None
    after: bytes | None


@dataclass(frozen=True)
class Entry:
    """One bulk edit. kind: what did it; when: seconds since 1970; count: files changed; details: its options."""

    id: str
    kind: str
    when: float
    count: int
    details: dict[str, Any]


@dataclass(frozen=True)
class Applied:
    """What a change did to the folder. changed: names written or removed; refused: (name, why) of files left alone.

    written: each changed file's bytes and stamp now (None: there is no file).
    """

    changed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    written: dict[str, tuple[bytes | None, Stamp | None]] = field(default_factory=dict)


def read_bytes(path: str | Path) -> bytes | None:
    """A caption's bytes, None when there is no file. Raises UserError when it cannot be read."""
    try:
        return reading.read_bytes(path)
    except UserError:
        if os.path.lexists(path):
            raise
        return None


def _pack(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def _unpack(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


@contextmanager
def opened(dataset_dir: str | Path) -> Iterator[Journal]:
    """The journal of a folder for changing its captions: no other thread or program does until the block ends,
    and what was interrupted is finished first."""
    with locked(Path(dataset_dir) / FOLDER / "lock"):
        journal = Journal(dataset_dir)
        journal.recover()
        yield journal


class Journal:
    """The history of one dataset folder. For changing captions get it from `opened`; for reading alone make one."""

    def __init__(self, dataset_dir: str | Path) -> None:
        self.dataset_dir = Path(dataset_dir)
        self.folder = self.dataset_dir / FOLDER
        self.done: list[str] = []
        self.undone: list[str] = []
        self.last = 0
        self.pending: dict[str, str] | None = None
        # What somebody has read already: (bytes, stamp) of a caption by its name. With this stamp the file need not be read again.
        self.peek: Peek = lambda name: None
        if (path := self.folder / "state.json").exists():
            data = read_json(path)
            try:
                self.done, self.undone = [str(i) for i in data["done"]], [str(i) for i in data["undone"]]
                self.last, self.pending = int(data["last"]), data["pending"]
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{path} is damaged: {error}", "Move the history folder aside: the captions do not need it.") from error

    # --- reading -------------------------------------------------------------------------------------------------

    def _path(self, identity: str) -> Path:
        return self.folder / "entries" / f"{identity}.jsonl"

    def entry(self, identity: str) -> Entry:
        """What an entry was, without its bytes. Raises UserError when its file is missing or damaged."""
        path = self._path(identity)
        try:
            with path.open(encoding="utf-8") as file:
                return Entry(**json.loads(file.readline()))
        except (OSError, ValueError, TypeError) as error:
            raise self._damaged(path, error) from error

    def changes(self, identity: str) -> tuple[FileChange, ...]:
        """The bytes of an entry. Raises UserError when its file is missing or damaged."""
        path = self._path(identity)
        try:
            rows = json.loads(path.read_text(encoding="utf-8").split("\n")[1])
            return tuple(FileChange(str(name), _unpack(before), _unpack(after)) for name, before, after in rows)
        except (OSError, ValueError, TypeError, IndexError) as error:
            raise self._damaged(path, error) from error

    def _damaged(self, path: Path, error: Exception) -> UserError:
        return UserError(
            f"The history entry {path} is missing or damaged: {error}",
            f"The captions are as they are. Their first states are in {self.folder / 'first'}; move the history folder aside to start a new one.",
        )

    # --- writing -------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        state = {"version": 1, "last": self.last, "done": self.done, "undone": self.undone, "pending": self.pending}
        atomic_write_text(self.folder / "state.json", json.dumps(state) + "\n")

    def commit(
        self, kind: str, details: Mapping[str, Any], changes: Mapping[str, tuple[bytes | None, bytes | None]], merge: bool = False
    ) -> tuple[str, Applied]:
        """Record a change of captions {name: (before, after)} and carry it out; what could be redone no longer can.

        merge: the latest entry changed the same files and nobody wants to undo the two apart: one takes both's place.
        Returns the entry's id and what was done: a file that is no longer `before` is left alone and named.
        Raises UserError for a full disk or a lack of permission: then either no caption was touched, or the
        change is announced and `recover` finishes it.
        """
        self.recover()
        merged = self.done[-1] if merge and self.done and not self.undone else ""
        first = {c.name: c.before for c in self.changes(merged)} if merged else {}
        if first.keys() != changes.keys() or any(first[name] == after for name, (_, after) in changes.items()):
            merged, first = "", {}  # a change taken back at once stays two entries: an entry changes something
        identity = f"{self.last + 1:06d}"
        header = {"id": identity, "kind": kind, "when": time.time(), "count": len(changes), "details": dict(details)}
        rows = [[name, _pack(first.get(name, before)), _pack(after)] for name, (before, after) in changes.items()]
        text = json.dumps(header, ensure_ascii=False) + "\n" + json.dumps(rows, ensure_ascii=False) + "\n"
        atomic_write_bytes(self._path(identity), text.encode("utf-8"), sync=True)
        self.last += 1
        return identity, self._carry_out("do", identity, merged)

    def undo(self) -> tuple[Entry, Applied] | None:
        """Take the latest entry back; None when there is none."""
        self.recover()
        return (self.entry(self.done[-1]), self._carry_out("undo", self.done[-1])) if self.done else None

    def redo(self) -> tuple[Entry, Applied] | None:
        """Do the latest undone entry again; None when there is none."""
        self.recover()
        return (self.entry(self.undone[-1]), self._carry_out("redo", self.undone[-1])) if self.undone else None

    def recover(self) -> Applied | None:
        """Finish the change that was interrupted; None when none was."""
        if self.pending is None:
            return None
        return self._finish(self.pending["action"], self.pending["entry"], self.pending.get("merged", ""))

    def first_names(self) -> list[str]:
        """The captions that this program ever touched."""
        folder = self.folder / "first"
        return sorted(entry.name.removesuffix(".absent") for entry in os.scandir(folder)) if folder.is_dir() else []

    def first_states(self) -> dict[str, bytes | None]:
        """Each caption that this program ever touched as it was before; None where there was none."""
        folder = self.folder / "first"
        if not folder.is_dir():
            return {}
        names = sorted(entry.name for entry in os.scandir(folder))
        return {name.removesuffix(".absent"): None if name.endswith(".absent") else read_bytes(folder / name) for name in names}

    def _carry_out(self, action: str, identity: str, merged: str = "") -> Applied:
        files = self.changes(identity)  # read back whole before anything is touched
        self.pending = {"action": action, "entry": identity, **({"merged": merged} if merged else {})}
        self._save()
        return self._finish(action, identity, merged, files)

    def _finish(self, action: str, identity: str, merged: str, files: tuple[FileChange, ...] | None = None) -> Applied:
        files = self.changes(identity) if files is None else files
        # What is there before a merged entry is what the one it replaces left.
        between = {c.name: c.after for c in self.changes(merged)} if merged and self._path(merged).exists() else {}
        writer = _Writer(self.dataset_dir, self.folder, self.peek, many=len(files) >= MANY)
        refused = []
        for change in files:
            old, new = (change.after, change.before) if action == "undo" else (change.before, change.after)
            if not writer.put(change.name, (old, between.get(change.name, old)), new):
                refused.append((change.name, CHANGED_SINCE))
        if action == "undo":
            self.done.remove(identity)
            self.undone.append(identity)
        else:
            self.undone = [i for i in self.undone if i != identity] if action == "redo" else []
            self.done = [*(i for i in self.done if i != merged), identity]
        self.pending = None
        self._save()
        if merged:
            with suppress(OSError):
                self._path(merged).unlink()
        return Applied(tuple(writer.written), tuple(refused), writer.written)


class _Writer:
    """Replaces captions, and keeps what each was before this program first touched it. many: more than a few will come."""

    def __init__(self, dataset_dir: Path, history: Path, peek: Peek, many: bool) -> None:
        self.dataset_dir = str(dataset_dir)
        self.peek = peek
        self.first = history / "first"
        self.rewriter = Rewriter(history / "spare") if many else None
        self.kept = {entry.name for entry in os.scandir(self.first)} if many and self.first.is_dir() else None
        self.written: dict[str, tuple[bytes | None, Stamp | None]] = {}

    def put(self, name: str, old: tuple[bytes | None, ...], new: bytes | None) -> bool:
        """Make `new` the content of a caption that is one of `old`; False for one that is neither, which is left alone."""
        path = os.path.join(self.dataset_dir, name)
        known = self.peek(name)
        now = known[0] if known is not None and _stamp(path) == known[1] else read_bytes(path)
        if now != new and now not in old:
            return False
        stamp = _stamp(path) if now == new else self._replace(name, path, now, new)
        self.written[name] = (new, stamp)
        return True

    def _replace(self, name: str, path: str, now: bytes | None, new: bytes | None) -> Stamp | None:
        self._keep_first(name, path, now)
        if new is None:
            try:
                with suppress(FileNotFoundError):
                    os.unlink(path)
            except OSError as error:
                if (friendly := explain_os_error(error, Path(path))) is not None:
                    raise friendly from error
                raise
            return None
        if self.rewriter is not None:
            found = self.rewriter.write(path, new)
            return found.st_mtime_ns, found.st_size
        atomic_write_bytes(path, new)
        return _stamp(path)

    def _keep_first(self, name: str, path: str, now: bytes | None) -> None:
        if name in self.kept or f"{name}.absent" in self.kept if self.kept is not None else self._has_first(name):
            return
        kept = self.first / (name if now is not None else f"{name}.absent")
        self.first.mkdir(parents=True, exist_ok=True)
        if now is None or not _linked(path, kept):
            atomic_write_bytes(kept, now or b"")

    def _has_first(self, name: str) -> bool:
        return (self.first / name).exists() or (self.first / f"{name}.absent").exists()


def _linked(path: str, kept: Path) -> bool:
    """Keep the file itself under another name (what comes in its place is another file); False where that cannot be."""
    try:
        if os.path.islink(path):
            return False
        os.link(path, kept)
    except OSError:
        return False
    return True


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size
