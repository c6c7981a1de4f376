"""Commands that carry a training to another machine and back."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..patience import unlink
from ..studio import Studio
from .console import Add, progress_of, say, say_left_out
from .training import follow


def _bundle(args: argparse.Namespace, studio: Studio) -> Any:
    project = studio.open(args.project)
    if args.run:
        run = studio.run(args.project, args.run)
    elif args.base or args.set or not (unfinished := _unfinished(studio, project)):
        run = studio.prepare_run(project, _chosen(args, studio, project))
        say(args, f"Run {run.folder}")
    else:
        run = studio.run(unfinished)
    report = studio.bundle(project, run, args.out, args.include_base, progress_of(args, "bundle"))
    say_left_out(args, report["left_out"])
    for folder in report["outside"]:
        say(args, "Pictures and captions from outside of the project are packed too: {folder}", folder=folder)
    say(args, f"{report['file']} ({report['bytes'] / 1e6:.1f} MB, {report['files']} files). On the other machine:\n    {report['command']}")
    return report


def _unfinished(studio: Studio, project: Any) -> str:
    """The newest run of a project if it is not at its end."""
    states = studio.runs(project)
    return states[-1].folder if states and states[-1].state != "finished" else ""


def _chosen(args: argparse.Namespace, studio: Studio, project: Any) -> Any:
    from ..training.config import parse_overrides

    if not args.base:
        if args.set:
            raise UserError("--set needs --base.", "For example: bundle my_character --base model.safetensors --set epochs=5")
        return studio.last_choice(project)
    return studio.configure(project, args.base, args.preset, parse_overrides(args.set))


def _unbundle(args: argparse.Namespace, studio: Studio) -> Any:
    from ..training.config import parse_overrides

    placed = studio.unbundle(args.file, args.base, args.train, progress_of(args, "unbundle"), parse_overrides(args.set))
    if args.take:  # only now: what did not come home can be tried again
        with suppress(OSError):  # what is held stays behind; the import is none the worse for it
            unlink(args.file, missing_ok=True)
    say(args, f"Run {placed.run}")
    say_left_out(args, placed.left_out)
    for lora in placed.loras:
        say(args, f"LoRA {lora}")
    run = studio.run(placed.run)
    if not args.train:
        state = run.status()
        say(args, f"The run is {state.state} at step {state.step} of {state.total_steps}.")
        return placed
    back = args.out or args.file.with_name(f"{args.file.stem.removesuffix('-back')}-back.zip")
    try:
        if run.status().state != "finished":
            since = run.events_size()
            studio.resume(run)
            follow(args, studio, run, since)
    finally:  # stopped or failed: what there is comes home
        if not run.alive():
            report = studio.bundle(studio.open(placed.folder), run, back, progress=progress_of(args, "bundle"))
            say(args, f"{report['file']} ({report['bytes'] / 1e6:.1f} MB). At home: unbundle {back.name}")
    return {**placed.to_dict(), "status": run.status().to_dict(), "bundle": str(back)}


def register(add: Add) -> None:
    """Make the commands."""
    sub = add("bundle", _bundle, "pack a training into one file, for another machine to train or go on with")
    sub.add_argument("project")
    sub.add_argument("--run", default="", metavar="NAME", help="a run by name, or last (default: the newest if unfinished, else a new one)")
    sub.add_argument("--base", help="of a new run: checkpoint, diffusers folder, or demo (default: what the project was last trained with)")
    sub.add_argument("--preset", default="character", help="of a new run")
    sub.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="of a new run")
    sub.add_argument("--include-base", action="store_true", help="put the base into the file too")
    sub.add_argument("--out", type=Path, metavar="FILE", help="default: PROJECT-RUN.zip here")

    sub = add("unbundle", _unbundle, "bring a bundle's run, samples and LoRAs into the project; with --train, train it here")
    sub.add_argument("file", type=Path)
    sub.add_argument("--train", action="store_true", help="train or go on with it, then pack it again")
    sub.add_argument("--base", type=Path, help="the checkpoint on this machine, or demo")
    sub.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="with --train: device, threads or processes here")
    sub.add_argument("--out", type=Path, metavar="FILE", help="with --train: what it is packed into (default: FILE-back.zip)")
    sub.add_argument("--detach", action="store_true", help="with --train: do not wait for its end")
    sub.add_argument("--take", action="store_true", help=argparse.SUPPRESS)  # the page's uploads: not needed once it is home
