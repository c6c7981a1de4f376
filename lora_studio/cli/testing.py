"""Commands that look at what was trained: a LoRA file, every epoch in pictures and scores, a grid."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..awake import awake
from ..errors import UserError
from ..patience import copy
from ..studio import Studio
from .console import Add, listed, progress_of, say


def _inspect(args: argparse.Namespace, studio: Studio) -> Any:
    found = studio.inspect(args.file, args.base)
    parts = ", ".join(f"{n} {part}" for part, n in found.modules.items())
    say(args, f"{Path(found.file).name}: {found.family}, {sum(found.modules.values())} modules ({parts})")
    say(args, f"rank {', '.join(map(str, found.ranks))}  alpha {', '.join(f'{a:g}' for a in found.alphas)}")
    say(args, f"AutoV2 {found.autov2}  AutoV3 {found.autov3}")
    if found.matched is not None:
        say(args, f"{found.matched} modules fit the checkpoint, {len(found.unmatched)} do not")
        for name in found.unmatched[:10]:
            say(args, f"  {name}")
    widest = max(found.norms.values(), default=0.0) or 1.0
    for block, norm in found.norms.items():
        say(args, f"{block:24} {norm:10.4f}  {'#' * round(30 * norm / widest)}")
    for key in ("ss_output_name", "ss_sd_model_name", "ss_epoch", "ss_steps", "modelspec.trigger_phrase"):
        if key in found.metadata:
            say(args, f"{key}: {found.metadata[key]}")
    for warning in found.warnings:
        say(args, f"WARNING  {warning}")
    return found


def _evaluate(args: argparse.Namespace, studio: Studio) -> Any:
    from ..evaluation import EvaluateOptions

    options: dict[str, Any] = {"tagger": args.tagger or "", "steps": args.steps, "seed": args.seed, "out": args.out or ""}
    if args.traits is not None:
        options["traits"] = listed(args.traits)
    if args.epochs:
        options["epochs"] = tuple(args.epochs)
    if args.weights is not None:
        options["weights"] = tuple(args.weights)
    if args.pictures:
        options.update(zip(("trigger_pictures", "flexibility_pictures", "leakage_pictures"), args.pictures))
    options.update(cfg=args.cfg, negative=args.negative, **_size(args.size))
    with awake("a LoRA is evaluated"):
        report = studio.evaluate(studio.run(args.run, args.name), EvaluateOptions(**options), progress_of(args, "evaluate"))
    say(args, scores_text(report))
    return report


def _grid(args: argparse.Namespace, studio: Studio) -> Any:
    from ..evaluation import GridOptions

    run = studio.run(args.run, args.name)
    name = args.resume
    if not name:
        if not args.prompt:
            raise UserError("grid needs a prompt.", "grid RUN --prompt \"my_trigger, 1girl\"; or go on with one: grid RUN --resume NAME")
        options = GridOptions(
            tuple(args.prompt), tuple(args.epochs), tuple(args.weights), args.negative, tuple(args.seed), args.steps, args.cfg, **_size(args.size)
        )
        name = studio.plan_grid(run, options)
    report = studio.draw_grid(run, name, progress_of(args, "grid"))
    sheet = Path(report["folder"]) / "grid.png"
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        copy(sheet, args.out)
    say(args, f"{report['cells']} pictures. See {args.out or sheet}")
    return report


def _size(text: str) -> dict[str, int]:
    """``512x768`` as width and height; 0 for neither."""
    if not text:
        return {"width": 0, "height": 0}
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdigit() for side in sides):
        raise UserError(f"--size {text} is not WxH.", "For example: --size 512x768")
    return {"width": int(sides[0]), "height": int(sides[1])}


def scores_text(report: dict[str, Any]) -> str:
    """Scores of base and epochs as a small table."""
    rows = [("base", report["base"]), *((f"epoch {e['epoch']}", e) for e in report["epochs"])]
    lines = [f"{'':10} {'likeness':>9} {'flexibility':>12} {'leakage':>8}"]

    def cell(value: Any) -> str:
        return "-" if value is None else f"{value:.2f}"

    for name, scores in rows:
        lines.append(f"{name:10} {cell(scores['likeness']):>9} {cell(scores['flexibility']):>12} {cell(scores['leakage']):>8}")
    lines.append(f"Recommended: epoch {report['recommended']}. {report.get('reason', '')}".strip())
    return "\n".join(lines)


def register(add: Add) -> None:
    """Make the commands."""
    sub = add("inspect", _inspect, "what a LoRA file holds")
    sub.add_argument("file", type=Path)
    sub.add_argument("--base", type=Path, help="checkpoint to compare with, or demo")

    sub = add("evaluate", _evaluate, "pictures and scores of every epoch")
    sub.add_argument("run", help="a run's folder, or a project")
    sub.add_argument("name", nargs="?", default="last", help="with a project: which run")
    sub.add_argument("--tagger", help="default: the one that tagged the dataset")
    sub.add_argument("--traits", metavar="TAGS", help="default: what was removed from the captions")
    sub.add_argument("--epochs", nargs="+", type=int)
    sub.add_argument("--weights", nargs="*", type=float, help="of the grid; none: no grid")
    sub.add_argument("--pictures", nargs=3, type=int, metavar="N", help="with the trigger alone, with other tags, without the trigger")
    sub.add_argument("--steps", type=int, default=20)
    sub.add_argument("--cfg", type=float, help="default: the run's own")
    sub.add_argument("--negative", default="")
    sub.add_argument("--size", default="", metavar="WxH", help="default: the training resolution")
    sub.add_argument("--seed", type=int, default=1000)
    sub.add_argument("--out", metavar="DIR")

    sub = add("grid", _grid, "epochs x weights: one prompt drawn with each")
    sub.add_argument("run", help="a run's folder, or a project")
    sub.add_argument("name", nargs="?", default="last", help="with a project: which run")
    sub.add_argument("--prompt", action="append", default=[], help="may be given more than once")
    sub.add_argument("--epochs", nargs="+", type=int, default=[], help="default: all")
    sub.add_argument("--weights", nargs="+", type=float, default=[0.4, 0.6, 0.8, 1.0], help="0: the base model")
    sub.add_argument("--negative", default="")
    sub.add_argument("--seed", nargs="+", type=int, default=[1])
    sub.add_argument("--steps", type=int, default=20)
    sub.add_argument("--cfg", type=float, help="default: the run's own")
    sub.add_argument("--size", default="", metavar="WxH", help="default: the training resolution")
    sub.add_argument("--out", type=Path, metavar="FILE", help="a copy of the labelled sheet")
    sub.add_argument("--resume", default="", metavar="NAME", help="draw what is missing of a grid that was stopped")
