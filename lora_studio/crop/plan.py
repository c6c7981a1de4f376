"""The plan: for every picture which box of it becomes which size. Pure but for thumbnails looked at."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dataset import ImageItem, PictureError, bucket_sizes, load_image, pick_bucket
from ..errors import UserError
from ..files import read_json
from ..progress import Progress, silent
from .focal import focal_point, thumbnail_size
from .options import CropOptions

VERSION = 1
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class CropEntry:
    """source: file name in raw/, source_size its upright (width, height).

    box: left, top, right, bottom in its pixels. size: (width, height) written.
    method: where the box comes from, "smart", "center" or "plan".
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


def plan_one(item: ImageItem, options: CropOptions, buckets: list[tuple[int, int]], given: Box | None) -> CropEntry | str:
    """The entry for one picture, or why there is none. given: a box that somebody chose."""
    region = (item.width, item.height) if given is None else (given[2] - given[0], given[3] - given[1])
    size = target_size(*region, options, buckets)
    if size is None:
        wanted = "x".join(map(str, options.fixed_size or (options.bucket_step, options.bucket_step)))
        return f"too small: {region[0]}x{region[1]} for {wanted}; it would have to be enlarged (--upscale)."
    source_size, aspect = (item.width, item.height), size[0] / size[1]
    if given is not None:
        return CropEntry(item.path.name, source_size, fit_box(given, source_size, aspect), size, "plan")
    if options.focal == "center":
        focal = (0.5, 0.5)
    else:
        try:
            focal = focal_point(load_image(item.path, at_least=thumbnail_size(*source_size)), aspect)
        except PictureError as error:
            return error.reason
    return CropEntry(item.path.name, source_size, place_box(*source_size, aspect, focal), size, options.focal)


def make_plan(items: Iterable[ImageItem], options: CropOptions, progress: Progress = silent) -> CropPlan:
    """Boxes for all pictures. Raises UserError when there are none, or the plan file cannot be used."""
    items = list(items)
    if not items:
        raise UserError("There are no pictures to crop.", "Bring some in with: new NAME --images DIR")
    given = {e.source: (e.source_size, e.box) for e in read_plan(options.plan_file).entries} if options.plan_file else {}
    side = options.base
    buckets = bucket_sizes((side, side), options.bucket_min, options.largest_bucket_side, options.bucket_step)

    def one(item: ImageItem) -> CropEntry | str:
        source_size, box = given.get(item.path.name, (None, None))
        if box is not None and source_size != (item.width, item.height):
            return "the plan was made for another picture of this name (its size differs)."
        return plan_one(item, options, buckets, box)

    entries: list[CropEntry] = []
    skipped: list[tuple[str, str]] = []
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        for done, (item, result) in enumerate(zip(items, pool.map(one, items), strict=True), 1):
            if isinstance(result, CropEntry):
                entries.append(result)
            else:
                skipped.append((item.path.name, result))
            progress(done, len(items), item.path.name)
    return CropPlan(options, tuple(entries), tuple(skipped))
