"""The draft as a page shows it: for every original its box, what becomes of it, and what to think of before cropping."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..project import Project
from .applied import load_applied
from .choices import Choice
from .draft import Draft, load
from .looks import Look, files_in, glance
from .plan import AUTOMATIC, Proposal, buckets_for, propose

ELONGATED = 2.5  # times as long as wide: a fixed size keeps less than half of it


def show(project: Project, only: Collection[str] | None = None, draft: Draft | None = None) -> dict[str, Any]:
    """Everything (or, of the pictures, only those named): revision, options, bucket sizes, entries, unreadable pictures, counts.

    pending: how many pictures have to be looked at before their boxes are final. adopt: how many pictures a folder
    without originals has in dataset/, which would be copied to raw/ first.
    """
    draft = draft or load(project)
    looks = glance(project)
    made = load_applied(project).made
    there = files_in(project.dataset_dir)
    buckets = buckets_for(draft.options)
    stems = Counter(Path(name).stem.casefold() for name in looks)
    entries = []
    skipped = [{"source": name, "reason": look.problem} for name, look in looks.items() if look.problem]
    for name, look in looks.items():
        if look.problem or (only is not None and name not in only):
            continue
        choice = draft.choices.get(name, AUTOMATIC)
        proposal = propose(name, look, draft.options, buckets, choice)
        one = describe(proposal, look, choice, stems[Path(name).stem.casefold()] > 1)
        earlier = made.get(name)
        output = there.get(earlier.name) if earlier else None
        if earlier is not None and output is not None:
            current = earlier.is_current(proposal.entry, draft.options, look.stamp, output)
            one |= {"output": earlier.name, "output_v": version(output), "done": current and not proposal.left_out}
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
        "adopt": 0 if looks else len(there),
        "counts": counts(entries, skipped),
    }


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
    if max(look.width / look.height, look.height / look.width) >= ELONGATED:
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
        "pending": proposal.pending,
        "v": version(look.stamp),
        "output": None,
        "output_v": "",
        "done": False,
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
    }
