"""The plan: for every picture which boxes of it become which sizes and files; and the arithmetic of boxes. Pure but for `read_plan`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dataset import bucket_sizes, pick_bucket
from ..dataset.importing import portable_stem
from ..dataset.items import is_picture_name
from ..errors import UserError
from ..files import read_json
from ..untrusted import RefusedError, file_name, number, refuse, text, whole
from .choices import FARTHEST, LONGEST, PLAN, Box
from .options import LARGEST_SIDE, CropOptions, is_padding

VERSION = 1


@dataclass(frozen=True)
class CropEntry:
    """source: file name in raw/, source_size its upright (width, height).

    box: left, top, right, bottom in its pixels. size: (width, height) written.
    method: where the box comes from, "smart", "center", "face", "focal", "drawn" or "plan".
    part: "" for the picture's main crop, else which of its siblings. stem: the crop's file name without its suffix.
    flip: mirrored. pad: how what lies outside the picture is filled, "" when nothing does.
    """

    source: str
    source_size: tuple[int, int]
    box: Box
    size: tuple[int, int]
    method: str
    part: str = ""
    stem: str = ""
    flip: bool = False
    pad: str = ""

    @property
    def key(self) -> str:
        """Which crop this is, the same from plan to plan."""
        return f"{self.source}/{self.part}" if self.part else self.source

    @property
    def output_stem(self) -> str:
        return self.stem or os.path.splitext(self.source)[0]

    def to_dict(self) -> dict[str, Any]:
        plain: dict[str, Any] = {
            "source": self.source,
            "source_size": list(self.source_size),
            "box": list(self.box),
            "size": list(self.size),
            "method": self.method,
        }
        return plain | {name: value for name in ("part", "stem", "flip", "pad") if (value := getattr(self, name))}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CropEntry:
        left, top, right, bottom = (round(number(v, PLAN, -FARTHEST, FARTHEST)) for v in data["box"])
        source_width, source_height = (whole(v, PLAN, 1, FARTHEST) for v in data["source_size"])
        width, height = (whole(v, PLAN, 1, LARGEST_SIDE) for v in data["size"])
        part, stem = text(data.get("part", ""), PLAN, LONGEST), text(data.get("stem", ""), PLAN, LONGEST)
        flip, pad = data.get("flip") is True, text(data.get("pad", ""), PLAN, LONGEST)
        source, method = _source(data["source"]), text(data.get("method", "plan"), PLAN, LONGEST)
        inside = 0 <= left < right <= source_width and 0 <= top < bottom <= source_height
        overlaps = left < min(right, source_width) and top < min(bottom, source_height) and right > 0 and bottom > 0
        if not (inside or (pad and overlaps)):
            raise ValueError(f"the box {data['box']} of {source!r} is not inside the picture")
        if stem and portable_stem(stem) != stem:
            raise ValueError(f"{stem!r} is no file name")
        if pad and not is_padding(pad):
            raise ValueError(f"{pad!r} is neither edge nor a colour")
        size, source_size = (width, height), (source_width, source_height)
        return cls(source, source_size, (left, top, right, bottom), size, method, part, stem, flip, pad)


def _source(value: object) -> str:
    """`value` if it is the name of a picture, and of nothing above or below raw/."""
    name = value if isinstance(value, str) else ""
    # On Linux and macOS a picture may have a name that only Windows refuses; it is one name all the same.
    plain = os.name != "nt" and name and not any(c in name for c in "/\\\0") and not name.startswith(".")
    if not is_picture_name(name) or not (plain or file_name(name, PLAN)):
        raise refuse(PLAN, value, "is no picture of raw/")
    return name


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
    return plan_from(read_json(path), str(path))


def plan_from(data: Any, what: str) -> CropPlan:
    """The plan in a JSON object that comes from `what`. Raises UserError when it is none."""
    try:
        return CropPlan.from_dict(data)
    except (KeyError, TypeError, ValueError, AttributeError, RefusedError) as error:
        raise UserError(f"{what} is not a crop plan: {error}.", "Write one with the crop command and change its boxes.") from error


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


def buckets_for(options: CropOptions) -> list[tuple[int, int]]:
    """The bucket sizes of these options, (width, height)."""
    return bucket_sizes((options.base, options.base), options.bucket_min, options.largest_bucket_side, options.bucket_step)
