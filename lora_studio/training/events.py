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
from ..reading import finite, parse_line, read_bytes

FILE = "events.jsonl"
TYPES = ("started", "phase", "step", "sample", "checkpoint", "warning", "finished", "stopped", "failed")
#: what others calculate with or look for on disk
WHOLE = ("step", "total", "epoch", "epochs", "index", "done", "seed")
NUMBERS = ("loss", "loss_average", "lr", "lr_text", "steps_per_second", "eta", "vram")
TEXTS = ("name", "path", "lora_path", "prompt", "message", "hint", "device", "precision")
KINDS: dict[str, tuple[type, ...]] = {**dict.fromkeys(WHOLE, (int,)), **dict.fromkeys(NUMBERS, (int, float)), **dict.fromkeys(TEXTS, (str,))}
LARGEST = 2**30  # bytes: millions of steps
TERMINAL = ("finished", "stopped", "failed")


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
        """Raises KeyError, TypeError or ValueError for what is none. A value of another kind than everybody counts on is left out."""
        rest = {k: v for k, v in usable(values).items() if k not in ("v", "seq", "time", "type")}
        return cls(int(values["seq"]), float(values["time"]), str(values["type"]), rest)


def usable(values: dict[str, Any]) -> dict[str, Any]:
    """An event's values without those of another kind than everybody counts on."""

    def fits(value: Any, kinds: tuple[type, ...] | None) -> bool:
        return kinds is None or value is None or (isinstance(value, kinds) and not isinstance(value, bool))

    return {k: v for k, v in values.items() if fits(v, KINDS.get(k))}


class EventWriter:
    """Appends events to a run's file; after a crash it goes on with the next number."""

    def __init__(self, run_dir: Path) -> None:
        self.path = Path(run_dir) / FILE
        self._seq = 0
        self._cut = False
        for event in read_events(self.path):
            self._seq = event.seq
        self._mend()

    def _mend(self) -> None:
        """End a line that a crash left unfinished, so that the next one stands alone."""
        if self.path.is_file() and self.path.stat().st_size:
            with self.path.open("rb+") as f:
                f.seek(-1, os.SEEK_END)
                if f.read(1) != b"\n":
                    f.write(b"\n")

    def write(self, kind: str, /, **data: Any) -> RunEvent:
        """Append one event. Lost silently when the disk is full: a log line must not end a training."""
        if kind not in TYPES:
            raise ValueError(f"unknown event type {kind}")
        self._seq += 1
        event = RunEvent(self._seq, round(time.time(), 3), kind, data)
        line = json.dumps(finite(event.to_dict()), ensure_ascii=False, allow_nan=False) + "\n"
        try:
            with self.path.open("ab") as f:
                # what a full disk took of a line before must not spoil this one
                f.write(("\n" * self._cut + line).encode("utf-8"))
                f.flush()
                if kind in TERMINAL or kind == "checkpoint":
                    os.fsync(f.fileno())
            self._cut = False
        except OSError:
            self._cut = True
        return event


def read_events(path: Path) -> list[RunEvent]:
    """All whole events of a file; an absent file has none."""
    return list(tail(path, 0)[0])


def tail(path: Path, offset: int) -> tuple[list[RunEvent], int]:
    """Whole events from byte ``offset`` on, and the offset to go on from. Broken lines are skipped; what is no file holds none."""
    try:
        data = read_bytes(path, LARGEST, offset)
    except UserError:
        return [], offset
    end = data.rfind(b"\n") + 1
    return list(_parse(data[:end])), offset + end


def _parse(data: bytes) -> Iterator[RunEvent]:
    for line in data.split(b"\n"):
        found = parse_line(line) if line.strip() else None
        if found is not None:
            with suppress(ValueError, KeyError, TypeError):
                yield RunEvent.from_dict(found)
