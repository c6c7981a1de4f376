"""Regular expressions that people write, matched in processes of their own that are ended when it takes too long.

While `re` matches, the whole Python process stands still, and a short pattern can match for years (`(.|a)+!`). So none is ever
compiled or matched in the process that serves the page. The engine stays Python's own: a pattern means what it always meant.
What needs no such pattern (text as it is, * and ?) is matched here, in time that grows with the text alone.
"""

from __future__ import annotations

import atexit
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..processes import hidden

LONGEST = 1000  # characters of a pattern
MOST_TEXT = 32_000_000  # characters that one pattern is matched against
LIMIT = 0.8  # seconds that the patterns of one filter may take
AT_ONCE, WAITING = 3, 6  # processes; requests that may wait for one of them, so that the server's threads are never all waiting
WAIT = 1.0  # seconds that they wait
GRACE = 10.0  # seconds after which a process that does not even end itself is ended
TOO_LONG = "This regular expression takes too long."
SIMPLER = (
    "Write it so that a text fits in one way only: no repeat inside a repeat as in (a+)+, no alternatives for the same text as in (.|a)+, "
    "not several .* in a row. For anything in between, * without slashes is quick: tag:*a*b*."
)
CHILD = Path(__file__).with_name("matching_child.py")


class TooLongError(UserError):
    """Matching took longer than it may."""

    def __init__(self) -> None:
        super().__init__(TOO_LONG, SIMPLER)


@dataclass(frozen=True)
class Pattern:
    """A regular expression as `re` understands it. All methods raise UserError for one that is none, or that takes too long."""

    find: str
    match_case: bool = False

    def check(self, new: str | None = None) -> None:
        """Raise UserError for a pattern or a replacement that cannot be used."""
        self._ask([], new=new)

    def matching(self, texts: Iterable[str], seconds: float = LIMIT) -> set[str]:
        """The texts in which it is found."""
        given = list(texts)
        return {given[number] for number in self._ask(given, seconds=seconds)}

    def replaced(self, texts: Iterable[str], new: str, whole: bool, seconds: float) -> dict[str, tuple[str, int]]:
        """{text: (the text after the replacement, matches)} of the texts in which it is found, or which it fits as a `whole`."""
        given = list(texts)
        return {given[number]: (after, count) for number, after, count in self._ask(given, new, whole, seconds)}

    def _ask(self, texts: Sequence[str], new: str | None = None, whole: bool = False, seconds: float = LIMIT) -> list[Any]:
        if len(self.find) > LONGEST or len(new or "") > LONGEST:
            raise UserError(f"A regular expression has at most {LONGEST} characters.", "Look for less at once.")
        if sum(map(len, texts)) > MOST_TEXT:
            raise UserError("The captions are too long for a regular expression.", "Choose fewer pictures first, by other filters.")
        flags = 0 if self.match_case else int(re.IGNORECASE)
        request = {"find": self.find, "flags": flags, "whole": whole, "new": new, "texts": texts, "seconds": max(0.01, seconds)}
        found = _helpers.ask(request)
        if found.get("wrong") == "find":
            hint = "To look for the text as it is, untick the box for regular expressions."
            raise UserError(f"{self.find!r} is not a regular expression: {found['why']}.", hint)
        if found.get("wrong") == "new":
            raise UserError(f"The replacement {new!r} cannot be used: {found['why']}.", "Groups are written $1, $2, …")
        if "wrong" in found:
            raise UserError("The regular expression gives too much text.", "Replace less at once.")
        answers: list[Any] = found["found"]
        return answers


class Helpers:
    """The processes that match, a few at most; each ends when nothing was asked of it for a minute, or when this process is gone."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._queue = threading.BoundedSemaphore(AT_ONCE + WAITING)
        self._idle: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer of a process. Raises UserError when too much is asked at once, or it takes too long."""
        busy = UserError("Many regular expressions are being matched at once.", "Wait a moment, then do it again.")
        if not self._queue.acquire(blocking=False):
            raise busy
        try:
            if not self._places.acquire(timeout=WAIT):
                raise busy
            try:
                return self._answer(json.dumps(request).encode("ascii") + b"\n", float(request["seconds"]))
            finally:
                self._places.release()
        finally:
            self._queue.release()

    def _answer(self, line: bytes, seconds: float) -> dict[str, Any]:
        for _ in range(AT_ONCE + 1):
            with self._lock:
                child = self._idle.pop() if self._idle else None
            fresh = child is None
            child = child or _start()
            began = time.monotonic()
            found = _exchange(child, line, seconds)
            if found is not None:
                with self._lock:
                    self._idle.append(child)
                return found
            _end(child)
            if time.monotonic() - began >= seconds:
                raise TooLongError
            if fresh:
                break
            # else it had ended since it was asked last
        raise UserError("The process that matches regular expressions ended without an answer.", "Use a simpler one, or look for plain text.")

    def close(self) -> None:
        """End those that wait for work."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            _end(child)


def _start() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-I", "-S", "-X", "utf8", str(CHILD)]
    try:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, **hidden())
    except OSError as error:
        hint = "A virus scanner may have stopped it. Look for plain text, or a pattern with *, meanwhile."
        raise UserError(f"No process could be started to match the regular expression: {error.strerror}.", hint) from error


def _exchange(child: subprocess.Popen[bytes], line: bytes, seconds: float) -> dict[str, Any] | None:
    """The child's answer; None when it ended instead."""
    assert child.stdin is not None and child.stdout is not None
    guard = threading.Timer(seconds + GRACE, child.kill)
    guard.daemon = True
    guard.start()
    try:
        child.stdin.write(line)
        child.stdin.flush()
        found = json.loads(child.stdout.readline())
    except (OSError, ValueError):
        return None
    finally:
        guard.cancel()
    return found if isinstance(found, dict) else None


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    for stream in (child.stdin, child.stdout):
        if stream is not None:
            with suppress(OSError):  # what it was to read is lost with it
                stream.close()
    child.wait()


_helpers = Helpers()
atexit.register(_helpers.close)


# -- without regular expressions -----------------------------------------------------


@lru_cache(maxsize=4096)
def _folded(char: str) -> str:
    return next((one for one in (char.casefold(), char.lower()) if len(one) == 1), char)


def fold(text: str) -> str:
    """The text with capitals and small letters made alike; as long as it was, character for character."""
    return text.lower() if text.isascii() else "".join(map(_folded, text))


def replaced_plain(text: str, find: str, new: str, match_case: bool, longest: int = MOST_TEXT) -> tuple[str, int]:
    """The text with `new` for each `find`, and how many there were. Raises UserError where it would become longer than `longest`."""
    where, what = (text, find) if match_case else (fold(text), fold(find))
    count = where.count(what)
    if count and len(text) + count * (len(new) - len(find)) > longest:
        raise UserError("The replacement makes a caption too long.", "Replace less at once.")
    parts, after = [], 0
    for _ in range(count):
        at = where.index(what, after)
        parts += [text[after:at], new]
        after = at + len(what)
    return "".join([*parts, text[after:]]), count


WILD = re.compile(r"(?<!\\)[*?]")


def unescaped(text: str) -> str:
    """Text in which \\* and \\? stand for the signs themselves."""
    return re.sub(r"\\([*?])", r"\1", text)


class Wildcards:
    """A pattern with * for anything and ? for one character, fitted to whole texts; capitals and small letters are alike.

    Nothing is ever tried again: what stands between two * is taken where it is first found.
    """

    def __init__(self, pattern: str) -> None:
        if len(pattern) > LONGEST:
            raise UserError(f"A pattern with ? and * has at most {LONGEST} characters.", "Look for less at once.")
        parts = [[unescaped(text) for text in re.split(r"(?<!\\)\?", part)] for part in re.split(r"(?<!\\)\*", pattern)]
        pieces = [(re.compile(".".join(re.escape(fold(t)) for t in texts), re.DOTALL), sum(map(len, texts)) + len(texts) - 1) for texts in parts]
        self._first, *between = pieces
        self._last = between.pop() if between else None
        self._between = [piece for piece in between if piece[1]]

    def fits(self, text: str) -> bool:
        text = fold(text)
        first, at = self._first
        if self._last is None:
            return first.fullmatch(text) is not None
        if first.match(text) is None:
            return False
        for piece, length in self._between:
            found = piece.search(text, at)
            if found is None:
                return False
            at = found.start() + length
        last, length = self._last
        return len(text) - length >= at and last.fullmatch(text, len(text) - length) is not None
