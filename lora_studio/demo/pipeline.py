"""The whole way once, on the embedded models: drawn pictures as a user would bring them, in the end a scored LoRA."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import UserError
from ..evaluation import EvaluateOptions, evaluate
from ..evaluation.report import Row, Section
from ..files import atomic_path, atomic_write_json
from ..patience import copy, opened
from ..progress import Progress, silent
from ..project import Project
from ..studio import DEMO_BASE, Studio
from ..training.events import RunEvent
from ..training.runs import Run
from .raw_pictures import raw_picture
from .scene import Character, parse_character, sample_scene

TRIGGER = "mikuzu"
"""A word that is no tag and that the model has never seen."""

IMAGES = 20
#: what "captions left whole" means while training too: the preset leaves some tags out at random, and the trigger word learns those
WHOLE: Mapping[str, Any] = {"tag_dropout": 0.0}


@dataclass(frozen=True)
class DemoOptions:
    """``settings``: training options over the demo preset. ``steps``: sampling steps of the evaluation's pictures.

    ``keep_traits`` leaves the captions whole; ``compare`` trains both ways and puts both in the report.
    """

    keep_traits: bool = False
    compare: bool = False
    images: int = IMAGES
    steps: int = 20
    settings: Mapping[str, Any] | None = None


def draw_pictures(folder: Path, character: Character, seed: int, count: int) -> list[Path]:
    """Raw pictures of one character, mixed in size and shape, with things standing around her."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for k in range(count):
        path = folder / f"{k + 1:02d}.{'jpg' if k % 3 == 2 else 'png'}"
        picture = raw_picture(sample_scene(rng, character), rng).image
        with atomic_path(path) as temporary, opened(temporary, "xb") as file:
            picture.save(file, "JPEG" if path.suffix == ".jpg" else "PNG", quality=92)
        paths.append(path)
    return paths


def run_demo(
    out: Path, character: str, seed: int, progress: Progress = silent, options: DemoOptions | None = None, **more: Any
) -> dict[str, Any]:
    """Draw, import, crop, tag, edit, train and evaluate; writes ``report.json`` and ``report.html`` into ``out``.

    ``more`` are fields of DemoOptions. Returns what report.json holds.

    Raises:
        UserError: a character that cannot be drawn, or a training that failed.
    """
    options = replace(options or DemoOptions(), **more)
    out, started = Path(out), time.monotonic()
    who = parse_character(character)
    out.mkdir(parents=True, exist_ok=True)
    pictures = draw_pictures(_free(out, "pictures"), who, seed, options.images)
    studio = Studio(out / "projects", out / "models" / "Lora")
    steps = EvaluateOptions(
        tagger="demo", traits=who.traits, steps=options.steps, seed=1000 + seed, trigger_pictures=12, flexibility_pictures=12, leakage_pictures=12,
        weights=(0.5, 0.75, 1.0), batch_size=12,
    )  # fmt: skip

    kept_row: list[Row] = []
    kept_scores: dict[str, float | None] = {}
    if options.compare:
        kept = _prepare(studio, "traits_kept", pictures, who, keep=True, progress=progress)
        run = _train(studio, kept, seed, options, progress, keep=True)
        last = evaluate(run.folder, replace(steps, epochs=(run.status().epoch,), weights=()), progress)["epochs"][-1]
        kept_scores = _three(last)
        kept_row = [Row(("traits left in the captions", "标签保留特征"), _drawn(run, last["epoch"]))]

    project = _prepare(studio, "traits_kept" if options.keep_traits else "demo", pictures, who, options.keep_traits, progress)
    run = _train(studio, project, seed, options, progress, options.keep_traits)

    def beside(best: Any, prompts: Sequence[Any]) -> list[Section]:
        if not kept_row:
            return []
        alone = tuple(p for p, prompt in zip(best.pictures, prompts) if prompt.kind == "trigger")
        heading = ("Why traits are removed", "为什么要移除特征")
        text = (
            "The same prompt and seeds: the trigger word alone. Traits that the captions name stay with their own tags; "
            "left out, they go to the trigger word. Below, every caption was shown whole, without tag dropout.",
            "相同的提示词与种子：仅触发词。写在标签里的特征归各自的标签所有；移除后便归触发词所有。下面一行训练时每条标签都完整使用，不随机省略。",
        )
        return [Section(heading, text, (Row(("traits removed", "移除特征"), alone, best=True), *kept_row))]

    scores = evaluate(run.folder, steps, progress, extra=beside)
    for name in ("report.html", "grid.png"):
        with atomic_path(out / name) as temporary:
            copy(run.folder / "evaluation" / name, temporary)
    status = run.status()
    report = {
        "images": scores["images"],
        "steps": status.step,
        "steps_per_second": round(status.steps_per_second or 0.0, 3),
        "seconds": round(time.monotonic() - started, 1),
        "base": _three(scores["base"]),
        "epochs": [{"epoch": e["epoch"], "lora": e["lora"], **_three(e)} for e in scores["epochs"]],
        "recommended": scores["recommended"],
        "character": list(who.traits),
        "trigger": TRIGGER,
        "keep_traits": options.keep_traits,
        "reason": scores["reason"],
        "run": str(run.folder),
        "seconds_evaluating": scores["seconds"],
    }
    if kept_row:
        report["traits_kept"] = kept_scores
    atomic_write_json(out / "report.json", report)
    return report


def _prepare(studio: Studio, name: str, pictures: Sequence[Path], who: Character, keep: bool, progress: Progress) -> Project:
    """A project with cropped, tagged and edited pictures."""
    from ..crop import CropOptions
    from ..editing import GROUPS, OPTIONAL_GROUPS, EditOptions
    from ..tagging import TagOptions

    folder = _free(studio.projects_dir, name)
    studio.new(folder.name, pictures, progress)
    project = studio.open(folder)
    studio.crop(project, CropOptions(size="128"), progress)
    studio.tag(project, TagOptions(model="demo"), progress)
    # Glasses and hats are worn, a blush comes and goes; whatever was asked for belongs to this character all the same.
    groups = None if keep else (*GROUPS, *OPTIONAL_GROUPS)
    asked = () if keep else who.traits
    studio.edit(studio.open(folder), EditOptions(dedupe=True, remove_traits=groups, remove=asked, trigger=TRIGGER))
    project = studio.open(folder)
    replace(project, traits=who.traits).save()
    return studio.open(folder)


def _train(studio: Studio, project: Project, seed: int, options: DemoOptions, progress: Progress, keep: bool) -> Run:
    config = studio.configure(project, DEMO_BASE, "demo", {"seed": seed, **(WHOLE if keep else {}), **(options.settings or {})})
    run = studio.train(project, config)

    def seen(event: RunEvent) -> None:
        if event.type == "step":
            progress(event.data["step"], event.data["total"], f"training, loss {event.data['loss_average']:.4f}")

    try:
        status = run.follow(seen)
    except KeyboardInterrupt:
        run.command("stop")
        raise
    if status.state != "finished":
        raise UserError(status.message or f"The training is {status.state}.", f"{status.hint} Run: {run.folder}".strip())
    return run


def _drawn(run: Run, epoch: int) -> tuple[Image.Image, ...]:
    """The trigger-only pictures that an evaluation of an epoch left on disk."""
    folder = run.folder / "evaluation" / "pictures" / f"epoch-{epoch:02d}"
    pictures = []
    for path in sorted(folder.glob("trigger-*.webp")):
        with Image.open(path) as picture:
            pictures.append(picture.convert("RGB"))
    return tuple(pictures)


def _three(scores: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: scores[name] for name in ("likeness", "flexibility", "leakage")}


def _free(folder: Path, name: str) -> Path:
    """``folder/name``, or ``name_2`` … where that exists: a second demo never touches the first."""
    path, k = folder / name, 2
    while path.exists():
        path, k = folder / f"{name}_{k}", k + 1
    return path
