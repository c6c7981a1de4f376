"""Tells the pages what the trainings do: a thread reads what they append to their events, whoever started them and whoever looks."""

from __future__ import annotations

import threading
import traceback
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..patience import HeldError, within
from ..training.events import tail
from ..training.runs import Run, list_runs

if TYPE_CHECKING:
    from .context import Context

LOOK_EVERY = 0.7  # seconds
MANY = 100  # events at once after which a page does better to ask for the whole run


@dataclass
class _Tail:
    offset: int
    alive: bool


class RunWatch:
    """One for each Context, and gone with it. It looks at the projects that a page shows and at the runs that were started here."""

    def __init__(self, context: Context) -> None:
        self._context = weakref.ref(context)
        self._tails: dict[Path, _Tail] = {}
        self._known: set[str] = set()  # projects seen in the round before: what is new in them began meanwhile
        self._mine: dict[Path, tuple[str, bool]] = {}  # runs started here -> (project, whether the host's model was released for it)
        self._wake = threading.Event()
        self._lock = threading.Lock()
        threading.Thread(target=self._loop, name="lora-studio runs", daemon=True).start()

    def started(self, project: str, run: Run, released: bool) -> None:
        """A run was started here: it is followed to its end, and then the host gets its model back if it was ``released``."""
        with self._lock:
            self._mine[run.folder] = (project, released)
        self._wake.set()

    def elsewhere(self, project: str) -> list[str]:
        """Other projects with a training that was started here and still runs: two share one graphics card badly."""
        with self._lock:
            return sorted({other for other, _ in self._mine.values() if other != project})

    def _loop(self) -> None:
        while (context := self._context()) is not None:
            try:
                self._round(context)
            except Exception:  # a folder that vanishes under our eyes must not end the watching
                traceback.print_exc()
            del context
            self._wake.wait(LOOK_EVERY)
            self._wake.clear()

    def _round(self, context: Context) -> None:
        with self._lock:
            mine = {project for project, _ in self._mine.values()}
        wanted = (context.hub.watched() - {""}) | mine
        seen: set[Path] = set()
        for project in wanted:
            try:
                runs = list_runs(context.project(project).runs_dir)
            except UserError:
                continue
            for run in runs:
                seen.add(run.folder)
                self._look(context, project, run)
        self._known = wanted
        self._tails = {folder: known for folder, known in self._tails.items() if folder in seen}

    def _look(self, context: Context, project: str, run: Run) -> None:
        try:
            size = run.events_path.stat().st_size
        except OSError:
            size = 0
        known = self._tails.get(run.folder)
        if known is None:
            # What was written before somebody looked, the page reads by itself.
            known = self._tails[run.folder] = _Tail(0 if project in self._known or run.folder in self._mine else size, run.alive())
        alive = run.alive() if known.alive or size > known.offset else False  # asked before reading: its last words are then read too
        events: list[Any] = []
        if size > known.offset:
            with suppress(HeldError), within(0):  # read in a later round: the other runs do not wait for it
                events, known.offset = tail(run.events_path, known.offset)
        ended, known.alive = known.alive and not alive, alive
        if events or ended:
            told = [e.to_dict() for e in events] if len(events) <= MANY else []
            context.hub.publish("run", project, {"run": run.folder.name, "events": told, "more": len(events) > MANY, "ended": ended})
        if any(e.type == "checkpoint" for e in events):
            context.host.refresh_loras()
            context.hub.publish("loras", project, {})
        if not alive and run.folder in self._mine and known.offset >= size:
            self._ended(context, run)

    def _ended(self, context: Context, run: Run) -> None:
        with self._lock:
            project, released = self._mine.pop(run.folder)
            others = any(more for _, more in self._mine.values())
        if released and not others:
            change = context.host.restore_model()
            context.hub.publish("run", project, {"run": run.folder.name, "events": [], "more": False, "ended": True, "message": change.message})
