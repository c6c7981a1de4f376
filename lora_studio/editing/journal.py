"""The history of a dataset's captions: every bulk edit with the exact bytes before and after, undo and redo without limit.

`dataset/.lora_studio/history/`:
- `entries/000001.jsonl`: one bulk edit, never changed once in force. Line 1 says what it was, line 2 holds each changed
  file's bytes before and after (base64, so any encoding survives; null = no file);
- `first/<name>`: each caption as it was before this program first touched it (`<name>.absent`, empty, when there was none);
- `state.json`: which entries are in force and which can be redone, and the change under way, if any.

A change is announced in state.json, with all its bytes already stored, before the first caption is touched; each caption is
then replaced whole. Whatever interrupts it, each caption is the old one or the new one, and `recover` finishes the change.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write_bytes, atomic_write_json, atomic_write_text, explain_os_error, read_json

FOLDER = Path(".lora_studio") / "history"
CHANGED_SINCE = "it was changed outside this program since, and is left as it is"


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
    """What a change did to the folder. changed: names written or removed; refused: (name, why) of files left alone."""

    changed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def read_bytes(path: Path) -> bytes | None:
    """A caption's bytes, None when there is no file. Raises UserError when it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"The caption {path} cannot be read: {error.strerror}.", "Check the file's permissions.") from error


def _pack(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode("ascii")


def _unpack(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text, validate=True)


class Journal:
    """The history of one dataset folder. Call `recover` before reading captions that are about to be changed."""

    def __init__(self, dataset_dir: str | Path) -> None:
        self.dataset_dir = Path(dataset_dir)
        self.folder = self.dataset_dir / FOLDER
        self.done: list[str] = []
        self.undone: list[str] = []
        self.last = 0
        self.pending: dict[str, str] | None = None
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
        atomic_write_json(self.folder / "state.json", state)

    def _keep_first(self, name: str, data: bytes | None) -> None:
        first = self.folder / "first"
        if not (first / name).exists() and not (first / f"{name}.absent").exists():
            atomic_write_bytes(first / (name if data is not None else f"{name}.absent"), data or b"")

    def commit(self, kind: str, details: Mapping[str, Any], changes: Mapping[str, tuple[bytes | None, bytes | None]]) -> tuple[str, Applied]:
        """Record a change of captions {name: (before, after)} and carry it out; what could be redone no longer can.

        Returns the entry's id and what was done: a file that is no longer `before` is left alone and named.
        Raises UserError for a full disk or a lack of permission: then either no caption was touched, or the
        change is announced and `recover` finishes it.
        """
        self.recover()
        for name, (before, _) in changes.items():
            self._keep_first(name, before)
        identity = f"{self.last + 1:06d}"
        header = {"id": identity, "kind": kind, "when": time.time(), "count": len(changes), "details": dict(details)}
        rows = [[name, _pack(before), _pack(after)] for name, (before, after) in changes.items()]
        atomic_write_text(self._path(identity), json.dumps(header, ensure_ascii=False) + "\n" + json.dumps(rows, ensure_ascii=False) + "\n")
        self.last += 1
        return identity, self._carry_out("do", identity)

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
        return self._finish(self.pending["action"], self.pending["entry"], self.changes(self.pending["entry"]))

    def _carry_out(self, action: str, identity: str) -> Applied:
        files = self.changes(identity)  # read back whole before anything is touched
        self.pending = {"action": action, "entry": identity}
        self._save()
        return self._finish(action, identity, files)

    def _finish(self, action: str, identity: str, files: tuple[FileChange, ...]) -> Applied:
        changed, refused = [], []
        for change in files:
            old, new = (change.after, change.before) if action == "undo" else (change.before, change.after)
            path = self.dataset_dir / change.name
            now = read_bytes(path)
            if now not in (old, new):
                refused.append((change.name, CHANGED_SINCE))
                continue
            if now != new:
                self._put(path, new)
            changed.append(change.name)
        if action == "undo":
            self.done.remove(identity)
            self.undone.append(identity)
        else:
            self.undone = [i for i in self.undone if i != identity] if action == "redo" else []
            self.done.append(identity)
        self.pending = None
        self._save()
        return Applied(tuple(changed), tuple(refused))

    @staticmethod
    def _put(path: Path, data: bytes | None) -> None:
        if data is not None:
            atomic_write_bytes(path, data)
            return
        try:
            with suppress(FileNotFoundError):
                path.unlink()
        except OSError as error:
            if (friendly := explain_os_error(error, path)) is not None:
                raise friendly from error
            raise
