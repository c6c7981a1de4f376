"""Aspect-ratio buckets, exactly kohya-ss/sd-scripts' (`model_util.make_bucket_resolutions`, `BucketManager.select_bucket`)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Bucket:
    """How a picture is brought to a bucket: scaled to `resized`, then cropped (centre unless told) to `size`; (width, height) in pixels."""

    size: tuple[int, int]
    resized: tuple[int, int]


def bucket_sizes(
    resolution: tuple[int, int] = (512, 512), minimum: int = 256, maximum: int = 1024, step: int = 64
) -> list[tuple[int, int]]:
    """All (width, height) with sides between minimum and maximum in multiples of `step` and at most resolution's area, sorted."""
    width, height = resolution
    area = width * height
    square = int(math.sqrt(area)) // step * step
    sizes = {(square, square)}
    for side in range(minimum, maximum + 1, step):
        other = min(maximum, area // side // step * step)
        if other >= minimum:
            sizes |= {(side, other), (other, side)}
    return sorted(sizes)


def cover(width: int, height: int, size: tuple[int, int]) -> tuple[int, int]:
    """The size to scale to, aspect ratio kept, so that `size` is just covered; (width, height) in pixels."""
    scale = size[1] / height if width / height > size[0] / size[1] else size[0] / width
    return int(width * scale + 0.5), int(height * scale + 0.5)


def pick_bucket(
    width: int,
    height: int,
    sizes: list[tuple[int, int]],
    *,
    no_upscale: bool = False,
    resolution: tuple[int, int] = (512, 512),
    step: int = 64,
) -> Bucket:
    """The bucket for a picture of this size: the same size if there is one, else the nearest aspect ratio.

    no_upscale: pictures within resolution's area are only cropped to multiples of `step`
    (the list of sizes is not used then, as in sd-scripts).
    """
    ratio = width / height
    if no_upscale:
        area = resolution[0] * resolution[1]
        if width * height <= area:
            size = (max(step, width // step * step), max(step, height // step * step))
            # A side shorter than one step is the one case that has to grow.
            return Bucket(size, (width, height) if width >= size[0] and height >= size[1] else cover(width, height, size))
        # Shrunk to the area; of the two ways to round, the one that keeps the aspect ratio better.
        exact_width = math.sqrt(area * ratio)
        exact_height = area / exact_width
        by_width = int(exact_width + 0.5) // step * step
        by_width_height = int(by_width / ratio + 0.5) // step * step
        by_height = int(exact_height + 0.5) // step * step
        by_height_width = int(by_height * ratio + 0.5) // step * step
        first = by_width / by_width_height if by_width_height else math.inf
        second = by_height_width / by_height if by_height else math.inf
        if abs(first - ratio) < abs(second - ratio):
            resized = (by_width, int(by_width / ratio + 0.5))
        else:
            resized = (int(by_height * ratio + 0.5), by_height)
        size = (max(step, resized[0] // step * step), max(step, resized[1] // step * step))
        return Bucket(size, resized if resized[0] >= size[0] and resized[1] >= size[1] else cover(width, height, size))
    if (width, height) in sizes:
        size = (width, height)
    else:
        # min() takes the first of equals, as argmin does.
        size = min(sizes, key=lambda s: abs(s[0] / s[1] - ratio))
    return Bucket(size, cover(width, height, size))


def place(
    width: int,
    height: int,
    sizes: list[tuple[int, int]] | None,
    resolution: tuple[int, int],
    *,
    no_upscale: bool = False,
    step: int = 64,
) -> Bucket:
    """Where a picture goes in training: a bucket of `sizes`, or `resolution` where there are none (None).

    `resized` always covers `size`, so that no border is ever invented.
    """
    if sizes is None:
        size, (wide, high) = resolution, cover(width, height, resolution)
    else:
        bucket = pick_bucket(width, height, sizes, no_upscale=no_upscale, resolution=resolution, step=step)
        size, (wide, high) = bucket.size, bucket.resized
    if wide < size[0] or high < size[1]:
        scale = max(size[0] / wide, size[1] / high)
        wide, high = max(size[0], round(wide * scale)), max(size[1], round(high * scale))
    return Bucket(size, (wide, high))
