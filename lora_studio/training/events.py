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

from ..errors import UserError
from ..patience import HeldError, opened, within
from ..reading import finite, parse_lines, read_bytes
from ..untrusted import number, text, whole

FILE = "events.jsonl"
TYPES = ("started", "phase", "step", "sample", "checkpoint", "warning", "finished", "stopped", "failed")
#: what others calculate with, look for on disk or show, wherever an event carries it; no number is larger than MOST
WHOLE = frozenset({"step", "total", "epoch", "epochs", "index", "done", "seed"})
NUMBERS = frozenset({"loss", "loss_average", "lr", "lr_text", "steps_per_second", "eta", "vram"})
TEXTS = frozenset({"path", "lora_path", "message", "hint", "name", "prompt", "device", "card", "precision", "machines_command"})
MOST = 2**63
LARGEST = 2**28  # bytes: a million steps
TERMINAL = ("finished", "stopped", "failed")
#: seconds that writing the end of a run waits for a program that holds the file
LAST_WORD = 60.0


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
        """Raises UserError or KeyError for what is no event, and for one that nobody could calculate with or show: a run may come from anywhere."""
        rest = {k: v for k, v in values.items() if k not in ("v", "seq", "time", "type")}
        for key, value in rest.items():
            if value is None:
                continue
            if key in WHOLE:
                whole(value, FILE, -MOST, MOST)
            elif key in NUMBERS:
                number(value, FILE, -MOST, MOST)
            elif key in TEXTS:
                text(value, FILE)
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
        line = json.dumps(finite(event.to_dict()), ensure_ascii=False, allow_nan=False) + "\n"
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
    """Whole events from byte ``offset`` on, and the offset to go on from. Broken lines are skipped; what is no file holds none."""
    try:
        data = read_bytes(path, LARGEST, offset)
    except HeldError:
        raise
    except UserError:
        return [], offset
    end = data.rfind(b"\n") + 1
    return list(parse(data[:end])), offset + end


def parse(data: bytes) -> Iterator[RunEvent]:
    """The whole events of a text; broken lines, and a last one without an end, are skipped."""
    for found in parse_lines(data):
        with suppress(UserError, KeyError):
            yield RunEvent.from_dict(found)
