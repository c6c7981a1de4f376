"""Where a picture is learned from: masks beside the pictures, or the pictures' own transparency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from lora_studio.dataset.images import open_image


def load_mask(picture: Path, mask: Path | None, resized: tuple[int, int], box: tuple[int, int, int, int]) -> torch.Tensor | None:
    """(height, width), 0 .. 1, scaled and cropped as the picture is; None for a picture that is learned from as a whole.

    Of a mask file the red channel counts, as in sd-scripts; without one the picture's alpha.
    """
    with open_image(mask or picture) as image:
        upright = ImageOps.exif_transpose(image) or image
        if mask is None and not (upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info):
            return None
        channel = upright.convert("RGB").getchannel("R") if mask is not None else upright.convert("RGBA").getchannel("A")
    channel = channel.resize(resized, Image.Resampling.BOX if resized[0] <= channel.width else Image.Resampling.BILINEAR).crop(box)
    values = torch.from_numpy(np.array(channel, dtype=np.float32)) / 255.0
    return None if float(values.min()) >= 1.0 else values
