"""The run's diary: `events.jsonl`, one JSON object a line, only ever appended to.

Each object has `v` (1), `seq` (1, 2, 3 ... over all resumptions), `time` (seconds since 1970) and `type`, one of
`started phase step sample checkpoint warning finished stopped failed`.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = "events.jsonl"
TYPES = ("started", "phase", "step", "sample", "checkpoint", "warning", "finished", "stopped", "failed")
TERMINAL = ("finished", "stopped", "failed")


@dataclass(frozen=True)
class Tail:
    """New events and the byte offset to go on from."""

    events: tuple[dict[str, Any], ...]
    offset: int


def tail(path: Path, offset: int = 0) -> Tail:
    """Events from a byte offset on; an unfinished last line is left for the next call, a damaged line is passed over."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return Tail((), offset)
    whole = data[: data.rfind(b"\n") + 1]
    events = []
    for line in whole.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return Tail(tuple(events), offset + len(whole))


def read_events(run_dir: Path) -> tuple[dict[str, Any], ...]:
    """All events of a run so far."""
    return tail(run_dir / FILE).events


class EventWriter:
    """Appends events of one run; numbering goes on where an earlier process of the run ended."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FILE
        earlier = read_events(run_dir)
        self._seq = max((int(e.get("seq", 0)) for e in earlier), default=0)
        if self._path.is_file() and not self._path.read_bytes().endswith(b"\n") and self._path.stat().st_size:
            with self._path.open("ab") as file:  # the line a killed process did not finish
                file.write(b"\n")

    def write(self, type: str, **values: Any) -> dict[str, Any]:  # noqa: A002
        """Write one event and return it. Raises ValueError for a type the protocol does not have."""
        if type not in TYPES:
            raise ValueError(f"unknown event type {type!r}")
        self._seq += 1
        event = {"v": 1, "seq": self._seq, "time": time.time(), "type": type, **values}
        line = json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n"
        with self._path.open("ab") as file:
            file.write(line.encode("utf-8"))
        return event
