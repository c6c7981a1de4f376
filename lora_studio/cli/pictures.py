"""Commands for pictures: into a project, looked over, cropped, packed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..studio import Studio
from .console import Add, listed, progress_of, say, say_left_out


def _new(args: argparse.Namespace, studio: Studio) -> Any:
    report = studio.new(args.name, args.images, progress_of(args, "new"))
    say(args, "{n} {picture is|pictures are} in {project}.", n=len(report["added"]), project=report["project"])
    say_left_out(args, report["skipped"])
    return report


def _add(args: argparse.Namespace, studio: Studio) -> Any:
    project, progress = studio.open(args.project), progress_of(args, "add")
    report = studio.take_uploads(project, Path(args.images[0]), progress) if args.take else studio.add_images(project, args.images, progress)
    say(args, "{n} {picture was|pictures were} added.", n=len(report["added"]))
    say_left_out(args, report["skipped"])
    return report


def _check(args: argparse.Namespace, studio: Studio) -> Any:
    report = studio.check(studio.open(args.project), progress_of(args, "check"))
    for advice in report["advice"]:
        say(args, advice["text"], **advice["values"])
        for name in advice["names"][:10]:
            say(args, f"  {name}")
    if not report["advice"]:
        say(args, "{n} {picture|pictures}, nothing to complain of.", n=report["total"])
    return report


CROP_FLAGS = (
    "size", "base", "focal", "upscale", "format", "quality", "pad", "parts", "flip", "split", "split_overlap", "rename", "rename_start",
)  # fmt: skip


def _crop(args: argparse.Namespace, studio: Studio) -> Any:
    project, progress = studio.open(args.project), progress_of(args, "crop")
    options = None if args.stored else _crop_options(args, studio)
    if args.plan_only:
        plan = studio.crop_plan(project, options, progress)
        say(args, "{n} {picture|pictures} would be cropped.", n=len(plan.entries))
        say_left_out(args, plan.skipped)
        return plan
    report = studio.crop(project, options, progress, args.force)
    there = f" ({len(report['unchanged'])} of them were there already)" if report["unchanged"] else ""
    say(args, "{n} {picture is|pictures are} in the dataset{there}.", n=len(report["written"]) + len(report["unchanged"]), there=there)
    say_left_out(args, report["skipped"])
    return report


def _crop_options(args: argparse.Namespace, studio: Studio) -> Any:
    """What was given; the rest as the plan file has it, where there is one."""
    from ..crop import CropOptions

    given = {name: value for name in CROP_FLAGS if (value := getattr(args, name)) is not None}
    if "parts" in given:
        given["parts"] = listed(given["parts"])
    base = studio.read_crop_plan(args.plan).options.to_dict() if args.plan else {}
    return CropOptions.from_dict({**base, **given, "plan_file": args.plan})


def _export(args: argparse.Namespace, studio: Studio) -> Any:
    project = studio.open(args.project)
    out = Path(args.out or f"{project.name}-{args.what}.zip")
    studio.export(project, args.what, out)
    say(args, f"{out} holds the pictures and captions.")
    say_left_out(args, studio.left_out(project, args.what))
    return {"file": str(out)}


def register(add: Add) -> None:
    """Make the commands."""
    sub = add("new", _new, "make a project from pictures")
    sub.add_argument("name")
    sub.add_argument("--images", nargs="+", required=True, metavar="DIR", help="files, folders or ZIPs")

    sub = add("add", _add, "bring more pictures into a project")
    sub.add_argument("project")
    sub.add_argument("--images", nargs="+", required=True, metavar="DIR", help="files, folders or ZIPs")
    sub.add_argument("--take", action="store_true", help=argparse.SUPPRESS)  # a batch of the page's uploads

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
