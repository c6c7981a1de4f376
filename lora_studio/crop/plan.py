"""The plan: for every picture which box of it becomes which size. Pure but for `plan_project`, which looks at the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..dataset import bucket_sizes, pick_bucket
from ..errors import UserError
from ..files import read_json
from ..progress import Progress, silent
from ..project import Project
from .choices import Box, Choice
from .looks import Look, look_at
from .options import CropOptions

VERSION = 1
AUTOMATIC = Choice()


@dataclass(frozen=True)
class CropEntry:
    """source: file name in raw/, source_size its upright (width, height).

    box: left, top, right, bottom in its pixels. size: (width, height) written.
    method: where the box comes from, "smart", "center", "focal", "drawn" or "plan".
    """

    source: str
    source_size: tuple[int, int]
    box: Box
    size: tuple[int, int]
    method: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "source_size": list(self.source_size),
            "box": list(self.box),
            "size": list(self.size),
            "method": self.method,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CropEntry:
        left, top, right, bottom = (round(v) for v in data["box"])
        source_width, source_height = (int(v) for v in data["source_size"])
        width, height = (int(v) for v in data["size"])
        inside = 0 <= left < right <= source_width and 0 <= top < bottom <= source_height
        if not inside or min(width, height) < 1 or not isinstance(data["source"], str):
            raise ValueError(f"the box {data['box']} of {data['source']!r} is not inside the picture")
        return cls(data["source"], (source_width, source_height), (left, top, right, bottom), (width, height), str(data.get("method", "plan")))


@dataclass(frozen=True)
class CropPlan:
    """Boxes for the pictures that can be cropped, (file name, reason) for the others, and the options they come from."""

    options: CropOptions
    entries: tuple[CropEntry, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "options": self.options.to_dict(),
            "entries": [entry.to_dict() for entry in self.entries],
            "skipped": [list(pair) for pair in self.skipped],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CropPlan:
        return cls(
            CropOptions.from_dict(data.get("options", {})),
            tuple(CropEntry.from_dict(entry) for entry in data["entries"]),
            tuple((str(name), str(reason)) for name, reason in data.get("skipped", [])),
        )


def read_plan(path: str | Path) -> CropPlan:
    """The plan in a JSON file. Raises UserError when it is missing or not a plan."""
    data = read_json(path)
    try:
        return CropPlan.from_dict(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is not a crop plan: {error}.", "Write one with the crop command and change its boxes.") from error


def place_box(width: int, height: int, aspect: float, focal: tuple[float, float]) -> Box:
    """The largest box with this width:height ratio inside the picture, centred on the focal point (0..1) as far as the edges allow."""
    box_width = min(width, max(1, round(height * aspect)))
    box_height = min(height, max(1, round(width / aspect)))
    left = min(max(round(focal[0] * width - box_width / 2), 0), width - box_width)
    top = min(max(round(focal[1] * height - box_height / 2), 0), height - box_height)
    return left, top, left + box_width, top + box_height


def fit_box(box: Box, source_size: tuple[int, int], aspect: float) -> Box:
    """A box given by hand, grown to the width:height ratio around its centre; moved, then shrunk, where the picture ends."""
    width, height = source_size
    box_width, box_height = box[2] - box[0], box[3] - box[1]
    # Within a pixel of the ratio it is what somebody drew: leave it.
    if abs(box_width - box_height * aspect) <= 1 or abs(box_height - box_width / aspect) <= 1:
        return box
    grown_width, grown_height = max(float(box_width), box_height * aspect), max(float(box_height), box_width / aspect)
    shrink = min(1.0, width / grown_width, height / grown_height)
    new_width, new_height = max(1, round(grown_width * shrink)), max(1, round(grown_height * shrink))
    left = min(max(round((box[0] + box[2] - new_width) / 2), 0), width - new_width)
    top = min(max(round((box[1] + box[3] - new_height) / 2), 0), height - new_height)
    return left, top, left + new_width, top + new_height


def target_size(width: int, height: int, options: CropOptions, buckets: list[tuple[int, int]]) -> tuple[int, int] | None:
    """The (width, height) a region of this size becomes, or None when it is too small and may not be enlarged."""
    if (fixed := options.fixed_size) is not None:
        fits = width >= fixed[0] and height >= fixed[1]
        return fixed if fits or options.upscale else None
    bucket = pick_bucket(width, height, buckets)
    if options.upscale or (bucket.resized[0] <= width and bucket.resized[1] <= height):
        return bucket.size
    if min(width, height) < options.bucket_step:
        return None
    return pick_bucket(width, height, buckets, no_upscale=True, resolution=(options.base, options.base), step=options.bucket_step).size


@dataclass(frozen=True)
class Proposal:
    """What would become of one picture. left_out: why nothing does ("" when something does). code: the same for programs:
    "excluded", "too_small", "other_picture". pending: the focal point is not known yet, the box is in the middle until then.
    """

    entry: CropEntry
    left_out: str = ""
    code: str = ""
    pending: bool = False


def propose(name: str, look: Look, options: CropOptions, buckets: list[tuple[int, int]], choice: Choice = AUTOMATIC) -> Proposal:
    """The box and size for one picture that can be read, by what its person chose and else by the options."""
    given = choice.box_for(look.size)
    region = look.size if given is None else (given[2] - given[0], given[3] - given[1])
    left_out, code = "", ""
    size = target_size(*region, options, buckets)
    if size is None:
        wanted = "x".join(map(str, options.fixed_size or (options.bucket_step, options.bucket_step)))
        left_out, code = f"too small: {region[0]}x{region[1]} for {wanted}; it would have to be enlarged (--upscale).", "too_small"
        size = target_size(*region, replace(options, upscale=True), buckets) or region
    if choice.method == "plan" and given is None:
        left_out, code = "the plan was made for another picture of this name (its size differs).", "other_picture"
    if choice.excluded:
        left_out, code = "left out by hand.", "excluded"
    aspect = size[0] / size[1]
    if given is not None:
        return Proposal(CropEntry(name, look.size, fit_box(given, look.size, aspect), size, choice.method), left_out, code)
    method = choice.method if choice.method in ("smart", "center", "focal") else options.focal
    focal = choice.focal if method == "focal" else (0.5, 0.5) if method == "center" else look.focal(aspect)
    box = place_box(*look.size, aspect, focal or (0.5, 0.5))
    return Proposal(CropEntry(name, look.size, box, size, method), left_out, code, focal is None)


def buckets_for(options: CropOptions) -> list[tuple[int, int]]:
    """The bucket sizes of these options, (width, height)."""
    return bucket_sizes((options.base, options.base), options.bucket_min, options.largest_bucket_side, options.bucket_step)


def make_plan(looks: Mapping[str, Look], options: CropOptions, choices: Mapping[str, Choice] | None = None) -> CropPlan:
    """Boxes for all pictures. Raises UserError when there are none."""
    if not looks:
        raise UserError("There are no pictures to crop.", "Bring some in with: new NAME --images DIR")
    buckets = buckets_for(options)
    entries: list[CropEntry] = []
    skipped: list[tuple[str, str]] = []
    for name, look in looks.items():
        if look.problem:
            skipped.append((name, look.problem))
            continue
        proposal = propose(name, look, options, buckets, (choices or {}).get(name, AUTOMATIC))
        if proposal.left_out:
            skipped.append((name, proposal.left_out))
        else:
            entries.append(proposal.entry)
    return CropPlan(options, tuple(entries), tuple(skipped))


def plan_project(
    project: Project, options: CropOptions, choices: Mapping[str, Choice] | None = None, progress: Progress = silent
) -> CropPlan:
    """Look at the pictures of raw/ as far as is needed and plan their crops; boxes of the options' plan file win over all others."""
    chosen = {**(choices or {}), **(boxes_of(read_plan(options.plan_file)) if options.plan_file else {})}
    buckets = buckets_for(options)

    def unknown(name: str, look: Look) -> bool:
        return propose(name, look, options, buckets, chosen.get(name, AUTOMATIC)).pending

    return make_plan(look_at(project, unknown, progress), options, chosen)


def boxes_of(plan: CropPlan) -> dict[str, Choice]:
    """The boxes of a plan as if somebody had drawn them."""
    return {entry.source: Choice("plan", None, entry.box, entry.source_size) for entry in plan.entries}
