"""Whose a history of captions is: a mark that nobody makes without this user's key.

Undo, redo and "first state" write what a history holds, so only one's own is followed. A folder that came from elsewhere brings a
history that somebody else wrote; it is kept aside (see `editing.journal.opened`), and one's own begins.

The key is a random number in this user's settings folder; it never leaves the machine. Each history has a random id, and the mark is
the id signed with the key, kept beside it in `state.json`: it says nothing to anybody else, and no two histories of a person can be
told to belong together. So a folder that its owner moves, copies, renames or brings back from a backup keeps its history, wherever it
lies. Another user or machine that takes a history over adds a mark of its own and takes away none.

There were histories before there was a key. One whose `state.json` has lain here since before the key was made (by the time that the
file system keeps of itself, which no archive sets) is this user's too; so are all of them where there is no key that lasts, as in a
container made anew. That is why the key is made when the program is first started, not when it first looks at a folder.
What no mark can tell: a folder that was here before that first start, and one given away, changed by others and brought back. What such
a history says is checked like all others: it can change captions of its own folder, and nothing else.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from .errors import UserError
from .files import atomic_write_bytes, locked
from .reading import parse_json
from .untrusted import RefusedError, content, mapping, number, text

FILE = "history_key.json"
MOST = 16  # marks of one history


@dataclass(frozen=True)
class Key:
    """secret: bytes; made: seconds since 1970."""

    secret: bytes
    made: float

    def mark(self, identity: str) -> str:
        """The mark of the history of this id."""
        return hmac.new(self.secret, identity.encode("utf-8"), hashlib.sha256).hexdigest()[:32]


def settings_dir() -> Path:
    """Where this user's programs keep their settings: LORA_STUDIO_SETTINGS, else what the system is used to. Raises RuntimeError without a home."""
    if named := os.environ.get("LORA_STUDIO_SETTINGS"):
        return Path(named)
    base = os.environ.get("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "lora_studio"


def key() -> Key:
    """This user's key, made when it is first asked for. Where it cannot be kept, one for as long as this process lives."""
    try:
        return _key(settings_dir() / FILE)
    except RuntimeError:
        return _key(None)


@lru_cache(maxsize=8)
def _key(path: Path | None) -> Key:
    fresh = Key(secrets.token_bytes(32), time.time())
    if path is None:
        return fresh
    try:
        with locked(path.with_suffix(".lock")):
            if (found := _read(path)) is not None:
                return found
            atomic_write_bytes(path, json.dumps({"key": fresh.secret.hex(), "made": fresh.made}).encode("ascii"))
            os.chmod(path, 0o600)
    except (OSError, UserError):
        pass
    return fresh


def _read(path: Path) -> Key | None:
    try:
        found = mapping(parse_json(content(path, FILE, 10_000)), FILE)
        secret = bytes.fromhex(text(found.get("key"), FILE))
        return Key(secret, number(found.get("made"), FILE)) if len(secret) == 32 else None
    except (FileNotFoundError, ValueError, RefusedError):
        return None  # a damaged one is made anew


def new_id() -> str:
    """A random id for a history."""
    return secrets.token_hex(16)


def is_mine(identity: str, marks: Iterable[str], state_file: Path) -> bool:
    """Whether the history of this id and these marks, in this file, was written by this user, or lay here before there was a key."""
    own = key()
    if identity and own.mark(identity) in marks:
        return True
    try:
        found = os.stat(state_file)
    except OSError:
        return False
    return getattr(found, "st_birthtime", found.st_ctime) < own.made if os.name == "nt" else found.st_ctime < own.made


def marked(identity: str, marks: Iterable[str]) -> tuple[str, ...]:
    """The marks with this user's own among them."""
    own = key().mark(identity)
    return tuple([*(mark for mark in marks if mark != own), own][-MOST:])
