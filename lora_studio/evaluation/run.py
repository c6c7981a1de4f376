"""The use case: a training run in, scores, pictures and a recommended epoch out."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from ..files import atomic_path, atomic_write_json, atomic_write_text
from ..moving import move_all
from ..patience import opened, rmtree
from ..progress import Progress, silent
from ..untrusted import is_inside, own_folder
from .grid import draw_grid
from .measure import Judge, Measured, Model, measure, of_kind
from .options import NO_TAGGER, EvaluateOptions
from .painter import Canvas, ModelPainter, Painter, describe
from .prompts import KINDS, TestPrompt, count_tags, make_prompts, subject
from .recommend import Recommendation, combined, recommend
from .report import Row, Section, html
from .setup import Setup, judge_for, read_setup

DEFAULTS = EvaluateOptions()
#: beside an evaluation: the one that is being written, and the one whose place it takes
NEW, OLD = ".new-", ".old-"
#: seconds after which such a folder has no writer any more
ABANDONED = 3600.0
OUR_PICTURE = re.compile(rf"({'|'.join(KINDS)})-\d{{2,}}\.webp")


def evaluate(
    run_dir: str | Path,
    options: EvaluateOptions = DEFAULTS,
    progress: Progress = silent,
    *,
    painter: Painter | None = None,
    judge: Judge | None = None,
    extra: Callable[[Measured, Sequence[TestPrompt]], Sequence[Section]] | None = None,
) -> dict[str, Any]:
    """Measure the base model and every saved epoch of a run with the same prompts and seeds.

    Writes ``report.json``, ``report.html``, ``grid.png`` and ``pictures/`` into ``evaluation`` in the run's folder
    (``options.out`` for elsewhere) and returns what report.json holds. ``painter`` and ``judge`` stand in for the
    model and the tagger; ``extra`` is given the recommended epoch and makes more sections for the page.

    Raises:
        UserError: no epoch was saved, or the base model or tagger cannot be read.
    """
    started = time.monotonic()
    setup = read_setup(Path(run_dir), options)
    judge = judge or judge_for(setup)
    counts = count_tags(setup.captions)
    wanted = (options.trigger_pictures, options.flexibility_pictures, options.leakage_pictures)
    prompts = make_prompts(counts, setup.trigger, setup.traits, judge.reader.tags, wanted, options.seed)
    painter = painter or load_painter(setup, options, progress)

    models = [Model(0), *(Model(epoch, lora) for epoch, lora in setup.epochs)]
    extra_weights = [w for w in options.weights if w != 1.0]
    total = len(models) * len(prompts) + len(setup.epochs) * len(extra_weights)
    done = 0

    def drawn_of(name: str) -> Callable[[int], None]:
        return lambda n: progress(done + n, total, f"drawing {name}")

    measured: list[Measured] = []
    for model in models:
        name = f"epoch {model.epoch}" if model.lora else "the base model"
        measured.append(measure(model, prompts, painter, judge, 1.0, drawn_of(name)))
        done += len(prompts)
    grid_rows: list[tuple[str, list[Image.Image]]] = []
    for entry in measured[1:]:
        pictures = []
        for weight in options.weights:
            if weight == 1.0:
                pictures.append(entry.pictures[0])
            else:
                pictures += painter.draw(prompts[:1], entry.model.lora, weight, drawn_of("the grid"))
                done += 1
        grid_rows.append((f"epoch {entry.model.epoch}", pictures))

    base, epochs = measured[0], measured[1:]
    choice = last_of(epochs) if setup.tagger == NO_TAGGER else recommend([(e.model.epoch, e.scores) for e in epochs], base.scores)
    report = _report(setup, options, prompts, base, epochs, choice)
    report.update(describe(painter))
    report["notes"] = [*setup.notes, *report["notes"], *_missing(setup, judge, prompts)]
    report["seconds"] = round(time.monotonic() - started, 1)
    report = json.loads(json.dumps(report))  # lists, not tuples: what is returned equals what is read back

    out = Path(options.out) if options.out else setup.run_dir / "evaluation"
    grid = draw_grid(grid_rows, [f"weight {w:g}" for w in options.weights], prompts[0].text) if options.weights else None
    best = next(e for e in epochs if e.model.epoch == choice.epoch)
    sections = [*(extra(best, prompts) if extra else ()), *picture_sections(base, epochs, prompts, choice.epoch)]
    _write(out, setup.run_dir, report, html(report, sections, grid), grid, prompts, measured)
    progress(total, total, "done")
    return report


def load_painter(setup: Setup, options: EvaluateOptions, progress: Progress) -> ModelPainter:
    """The painter with the run's own base model. Loads it: seconds to minutes."""
    progress(0, 0, f"loading {Path(setup.base).name}")
    cfg = setup.cfg if options.cfg is None else options.cfg
    width, height = options.width or setup.size[0], options.height or setup.size[1]
    canvas = Canvas(width, height, options.steps, cfg, options.negative, options.batch_size)
    return ModelPainter(setup.base, setup.vae, setup.prediction, setup.clip_skip, setup.max_tokens, canvas, options.device)


def last_of(epochs: Sequence[Measured]) -> Recommendation:
    """What is said when the pictures were drawn and not read."""
    last = epochs[-1].model.epoch
    return Recommendation(
        last,
        None,
        f"Epoch {last} is the last one. No tagger read the pictures, so nothing was scored: choose by looking.",
        f"第 {last} 轮是最后一轮。图片未经打标模型识别，没有评分：请看图选择。",
    )


def _numbers(entry: Measured, base: Measured) -> dict[str, Any]:
    score = combined(entry.scores, base.scores) if entry.model.lora else None
    values = {**asdict(entry.scores), **({"score": score} if entry.model.lora else {})}
    rounded = {k: None if v is None else round(v, 4) for k, v in values.items()}
    by_tag = {kind: {tag: round(share, 4) for tag, share in t.by_tag.items()} for kind, t in entry.tallies.items()}
    return {**rounded, "by_tag": by_tag}


def _report(
    setup: Setup,
    options: EvaluateOptions,
    prompts: Sequence[TestPrompt],
    base: Measured,
    epochs: Sequence[Measured],
    choice: Recommendation,
) -> dict[str, Any]:
    best = next(e for e in epochs if e.model.epoch == choice.epoch)
    traits = best.tallies["trigger"].by_tag
    return {
        "format": 1,
        "project": setup.project,
        "run": str(setup.run_dir),
        "trigger": setup.trigger,
        "who": subject(count_tags(setup.captions)),
        "traits": list(setup.traits),
        "images": setup.images,
        "base_model": Path(setup.base).name,
        "tagger": Path(setup.tagger).name,
        "base": _numbers(base, base),
        "epochs": [{"epoch": e.model.epoch, "lora": str(e.model.lora), **_numbers(e, base)} for e in epochs],
        "recommended": choice.epoch,
        "reason": choice.reason,
        "reason_zh": choice.reason_zh,
        "by_tag": {t: {"base": base.tallies["trigger"].by_tag.get(t), "recommended": share} for t, share in traits.items()},
        "prompts": [asdict(p) for p in prompts],
        "options": options.to_dict(),
    }


def _missing(setup: Setup, judge: Judge, prompts: Sequence[TestPrompt]) -> list[str]:
    """What could not be measured, and why, in the words of the report."""
    notes: list[str] = []
    if setup.tagger == NO_TAGGER:
        return notes
    looked = {t for p in prompts if p.kind == "trigger" for t in p.looked_for}
    if not setup.traits:
        notes.append("No traits were removed from the captions, so likeness and leakage are not measured.")
    elif unknown := [t for t in setup.traits if t not in looked]:
        notes.append(f"The tagger does not know these traits, so they are not measured: {', '.join(unknown)}.")
    if not any(p.kind == "flexibility" for p in prompts):
        notes.append("The captions name no other tags that the tagger knows, so flexibility is not measured.")
    return notes


def picture_sections(
    base: Measured, epochs: Sequence[Measured], prompts: Sequence[TestPrompt], best: int
) -> list[Section]:
    """Rows of pictures for the page: base above, then every epoch, one section a kind of prompt."""
    words = {
        "trigger": (
            ("The trigger alone", "仅用触发词"),
            ("Only the trigger word and who it is are prompted: everything else that is right was learnt.",
             "只提示触发词与主体：其余正确之处都是学到的。"),
        ),
        "flexibility": (
            ("The trigger with other tags", "触发词加其他标签"),
            ("Background, clothes and expression are prompted; rest the pointer on a picture to read its prompt.",
             "提示了背景、服装与表情；将鼠标停在图片上可查看提示词。"),
        ),
        "leakage": (
            ("Somebody else, without the trigger", "不用触发词的其他角色"),
            ("These should look as the base model draws them.", "这些图片应与底模所画一致。"),
        ),
    }  # fmt: skip
    sections = []
    for kind, (heading, text) in words.items():
        rows = []
        for entry in (base, *epochs):
            pictures, captions = of_kind(entry, prompts, kind)
            n = entry.model.epoch
            label = (f"epoch {n}", f"第 {n} 轮") if entry.model.lora else ("base model", "底模")
            rows.append(Row(label, pictures, captions, best=n == best))
        if rows[0].pictures:
            sections.append(Section(heading, text, tuple(rows)))
    return sections


def _write(
    out: Path,
    run_dir: Path,
    report: dict[str, Any],
    page: str,
    grid: Image.Image | None,
    prompts: Sequence[TestPrompt],
    measured: Sequence[Measured],
) -> None:
    """All of it, or nothing: it is written aside, and takes the place of an earlier evaluation when it is whole."""
    top = run_dir if is_inside(run_dir, out) else out
    for entry in measured:
        own_folder(top, out / "pictures" / _folder_of(entry), "The folder of the evaluation's pictures")
    name = uuid.uuid4().hex[:8]
    fresh, before = out / (NEW + name), out / (OLD + name)
    for left in (*out.glob(f"{NEW}*"), *out.glob(f"{OLD}*")):
        if not left.is_symlink() and time.time() - left.stat().st_mtime > ABANDONED:
            rmtree(left, ignore_errors=True)
    try:
        _write_aside(fresh, report, page, grid, prompts, measured)
        pictures = sorted(p for p in (out / "pictures").glob("*/*.webp") if OUR_PICTURE.fullmatch(p.name) and is_inside(top, p))
        old = [out / "report.json", out / "report.html", out / "grid.png", *pictures]
        new = [path for path in sorted(fresh.rglob("*")) if path.is_file()]
        # report.json goes first and comes last: it is never there without what it speaks of
        new.sort(key=lambda path: path.name == "report.json")
        move_all([
            *((path, before / path.relative_to(out)) for path in old if path.is_file()),
            *((path, out / path.relative_to(fresh)) for path in new),
        ])
    finally:
        rmtree(fresh, ignore_errors=True)
    rmtree(before, ignore_errors=True)


def _folder_of(entry: Measured) -> str:
    return f"epoch-{entry.model.epoch:02d}" if entry.model.lora else "base"


def _write_aside(
    out: Path,
    report: dict[str, Any],
    page: str,
    grid: Image.Image | None,
    prompts: Sequence[TestPrompt],
    measured: Sequence[Measured],
) -> None:
    for entry in measured:
        folder = out / "pictures" / _folder_of(entry)
        numbers: dict[str, int] = {}
        for prompt, picture in zip(prompts, entry.pictures):
            n = numbers[prompt.kind] = numbers.get(prompt.kind, 0) + 1
            save_picture(picture, folder / f"{prompt.kind}-{n:02d}.webp")
    if grid is not None:
        save_picture(grid, out / "grid.png")
    atomic_write_text(out / "report.html", page)
    atomic_write_json(out / "report.json", report)


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a PNG or lossless-looking WebP by its suffix, complete or not at all."""
    kind = path.suffix.lower().lstrip(".")
    with atomic_path(path) as temporary, opened(temporary, "xb") as file:
        picture.save(file, kind.upper(), **({"quality": 92} if kind == "webp" else {}))


