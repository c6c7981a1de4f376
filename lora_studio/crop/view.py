"""The draft as a page shows it: for every original its box, what becomes of it, and what to think of before cropping."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..project import Project
from .applied import Applied, load_applied, named_alike
from .choices import DRAWN, Choice
from .detectors import detector_id
from .draft import Draft, load
from .looks import Look, Stamp, files_in, glance, stamp_of
from .options import CropOptions
from .plan import buckets_for
from .propose import AUTOMATIC, Proposal, mirrored, propose, propose_more
from .siblings import area

KEPT = 0.5  # of a picture: where its automatic box holds less than this share, somebody should look


def show(project: Project, only: Collection[str] | None = None, draft: Draft | None = None, detector: Path | None = None) -> dict[str, Any]:
    """Everything (or, of the pictures, only those named): revision, options, bucket sizes, entries, unreadable pictures, counts.

    pending: how many pictures have to be looked at before their boxes are final. adopt: how many pictures a folder
    without originals has in dataset/, which would be copied to raw/ first. detector: the file name of the face detector, "" for none.
    """
    draft = draft or load(project)
    looks = glance(project, fresh=only is None)
    applied = load_applied(project)
    there = files_in(project.dataset_dir) if only is None else _files_of(project, applied, only)
    alike = named_alike(applied, draft.options)
    buckets = buckets_for(draft.options)
    known = detector_id(detector) if detector is not None and draft.options.needs_faces else ""
    stems = Counter(_stem(name) for name in looks)
    entries = []
    skipped = [{"source": name, "reason": look.problem} for name, look in looks.items() if look.problem]
    for name, look in looks.items():
        if look.problem or (only is not None and name not in only):
            continue
        choice = draft.choices.get(name, AUTOMATIC)
        main = propose(name, look, draft.options, buckets, choice, known)
        more = propose_more(main, look, draft.options, buckets, choice, known)
        one = describe(main, look, choice, stems[_stem(name)] > 1 and not draft.options.rename)
        wanted = [main, *more]
        one |= {"more": [describe_more(each, choice) for each in more]}
        states = [_written(each, look, draft.options, applied, there) for each in [*wanted, *(mirrored(wanted) if draft.options.flip else [])]]
        one |= {"output": states[0][0], "output_v": states[0][1], "done": alike and not main.left_out and all(done for _, _, done in states)}
        for row, state in zip(one["more"], states[1:]):
            row |= {"output": state[0], "output_v": state[1]}
        entries.append(one)
    return {
        "revision": draft.revision,
        "undo": len(draft.past),
        "redo": len(draft.future),
        "options": draft.options.to_dict(),
        "buckets": [list(size) for size in buckets] if draft.options.fixed_size is None else [],
        "partial": only is not None,
        "entries": entries,
        "skipped": skipped,
        "pending": sum(one["pending"] for one in entries),
        "adopt": 0 if looks else len(files_in(project.dataset_dir)),
        "detector": detector.name if detector is not None else "",
        "counts": counts(entries, skipped),
    }


def _stem(name: str) -> str:
    return os.path.splitext(name)[0].casefold()


def _files_of(project: Project, applied: Applied, sources: Collection[str]) -> dict[str, Stamp]:
    """The crops of these originals that are there."""
    names = {made.name for made in applied.made.values() if made.entry.source in sources}
    return {name: stamp for name in names if (stamp := stamp_of(project.dataset_dir / name)) is not None}


def _written(one: Proposal, look: Look, options: CropOptions, applied: Applied, there: dict[str, Stamp]) -> tuple[str | None, str, bool]:
    """(file, its version, whether it is as proposed) of the crop that is there. What is left out is as proposed, whatever is there."""
    earlier = applied.made.get(one.entry.key)
    output = there.get(earlier.name) if earlier else None
    if earlier is None or output is None:
        return None, "", bool(one.left_out)
    # Which name it gets is decided when it is made.
    return earlier.name, version(output), bool(one.left_out) or applied.is_current(one.entry, options, look.stamp, output, named=False)


def version(stamp: tuple[int, int]) -> str:
    """Part of a picture's address: another file has another one."""
    return f"{stamp[0]:x}-{stamp[1]:x}"


def describe(proposal: Proposal, look: Look, choice: Choice, same_name: bool) -> dict[str, Any]:
    """One picture for the page. scale: pixels of the result for each of the original (above 1 it is enlarged)."""
    entry = proposal.entry
    scale = max(entry.size[0] / (entry.box[2] - entry.box[0]), entry.size[1] / (entry.box[3] - entry.box[1]))
    warnings = []
    # A box drawn to a pixel may be off by one.
    if scale > 1.01:
        warnings.append("enlarged")
    if entry.method not in (*DRAWN, "pad", "split") and area(entry.box) < KEPT * look.width * look.height:
        warnings.append("elongated")
    if choice.box is not None and choice.box_for(look.size) is None:
        warnings.append("another_picture")
    if same_name:
        warnings.append("same_name")
    return {
        "source": entry.source,
        "size": list(look.size),
        "box": list(entry.box),
        "target": list(entry.size),
        "method": entry.method,
        "by_hand": bool(choice.method),
        "focal": list(choice.focal) if choice.focal else None,
        "scale": round(scale, 4),
        "warnings": warnings,
        "left_out": proposal.code,
        "pad": entry.pad,
        "faces": [[round(v) for v in face[:4]] for face in look.faces],
        "pending": proposal.pending,
        "v": version(look.stamp),
    }


def describe_more(proposal: Proposal, choice: Choice) -> dict[str, Any]:
    """A sibling for the page."""
    entry = proposal.entry
    scale = max(entry.size[0] / (entry.box[2] - entry.box[0]), entry.size[1] / (entry.box[3] - entry.box[1]))
    by_hand = any(part == entry.part for part, _ in choice.more)
    return {
        "part": entry.part,
        "box": list(entry.box),
        "target": list(entry.size),
        "scale": round(scale, 4),
        "by_hand": by_hand,
        "left_out": proposal.code,
    }


def counts(entries: list[dict[str, Any]], skipped: list[dict[str, Any]]) -> dict[str, int]:
    """How many pictures there are, will be cropped, are cropped as planned, are left out (by whom), are enlarged."""
    wanted = [one for one in entries if not one["left_out"]]
    return {
        "pictures": len(entries) + len(skipped),
        "wanted": len(wanted),
        "done": sum(one["done"] for one in wanted),
        "excluded": sum(one["left_out"] == "excluded" for one in entries),
        "too_small": sum(one["left_out"] == "too_small" for one in entries),
        "unreadable": len(skipped),
        "enlarged": sum("enlarged" in one["warnings"] for one in wanted),
        "by_hand": sum(one["by_hand"] for one in wanted),
        "more": sum(not sibling["left_out"] for one in wanted for sibling in one["more"]),
    }
