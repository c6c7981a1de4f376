"""From an original's pixels to a crop's: cut, scaled, padded where asked, mirrored, saved."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..dataset import load_image
from ..errors import UserError
from ..patience import opened
from .options import CropOptions
from .plan import CropEntry

Sides = tuple[float, float, float, float]


def cut(image: Image.Image, box: tuple[float, float, float, float], size: tuple[int, int]) -> Image.Image:
    """The box of the picture at this size: Lanczos, and no resampling at all where nothing is scaled."""
    if (box[2] - box[0], box[3] - box[1]) == size and all(float(v).is_integer() for v in box):
        left, top, right, bottom = (int(v) for v in box)
        return image.crop((left, top, right, bottom))
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


class Original:
    """One picture of raw/ and the crops that are wanted of it: decoded when the first is cut, as small as serves all of them."""

    def __init__(self, path: Path, entries: Sequence[CropEntry]) -> None:
        self.path = path
        # Twice the pixels needed leave the final filter enough to work on.
        shrink = 2 * max(max(e.size[0] / (e.box[2] - e.box[0]), e.size[1] / (e.box[3] - e.box[1])) for e in entries)
        self.enough = (round(entries[0].source_size[0] * shrink), round(entries[0].source_size[1] * shrink))

    @cached_property
    def image(self) -> Image.Image:
        return load_image(self.path, at_least=self.enough)

    def crop(self, entry: CropEntry) -> Image.Image:
        """The crop as the plan says; RGB. Raises UserError when the picture cannot be read or is not the one planned."""
        image = self.image
        scale = image.width / entry.source_size[0]
        expected = entry.source_size[1] * scale
        if abs(image.height - expected) > 1 or scale > 1:
            raise UserError(f"{self.path.name} is no longer the picture the plan was made for.", "Crop again to make a new plan.")
        if image.size == entry.source_size:
            return finished(image, entry.box, entry)
        # A JPEG decoded smaller rounds its sides up, each in its own way.
        across, down = image.width / entry.source_size[0], image.height / entry.source_size[1]
        left, top, right, bottom = entry.box
        if entry.pad:
            return finished(image, (left * across, top * down, right * across, bottom * down), entry)
        return finished(image, (left * across, top * down, min(right * across, image.width), min(bottom * down, image.height)), entry)


def finished(image: Image.Image, box: Sides, entry: CropEntry) -> Image.Image:
    """The box of this picture as the entry wants it."""
    picture = padded_cut(image, box, entry.size, entry.pad) if entry.pad else cut(image, box, entry.size)
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if entry.flip else picture


def padded_cut(image: Image.Image, box: Sides, size: tuple[int, int], pad: str) -> Image.Image:
    """Like `cut` for a box that reaches over the picture's edges: what is outside is the nearest pixel ("edge") or a colour."""
    left, top, right, bottom = box
    inner = (max(left, 0.0), max(top, 0.0), min(right, float(image.width)), min(bottom, float(image.height)))
    across, down = size[0] / (right - left), size[1] / (bottom - top)
    x0, y0 = round((inner[0] - left) * across), round((inner[1] - top) * down)
    x1, y1 = max(x0 + 1, round((inner[2] - left) * across)), max(y0 + 1, round((inner[3] - top) * down))
    part = cut(image, inner, (x1 - x0, y1 - y0))
    if pad == "edge":
        beside = ((y0, size[1] - y1), (x0, size[0] - x1), (0, 0))
        return Image.fromarray(np.pad(np.asarray(part), beside, mode="edge"))
    canvas = Image.new("RGB", size, pad)
    canvas.paste(part, (x0, y0))
    return canvas


def check_format(options: CropOptions) -> None:
    """Raises UserError when this Python cannot write pictures of the chosen format."""
    Image.init()
    if options.format == "avif" and "AVIF" not in Image.SAVE:
        with suppress(ImportError):  # older Pillows leave it to this plugin
            import pillow_avif  # noqa: F401
        if "AVIF" not in Image.SAVE:
            raise UserError("AVIF cannot be written by the Pillow installed here.", "Choose PNG, WebP or JPEG.")


def save(image: Image.Image, path: Path, options: CropOptions) -> None:
    """Write a crop in the chosen format."""
    settings: dict[str, dict[str, Any]] = {
        "png": {"format": "PNG"},
        "jpg": {"format": "JPEG", "quality": options.quality, "subsampling": 0},
        "webp": {"format": "WEBP", "quality": options.quality},
        "avif": {"format": "AVIF", "quality": options.quality, "subsampling": "4:4:4"},
    }
    with opened(path, "xb") as file:
        image.save(file, **settings[options.format])
