"""What the page shows of runs: a list, one run in detail with its loss curve, and moving one to the trash."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..moving import move_folder
from ..reading import entries, opened
from ..untrusted import is_inside, own_folder
from .events import FILE, RunEvent, read_events
from .runs import PROCESS, Run, RunStatus, list_runs, summarize

POINTS = 2000
LOG_BYTES = 20_000
TRASH = Path(".trash") / "runs"


def list_view(runs_dir: Path) -> list[dict[str, Any]]:
    """Every run of a project, newest first, as a line of its history."""
    return [_line(run) for run in reversed(list_runs(runs_dir))]


def _line(run: Run) -> dict[str, Any]:
    status = status_of(run)
    config, problem = run.told()
    return {
        "name": run.folder.name,
        "state": status.state,
        "step": status.step,
        "total": status.total_steps,
        "epoch": status.epoch,
        "loss": status.loss,
        "started": status.started,
        "saved": len(status.checkpoints),
        "message": status.message,
        "base": Path(config.get("base", "")).name,
        "output_name": config.get("output_name", ""),
        "problem": problem,
    }


def cut_off(runs_dir: Path) -> dict[str, Any] | None:
    """The newest run where it ended without a word: {name, step, total, message}. It is offered to be resumed."""
    newest = list_runs(runs_dir)[-1:]
    status = status_of(newest[0]) if newest else None
    if status is None or status.state != "crashed":
        return None
    return {"name": newest[0].folder.name, "step": status.step, "total": status.total_steps, "message": status.message}


def detail(run: Run) -> dict[str, Any]:
    """One run: status, settings, loss curve, samples, and the number of the last event that all this takes in."""
    events = read_events(run.events_path)
    status = summarize(run.folder, events, run.alive(), (run.folder / PROCESS).is_file())
    steps = [e for e in events if e.type == "step"]
    config, problem = run.told()
    phase = next((e for e in reversed(events) if e.type in ("phase", "step")), None)
    began = next((e for e in reversed(events) if e.type == "started"), None)
    return {
        **status.to_dict(),
        "name": run.folder.name,
        "seq": events[-1].seq if events else 0,
        "epochs": next((int(e.data["epochs"]) for e in reversed(events) if e.data.get("epochs")), None),
        "phase": _phase(phase) if phase else None,
        "lr": steps[-1].data.get("lr") if steps else None,
        "lr_text": steps[-1].data.get("lr_text") if steps else None,
        "vram": next((e.data["vram"] for e in reversed(steps) if e.data.get("vram")), None),
        "device": began.data.get("device") if began else None,
        "card": began.data.get("card") or "" if began else "",
        "precision": next((e.data["precision"] for e in reversed(events) if e.data.get("precision")), None),
        "ended": events[-1].time if events and status.state != "running" else None,
        "points": thinned(loss_points(events)),
        "validation": validation_points(events),
        "marks": epoch_marks(events),
        "samples": samples(run.folder, events),
        "config": config,
        "problem": problem,
    }


def status_of(run: Run) -> RunStatus:
    """As ``run.status()``; of a run that has not changed the events are not read again."""
    alive = run.alive()
    ended = _changed(run.folder / PROCESS)  # its exit code may be noted after its last event
    try:
        facts = run.events_path.stat()
    except OSError:
        return summarize(run.folder, [], alive, bool(ended))
    if alive:
        return run.status()
    return _ended(str(run.folder), ended, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=512)
def _ended(folder: str, ended: int, size: int, changed: int) -> RunStatus:
    return summarize(Path(folder), read_events(Path(folder) / FILE), False, bool(ended))


def _changed(path: Path) -> int:
    """When a file was written last, in nanoseconds; 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def loss_points(events: Iterable[RunEvent]) -> list[tuple[int, float, float]]:
    """(step, loss, smoothed loss) by rising step. Of a step done twice, after a crash, the later one counts."""
    found: dict[int, tuple[int, float, float]] = {}
    for event in events:
        if event.type == "step" and isinstance(event.data.get("step"), int) and isinstance(event.data.get("loss"), (int, float)):
            step, loss = event.data["step"], float(event.data["loss"])
            smooth = event.data.get("loss_average")
            found[step] = (step, loss, float(smooth) if isinstance(smooth, (int, float)) else loss)
    return [found[step] for step in sorted(found)]


def validation_points(events: Iterable[RunEvent]) -> list[tuple[int, float]]:
    """(step, loss) of the pictures that were held out, each time they were measured."""
    found = {}
    for event in events:
        step, loss = event.data.get("step"), event.data.get("loss")
        if event.type == "phase" and event.data.get("name") == "validation" and isinstance(step, int) and isinstance(loss, (int, float)):
            found[step] = (step, float(loss))
    return [found[step] for step in sorted(found)]


def _phase(event: RunEvent) -> dict[str, Any]:
    """What the trainer does now: a step is training, whatever was said before."""
    if event.type == "step":
        return {"name": "training", "done": event.data.get("step"), "total": event.data.get("total")}
    return {"name": str(event.data.get("name", "")), "done": event.data.get("done"), "total": event.data.get("total")}


def thinned(points: Sequence[tuple[int, float, float]], limit: int = POINTS) -> list[tuple[int, float, float]]:
    """At most ``limit`` points: neighbours become their last step with the mean of their losses, so that no spike is hidden or made."""
    if len(points) <= limit:
        return list(points)
    edges = [k * len(points) // limit for k in range(limit + 1)]
    groups = [points[a:b] for a, b in pairwise(edges)]
    return [(g[-1][0], sum(p[1] for p in g) / len(g), g[-1][2]) for g in groups]


def epoch_marks(events: Iterable[RunEvent]) -> list[dict[str, int]]:
    """Where an epoch was saved: step and epoch."""
    saved = [e.data for e in events if e.type == "checkpoint"]
    found = {(d["step"], d["epoch"]) for d in saved if isinstance(d.get("step"), int) and isinstance(d.get("epoch"), int)}
    return [{"step": step, "epoch": epoch} for step, epoch in sorted(found)]


def samples(run_dir: Path, events: Iterable[RunEvent]) -> list[dict[str, Any]]:
    """The pictures drawn while training that are there: file, epoch, step, index and prompt."""
    found = {}
    for event in events:
        if event.type == "sample":
            name = Path(str(event.data.get("path", ""))).name
            if os.path.isfile(run_dir / "samples" / name):
                found[name] = {"file": name, **{k: event.data.get(k) for k in ("epoch", "step", "index", "prompt")}}
    return list(found.values())


def log_tail(run: Run) -> str:
    """The end of what the trainer printed."""
    log = run.folder / "console.log"
    if not is_inside(run.folder, log):  # a link in a run that somebody sent would show any file
        return f"{log} is a link to another place."
    try:
        with opened(log) as (file, size):
            file.seek(max(0, size - LOG_BYTES))
            text = file.read(LOG_BYTES).decode("utf-8", "replace")
    except UserError:
        return ""
    return text if size <= LOG_BYTES else text.partition("\n")[2]


def to_trash(run: Run, project_folder: Path) -> None:
    """Move a run's folder to the project's trash; its LoRA files stay. Raises UserError while it runs or when it cannot be moved."""
    if run.alive():
        raise UserError(f"The run {run.folder.name} is running.", "Stop it first.")
    move_folder(run.folder, _trash(project_folder) / run.folder.name)


def from_trash(project_folder: Path, runs_dir: Path, name: str) -> None:
    """Put a run back. Raises UserError when it is not in the trash."""
    if name not in trashed(project_folder):
        raise UserError(f"There is no run {name} in the trash.", "Load the list again: it may have been put back already.")
    move_folder(_trash(project_folder) / name, own_folder(project_folder, runs_dir, "The folder of runs") / name)


def _trash(project_folder: Path) -> Path:
    return own_folder(project_folder, project_folder / TRASH, "The trash of runs")


def trashed(project_folder: Path) -> list[str]:
    """The names of the runs in the trash, oldest first."""
    folder = project_folder / TRASH
    return [p.name for p in entries(folder) if os.path.isfile(p / "config.json")]


