"""How a project stands: for each of the six steps whether it is done, what to know of it, and the one next thing to do.

Quick enough to be asked after every change: folders are listed once, captions are told by their files' sizes, runs by the ends of their logs.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .dataset.items import is_own, is_picture_name
from .project import Project

TEXT = 1  # bytes: a caption file with less says nothing
SETTLED = 3.0  # seconds after which a folder's own time tells of every later change in it (FAT counts in twos)
FORGOTTEN = 10.0  # seconds after which a folder is walked again all the same: a caption written in place leaves the folder's time alone
FOLDERS = 16  # remembered


@dataclass(frozen=True)
class Standing:
    """The figures that everything else follows from. epochs: saved ones of all runs; recommended: of the newest evaluated run."""

    raw: int = 0
    cropped: int = 0
    captions: int = 0
    trigger: str = ""
    traits: int = 0
    running: bool = False
    epochs: int = 0
    runs: int = 0
    recommended: int | None = None


@dataclass(frozen=True)
class Step:
    """``note`` and ``next``: an English text and its values; ``go`` names the step where the next thing is done, "" for this one."""

    done: bool
    note: tuple[str, dict[str, Any]] | None = None
    next: tuple[str, dict[str, Any]] | None = None
    go: str = ""

    def to_dict(self) -> dict[str, Any]:
        after = [*self.next, *([self.go] if self.go else [])] if self.next else None
        return {"done": self.done, "note": list(self.note) if self.note else None, "next": after}


@dataclass(frozen=True)
class _Folder:
    pictures: int = 0
    captions: int = 0  # that say something and belong to a picture


def standing(project: Project) -> Standing:
    """What lies in the project's folders now."""
    from .evaluation.view import runs_of

    raw, dataset = _look(project.raw_dir), _look(project.dataset_dir)
    runs = runs_of(project)
    return Standing(
        raw=raw.pictures,
        cropped=dataset.pictures,
        captions=dataset.captions,
        trigger=project.trigger,
        traits=len(project.traits),
        running=any(run["state"] == "running" for run in runs),
        epochs=sum(len(run["epochs"]) for run in runs),
        runs=len(runs),
        recommended=next((run["recommended"] for run in runs if run["recommended"]), None),
    )


_looked: dict[Path, tuple[int, float, _Folder]] = {}


def _look(folder: Path) -> _Folder:
    """Ten thousand pictures take a tenth of a second to walk: what stands still is not walked at every change elsewhere."""
    try:
        changed = folder.stat().st_mtime_ns
    except OSError:
        return _Folder()
    known, now = _looked.get(folder), time.monotonic()
    if known is not None and known[0] == changed and now - known[1] < FORGOTTEN:
        return known[2]
    found = _walk(folder)
    if time.time() - changed / 1e9 > SETTLED:
        _looked[folder] = (changed, now, found)
        if len(_looked) > FOLDERS:
            _looked.clear()
    return found


def _walk(folder: Path) -> _Folder:
    pictures: list[str] = []
    texts: set[str] = set()
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            stem, suffix = os.path.splitext(entry.name)
            if suffix == ".txt":
                if is_own(entry, folder) and entry.stat().st_size >= TEXT:
                    texts.add(stem)
            elif is_picture_name(entry.name) and not entry.name.startswith(".") and is_own(entry, folder):
                pictures.append(stem)
    return _Folder(len(pictures), sum(stem in texts for stem in pictures))


def steps(now: Standing) -> dict[str, Step]:
    """The six steps of a project that stands like this."""
    return {"project": _project(now), "crop": _crop(now), "tag": _tag(now), "edit": _edit(now), "train": _train(now), "test": _test(now)}


def overview(project: Project) -> dict[str, dict[str, Any]]:
    """{step: {done, note: [text, values], next: [text, values, step?]}} as the page shows it."""
    return {name: step.to_dict() for name, step in steps(standing(project)).items()}


def _project(now: Standing) -> Step:
    if not now.raw and not now.cropped:
        return Step(False, None, ("Drop pictures here, or give the path of a folder.", {}))
    note = ("{n} {picture|pictures}", {"n": now.raw or now.cropped})
    if not now.cropped:
        return Step(True, note, ("Next: crop them to training size.", {}), "crop")
    return Step(True, note, None)


def _crop(now: Standing) -> Step:
    if not now.raw and not now.cropped:
        return Step(False, None, ("Bring pictures into the project first.", {}), "project")
    if not now.cropped:
        return Step(False, None, ("Look at the boxes, then press Crop all.", {}))
    note = ("{n} cropped", {"n": now.cropped})
    return Step(True, note, ("Next: have the pictures tagged.", {}) if not now.captions else None, "tag" if not now.captions else "")


def _tag(now: Standing) -> Step:
    if not now.cropped:
        return Step(False, None, ("There is nothing to tag yet: crop the pictures first.", {}), "crop")
    if not now.captions:
        return Step(False, None, ("Choose a tagger and press Tag.", {}))
    note = ("{n} of {total} tagged", {"n": now.captions, "total": now.cropped})
    done = now.captions == now.cropped
    if now.trigger:
        return Step(done, note)
    return Step(done, note, ("Next: take out what belongs to the character.", {}), "edit")


def _edit(now: Standing) -> Step:
    if not now.captions:
        return Step(False, None, ("There are no tags to edit yet.", {}), "tag" if now.cropped else "crop")
    if not now.trigger:
        return Step(False, None, ("Press Remove traits: it takes out what belongs to the character and puts the trigger word first.", {}))
    return Step(True, ("Trigger word: {word}", {"word": now.trigger}), None if now.runs else ("Next: train.", {}), "" if now.runs else "train")


def _train(now: Standing) -> Step:
    if now.running:
        return Step(False, ("Training…", {}))
    if now.epochs:
        return Step(
            True,
            ("{n} {epoch|epochs} saved", {"n": now.epochs}),
            None if now.recommended else ("Next: find out which epoch is the best.", {}),
            "" if now.recommended else "test",
        )
    if not now.cropped:
        return Step(False, None, ("There is nothing to train on yet: crop the pictures first.", {}), "crop")
    if not now.captions:
        return Step(False, None, ("The pictures have no tags yet.", {}), "tag")
    if not now.trigger:
        return Step(False, None, ("There is no trigger word yet: set one under Edit.", {}), "edit")
    return Step(False, None, ("Choose a base model and what you train, then press Start training.", {}))


def _test(now: Standing) -> Step:
    if not now.epochs:
        return Step(False, None, ("Nothing was trained yet.", {}), "train")
    if now.recommended is None:
        return Step(False, None, ("Press Evaluate: it tells which epoch is the best.", {}))
    return Step(True, ("Epoch {n} recommended", {"n": now.recommended}), None)
