"""Commands for captions: written by a tagger, edited, taken back, listed."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from ..awake import awake
from ..errors import UserError
from ..studio import Studio, _plain
from .console import Add, listed, pairs, progress_of, say, say_left_out


def _tag_options(args: argparse.Namespace) -> Any:
    from ..tagging import TagOptions

    return TagOptions(
        model=args.model,
        general_threshold=args.general,
        character_threshold=args.character,
        mcut=args.mcut,
        underscores=args.underscores,
        escape=args.escape,
        ratings=args.ratings,
        exclude=listed(args.exclude),
        add=listed(args.add),
        rename=pairs(args.rename, "--rename"),
        on_existing=args.on_existing,
        batch_size=args.batch,
        providers=tuple(args.provider) if args.provider else None,
    )


def _interrogate(args: argparse.Namespace, studio: Studio) -> Any:
    seen = studio.interrogate(args.pictures, _tag_options(args), args.recursive, args.write, progress_of(args, "interrogate"))
    for one in seen:
        say(args, f"{one.path}\t{', '.join(one.tags)}" if not one.reason else f"{one.path}\t({one.reason})")
    if args.write:
        say(args, "{n} {caption|captions} written. Take them back with: undo FOLDER", n=sum(one.written for one in seen))
    return {"pictures": [one.to_dict() for one in seen]}


def _tag(args: argparse.Namespace, studio: Studio) -> Any:
    options = _tag_options(args)
    project, progress = studio.open(args.project), progress_of(args, "tag")
    if args.shard:
        with awake("pictures are tagged"):
            done = studio.tag_share(project, options, args.shard, progress)
        say(args, f"Share {args.shard}: {done['predicted']} pictures asked for. When all shares are done, tag once more to write the captions.")
        return done
    with awake("pictures are tagged"):
        if args.processes > 1:
            studio.tag_shares(project, options, args.processes, progress)
        report = studio.tag(project, options, progress)
    ran = f" on {report.provider}" if report.provider else " from stored probabilities"
    say(args, f"{report.tagged} captions written by {report.model}{ran} ({report.images_per_second:.1f} pictures/s), {report.kept} kept.")
    for warning in report.warnings:
        say(args, warning)
    say(args, ", ".join(f"{t} {n}" for t, n in list(report.counts.items())[:20]))
    say_left_out(args, report.skipped)
    return report


def _taggers(args: argparse.Namespace, studio: Studio) -> Any:
    if args.download:
        found = studio.download_tagger(args.download, progress_of(args, "download"))
        say(args, f"{found['name']} is in {found['folder']}.")
        return found
    models = studio.tagger_models()
    for m in models:
        say(args, f"{m['name']:32} {m['size'] / 1e6:7.0f} MB  {'here' if m['here'] else 'to download':12} {m['about']}")
    return {"models": models}


def _edit(args: argparse.Namespace, studio: Studio) -> Any:
    from ..editing import EditOptions

    searches = [{"find": a, "new": b, "scope": args.scope, "regex": args.regex} for a, b in pairs(args.search, "--search")]
    options = EditOptions.from_dict({
        "dedupe": args.dedupe,
        "remove_traits": args.remove_traits,
        "include_states": args.states,
        "trait_frequency": args.frequency,
        "keep": listed(args.keep),
        "implied": args.implied,
        "trigger": args.trigger,
        "add": listed(args.add),
        "add_back": listed(args.add_back),
        "add_front": listed(args.front),
        "add_after": listed(args.after),
        "remove": listed(args.remove),
        "replace": pairs(args.replace, "--replace"),
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
            say(args, f"{file}\n  - {before}\n  + {after}")
    say(args, f"{'Would change' if args.dry_run else 'Changed'} {report.changed} of {report.pictures} captions.")
    say_left_out(args, report.refused)
    _note(args, report.note)
    if report.removed_traits:
        say(args, "Traits for the trigger word to carry: " + ", ".join(report.removed_traits))
    return _plain(report)


def _undo(args: argparse.Namespace, studio: Studio) -> Any:
    forward = args.command == "redo"
    loose = studio.step_folder(Path(args.project), forward)  # captions that `interrogate --write` wrote outside any project
    report = loose or (studio.redo if forward else studio.undo)(studio.open(args.project))
    if report["done"]:
        say(args, "{what}: {n} {caption|captions}.", what="Undone" if args.command == "undo" else "Done again", n=len(report["changed"]))
    else:
        say(args, f"There is nothing to {args.command}.")
    say_left_out(args, report["refused"])
    _note(args, report["note"])
    return report


def _note(args: argparse.Namespace, text: str) -> None:
    if text:
        say(args, text)


def _history(args: argparse.Namespace, studio: Studio) -> Any:
    project = studio.open(args.project)
    if args.mine:
        say(args, "The history is yours now." if studio.adopt_history(project) else "There is no history here that is not yours.")
    if args.restore:
        report = studio.restore_captions(project)
        _note(args, report.note)
        say(args, "{n} {caption is as it was|captions are as they were} at first.", n=report.changed)
    elif args.go is not None:
        moved = studio.go_to(project, "" if args.go == "0" else args.go)
        say(args, "{steps} {step|steps}, {n} {caption|captions}.", steps=moved["steps"], n=len(moved["changed"]))
        say_left_out(args, moved["refused"])
        _note(args, moved["note"])
    found = studio.history(project)
    _note(args, found["note"])
    for line in found["lines"]:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(line["when"]))
        say(args, f"{line['id']}  {when}  {line['kind']:8} {line['files']:6} captions{'  undone' if line['undone'] else ''}")
    return found


def _captions(args: argparse.Namespace, studio: Studio) -> Any:
    project = studio.open(args.project)
    if args.target is None and args.action in ("export", "import", "copy", "move"):
        raise UserError(f"captions {args.action} needs a {'folder' if args.action in ('copy', 'move') else 'file'}.")
    if args.action == "list":
        found = studio.captions(project, args.filter)
        for name in found["names"]:
            say(args, name)
        say_left_out(args, found["unreadable"])
        return {"names": found["names"], "total": found["total"]}
    if args.action == "odd":
        odd = studio.odd_captions(project, args.encoding)["found"]
        for one in odd:
            say(args, f"{one['file']}: {', '.join(one['problems'])} ({one['encoding']})\n  {one['text']}")
        return {"found": odd}
    if args.action == "missing":
        missing = studio.missing_tags(project, args.target or "", args.least)
        for row in missing["pictures"] if args.target else missing["tags"]:
            say(args, "\t".join(str(round(x, 3) if isinstance(x, float) else x) for x in row))
        return missing
    if args.action == "export":
        written = studio.captions_metadata(project, args.full_path, Path(args.target))
        say(args, "{n} {picture|pictures} written to {file}.", n=written["pictures"], file=written["file"])
        return written
    if args.action in ("copy", "move"):
        moved = studio.transfer_pictures(project, studio.captions(project, args.filter)["names"], Path(args.target), args.action == "move")
        say(args, "{n} {picture with its caption is|pictures with their captions are} in {target}.", n=len(moved.pictures), target=args.target)
        say_left_out(args, moved.skipped)
        return moved.to_dict()
    more: dict[str, Any] = {}
    if args.action == "import":
        report, incoming = studio.take_metadata(project, Path(args.target), args.existing)
        more = {"unknown": list(incoming.unknown), "unclear": list(incoming.unclear)}
        say_left_out(args, [(key, "it fits no picture") for key in incoming.unknown])
        say_left_out(args, [(key, "it fits several pictures") for key in incoming.unclear])
    else:
        report = studio.repair_captions(project, args.encoding)
    say(args, "Changed {n} {caption|captions}.", n=report.changed)
    say_left_out(args, report.refused)
    _note(args, report.note)
    return {**_plain(report), **more}


def _tags(args: argparse.Namespace, studio: Studio) -> Any:
    lines = (line.rstrip("\r\n") for line in sys.stdin)
    rows = list(studio.classify(line for line in lines if line.strip()))
    if not args.json:
        sys.stdout.write("".join(row + "\n" for row in rows))
    return {"tags": [dict(zip(("tag", "class"), row.rsplit("\t", 1))) for row in rows]}


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


def register(add: Add) -> None:
    """Make the commands."""
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
    sub.add_argument("--mine", action="store_true", help="a history that came from elsewhere is yours: it is used like any other")
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
