"""What an evaluation needs to know of a run, read from the run's, the project's and the dataset's folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from ..dataset import list_items, read_caption
from ..errors import UserError
from ..project import Project
from ..training.events import read_events
from ..training.places import check_read, granted
from ..training.runs import Run
from ..training.saved import name_of, saved_file
from ..untrusted import is_network, mapping, number, sequence, text, whole
from .families import alternatives, plain
from .measure import Judge
from .options import NO_TAGGER, EvaluateOptions
from .scores import Reader


@dataclass(frozen=True)
class Setup:
    """A run as the evaluation sees it. ``epochs``: number and LoRA file of every saved epoch that still exists.

    ``tagger`` is "" where it is not known which one wrote the captions.
    """

    run_dir: Path
    project: str
    trigger: str
    traits: tuple[str, ...]
    tagger: str
    base: str
    vae: str
    prediction: str
    clip_skip: int
    max_tokens: int
    size: tuple[int, int]
    cfg: float
    images: int
    captions: tuple[tuple[str, ...], ...]
    epochs: tuple[tuple[int, Path], ...]
    notes: tuple[str, ...] = ()


def read_setup(run_dir: Path, options: EvaluateOptions) -> Setup:
    """Raises UserError for a folder that is no run, or a run without a saved epoch."""
    if not (run_dir / "config.json").is_file():
        raise UserError(f"{run_dir} is not a training run: it has no config.json.", "Choose one that `runs PROJECT` lists.")
    what = f"The config.json of the run {run_dir.name}"
    config, problem = Run(run_dir).told()
    if problem or "base" not in config:
        raise UserError(problem or f"{run_dir / 'config.json'} names no base.", "Start the training anew.")
    check_read(config, run_dir, granted(run_dir).places)
    run_dir = run_dir.resolve()
    project = Project.open(run_dir.parent.parent) if run_dir.parent.name == "runs" else None
    traits = options.traits if options.traits is not None else project.traits if project else ()
    epochs, notes = saved_epochs(run_dir, config, options.epochs)
    captions = tuple(_captions(config, project, what))
    width, height = _size(config.get("resolution", 512), what)
    base = text(config.get("base"), what)
    return Setup(
        run_dir=run_dir,
        project=project.name if project else str(config.get("output_name", run_dir.name)),
        trigger=str(config.get("trigger") or (project.trigger if project else "")),
        traits=tuple(dict.fromkeys(plain(t) for t in traits)),
        tagger=options.tagger or tagger_of(project, base),
        base=base,
        vae=text(config.get("vae", ""), what),
        prediction=text(config.get("prediction", "auto"), what),
        clip_skip=whole(config.get("clip_skip", 1), what, 1, 12),
        max_tokens=whole(config.get("max_tokens", 225), what, 1, 1000),
        size=(width // 8 * 8, height // 8 * 8),
        cfg=number(config.get("sample_cfg", 4.0), what, 0, 100),
        images=len(captions),
        captions=captions,
        epochs=epochs,
        notes=notes,
    )


def saved_epochs(
    run_dir: Path, config: Mapping[str, Any], chosen: Sequence[int]
) -> tuple[tuple[tuple[int, Path], ...], tuple[str, ...]]:
    """The epochs of the run's `checkpoint` events whose files exist, in order, and notes on those that do not.

    A file that was moved with its project is found in the project's output folder; one that lies elsewhere only if this run made it.
    """
    found: dict[int, Path] = {}
    notes: dict[int, str] = {}
    for event in (told.data for told in read_events(run_dir / "events.jsonl") if told.type == "checkpoint"):
        name = name_of(event)
        # saved on request in the middle of an epoch: not what the epoch became
        if not name or re.search(r"-step\d+$", Path(name).stem):
            continue
        try:
            epoch = whole(event.get("epoch", 0), "events.jsonl", 0, 10**9)
        except UserError:
            continue
        if chosen and epoch not in chosen:
            continue
        place = saved_file(run_dir, event, config)
        if place is None:
            notes[epoch] = f"Epoch {epoch} is left out: {name} is no longer there."
        else:
            found[epoch] = place
            notes.pop(epoch, None)
    if not found:
        raise UserError(
            f"The run {run_dir.name} has no saved epoch to evaluate.",
            "Let it train until its first epoch is saved, then evaluate again.",
        )
    return tuple(sorted(found.items())), tuple(notes[k] for k in sorted(notes))


def _captions(config: Mapping[str, Any], project: Project | None, what: str) -> Iterator[tuple[str, ...]]:
    rows = [mapping(folder, what) for folder in sequence(config.get("folders", []), what)]
    folders = [Path(text(row.get("path"), what)) for row in rows if not row.get("is_reg")]
    # one that was moved with its project is looked for there
    there = dict.fromkeys(f if os.path.isdir(f) or project is None else project.dataset_dir for f in folders)
    for folder in there:
        for item in list_items(folder) if folder.is_dir() else ():
            yield read_caption(item.caption_path).tags if item.caption_path.is_file() else ()


def _size(resolution: Any, what: str) -> tuple[int, int]:
    if isinstance(resolution, str):
        resolution = [int(part) if part.isdecimal() else part for part in resolution.lower().split("x")]
    sides = sequence(resolution if isinstance(resolution, list) else [resolution], what, 2)
    found = [whole(side, what, 8, 8192) for side in sides]
    return (found[0], found[-1]) if found else (512, 512)


def tagger_of(project: Project | None, base: str) -> str:
    """The tagger that tagged the project's dataset, of several the first; for the demo world's model the demo tagger; "" where it is not known."""
    from ..demo import checkpoint_path
    from ..tagging.ensemble import members

    used = project.last("tag").get("model") if project else ""
    if isinstance(used, str) and used:
        return members(used)[0]
    return "demo" if not is_network(base) and Path(base).resolve() == checkpoint_path().resolve() else ""


class TaggerJudge:
    """A tagger with the thresholds it writes captions with."""

    def __init__(self, tagger: Any, general: float, character: float) -> None:
        self._tagger = tagger
        kept = [(i, label) for i, label in enumerate(tagger.labels) if label.category != "rating"]
        self._columns = [i for i, _ in kept]
        self.reader = Reader(
            tuple(plain(label.name) for _, label in kept),
            tuple(character if label.category == "character" else general for _, label in kept),
        )

    def predict(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        """Probabilities (pictures, tags without ratings), 16 pictures at a time."""
        parts = [self._tagger.predict(list(pictures[i : i + 16])) for i in range(0, len(pictures), 16)]
        return np.concatenate(parts)[:, self._columns]


class NoJudge:
    """Reads nothing: the pictures are drawn to be looked at. Its tags are what the prompts may be made of."""

    def __init__(self, captions: Sequence[Sequence[str]], traits: Sequence[str]) -> None:
        tags = tuple(dict.fromkeys([*(plain(tag) for caption in captions for tag in caption), *traits, *alternatives(traits)]))
        self.reader = Reader(tags, (1.0,) * len(tags))

    def predict(self, pictures: Sequence[Image]) -> None:
        """Nothing is found and nothing is missed."""
        return


def judge_for(setup: Setup) -> Judge:
    """The tagger of a setup (a catalogue name, ``demo``, or a folder) with its own thresholds; NO_TAGGER for none.

    Raises:
        UserError: it is not known which tagger to take, or it cannot be read.
    """
    from ..tagging import load_tagger, thresholds_of

    name = setup.tagger
    if not name:
        raise UserError(
            "It is not known which tagger wrote this dataset's captions.",
            f"Name one to read the pictures with: evaluate RUN --tagger NAME; or {NO_TAGGER} to only draw them.",
        )
    if name == NO_TAGGER:
        return NoJudge(setup.captions, setup.traits)
    tagger = load_tagger(name)
    general, character = thresholds_of(name)
    return TaggerJudge(tagger, general, character)
