"""Every use case as a command. Progress goes to stderr; with ``--json`` stdout is exactly one JSON object."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .errors import UserError
from .progress import ConsoleProgress, JsonProgress, Progress, console, silent
from .studio import Studio, _plain

Handler = Callable[[argparse.Namespace, Studio], Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0 done, 1 failed, 2 a mistake a person can mend, 130 interrupted."""
    _utf8_consoles()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        args = build_parser().parse_args(given)
    except UserError as error:
        return _report(argparse.Namespace(json="--json" in given), error.message, error.hint, 2)
    try:
        result = args.handler(args, Studio(args.projects, args.lora_dir))
    except UserError as error:
        return _report(args, error.message, error.hint, 2)
    except KeyboardInterrupt:
        return _report(args, "Interrupted.", "", 130)
    except BrokenPipeError:
        return 0
    except Exception as error:  # the last line of defence: nobody is left with a bare traceback
        log = Path(tempfile.gettempdir()) / "lora_studio_error.log"
        try:
            log.write_text(traceback.format_exc(), encoding="utf-8")
            hint = f"The details are in {log}; please report them."
        except OSError:
            hint = traceback.format_exc()
        return _report(args, f"Something went wrong inside Lora Studio: {type(error).__name__}: {error}", hint, 1)
    if args.json:
        print(json.dumps(_plain(result.to_dict() if hasattr(result, "to_dict") else result), ensure_ascii=False, indent=2))
    return 0


def _report(args: argparse.Namespace, message: str, hint: str, code: int) -> int:
    if args.json:
        print(json.dumps({"error": message, "hint": hint}, ensure_ascii=False))
    print(message + (f"\n{hint}" if hint else ""), file=sys.stderr)
    return code


def _utf8_consoles() -> None:
    for stream in (sys.stdout, sys.stderr, sys.stdin):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")


def _progress(args: argparse.Namespace, label: str) -> Progress:
    if args.progress == "json":
        return JsonProgress(sys.stderr)
    return silent if args.quiet else console(label)


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.json:
        print(text)


# -- commands ------------------------------------------------------------------


def _new(args: argparse.Namespace, studio: Studio) -> Any:
    report = studio.new(args.name, args.images, _progress(args, "new"))
    _say(args, f"{len(report['added'])} pictures are in {report['project']}.")
    _say_left_out(args, report["skipped"])
    return report


def _add(args: argparse.Namespace, studio: Studio) -> Any:
    try:
        report = studio.add_images(studio.open(args.project), args.images, _progress(args, "add"))
    finally:
        for folder in args.images if args.take else ():
            shutil.rmtree(folder, ignore_errors=True)
    _say(args, f"{len(report['added'])} pictures were added.")
    _say_left_out(args, report["skipped"])
    return report


def _check(args: argparse.Namespace, studio: Studio) -> Any:
    report = studio.check(studio.open(args.project), _progress(args, "check"))
    for advice in report["advice"]:
        _say(args, advice["text"].format(**advice["values"]))
        for name in advice["names"][:10]:
            _say(args, f"  {name}")
    if not report["advice"]:
        _say(args, f"{report['total']} pictures, nothing to complain of.")
    return report


CROP_FLAGS = (
    "size", "base", "focal", "upscale", "format", "quality", "pad", "parts", "flip", "split", "split_overlap", "rename", "rename_start",
)  # fmt: skip


def _crop(args: argparse.Namespace, studio: Studio) -> Any:
    project, progress = studio.open(args.project), _progress(args, "crop")
    options = None if args.stored else _crop_options(args, studio)
    if args.plan_only:
        plan = studio.crop_plan(project, options, progress)
        _say(args, f"{len(plan.entries)} pictures would be cropped.")
        _say_left_out(args, plan.skipped)
        return plan
    report = studio.crop(project, options, progress, args.force)
    there = f" ({len(report['unchanged'])} of them were there already)" if report["unchanged"] else ""
    _say(args, f"{len(report['written']) + len(report['unchanged'])} pictures are in the dataset{there}.")
    _say_left_out(args, report["skipped"])
    return report


def _crop_options(args: argparse.Namespace, studio: Studio) -> Any:
    """What was given; the rest as the plan file has it, where there is one."""
    from .crop import CropOptions

    given = {name: value for name in CROP_FLAGS if (value := getattr(args, name)) is not None}
    if "parts" in given:
        given["parts"] = _list(given["parts"])
    base = studio.read_crop_plan(args.plan).options.to_dict() if args.plan else {}
    return CropOptions.from_dict({**base, **given, "plan_file": args.plan})


def _export(args: argparse.Namespace, studio: Studio) -> Any:
    project = studio.open(args.project)
    out = Path(args.out or f"{project.name}-{args.what}.zip")
    studio.export(project, args.what, out)
    _say(args, f"{out} holds the pictures and captions.")
    return {"file": str(out)}


def _tag_options(args: argparse.Namespace) -> Any:
    from .tagging import TagOptions

    return TagOptions(
        model=args.model,
        general_threshold=args.general,
        character_threshold=args.character,
        mcut=args.mcut,
        underscores=args.underscores,
        escape=args.escape,
        ratings=args.ratings,
        exclude=_list(args.exclude),
        add=_list(args.add),
        rename=_pairs(args.rename, "--rename"),
        on_existing=args.on_existing,
        batch_size=args.batch,
        providers=tuple(args.provider) if args.provider else None,
    )


def _interrogate(args: argparse.Namespace, studio: Studio) -> Any:
    seen = studio.interrogate(args.pictures, _tag_options(args), args.recursive, args.write, _progress(args, "interrogate"))
    for one in seen:
        _say(args, f"{one.path}\t{', '.join(one.tags)}" if not one.reason else f"{one.path}\t({one.reason})")
    if args.write:
        _say(args, f"{sum(one.written for one in seen)} captions written. Take them back with: undo FOLDER")
    return {"pictures": [one.to_dict() for one in seen]}


def _tag(args: argparse.Namespace, studio: Studio) -> Any:
    options = _tag_options(args)
    project, progress = studio.open(args.project), _progress(args, "tag")
    if args.shard:
        done = studio.tag_share(project, options, args.shard, progress)
        _say(args, f"Share {args.shard}: {done['predicted']} pictures asked for. When all shares are done, tag once more to write the captions.")
        return done
    if args.processes > 1:
        studio.tag_shares(project, options, args.processes, progress)
    report = studio.tag(project, options, progress)
    ran = f" on {report.provider}" if report.provider else " from stored probabilities"
    _say(args, f"{report.tagged} captions written by {report.model}{ran} ({report.images_per_second:.1f} pictures/s), {report.kept} kept.")
    for warning in report.warnings:
        _say(args, warning)
    _say(args, ", ".join(f"{t} {n}" for t, n in list(report.counts.items())[:20]))
    _say_left_out(args, report.skipped)
    return report


def _taggers(args: argparse.Namespace, studio: Studio) -> Any:
    if args.download:
        found = studio.download_tagger(args.download, _progress(args, "download"))
        _say(args, f"{found['name']} is in {found['folder']}.")
        return found
    models = studio.tagger_models()
    for m in models:
        _say(args, f"{m['name']:32} {m['size'] / 1e6:7.0f} MB  {'here' if m['here'] else 'to download':12} {m['about']}")
    return {"models": models}


def _edit(args: argparse.Namespace, studio: Studio) -> Any:
    from .editing import EditOptions

    searches = [{"find": a, "new": b, "scope": args.scope, "regex": args.regex} for a, b in _pairs(args.search, "--search")]
    options = EditOptions.from_dict({
        "dedupe": args.dedupe,
        "remove_traits": args.remove_traits,
        "include_states": args.states,
        "trait_frequency": args.frequency,
        "keep": _list(args.keep),
        "implied": args.implied,
        "trigger": args.trigger,
        "add": _list(args.add),
        "add_back": _list(args.add_back),
        "add_front": _list(args.front),
        "add_after": _list(args.after),
        "remove": _list(args.remove),
        "replace": _pairs(args.replace, "--replace"),
        "search": searches,
        "sort": args.sort or False,
        "max_tags": args.max_tags,
        "max_tokens": args.max_tokens,
        "dry_run": args.dry_run,
    })
    project = studio.open(args.project)
    names = studio.captions(project, args.filter)["names"] if args.filter else None
    report = studio.edit(project, options, names)
    if args.dry_run or not args.quiet:
        for file, before, after in list(report.preview)[:10]:
            _say(args, f"{file}\n  - {before}\n  + {after}")
    _say(args, f"{'Would change' if args.dry_run else 'Changed'} {report.changed} of {report.pictures} captions.")
    _say_left_out(args, report.refused)
    if report.removed_traits:
        _say(args, "Traits for the trigger word to carry: " + ", ".join(report.removed_traits))
    return _plain(report)


def _undo(args: argparse.Namespace, studio: Studio) -> Any:
    forward = args.command == "redo"
    loose = studio.step_folder(Path(args.project), forward)  # captions that `interrogate --write` wrote outside any project
    report = loose or (studio.redo if forward else studio.undo)(studio.open(args.project))
    if report["done"]:
        _say(args, f"{'Undone' if args.command == 'undo' else 'Done again'}: {len(report['changed'])} captions.")
    else:
        _say(args, f"There is nothing to {args.command}.")
    _say_left_out(args, report["refused"])
    return report


def _history(args: argparse.Namespace, studio: Studio) -> Any:
    project = studio.open(args.project)
    if args.restore:
        report = studio.restore_captions(project)
        _say(args, f"{report.changed} captions are as they were at first.")
    elif args.go is not None:
        moved = studio.go_to(project, "" if args.go == "0" else args.go)
        _say(args, f"{moved['steps']} steps, {len(moved['changed'])} captions.")
        _say_left_out(args, moved["refused"])
    found = studio.history(project)
    for line in found["lines"]:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(line["when"]))
        _say(args, f"{line['id']}  {when}  {line['kind']:8} {line['files']:6} captions{'  undone' if line['undone'] else ''}")
    return found


def _captions(args: argparse.Namespace, studio: Studio) -> Any:
    project = studio.open(args.project)
    if args.target is None and args.action in ("export", "import", "copy", "move"):
        raise UserError(f"captions {args.action} needs a {'folder' if args.action in ('copy', 'move') else 'file'}.")
    if args.action == "list":
        found = studio.captions(project, args.filter)
        for name in found["names"]:
            _say(args, name)
        return {"names": found["names"], "total": found["total"]}
    if args.action == "odd":
        odd = studio.odd_captions(project, args.encoding)["found"]
        for one in odd:
            _say(args, f"{one['file']}: {', '.join(one['problems'])} ({one['encoding']})\n  {one['text']}")
        return {"found": odd}
    if args.action == "missing":
        missing = studio.missing_tags(project, args.target or "", args.least)
        for row in missing["pictures"] if args.target else missing["tags"]:
            _say(args, "\t".join(str(round(x, 3) if isinstance(x, float) else x) for x in row))
        return missing
    if args.action == "export":
        written = studio.captions_metadata(project, args.full_path, Path(args.target))
        _say(args, f"{written['pictures']} pictures written to {written['file']}.")
        return written
    if args.action in ("copy", "move"):
        moved = studio.transfer_pictures(project, studio.captions(project, args.filter)["names"], Path(args.target), args.action == "move")
        _say(args, f"{len(moved.pictures)} pictures with their captions are in {args.target}.")
        _say_left_out(args, moved.skipped)
        return moved.to_dict()
    more: dict[str, Any] = {}
    if args.action == "import":
        report, incoming = studio.take_metadata(project, Path(args.target), args.existing)
        more = {"unknown": list(incoming.unknown), "unclear": list(incoming.unclear)}
        _say_left_out(args, [(key, "it fits no picture") for key in incoming.unknown])
        _say_left_out(args, [(key, "it fits several pictures") for key in incoming.unclear])
    else:
        report = studio.repair_captions(project, args.encoding)
    _say(args, f"Changed {report.changed} captions.")
    return {**_plain(report), **more}


def _tags(args: argparse.Namespace, studio: Studio) -> Any:
    lines = (line.rstrip("\r\n") for line in sys.stdin)
    rows = list(studio.classify(line for line in lines if line.strip()))
    if not args.json:
        sys.stdout.write("".join(row + "\n" for row in rows))
    return {"tags": [dict(zip(("tag", "class"), row.rsplit("\t", 1))) for row in rows]}


def _train(args: argparse.Namespace, studio: Studio) -> Any:
    from .training.config import parse_overrides

    if args.help_keys:
        return _help_keys(args)
    if not args.project or not args.base:
        raise UserError("train needs a project and --base CHECKPOINT.", "For example: train my_character --base model.safetensors")
    project = studio.open(args.project)
    config = studio.configure(project, args.base, args.preset, parse_overrides(args.set))
    check = studio.preflight(project, config)
    _say(args, preflight_text(check))
    check.raise_problems()
    if args.check:
        return check
    run = studio.train(project, config)
    _say(args, f"Run {run.folder}")
    return _follow(args, studio, run)


def _help_keys(args: argparse.Namespace) -> Any:
    from .training.config import OPTIONS, TrainingConfig
    from .training.options import CHOICES, HELP

    defaults = TrainingConfig.__dataclass_fields__
    rows = {}
    for key in OPTIONS:
        default = defaults[key].default
        shown = "" if type(default).__name__ == "_MISSING_TYPE" else f" [{default}]"
        choices = f" ({', '.join(CHOICES[key])})" if key in CHOICES else ""
        rows[key] = {"help": HELP[key][0], "help_zh": HELP[key][1]}
        _say(args, f"{key}{shown}{choices}\n    {HELP[key][0]}")
    return rows


def preflight_text(check: Any) -> str:
    """The check before the start, as lines for people."""
    from .progress import duration

    lines = [
        f"{check.images} pictures, {check.images_with_repeats} with repeats, in {len(check.buckets)} sizes: "
        + ", ".join(f"{size} ({n})" for size, n in check.buckets[:8]),
        f"{check.steps_per_epoch} steps an epoch, {check.epochs} epochs, {check.steps} steps"
        + (f", about {duration(check.seconds)}" if check.seconds else ""),
        f"Disk: {check.disk_needed / 1e6:.0f} MB needed, {check.disk_free / 1e9:.1f} GB free",
    ]
    return "\n".join([*lines, *(f"WARNING  {w}" for w in check.warnings)])


def _follow(args: argparse.Namespace, studio: Studio, run: Any) -> Any:
    """Show a run until it ends; Ctrl-C asks it to stop, a second one leaves it to itself."""
    if args.detach:
        _say(args, "It goes on by itself. See: runs show " + str(run.folder))
        return run.status()
    show = _progress(args, "train")

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
            _say(args, f"{data['processes']} processes. On two machines that share the run's folder: {data['machines_command']}")
        elif event.type == "checkpoint":
            _say(args, f"Saved {data['lora_path'] if 'lora_path' in data else data['path']}")
        elif event.type == "warning":
            _say(args, f"WARNING  {data['message']}")

    asked = False
    while True:
        try:
            status = run.follow(seen)
            break
        except KeyboardInterrupt:
            if asked:
                _say(args, "Left to itself. See: runs show " + str(run.folder))
                return run.status()
            asked = True
            run.command("stop")
            print("Stopping after this step; Ctrl-C again to leave it to itself.", file=sys.stderr)
            seen = lambda event: None  # noqa: E731 - events before the interruption were shown
    if status.state in ("failed", "crashed"):
        raise UserError(status.message, f"{status.hint} Run: {run.folder}".strip())
    _say(args, f"The run is {status.state} at step {status.step} of {status.total_steps}.")
    if status.state == "stopped":
        _say(args, f"Go on with: runs resume {run.folder}")
    return status


def _runs(args: argparse.Namespace, studio: Studio) -> Any:
    actions = ("show", "stop", "resume")
    words = args.words
    if not words:
        raise UserError("runs needs a project.", "runs PROJECT, or: runs show|stop|resume PROJECT_OR_RUN [NAME]")
    if words[0] not in actions:
        states = studio.runs(studio.open(words[0]))
        for s in states:
            _say(args, f"{Path(s.folder).name}  {s.state:9}  step {s.step}/{s.total_steps}  {len(s.checkpoints)} saved")
        if not states:
            _say(args, "No runs yet.")
        return {"runs": [s.to_dict() for s in states]}
    if len(words) < 2:
        raise UserError(f"runs {words[0]} needs a project or a run's folder.", f"runs {words[0]} PROJECT [NAME]")
    run = studio.run(words[1], words[2] if len(words) > 2 else "last")
    if words[0] == "stop":
        studio.stop(run)
        _say(args, "It stops after this step and can be resumed.")
        return run.status()
    if words[0] == "resume":
        studio.resume(run)
        return _follow(args, studio, run)
    status = run.status()
    for key, value in status.to_dict().items():
        if value not in (None, "", ()):
            _say(args, f"{key:17} {', '.join(map(str, value)) if isinstance(value, tuple) else value}")
    return status


def _config(args: argparse.Namespace, studio: Studio) -> Any:
    if args.action == "export":
        return _config_export(args, studio)
    if not args.project:
        raise UserError("config import needs --project.", "For example: config import config.toml dataset.toml --project my_character")
    taken = studio.import_settings(studio.open(args.project), [Path(f) for f in args.what], args.name, args.base)
    if isinstance(taken, dict):
        return taken
    _say(args, f"The settings are the preset {taken.preset}, which the project now uses.")
    for title, rows in (
        ("Not known to kohya's trainer", [(k, "") for k in taken.unknown]),
        ("Not done here", taken.unsupported),
        ("Makes no difference to the LoRA", taken.unneeded),
        ("Note", [(n, "") for n in taken.notes]),
    ):
        for key, reason in rows:
            _say(args, f"{title}: {key}" + (f"  ({reason})" if reason else ""))
    return taken


def _config_export(args: argparse.Namespace, studio: Studio) -> Any:
    if len(args.what) != 1 or args.out is None:
        raise UserError("config export needs a project or a run, and --out.", "For example: config export my_character --out kohya")
    where = Path(args.what[0])
    run = (where / "config.json").is_file()
    config = studio.run(where).config() if run else studio.last_choice(studio.open(where))
    lost = studio.export_settings(config, args.out)
    for option, reason in lost:
        _say(args, f"Not done by kohya's trainer: {option}  ({reason})")
    _say(args, f"Written to {args.out}. Start kohya's trainer with --config_file {args.out / 'config.toml'}")
    return {"folder": str(args.out), "lost": [list(row) for row in lost]}


def _bundle(args: argparse.Namespace, studio: Studio) -> Any:
    project = studio.open(args.project)
    if args.run:
        run = studio.run(args.project, args.run)
    elif args.base or args.set or not (unfinished := _unfinished(studio, project)):
        run = studio.prepare_run(project, _chosen(args, studio, project))
        _say(args, f"Run {run.folder}")
    else:
        run = studio.run(unfinished)
    report = studio.bundle(project, run, args.out, args.include_base, _progress(args, "bundle"))
    _say_left_out(args, report["left_out"])
    _say(args, f"{report['file']} ({report['bytes'] / 1e6:.1f} MB, {report['files']} files). On the other machine:\n    {report['command']}")
    return report


def _unfinished(studio: Studio, project: Any) -> str:
    """The newest run of a project if it is not at its end."""
    states = studio.runs(project)
    return states[-1].folder if states and states[-1].state != "finished" else ""


def _chosen(args: argparse.Namespace, studio: Studio, project: Any) -> Any:
    from .training.config import parse_overrides

    if not args.base:
        if args.set:
            raise UserError("--set needs --base.", "For example: bundle my_character --base model.safetensors --set epochs=5")
        return studio.last_choice(project)
    return studio.configure(project, args.base, args.preset, parse_overrides(args.set))


def _unbundle(args: argparse.Namespace, studio: Studio) -> Any:
    from .training.config import parse_overrides

    placed = studio.unbundle(args.file, args.base, args.train, _progress(args, "unbundle"), parse_overrides(args.set))
    _say(args, f"Run {placed.run}")
    _say_left_out(args, placed.left_out)
    for lora in placed.loras:
        _say(args, f"LoRA {lora}")
    run = studio.run(placed.run)
    if not args.train:
        state = run.status()
        _say(args, f"The run is {state.state} at step {state.step} of {state.total_steps}.")
        return placed
    back = args.out or args.file.with_name(f"{args.file.stem.removesuffix('-back')}-back.zip")
    try:
        if run.status().state != "finished":
            studio.resume(run)
            _follow(args, studio, run)
    finally:  # stopped or failed: what there is comes home
        if not run.alive():
            report = studio.bundle(studio.open(placed.folder), run, back, progress=_progress(args, "bundle"))
            _say(args, f"{report['file']} ({report['bytes'] / 1e6:.1f} MB). At home: unbundle {back.name}")
    return {**placed.to_dict(), "status": run.status().to_dict(), "bundle": str(back)}


def _inspect(args: argparse.Namespace, studio: Studio) -> Any:
    found = studio.inspect(args.file, args.base)
    parts = ", ".join(f"{n} {part}" for part, n in found.modules.items())
    _say(args, f"{Path(found.file).name}: {found.family}, {sum(found.modules.values())} modules ({parts})")
    _say(args, f"rank {', '.join(map(str, found.ranks))}  alpha {', '.join(f'{a:g}' for a in found.alphas)}")
    _say(args, f"AutoV2 {found.autov2}  AutoV3 {found.autov3}")
    if found.matched is not None:
        _say(args, f"{found.matched} modules fit the checkpoint, {len(found.unmatched)} do not")
        for name in found.unmatched[:10]:
            _say(args, f"  {name}")
    widest = max(found.norms.values(), default=0.0) or 1.0
    for block, norm in found.norms.items():
        _say(args, f"{block:24} {norm:10.4f}  {'#' * round(30 * norm / widest)}")
    for key in ("ss_output_name", "ss_sd_model_name", "ss_epoch", "ss_steps", "modelspec.trigger_phrase"):
        if key in found.metadata:
            _say(args, f"{key}: {found.metadata[key]}")
    for warning in found.warnings:
        _say(args, f"WARNING  {warning}")
    return found


def _evaluate(args: argparse.Namespace, studio: Studio) -> Any:
    from .evaluation import EvaluateOptions

    options: dict[str, Any] = {"tagger": args.tagger or "", "steps": args.steps, "seed": args.seed, "out": args.out or ""}
    if args.traits is not None:
        options["traits"] = _list(args.traits)
    if args.epochs:
        options["epochs"] = tuple(args.epochs)
    if args.weights is not None:
        options["weights"] = tuple(args.weights)
    if args.pictures:
        options.update(zip(("trigger_pictures", "flexibility_pictures", "leakage_pictures"), args.pictures))
    options.update(cfg=args.cfg, negative=args.negative, **_size(args.size))
    report = studio.evaluate(studio.run(args.run, args.name), EvaluateOptions(**options), _progress(args, "evaluate"))
    _say(args, scores_text(report))
    return report


def _grid(args: argparse.Namespace, studio: Studio) -> Any:
    from .evaluation import GridOptions

    run = studio.run(args.run, args.name)
    name = args.resume
    if not name:
        if not args.prompt:
            raise UserError("grid needs a prompt.", "grid RUN --prompt \"my_trigger, 1girl\"; or go on with one: grid RUN --resume NAME")
        options = GridOptions(
            tuple(args.prompt), tuple(args.epochs), tuple(args.weights), args.negative, tuple(args.seed), args.steps, args.cfg, **_size(args.size)
        )
        name = studio.plan_grid(run, options)
    report = studio.draw_grid(run, name, _progress(args, "grid"))
    sheet = Path(report["folder"]) / "grid.png"
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sheet, args.out)
    _say(args, f"{report['cells']} pictures. See {args.out or sheet}")
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


def _doctor(args: argparse.Namespace, studio: Studio) -> Any:
    from .doctor import report

    facts = studio.doctor()
    _say(args, report(facts))
    return facts


def _demo(args: argparse.Namespace, studio: Studio) -> Any:
    more: dict[str, Any] = {"keep_traits": args.keep_traits}
    if args.compare:
        more["compare"] = True
    report = studio.demo(args.out, args.character, args.seed, _progress(args, "demo"), **more)
    _say(args, scores_text(report))
    _say(args, f"{report['images']} pictures, {report['steps']} steps, {report['seconds']:.0f} s. See {args.out / 'report.html'}")
    return report


def _ui(args: argparse.Namespace, studio: Studio) -> Any:
    from .host.standalone import Standalone
    from .ui.standalone import PageOptions, serve

    auth = tuple((name, word) for name, word in _pairs(args.auth, "--auth"))
    host = Standalone(studio.projects_dir, args.models, args.lora_dir, args.language, only_local=not args.listen, logins=auth)
    options = PageOptions(args.port, args.listen, not args.no_browser, auth)
    serve(Studio(studio.projects_dir, host.lora_dir, studio.environment), host, options)
    return {}


def _say_left_out(args: argparse.Namespace, skipped: Sequence[Any]) -> None:
    for path, reason in skipped:
        _say(args, f"Left out: {path}: {reason}")


def _list(text: str | None) -> tuple[str, ...]:
    return tuple(t.strip() for t in (text or "").split(",") if t.strip())


def _pairs(texts: Sequence[str], option: str) -> tuple[tuple[str, str], ...]:
    pairs = []
    for text in texts:
        old, equals, new = text.partition("=")
        if not equals or not old.strip():
            raise UserError(f"{option} {text} is not OLD=NEW.", f"For example: {option} \"long hair=very long hair\"")
        pairs.append((old.strip(), new.strip()))
    return tuple(pairs)


# -- the parser ----------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are told like any other mistake, in JSON too."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message[:1].upper() + message[1:] + ".", self.format_usage().strip())


def _add_tagging(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--model", default="wd-swinv2-tagger-v3", help="catalogue name, folder, or demo; several joined by + are averaged")
    sub.add_argument("--general", type=float, help="threshold; default is the model's own")
    sub.add_argument("--character", type=float, help="threshold for character names")
    sub.add_argument("--mcut", action="store_true", help="a threshold for each picture by its largest gap")
    sub.add_argument("--underscores", action="store_true", help="keep underscores")
    sub.add_argument("--escape", action="store_true", help="escape brackets")
    sub.add_argument("--ratings", action="store_true")
    sub.add_argument("--exclude", metavar="TAGS")
    sub.add_argument("--add", metavar="TAGS")
    sub.add_argument("--rename", action="append", default=[], metavar="OLD=NEW")
    sub.add_argument("--on-existing", choices=("skip", "overwrite", "append", "prepend", "merge"), default="skip")
    sub.add_argument("--batch", type=int, default=0)
    sub.add_argument("--provider", action="append", metavar="NAME")


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object")
    common.add_argument("--quiet", action="store_true", help="no progress")
    common.add_argument("--progress", choices=("text", "json"), default="text", help="json: one object a line on standard error, for programs")
    projects = Path(os.environ.get("LORA_STUDIO_PROJECTS", "projects"))
    lora = os.environ.get("LORA_STUDIO_LORA_DIR")
    common.add_argument("--projects", type=Path, default=projects, help="folder of the projects (default: projects)")
    common.add_argument("--lora-dir", type=Path, default=Path(lora) if lora else None, help="the WebUI's models/Lora: epochs are saved there too")
    parser = _Parser(prog="lora_studio", description="From a folder of pictures to a tested LoRA.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, handler: Handler, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, parents=[common], help=text, description=text)
        sub.set_defaults(handler=handler)
        return sub

    sub = add("new", _new, "make a project from pictures")
    sub.add_argument("name")
    sub.add_argument("--images", nargs="+", required=True, metavar="DIR", help="files, folders or ZIPs")

    sub = add("add", _add, "bring more pictures into a project")
    sub.add_argument("project")
    sub.add_argument("--images", nargs="+", required=True, metavar="DIR", help="files, folders or ZIPs")
    sub.add_argument("--take", action="store_true", help=argparse.SUPPRESS)  # the page's uploads: not needed afterwards

    sub = add("check", _check, "blurred, too small, nearly the same twice: what to think of the pictures")
    sub.add_argument("project")

    sub = add("crop", _crop, "cut the pictures to training size")
    sub.add_argument("project")
    sub.add_argument("--size", help="512 (default), 768, WxH or bucket")
    sub.add_argument("--base", type=int, help="with bucket: area is base x base")
    sub.add_argument("--focal", choices=("smart", "center", "centre", "face"), help="face: by a detector in models/lora_studio/detectors")
    sub.add_argument("--plan", metavar="FILE", help="take the boxes of this plan file, and the settings that are not given here")
    sub.add_argument("--stored", action="store_true", help="with the settings chosen in the tab, whatever else is given")
    sub.add_argument("--plan-only", action="store_true", help="print what would be done; no picture is written")
    sub.add_argument("--force", action="store_true", help="write pictures anew that are there already as planned")
    sub.add_argument("--upscale", action="store_true", default=None, help="enlarge pictures that are too small")
    sub.add_argument("--format", choices=("png", "jpg", "webp", "avif"))
    sub.add_argument("--quality", type=int)
    sub.add_argument("--pad", metavar="edge|#rrggbb", help="keep whole pictures and fill what is missing of the size")
    sub.add_argument("--parts", metavar="face,upper", help="more crops around the face that a detector finds")
    sub.add_argument("--flip", action="store_true", default=None, help="a mirrored copy of every crop")
    sub.add_argument("--split", type=float, metavar="SHARE", help="pictures of which one box would hold no more than this share become several")
    sub.add_argument("--split-overlap", type=float, metavar="SHARE")
    sub.add_argument("--rename", metavar="PATTERN", help="names with {name}, {n}, {n:3}, {w} and {h} in them")
    sub.add_argument("--rename-start", type=int)

    sub = add("export", _export, "pack the pictures and captions into a ZIP")
    sub.add_argument("project")
    sub.add_argument("--out", metavar="FILE", help="default: NAME-dataset.zip here")
    sub.add_argument("--what", choices=("dataset", "raw"), default="dataset")

    sub = add("tag", _tag, "write captions with a WD14 tagger")
    sub.add_argument("project")
    _add_tagging(sub)
    sub.add_argument("--processes", type=int, default=1, help="share the pictures among so many processes, each with a graphics card of its own")
    sub.add_argument("--shard", default="", metavar="I/N", help="only ask the tagger about the I-th of N shares, e.g. one on each machine")

    sub = add("interrogate", _interrogate, "say what a tagger sees in pictures anywhere; with --write beside them, without a project")
    sub.add_argument("pictures", nargs="+", metavar="PICTURE", help="files, folders, or patterns such as 'pictures/**/*.png'")
    sub.add_argument("--recursive", action="store_true", help="folders with what is in the folders inside them")
    sub.add_argument("--write", action="store_true", help="write captions; --on-existing says what becomes of those that are there")
    _add_tagging(sub)

    sub = add("taggers", _taggers, "the taggers there are, and which of them are on this machine")
    sub.add_argument("--download", metavar="NAME", help="fetch this one")

    sub = add("edit", _edit, "change all captions at once")
    sub.add_argument("project")
    sub.add_argument("--dedupe", action="store_true")
    sub.add_argument("--remove-traits", nargs="*", metavar="GROUP", help="what belongs to the person; all groups if none is named")
    sub.add_argument("--states", action="store_true", help="remove passing states (closed eyes, wet hair) too")
    sub.add_argument("--frequency", type=float, default=0.6, help="a trait counts when on this share of the pictures")
    sub.add_argument("--trigger", default="", metavar="WORD")
    sub.add_argument("--keep", metavar="TAGS", help="traits that stay")
    sub.add_argument("--implied", action="store_true", help="remove what another tag says already (long hair under very long hair)")
    sub.add_argument("--add", metavar="TAGS", help="at the end, where they are missing")
    sub.add_argument("--add-back", metavar="TAGS", help="at the end, where they were before an earlier edit")
    sub.add_argument("--front", metavar="TAGS", help="before all others")
    sub.add_argument("--after", metavar="TAGS", help="right behind the trigger word")
    sub.add_argument("--remove", metavar="TAGS")
    sub.add_argument("--replace", action="append", default=[], metavar="A=B")
    sub.add_argument("--search", action="append", default=[], metavar="A=B", help="replace text")
    sub.add_argument("--scope", choices=("tag", "part", "caption"), default="part", help="of --search: whole tags, inside tags, the whole caption")
    sub.add_argument("--regex", action="store_true", help="--search is a regular expression, with $1 for its groups")
    sub.add_argument("--max-tags", type=int, default=0, metavar="N", help="cut off what is beyond")
    sub.add_argument("--max-tokens", type=int, default=0, metavar="N", help="cut off what is beyond, in CLIP's tokens")
    sub.add_argument("--filter", default="", metavar="FILTER", help="only these pictures, e.g. 'tag:smile -tag:hat count:>20'")
    sub.add_argument("--sort", nargs="?", const="alphabetical", choices=("alphabetical", "frequency"))
    sub.add_argument("--dry-run", action="store_true")
    for name, text in (("undo", "take the last edit back"), ("redo", "do it again")):
        add(name, _undo, text).add_argument("project")

    sub = add("history", _history, "the edits of the captions; back and forth in them")
    sub.add_argument("project")
    sub.add_argument("--go", metavar="ID", help="undo or redo until this edit is the last one in force (0: before the first)")
    sub.add_argument("--restore", action="store_true", help="every caption as it was before Lora Studio first touched it")

    sub = add("captions", _captions, "list by a filter, repair encodings, kohya's metadata, copy and move, what seems to be missing")
    sub.add_argument("project")
    sub.add_argument("action", choices=("list", "odd", "repair", "export", "import", "copy", "move", "missing"))
    sub.add_argument("target", nargs="?", help="metadata file of export and import, folder of copy and move, tag of missing")
    sub.add_argument("--filter", default="", metavar="FILTER", help="only these pictures")
    sub.add_argument("--encoding", default="auto", help="of captions that are not UTF-8")
    sub.add_argument("--existing", choices=("overwrite", "append", "prepend", "skip"), default="overwrite", help="tags that are there, on import")
    sub.add_argument("--full-path", action="store_true", help="export names pictures by their paths")
    sub.add_argument("--least", type=float, default=0.5, help="least probability of what is missing")

    sub = add("tags", _tags, "tags classify: group of each tag on standard input")
    sub.add_argument("action", choices=("classify",))

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

    sub = add("config", _config, "settings from and for kohya's trainer: config import FILE.. --project P; config export PROJECT_OR_RUN --out DIR")
    sub.add_argument("action", choices=("import", "export"))
    sub.add_argument("what", nargs="+", help="import: config.toml, dataset.toml, the GUI's .json; export: a project or a run's folder")
    sub.add_argument("--project", help="import: whose training is set")
    sub.add_argument("--name", default="", help="import: name of the preset (default: the LoRA's)")
    sub.add_argument("--base", type=Path, help="import: the checkpoint on this machine, where the file names another")
    sub.add_argument("--out", type=Path, metavar="DIR", help="export: the folder")

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

    sub = add("demo", _demo, "everything once, on the embedded models")
    sub.add_argument("--out", type=Path, default=Path("demo_output"))
    sub.add_argument("--character", default="purple hair, short hair, yellow eyes, cat ears, glasses")
    sub.add_argument("--seed", type=int, default=1)
    sub.add_argument("--keep-traits", action="store_true", help="leave the captions whole, to see what that costs")
    sub.add_argument("--compare", action="store_true", help="train both ways and show both in the report")

    add("doctor", _doctor, "what this machine has and what is wrong")
    sub = add("ui", _ui, "the page")
    sub.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    sub.add_argument("--models", type=Path, default=Path("models"), help="folder with Stable-diffusion/ and Lora/, e.g. a WebUI's models folder")
    sub.add_argument("--language", default="", choices=("", "en", "zh_CN"), help="default: the browser's")
    sub.add_argument("--listen", action="store_true", help="reachable from other machines; use --auth with it")
    sub.add_argument("--auth", action="append", default=[], metavar="NAME=PASSWORD", help="let in only who logs in")
    sub.add_argument("--no-browser", action="store_true", help="do not open the browser")
    return parser
