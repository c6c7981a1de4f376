"""Commands for training: started, followed, stopped, gone on with; settings from and for kohya's trainer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..progress import ConsoleProgress
from ..studio import Studio
from .console import Add, progress_of, say, say_left_out


def _train(args: argparse.Namespace, studio: Studio) -> Any:
    from ..training.config import parse_overrides

    if args.help_keys:
        return _help_keys(args)
    if not args.project or not args.base:
        raise UserError("train needs a project and --base CHECKPOINT.", "For example: train my_character --base model.safetensors")
    project = studio.open(args.project)
    config = studio.configure(project, args.base, args.preset, parse_overrides(args.set))
    check = studio.preflight(project, config)
    say(args, preflight_text(check))
    check.raise_problems()
    if args.check:
        return check
    run = studio.train(project, config)
    say(args, f"Run {run.folder}")
    return follow(args, studio, run)


def _help_keys(args: argparse.Namespace) -> Any:
    from ..training.config import OPTIONS, TrainingConfig
    from ..training.options import CHOICES, HELP

    defaults = TrainingConfig.__dataclass_fields__
    rows = {}
    for key in OPTIONS:
        default = defaults[key].default
        shown = "" if type(default).__name__ == "_MISSING_TYPE" else f" [{default}]"
        choices = f" ({', '.join(CHOICES[key])})" if key in CHOICES else ""
        rows[key] = {"help": HELP[key][0], "help_zh": HELP[key][1]}
        say(args, f"{key}{shown}{choices}\n    {HELP[key][0]}")
    return rows


def preflight_text(check: Any) -> str:
    """The check before the start, as lines for people."""
    from ..progress import duration

    lines = [
        f"{check.images} pictures, {check.images_with_repeats} with repeats, in {len(check.buckets)} sizes: "
        + ", ".join(f"{size} ({n})" for size, n in check.buckets[:8]),
        f"{check.steps_per_epoch} steps an epoch, {check.epochs} epochs, {check.steps} steps"
        + (f", about {duration(check.seconds)}" if check.seconds else ""),
        f"Disk: {check.disk_needed / 1e6:.0f} MB needed, {check.disk_free / 1e9:.1f} GB free",
    ]
    return "\n".join([*lines, *(f"WARNING  {w}" for w in check.warnings)])


def follow(args: argparse.Namespace, studio: Studio, run: Any, since: int = 0) -> Any:
    """Show a run until it ends, from byte ``since`` of its events on; Ctrl-C asks it to stop, a second one leaves it to itself."""
    if args.detach:
        for warning in run.status().warnings:
            say(args, f"WARNING  {warning}")
        say(args, "It goes on by itself. See: runs show " + str(run.folder))
        return run.status()
    show = progress_of(args, "train")

    def seen(event: Any) -> None:
        data = event.data
        if event.type == "step":
            speed = data.get("steps_per_second")
            if speed and isinstance(show, ConsoleProgress):
                # The trainer's own speed: a resumed run did not begin at step 0 just now.
                show.started = show.clock() - data["step"] / speed
            show(data["step"], data["total"], f"epoch {data['epoch']}/{data['epochs']}  loss {data['loss_average']:.4f}")
        elif event.type == "phase" and not args.quiet:
            count = f" {data['done']}/{data['total']}" if "done" in data else ""
            count += f" loss {data['loss']:.4f}, best in epoch {data['best_epoch']}" if data.get("name") == "validation" else ""
            print(f"{data.get('name', '')}{count}", file=sys.stderr)
        elif event.type == "started" and "machines_command" in data:
            say(args, f"{data['processes']} processes. On two machines that share the run's folder: {data['machines_command']}")
        elif event.type == "checkpoint":
            say(args, f"Saved {data['lora_path'] if 'lora_path' in data else data['path']}")
        elif event.type == "warning":
            say(args, f"WARNING  {data['message']}")

    asked = False
    while True:
        try:
            status = run.follow(seen, offset=since)
            break
        except KeyboardInterrupt:
            if asked:
                say(args, "Left to itself. See: runs show " + str(run.folder))
                return run.status()
            asked = True
            run.command("stop")
            print("Stopping after this step; Ctrl-C again to leave it to itself.", file=sys.stderr)
            seen = lambda event: None  # noqa: E731 - events before the interruption were shown
    if status.state in ("failed", "crashed"):
        raise UserError(status.message, f"{status.hint} Run: {run.folder}".strip())
    say(args, f"The run is {status.state} at step {status.step} of {status.total_steps}.")
    if status.state == "stopped":
        say(args, f"Go on with: runs resume {run.folder}")
    return status


def _runs(args: argparse.Namespace, studio: Studio) -> Any:
    actions = ("show", "stop", "resume")
    words = args.words
    if not words:
        raise UserError("runs needs a project.", "runs PROJECT, or: runs show|stop|resume PROJECT_OR_RUN [NAME]")
    if words[0] not in actions:
        states = studio.runs(studio.open(words[0]))
        for s in states:
            say(args, f"{Path(s.folder).name}  {s.state:9}  step {s.step}/{s.total_steps}  {len(s.checkpoints)} saved")
        say_left_out(args, [(Path(s.folder).name, s.problem) for s in states if s.problem])
        if not states:
            say(args, "No runs yet.")
        return {"runs": [s.to_dict() for s in states]}
    if len(words) < 2:
        raise UserError(f"runs {words[0]} needs a project or a run's folder.", f"runs {words[0]} PROJECT [NAME]")
    run = studio.run(words[1], words[2] if len(words) > 2 else "last")
    if words[0] == "stop":
        studio.stop(run)
        say(args, "It stops after this step and can be resumed.")
        return run.status()
    if words[0] == "resume":
        since = run.events_size()
        studio.resume(run, args.trust)
        return follow(args, studio, run, since)
    status = run.status()
    for key, value in status.to_dict().items():
        if value not in (None, "", ()):
            say(args, f"{key:17} {', '.join(map(str, value)) if isinstance(value, tuple) else value}")
    return status


def _config(args: argparse.Namespace, studio: Studio) -> Any:
    if args.action == "export":
        return _config_export(args, studio)
    if not args.project:
        raise UserError("config import needs --project.", "For example: config import config.toml dataset.toml --project my_character")
    taken = studio.import_settings(studio.open(args.project), [Path(f) for f in args.what], args.name, args.base)
    if isinstance(taken, dict):
        return taken
    say(args, f"The settings are the preset {taken.preset}, which the project now uses.")
    for title, rows in (
        ("Not known to kohya's trainer", [(k, "") for k in taken.unknown]),
        ("Not done here", taken.unsupported),
        ("Makes no difference to the LoRA", taken.unneeded),
        ("Note", [(n, "") for n in taken.notes]),
    ):
        for key, reason in rows:
            say(args, f"{title}: {key}" + (f"  ({reason})" if reason else ""))
    return taken


def _config_export(args: argparse.Namespace, studio: Studio) -> Any:
    if len(args.what) != 1 or args.out is None:
        raise UserError("config export needs a project or a run, and --out.", "For example: config export my_character --out kohya")
    where = Path(args.what[0])
    run = (where / "config.json").is_file()
    config = studio.settings_of(studio.run(where)) if run else studio.last_choice(studio.open(where))
    lost = studio.export_settings(config, args.out)
    for option, reason in lost:
        say(args, f"Not done by kohya's trainer: {option}  ({reason})")
    say(args, f"Written to {args.out}. Start kohya's trainer with --config_file {args.out / 'config.toml'}")
    return {"folder": str(args.out), "lost": [list(row) for row in lost]}


def register(add: Add) -> None:
    """Make the commands."""
    sub = add("train", _train, "train a LoRA")
    sub.add_argument("project", nargs="?")
    sub.add_argument("--base", help="checkpoint (.safetensors), diffusers folder, or demo")
    sub.add_argument("--preset", default="character")
    sub.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE")
    sub.add_argument("--check", action="store_true", help="only say what the run will be")
    sub.add_argument("--detach", action="store_true", help="do not wait for its end")
    sub.add_argument("--help-keys", action="store_true", help="list every KEY of --set")

    sub = add("runs", _runs, "runs PROJECT; runs show|stop|resume PROJECT_OR_RUN [NAME]")
    sub.add_argument("words", nargs="*", metavar="WORD")
    sub.add_argument("--detach", action="store_true", help="resume without waiting")
    sub.add_argument("--trust", action="store_true", help="resume: the run is your own, the places outside of its project that it names are allowed")

    sub = add("config", _config, "settings from and for kohya's trainer: config import FILE.. --project P; config export PROJECT_OR_RUN --out DIR")
    sub.add_argument("action", choices=("import", "export"))
    sub.add_argument("what", nargs="+", help="import: config.toml, dataset.toml, the GUI's .json; export: a project or a run's folder")
    sub.add_argument("--project", help="import: whose training is set")
    sub.add_argument("--name", default="", help="import: name of the preset (default: the LoRA's)")
    sub.add_argument("--base", type=Path, help="import: the checkpoint on this machine, where the file names another")
    sub.add_argument("--out", type=Path, metavar="DIR", help="export: the folder")
