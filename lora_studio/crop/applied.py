"""What earlier crops made: the plan last applied, which original each crop was cut from, and the file it became."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write_json, read_json
from ..patience import HeldError, opened, unlink
from ..project import Project, in_place
from ..reading import parse_lines
from ..untrusted import content, refuse, text, whole
from .choices import LONGEST, PLAN
from .looks import Stamp, as_stamp, stamp_of
from .options import FORMATS, CropOptions
from .plan import CropEntry, CropPlan, read_plan

LARGEST = 2**28  # bytes of the record of a crop that was broken off

_lock = threading.Lock()


@dataclass(frozen=True)
class Made:
    """A crop that was written. source, output: the files as they were then; None where an older version kept no stamp."""

    entry: CropEntry
    name: str
    quality: int
    source: Stamp | None = None
    output: Stamp | None = None

    def is_current(self, entry: CropEntry, options: CropOptions, source: Stamp | None, output: Stamp | None, named: bool = True) -> bool:
        """Whether the file that is there (`output`) is what this entry would become; one retouched since is, too. named: under the entry's name."""
        mine = self.entry
        if output is None or self.source is None or self.source != source or (mine.box, mine.size) != (entry.box, entry.size):
            return False
        same = (mine.source_size, mine.part, mine.flip, mine.pad) == (entry.source_size, entry.part, entry.flip, entry.pad)
        stem, suffix = os.path.splitext(self.name)
        finish = suffix == options.suffix and (options.format == "png" or self.quality == options.quality)
        return same and finish and (not named or stem == entry.output_stem)

    def is_retouched(self, output: Stamp | None) -> bool:
        """Whether somebody changed the crop since."""
        return self.output is not None and output is not None and self.output != output

    def to_dict(self) -> dict[str, Any]:
        return {
            "entry": self.entry.to_dict(), "name": self.name, "quality": self.quality,
            "source": list(self.source or ()), "output": list(self.output or ()),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Made:
        """The inverse. Raises ValueError, KeyError, TypeError or UserError for what is none."""
        entry = CropEntry.from_dict(data["entry"])
        quality = whole(data["quality"], PLAN, 0, 100)
        return cls(entry, crop_name(data["name"], entry), quality, _stamp(data["source"]), _stamp(data["output"]))


def crop_name(value: Any, entry: CropEntry) -> str:
    """`value` if it is what a crop of this entry is called."""
    if value not in [entry.output_stem + suffix for suffix in FORMATS.values()]:
        raise refuse(PLAN, value, "is no crop of this picture")
    return str(value)


@dataclass
class Applied:
    """All crops that are there from earlier, by their key. ``plan``: the one last applied to its end, None before the first.

    ``former``: crops that a crop which was broken off has made anew under other names: they are still to be taken away.
    ``begun``: files that were about to be put in place, with their stamps: one that is there was made here, even if nothing more is known of it.
    """

    plan: CropPlan | None = None
    made: dict[str, Made] = field(default_factory=dict)
    begun: dict[str, Stamp] = field(default_factory=dict)
    former: list[Made] = field(default_factory=list)

    def is_current(self, entry: CropEntry, options: CropOptions, source: Stamp | None, output: Stamp | None, named: bool = True) -> bool:
        """Whether the file that is there is what this entry would become: see `Made.is_current`."""
        made = self.made.get(entry.key)
        if made is None or (output is not None and output != made.output and output == self.begun.get(made.name)):
            return False  # nothing is known, or another crop was put there by a process that was ended before it could say so
        return made.is_current(entry, options, source, output, named)

    def by_file(self) -> dict[str, Made]:
        """The same by the name of the crop."""
        return {made.name: made for made in (*self.former, *self.made.values())}


def plan_path(project: Project) -> Path:
    """Where the plan last applied is kept."""
    return project.studio_dir / "crop_plan.json"


def _journal(project: Project) -> Path:
    # A line for each crop as it is written: a process that is ended in the middle forgets nothing.
    return project.studio_dir / "crop_written.jsonl"


def load_plan(project: Project) -> CropPlan | None:
    """The plan last applied, or None when there is none or it is damaged (it can be made again). Raises HeldError while it is held."""
    try:
        return read_plan(plan_path(project))
    except HeldError:
        raise
    except UserError:
        return None


def load_applied(project: Project) -> Applied:
    """What earlier crops made, also one that was broken off; nothing where the record is damaged (then old crops are put aside, not lost)."""
    kept = _loaded(project, stamp_of(plan_path(project)), stamp_of(_journal(project)))
    return Applied(kept.plan, dict(kept.made), dict(kept.begun), list(kept.former))


@lru_cache(maxsize=4)
def _loaded(project: Project, plan_stamp: Stamp | None, journal_stamp: Stamp | None) -> Applied:
    """The same, read once for each state of its two files."""
    plan = load_plan(project)
    applied = Applied(plan)
    if plan is not None:
        stamps = _stamps(project)
        for entry in plan.entries:
            source, output, quality = stamps.get(entry.key, (None, None, plan.options.quality))
            applied.made[entry.key] = Made(entry, entry.output_stem + plan.options.suffix, quality, source, output)
    try:
        lines = list(parse_lines(content(_journal(project), PLAN, LARGEST)))
    except HeldError:
        raise
    except (OSError, UserError):
        return applied
    for found in lines:
        with suppress(ValueError, KeyError, TypeError, IndexError, AttributeError, UserError):
            if "begun" in found:
                name, time, size = found["begun"]
                applied.begun[text(name, PLAN, LONGEST)] = as_stamp((time, size))
                continue
            made = Made.from_dict(found)
            if (before := applied.made.get(made.entry.key)) is not None and before.name != made.name:
                applied.former.append(before)
            applied.made[made.entry.key] = made
    return applied


def earlier_names(project: Project, options: CropOptions) -> dict[tuple[str, str], str]:
    """The names that crops have by (source, part), where they were given by the same pattern: captions stay with their pictures."""
    applied = load_applied(project)
    if applied.plan is None or _naming(applied.plan.options) != _naming(options):
        return {}
    return {(made.entry.source, made.entry.part): made.entry.output_stem for made in applied.made.values()}


def named_alike(applied: Applied, options: CropOptions) -> bool:
    """Whether crops would keep the names that they have."""
    return applied.plan is None or _naming(applied.plan.options) == _naming(options)


def _naming(options: CropOptions) -> tuple[str, int]:
    return options.rename, options.rename_start


def begin(project: Project, name: str, stamp: Stamp | None) -> None:
    """Remember that a finished file is about to be put in place under this name."""
    _append(project, {"begun": [name, *(stamp or (0, 0))]})


def note(project: Project, made: Made) -> None:
    """Remember one crop at once."""
    _append(project, made.to_dict())


def _append(project: Project, line: dict[str, Any]) -> None:
    path = in_place(_journal(project))
    with _lock:
        if path.exists() and (path.is_symlink() or path.stat().st_nlink > 1):  # a second name of somebody's own file: it would be written into
            unlink(path)
        with opened(path, "a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def store(project: Project, plan: CropPlan, made: dict[str, Made]) -> None:
    """Keep a plan and what became of it. Raises UserError when it cannot be written."""
    stamps = {name: [*(one.source or (0, 0)), *(one.output or (0, 0)), one.quality] for name, one in made.items() if one.source and one.output}
    in_place(project.studio_dir)
    atomic_write_json(plan_path(project), {**plan.to_dict(), "stamps": stamps})
    unlink(_journal(project), missing_ok=True)


def _stamp(value: Any) -> Stamp | None:
    return as_stamp(value) if value else None


def _stamps(project: Project) -> dict[str, tuple[Stamp | None, Stamp | None, int]]:
    try:
        rows = read_json(plan_path(project)).get("stamps", {})
        return {name: (as_stamp((a, b)), as_stamp((c, d)), whole(quality, PLAN, 0, 100)) for name, (a, b, c, d, quality) in rows.items()}
    except (UserError, TypeError, ValueError, AttributeError, IndexError):
        return {}
