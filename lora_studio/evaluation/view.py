"""What the page shows of a project's runs and of an evaluation: its numbers, and where each picture lies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..project import Project
from ..reading import read_object
from ..training.events import read_events
from ..training.runs import Run, list_runs
from ..untrusted import file_name, mapping, number, sequence, whole
from .options import NO_TAGGER
from .prompts import KINDS
from .setup import saved_epochs, tagger_of

REPORT = "report.json"
PICTURES = "pictures"
SHOWN = (".webp", ".png", ".jpg", ".jpeg")


def runs_of(project: Project) -> list[dict[str, Any]]:
    """Every run, newest first: how it stands, its saved epochs, and whether and with what result it was evaluated."""
    return [_run(project, run) for run in reversed(list_runs(project.runs_dir))]


def _run(project: Project, run: Run) -> dict[str, Any]:
    status = run.status()
    report, damage = look_at_report(run.folder)
    config, problem = run.told()
    epochs: list[int] = []
    with suppress(UserError):
        epochs = [epoch for epoch, _ in saved_epochs(run.folder, config, ())[0]]
    return {
        "name": run.folder.name,
        "state": status.state,
        "started": status.started,
        "epochs": epochs,
        "base": Path(config.get("base", "")).name,
        "tagger": tagger_of(project, config.get("base", "")),
        "prompts": config.get("sample_prompts", []),
        "cfg": config.get("sample_cfg", 4.0),
        "recommended": report["recommended"] if report else None,
        "evaluated": report is not None,
        "problem": problem or damage,
        # so that the page can say how long another one would take
        "seconds_per_picture": _pace(report) if report else None,
    }


def _pace(report: dict[str, Any]) -> float | None:
    o = {"weights": [], "steps": 20, **report["options"]}
    extra = sum(1 for w in o["weights"] if w != 1.0) * len(report["epochs"])
    pictures = (1 + len(report["epochs"])) * len(report["prompts"]) + extra
    return round(report["seconds"] / pictures / o["steps"] * 20, 3) if pictures and o["steps"] and report.get("seconds") else None


def read_report(run_dir: Path) -> dict[str, Any] | None:
    """report.json of a run, None before it was evaluated (or when the file is damaged)."""
    return look_at_report(run_dir)[0]


def look_at_report(run_dir: Path) -> tuple[dict[str, Any] | None, str]:
    """report.json of a run, None before it was evaluated or when it is damaged, and what is wrong with it ("": nothing)."""
    path = run_dir / "evaluation" / REPORT
    if not os.path.lexists(path):
        return None, ""
    try:
        found = read_object(path)
        _check_report(found)
        return found, ""
    except UserError as error:
        return None, error.message
    except KeyError:
        return None, f"{path} is damaged: evaluate the run again."


def _check_report(found: dict[str, Any]) -> None:
    """Raises UserError or KeyError where it lacks what is read of it."""
    what, most = REPORT, 10**9
    epochs = [mapping(row, what) for row in sequence(found["epochs"], what)]
    for epoch in (*([] if found["recommended"] is None else [found["recommended"]]), *(row["epoch"] for row in epochs)):
        whole(epoch, what, 0, most)
    for row in (mapping(found["base"], what), *epochs):
        for value in row.values():
            number(value, what) if isinstance(value, (int, float)) else None
    for prompt in sequence(found["prompts"], what):
        file_name(mapping(prompt, what)["kind"], what)
    options = mapping(found["options"], what)
    for weight in sequence(options.get("weights", []), what):
        number(weight, what)
    number(options.get("steps", 1), what, 1)
    number(found.get("seconds") or 0, what)


def show(run_dir: Path) -> dict[str, Any]:
    """The report (None: not evaluated), the columns of its pictures, and the samples drawn while training."""
    report = read_report(run_dir)
    return {"report": report, "columns": columns(run_dir, report) if report else [], "samples": samples(run_dir)}


def columns(run_dir: Path, report: dict[str, Any]) -> list[dict[str, Any]]:
    """Base first, then every epoch: the folder of its pictures, one file for each prompt (None: it is not there).

    ``version`` changes with the pictures, so that a browser may keep them.
    """
    names = picture_names([p["kind"] for p in report["prompts"]])
    found = []
    for epoch in (0, *(e["epoch"] for e in report["epochs"])):
        folder = f"epoch-{epoch:02d}" if epoch else "base"
        place = run_dir / "evaluation" / PICTURES / folder
        files = {p.name: p.stat().st_mtime_ns for p in place.iterdir()} if place.is_dir() else {}
        pictures = [f"{folder}/{name}" if name in files else None for name in names]
        found.append({"epoch": epoch, "pictures": pictures, "version": max(files.values(), default=0) // 1_000_000})
    return found


def picture_names(kinds: Sequence[str]) -> list[str]:
    """The file name of each prompt's picture: numbered within its kind."""
    seen = dict.fromkeys(KINDS, 0)
    names = []
    for kind in kinds:
        seen[kind] = seen.get(kind, 0) + 1
        names.append(f"{kind}-{seen[kind]:02d}.webp")
    return names


def samples(run_dir: Path) -> list[dict[str, Any]]:
    """The pictures drawn while training, in order: file, epoch, step, prompt."""
    found = {}
    for event in read_events(run_dir / "events.jsonl"):
        if event.type == "sample":
            name = Path(str(event.data.get("path", ""))).name
            if os.path.isfile(run_dir / "samples" / name):
                known = {k: event.data.get(k) for k in ("epoch", "step", "index", "prompt", "seed")}
                found[name] = {"file": name, **known}
    return list(found.values())


def picture(root: Path, relative: str) -> Path | None:
    """A picture below ``root`` by its address; None for whatever is no picture there, also when it would lead elsewhere."""
    pieces = relative.split("/")
    if not pieces or any(not piece or piece.startswith(".") or any(c in piece for c in '\\:\0') for piece in pieces):
        return None
    path = root.joinpath(*pieces)
    if path.suffix.lower() not in SHOWN:
        return None
    try:
        inside = path.resolve(strict=True).is_relative_to(root.resolve())
        return path if inside and path.is_file() else None
    except OSError:
        return None


def taggers_here(known: Sequence[str]) -> list[str]:
    """The taggers that can read pictures now: those of ``known`` first, then what is on this machine, then none at all."""
    from ..tagging.catalogue import CATALOGUE, DEMO, installed

    here = [name for name in CATALOGUE if installed(name)]
    return list(dict.fromkeys([*(k for k in known if k), *here, DEMO, NO_TAGGER]))
