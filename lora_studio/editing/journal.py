"""The history of a dataset's captions: every bulk edit with the exact bytes before and after, undo and redo without limit.

What lies in it is input (see `records`): names are those of captions of this folder, and nothing is written through a link.
A history that this user did not write (see `owner`), or that nobody can read, is as good as none: nothing of it is listed or carried out,
and before the first change of a caption here it is put aside as `history_from_elsewhere`, whole, beside the new one. `adopt` makes one
from elsewhere this user's own instead.

`dataset/.lora_studio/history/`:
- `entries/000001.jsonl`: one edit, never changed once in force. Line 1 says what it was, line 2 holds each changed
  file's bytes before and after (base64, so any encoding survives; null = no file);
- `first/<name>`: each caption as it was before this program first touched it (`<name>.absent`, empty, when there was none);
- `state.json`: which entries are in force and which can be redone, the change under way, if any, and whose history it is;
- `spare/`: replaced files that the next bulk edit writes over (see `files.Rewriter`);
- `lock`: held while one of two programs changes captions.

A change is announced in state.json, with all its bytes already on the disk itself, before the first caption is touched;
each caption is then replaced whole. Whatever interrupts it, each caption is the old one or the new one, and `recover`
finishes the change. The captions themselves are left to the system to write out: a power cut may take the last seconds of
them, and their bytes are in the entry.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .. import owner, patience
from ..dataset.captions import LARGEST, CaptionError, caption_bytes
from ..errors import UserError
from ..files import Rewriter, atomic_write_bytes, atomic_write_text, explain_os_error, locked
from ..patience import unlink
from ..project import STUDIO, in_place
from ..untrusted import RefusedError, own_folder
from .records import HISTORY, LARGEST_ENTRY, Entry, FileChange, State, caption_name, entry_id, pack, read_changes, read_entry, read_state

FOLDER = Path(STUDIO) / "history"
ASIDE = "history_from_elsewhere"
PARTS = ("entries", "first", "spare")
NOTES = (
    "The history of edits that came with this folder was written by somebody else: it is now in dataset/.lora_studio/history_from_elsewhere, and "
    "yours begins here.",
    "The history of edits of this folder cannot be read: it is now in dataset/.lora_studio/history_from_elsewhere, and a new one begins here.",
)
FROM_ELSEWHERE, UNREADABLE = NOTES
UNREADABLE_NOW = "The history of edits of this folder cannot be read."
CHANGED_SINCE = "it was changed outside this program since, and is left as it is"
MANY = 20  # captions from which on a change uses spare files

Stamp = tuple[int, int]
"""A file's time of change in nanoseconds and its size: the same stamp, the same bytes."""
Peek = Callable[[str], "tuple[bytes | None, Stamp] | None"]


@dataclass(frozen=True)
class Applied:
    """What a change did to the folder. changed: names written or removed; refused: (name, why) of files left alone.

    written: each changed file's bytes and stamp now (None: there is no file).
    """

    changed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    written: dict[str, tuple[bytes | None, Stamp | None]] = field(default_factory=dict)


@contextmanager
def opened(dataset_dir: str | Path) -> Iterator[Journal]:
    """The journal of a folder for changing its captions: no other thread or program does until the block ends,
    and what was interrupted is finished first. A history from elsewhere is put aside; `note` then says so.

    Raises RefusedError where the folder is a link out of its project, or the history one out of the folder.
    """
    folder = in_place(Path(dataset_dir) / FOLDER)
    with locked(folder / "lock"):
        journal = Journal(dataset_dir)
        if why := journal.foreign:
            _put_aside(folder)
            journal = Journal(dataset_dir, journal.state)
            journal.note = why
        for part in PARTS:
            own_folder(folder, folder / part, HISTORY)
        journal.recover()
        yield journal


def adopt(dataset_dir: str | Path) -> bool:
    """Make a history from elsewhere this user's own; False when there is none. Its owner says so: it is then followed like any other.

    Raises UserError for one that cannot be read.
    """
    folder = in_place(Path(dataset_dir) / FOLDER)
    with locked(folder / "lock"):
        journal = Journal(dataset_dir)
        if journal.foreign:
            if journal.foreign == UNREADABLE:
                raise UserError(UNREADABLE_NOW, "Move the history folder aside: the captions do not need it.")
            state = journal.state
            journal.foreign, journal.done, journal.undone, journal.pending = "", list(state.done), list(state.undone), state.pending
            journal.last = state.last
            journal._save()
            return True
        return False


def _put_aside(folder: Path) -> None:
    """Move a history out of the way, its state last: broken off, it goes on with the rest."""
    number, aside = 1, folder.with_name(ASIDE)
    while os.path.lexists(aside):
        number, aside = number + 1, folder.with_name(f"{ASIDE}_{number + 1}")
    aside.mkdir()
    for name in (*PARTS, "state.json"):
        if os.path.lexists(folder / name):
            patience.rename(folder / name, aside / name)


class Journal:
    """The history of one dataset folder. For changing captions get it from `opened`; for reading alone make one."""

    def __init__(self, dataset_dir: str | Path, before: State | None = None) -> None:
        """before: the history from elsewhere that this one follows; its marks stay, so that who wrote that one knows this one again."""
        self.dataset_dir = Path(dataset_dir)
        self.folder = self.dataset_dir / FOLDER
        # What somebody has read already: (bytes, stamp) of a caption by its name. With this stamp the file need not be read again.
        self.peek: Peek = lambda name: None
        self.note = ""
        self.foreign = ""  # why it is not followed
        self.state = before or State()
        state = State()
        path = self.folder / "state.json"
        if os.path.lexists(path):
            try:
                state = self.state = read_state(path)
                self.foreign = "" if owner.is_mine(state.id, state.owners, path) else FROM_ELSEWHERE
            except (RefusedError, KeyError, TypeError, ValueError):
                self.foreign = UNREADABLE
            except OSError as error:
                raise UserError(f"{path} cannot be read: {error.strerror}.", "Check the file's permissions.") from error
            state = State() if self.foreign else state
        self.done, self.undone = list(state.done), list(state.undone)
        self.last, self.pending = state.last, state.pending

    # --- reading -------------------------------------------------------------------------------------------------

    def _path(self, identity: str) -> Path:
        return self.folder / "entries" / f"{entry_id(identity)}.jsonl"

    def entry(self, identity: str) -> Entry:
        """What an entry was, without its bytes. Raises UserError when its file is missing or damaged."""
        path = self._path(identity)
        try:
            return read_entry(path)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise self._damaged(path, error) from error

    def changes(self, identity: str) -> tuple[FileChange, ...]:
        """The bytes of an entry. Raises UserError when its file is missing or damaged, or names anything but captions of this folder."""
        path = self._path(identity)
        try:
            return read_changes(path, self.dataset_dir)
        except (OSError, ValueError, TypeError, IndexError) as error:
            raise self._damaged(path, error) from error

    def _damaged(self, path: Path, error: Exception) -> UserError:
        return UserError(
            f"The history entry {path} is missing or damaged: {error}",
            f"The captions are as they are. Their first states are in {self.folder / 'first'}; move the history folder aside to start a new one.",
        )

    # --- writing -------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        identity = self.state.id or owner.new_id()
        self.state = replace(self.state, id=identity, owners=owner.marked(identity, self.state.owners))
        state = {"version": 1, "last": self.last, "done": self.done, "undone": self.undone, "pending": self.pending}
        state |= {"id": identity, "owners": self.state.owners}
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
        for name, (_, after) in changes.items():
            if after is not None and len(after) > LARGEST:
                raise CaptionError(self.dataset_dir / name, f"it would become larger than {LARGEST // 2**20} MB, which no caption is.", writing=True)
        rows = [[name, pack(first.get(name, before)), pack(after)] for name, (before, after) in changes.items()]
        data = (json.dumps(header, ensure_ascii=False) + "\n" + json.dumps(rows, ensure_ascii=False) + "\n").encode("utf-8")
        if len(data) > LARGEST_ENTRY:
            raise UserError("This edit changes more than the history can hold of one edit.", "Edit some of the pictures at a time: use a filter.")
        atomic_write_bytes(self._path(identity), data, sync=True)
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
        return sorted({name.removesuffix(".absent") for name in self._firsts()})

    def first_states(self) -> dict[str, bytes | None]:
        """Each caption that this program ever touched as it was before; None where there was none. Raises UserError for what is no caption."""
        found: dict[str, bytes | None] = {}
        for name in self._firsts():
            caption = caption_name(name.removesuffix(".absent"), self.dataset_dir)
            found[caption] = None if name.endswith(".absent") else caption_bytes(self.folder / "first" / name)
        return found

    def _firsts(self) -> list[str]:
        folder = own_folder(self.folder, self.folder / "first", HISTORY)
        return sorted(entry.name for entry in os.scandir(folder)) if folder.is_dir() and not self.foreign else []

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
            if why := writer.put(change.name, (old, between.get(change.name, old)), new):
                refused.append((change.name, why))
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
                unlink(self._path(merged))
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

    def put(self, name: str, old: tuple[bytes | None, ...], new: bytes | None) -> str:
        """Make `new` the content of a caption that is one of `old`; why one that is neither is left alone, "" for what was done."""
        path = os.path.join(self.dataset_dir, name)
        known = self.peek(name)
        try:
            now = known[0] if known is not None and _stamp(path) == known[1] else caption_bytes(path)
        except CaptionError as error:
            return error.reason
        if now != new and now not in old:
            return CHANGED_SINCE
        stamp = _stamp(path) if now == new else self._replace(name, path, now, new)
        self.written[name] = (new, stamp)
        return ""

    def _replace(self, name: str, path: str, now: bytes | None, new: bytes | None) -> Stamp | None:
        self._keep_first(name, path, now)
        if new is None:
            try:
                unlink(path, missing_ok=True)
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
