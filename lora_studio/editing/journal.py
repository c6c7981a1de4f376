"""The history of a dataset's captions: every bulk edit with the exact bytes before and after, undo and redo without limit.

`dataset/.lora_studio/history/`:
- `entries/000001.json`: one bulk edit, never changed once written: each file with the SHA-256 of its bytes before and after (null = no file);
- `bytes/<sha256>`: those bytes, as they lay on disk, whatever their encoding;
- `first/<name>`: each caption as it was before this program first touched it (`<name>.absent` when there was none);
- `state.json`: which entries are in force and which can be redone, and the change under way, if any.

A change is announced in state.json, with all its bytes already stored, before the first caption is touched; each caption is
then replaced whole. Whatever is interrupted, each caption is the old one or the new one, and `recover` finishes the change.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write_bytes, atomic_write_json, explain_os_error, read_json

FOLDER = Path(".lora_studio") / "history"


@dataclass(frozen=True)
class FileChange:
    """One file of an entry. before, after: SHA-256 of its bytes, None where there is no file."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Entry:
    """One bulk edit. kind: what did it; details: its options; when: seconds since 1970."""

    id: str
    kind: str
    when: float
    details: dict[str, Any]
    files: tuple[FileChange, ...]

    def to_dict(self) -> dict[str, Any]:
        files = [[f.name, f.before, f.after] for f in self.files]
        return {"id": self.id, "kind": self.kind, "when": self.when, "details": self.details, "files": files}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Entry:
        files = tuple(FileChange(*row) for row in data["files"])
        return cls(data["id"], data["kind"], data["when"], data["details"], files)


@dataclass(frozen=True)
class Applied:
    """What a change did to the folder. changed: names written or removed; refused: (name, why) of files left alone."""

    changed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"The caption {path} cannot be read: {error.strerror}.", "Check the file's permissions.") from error


class Journal:
    """The history of one dataset folder. Opening it finishes a change that was interrupted."""

    def __init__(self, dataset_dir: str | Path) -> None:
        self.dataset_dir = Path(dataset_dir)
        self.folder = self.dataset_dir / FOLDER
        self.done: list[str] = []
        self.undone: list[str] = []
        self.last = 0
        self.pending: dict[str, Any] | None = None
        if (path := self.folder / "state.json").exists():
            data = read_json(path)
            try:
                self.done, self.undone = [str(i) for i in data["done"]], [str(i) for i in data["undone"]]
                self.last, self.pending = int(data["last"]), data["pending"]
            except (KeyError, TypeError, ValueError) as error:
                raise UserError(f"{path} is damaged: {error}", "Move the history folder aside: captions do not need it.") from error

    # --- reading -------------------------------------------------------------------------------------------------

    def entry(self, identity: str) -> Entry:
        """One entry. Raises UserError when its file is missing or damaged."""
        path = self.folder / "entries" / f"{identity}.json"
        try:
            return Entry.from_dict(read_json(path))
        except (KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged: {error}", "Captions are as they are; this edit cannot be undone.") from error

    def _bytes(self, digest: str) -> bytes:
        path = self.folder / "bytes" / digest
        data = _read(path)
        if data is None or sha256(data) != digest:
            raise UserError(f"The stored caption {path} is missing or damaged.", "Nothing was changed. The first state of every caption is under history/first.")
        return data

    # --- writing -------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        atomic_write_json(
            self.folder / "state.json", {"version": 1, "last": self.last, "done": self.done, "undone": self.undone, "pending": self.pending}
        )

    def _store(self, data: bytes) -> str:
        digest = sha256(data)
        path = self.folder / "bytes" / digest
        if not path.exists():
            atomic_write_bytes(path, data)
        return digest

    def _keep_first(self, name: str, data: bytes | None) -> None:
        first = self.folder / "first"
        if (first / name).exists() or (first / f"{name}.absent").exists():
            return
        atomic_write_bytes(first / (name if data is not None else f"{name}.absent"), data or b"")

    def commit(self, kind: str, details: dict[str, Any], changes: Mapping[str, tuple[bytes | None, bytes | None]]) -> tuple[str, Applied]:
        """Record a change of captions {name: (before, after)} and carry it out; what could be redone no longer can.

        Returns the entry's id and what was done: a file that is no longer `before` is left alone and named.
        Raises UserError for a full disk or a lack of permission; the change is then undone or finished by `recover`.
        """
        self.recover()
        files = []
        for name, (before, after) in changes.items():
            self._keep_first(name, before)
            files.append(FileChange(name, None if before is None else self._store(before), None if after is None else self._store(after)))
        identity = f"{self.last + 1:06d}"
        entry = Entry(identity, kind, time.time(), details, tuple(files))
        atomic_write_json(self.folder / "entries" / f"{identity}.json", entry.to_dict())
        self.last += 1
        return identity, self._carry_out("do", entry)

    def undo(self) -> tuple[Entry, Applied] | None:
        """Take the latest entry back; None when there is none."""
        self.recover()
        if not self.done:
            return None
        entry = self.entry(self.done[-1])
        return entry, self._carry_out("undo", entry)

    def redo(self) -> tuple[Entry, Applied] | None:
        """Do the latest undone entry again; None when there is none."""
        self.recover()
        if not self.undone:
            return None
        entry = self.entry(self.undone[-1])
        return entry, self._carry_out("redo", entry)

    def recover(self) -> Applied | None:
        """Finish the change that was interrupted, if one was."""
        if self.pending is None:
            return None
        return self._finish(self.pending["action"], self.entry(self.pending["entry"]))

    def _carry_out(self, action: str, entry: Entry) -> Applied:
        # Everything needed is checked before anything is touched.
        for change in entry.files:
            for digest in (change.before, change.after):
                if digest is not None:
                    self._bytes(digest)
        self.pending = {"action": action, "entry": entry.id}
        try:
            self._save()
        except BaseException:
            self.pending = None
            if action == "do":
                self.last -= 1
            raise
        return self._finish(action, entry)

    def _finish(self, action: str, entry: Entry) -> Applied:
        changed, refused = [], []
        for change in entry.files:
            old, new = (change.after, change.before) if action == "undo" else (change.before, change.after)
            path = self.dataset_dir / change.name
            data = _read(path)
            now = None if data is None else sha256(data)
            if now == new:
                changed.append(change.name)
            elif now != old:
                refused.append((change.name, "it was changed outside this program since and is left as it is"))
            else:
                self._put(path, new)
                changed.append(change.name)
        if action == "undo":
            self.done.remove(entry.id)
            self.undone.append(entry.id)
        else:
            self.undone = [i for i in self.undone if i != entry.id] if action == "redo" else []
            self.done.append(entry.id)
        self.pending = None
        self._save()
        return Applied(tuple(changed), tuple(refused))

    def _put(self, path: Path, digest: str | None) -> None:
        if digest is not None:
            atomic_write_bytes(path, self._bytes(digest))
            return
        try:
            with suppress(FileNotFoundError):
                path.unlink()
        except OSError as error:
            if (friendly := explain_os_error(error, path)) is not None:
                raise friendly from error
            raise
