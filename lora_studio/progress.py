"""How long steps say how far they are: a function called with done, total and a message."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import TextIO

Progress = Callable[[int, int, str], None]
"""Called as `progress(done, total, message)`; `total` is 0 while it is not known."""


def silent(done: int, total: int, message: str) -> None:
    """A Progress that says nothing."""


def duration(seconds: float) -> str:
    """Seconds as people say them: `8s`, `3m05s`, `2h07m`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class ConsoleProgress:
    """A Progress that prints rate and time left: one moving line on a terminal, a line every few seconds elsewhere.

    label: what is counted, e.g. "crop". clock: seconds, for tests.
    """

    def __init__(self, label: str, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.label = label
        self.stream = sys.stderr if stream is None else stream
        self.clock = clock
        self.moving = bool(getattr(self.stream, "isatty", lambda: False)())
        self.started = clock()
        self.printed = float("-inf")
        self.width = 0
        self.stage = (0, 0)
        self.before = 0

    def line(self, done: int, total: int, message: str) -> str:
        """The text for this state, without line end."""
        elapsed = max(self.clock() - self.started, 1e-9)
        parts = [f"{self.label}: {done}/{total}" if total else f"{self.label}: {done}"]
        if done > self.before:
            rate = (done - self.before) / elapsed
            parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f}s each")
            if total > done:
                parts.append(f"{duration((total - done) / rate)} left")
            elif total:
                parts.append(f"took {duration(elapsed)}")
        if message:
            parts.append(message)
        return "  ".join(parts)

    def __call__(self, done: int, total: int, message: str) -> None:
        now = self.clock()
        if self.stage != (0, 0) and (total != self.stage[1] or done < self.stage[0]):
            # Another stage begins: its rate is its own.
            self.started, self.before = now, done
        self.stage = (done, total)
        last = total > 0 and done >= total
        if not last and now - self.printed < (0.1 if self.moving else 5.0):
            return
        self.printed = now
        text = self.line(done, total, message)
        if self.moving:
            text = text[:119]
            end = "\n" if last else ""
            self._write("\r" + text.ljust(self.width) + end)
            self.width = len(text)
        else:
            self._write(text + "\n")

    def _write(self, text: str) -> None:
        # A Windows console may not know every character of a file's name.
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(text.encode(encoding, "replace").decode(encoding))
        self.stream.flush()


def console(label: str, stream: TextIO | None = None) -> Progress:
    """A Progress for the terminal (standard error unless told)."""
    return ConsoleProgress(label, stream)


class JsonProgress:
    """A Progress for the program that started us: ``{"done": …, "total": …, "message": …}``, a line each, at most ten a second."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.told = float("-inf")
        self.stage = (0, -1)

    def __call__(self, done: int, total: int, message: str) -> None:
        now = time.monotonic()
        another = total != self.stage[1] or done < self.stage[0]
        self.stage = (done, total)
        if not another and now - self.told < 0.1 and not (total and done >= total):
            return
        self.told = now
        self.stream.write(json.dumps({"done": done, "total": total, "message": message}) + "\n")
        self.stream.flush()
