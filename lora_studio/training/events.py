"""The trainer's word to everyone else: an append-only ``events.jsonl``, one object a line.

A line is ``{"v": 1, "seq": n, "time": seconds, "type": …, …}``. A writer may die at
any byte; readers go by whole lines and ignore an unfinished last one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..patience import opened, within
from ..untrusted import RefusedError, number, text, whole

FILE = "events.jsonl"
TYPES = ("started", "phase", "step", "sample", "checkpoint", "warning", "finished", "stopped", "failed")
TERMINAL = ("finished", "stopped", "failed")
#: seconds that writing the end of a run waits for a program that holds the file
LAST_WORD = 60.0
#: what is read as a number, or as a text, wherever an event carries it; no number is larger than MOST
NUMBERS = frozenset({"step", "total", "epoch", "epochs", "done", "loss", "loss_average", "lr", "lr_text", "steps_per_second", "eta", "index", "seed"})
TEXTS = frozenset({"path", "lora_path", "message", "hint", "name", "prompt", "machines_command"})
MOST = 2**63


@dataclass(frozen=True)
class RunEvent:
    """One line. ``time`` is seconds since 1970; ``data`` is what the type carries."""

    seq: int
    time: float
    type: str
    data: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"v": 1, "seq": self.seq, "time": self.time, "type": self.type, **self.data}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunEvent:
        """Raises RefusedError, KeyError or TypeError for what is no event: a run may come from anywhere."""
        rest = {k: v for k, v in values.items() if k not in ("v", "seq", "time", "type")}
        for key in NUMBERS & rest.keys():
            if rest[key] is not None:
                number(rest[key], FILE, -MOST, MOST)
        for key in TEXTS & rest.keys():
            text(rest[key], FILE)
        return cls(whole(values["seq"], FILE, 0, MOST), number(values["time"], FILE, 0, MOST), text(values["type"], FILE, 100), rest)


class EventWriter:
    """Appends events to a run's file; after a crash it goes on with the next number.

    What a full disk or another program does not let through is kept and written with the next event.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = Path(run_dir) / FILE
        self._seq = 0
        for event in read_events(self.path):
            self._seq = event.seq
        self._unwritten = b"\n" if self._is_cut() else b""

    def _is_cut(self) -> bool:
        """Whether a crash left the last line unfinished: the next one has to stand alone."""
        if not self.path.is_file() or not self.path.stat().st_size:
            return False
        with opened(self.path, "rb") as f:
            f.seek(-1, os.SEEK_END)
            return bool(f.read(1) != b"\n")

    def write(self, kind: str, /, **data: Any) -> RunEvent:
        """Append one event. One that cannot be written now does not end a training: only the last word of a run is waited for."""
        if kind not in TYPES:
            raise ValueError(f"unknown event type {kind}")
        self._seq += 1
        event = RunEvent(self._seq, round(time.time(), 3), kind, data)
        line = json.dumps(event.to_dict(), ensure_ascii=False, allow_nan=True) + "\n"
        self._unwritten += line.encode("utf-8")
        # unbuffered: what has reached the file is known to the byte, and is never written twice
        with suppress(OSError), within(LAST_WORD if kind in TERMINAL else 0), opened(self.path, "ab", buffering=0) as f:
            while self._unwritten:
                self._unwritten = self._unwritten[f.write(self._unwritten) :]
            if kind in TERMINAL or kind == "checkpoint":
                os.fsync(f.fileno())
        return event


def read_events(path: Path) -> list[RunEvent]:
    """All whole events of a file; an absent file has none."""
    return list(tail(path, 0)[0])


def tail(path: Path, offset: int) -> tuple[list[RunEvent], int]:
    """Whole events from byte ``offset`` on, and the offset to go on from. Broken lines are skipped."""
    try:
        with opened(path, "rb") as f:
            f.seek(offset)
            data = f.read()
    except FileNotFoundError:
        return [], offset
    end = data.rfind(b"\n") + 1
    return list(_parse(data[:end])), offset + end


def _parse(data: bytes) -> Iterator[RunEvent]:
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            yield RunEvent.from_dict(json.loads(line.decode("utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RefusedError):
            continue
