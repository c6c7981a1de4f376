"""Where a picture's mask is, if it has one."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from .images import open_image

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg", ".bmp")


def mask_beside(picture: Path, folder: str) -> Path | None:
    """The mask of a picture: the file of its name in the masks' folder; None where there is none."""
    if not folder:
        return None
    return next((path for suffix in SUFFIXES if (path := Path(folder) / (picture.stem + suffix)).is_file()), None)


def has_mask(picture: Path, folder: str) -> bool:
    """Whether a picture has a mask file or transparency of its own; its header alone is read."""
    if mask_beside(picture, folder) is not None:
        return True
    try:
        with open_image(picture) as image:
            return image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info
    except UserError:
        return False
