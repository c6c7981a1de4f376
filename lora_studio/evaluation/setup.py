"""What an evaluation needs to know of a run, read from the run's, the project's and the dataset's folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from .. import untrusted
from ..dataset import list_items, read_caption
from ..errors import UserError
from ..project import Project
from ..reading import read_lines
from ..training.events import usable
from ..training.runs import Run
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
    run_dir = run_dir.resolve()
    if not (run_dir / "config.json").is_file():
        raise UserError(f"{run_dir} is not a training run: it has no config.json.", "Choose one that `runs PROJECT` lists.")
    config, problem = Run(run_dir).told()
    if problem or "base" not in config:
        raise UserError(problem or f"{run_dir / 'config.json'} names no base.", "Start the training anew.")
    project = Project.open(run_dir.parent.parent) if run_dir.parent.name == "runs" else None
    traits = options.traits if options.traits is not None else project.traits if project else ()
    epochs, notes = saved_epochs(run_dir, config, options.epochs)
    captions = tuple(_captions(config, project))
    width, height = _size(config.get("resolution", 512))
    return Setup(
        run_dir=run_dir,
        project=project.name if project else str(config.get("output_name", run_dir.name)),
        trigger=str(config.get("trigger") or (project.trigger if project else "")),
        traits=tuple(dict.fromkeys(plain(t) for t in traits)),
        tagger=options.tagger or tagger_of(project, str(config["base"])),
        base=str(config["base"]),
        vae=str(config.get("vae", "")),
        prediction=str(config.get("prediction", "auto")),
        clip_skip=int(config.get("clip_skip", 1)),
        max_tokens=int(config.get("max_tokens", 225)),
        size=(width // 8 * 8, height // 8 * 8),
        cfg=float(config.get("sample_cfg", 4.0)),
        images=len(captions),
        captions=captions,
        epochs=epochs,
        notes=notes,
    )


def saved_epochs(
    run_dir: Path, config: Mapping[str, Any], chosen: Sequence[int]
) -> tuple[tuple[tuple[int, Path], ...], tuple[str, ...]]:
    """The epochs of the run's `checkpoint` events whose files exist, in order, and notes on those that do not.

    A file that was moved with its project is looked for in the project's output folder.
    """
    output = run_dir.parent.parent / "output"
    found: dict[int, Path] = {}
    notes: dict[int, str] = {}
    for event in _events(run_dir / "events.jsonl"):
        if event.get("type") != "checkpoint" or not event.get("path"):
            continue
        # saved on request in the middle of an epoch: not what the epoch became
        if re.search(r"-step\d+$", Path(str(event["path"])).stem):
            continue
        epoch, path = int(event.get("epoch") or 0), Path(str(event["path"]))
        if chosen and epoch not in chosen:
            continue
        beside = (Path(str(config.get("output_dir", ""))), output)
        places = [path, Path(str(event.get("lora_path") or path)), *(folder / path.name for folder in beside)]
        place = next((p for p in places if os.path.isfile(p)), None)
        if place is None:
            notes[epoch] = f"Epoch {epoch} is left out: {path.name} is no longer there."
        else:
            found[epoch] = place
            notes.pop(epoch, None)
    if not found:
        raise UserError(
            f"The run {run_dir.name} has no saved epoch to evaluate.",
            "Let it train until its first epoch is saved, then evaluate again.",
        )
    return tuple(sorted(found.items())), tuple(notes[k] for k in sorted(notes))


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """Complete lines only: the trainer may be writing the last one."""
    with suppress(UserError):  # there is none yet, or it is no file
        yield from map(usable, read_lines(path))


def _captions(config: Mapping[str, Any], project: Project | None) -> Iterator[tuple[str, ...]]:
    folders = [Path(str(folder.get("path", ""))) for folder in config.get("folders", ()) if not folder.get("is_reg")]
    # one that was moved with its project is looked for there
    there = dict.fromkeys(f if f.is_dir() or project is None else project.dataset_dir for f in folders)
    for folder in there:
        for item in list_items(folder) if folder.is_dir() else ():
            yield read_caption(item.caption_path).tags if item.caption_path.is_file() else ()


def _size(resolution: Any) -> tuple[int, int]:
    sides = resolution.lower().split("x") if isinstance(resolution, str) else resolution if isinstance(resolution, list) else [resolution]
    try:
        width, height = (untrusted.whole(int(side), "resolution", 8, 16384) for side in (sides[0], sides[-1]))
    except (IndexError, TypeError, ValueError) as error:
        raise UserError(f"{resolution!r} is no resolution.", "Start the training anew.") from error
    return width, height


def tagger_of(project: Project | None, base: str) -> str:
    """The tagger that tagged the project's dataset, of several the first; for the demo world's model the demo tagger; "" where it is not known."""
    from ..demo import checkpoint_path
    from ..tagging.ensemble import members

    used = project.last("tag").get("model") if project else ""
    if isinstance(used, str) and used:
        return members(used)[0]
    return "demo" if Path(base).resolve() == checkpoint_path().resolve() else ""


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
