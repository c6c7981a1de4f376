"""Block weights: factors on the learning rate of the UNet's blocks, counted and written as sd-scripts does."""

from __future__ import annotations

import math
import re

from lora_studio.errors import UserError
from lora_studio.training.config import TrainingConfig

#: how many down, middle and up blocks a family has, counted by the layers' names
COUNTS = {"sd1": (12, 1, 12), "sd2": (12, 1, 12), "sdxl": (9, 3, 9)}
_PLACE = re.compile(r"lora_unet_(up|down)_blocks_(\d+)_(resnets|upsamplers|downsamplers|attentions)_(\d+)_")
_SDXL_PLACE = re.compile(r"lora_unet_(input_blocks|middle_block|output_blocks)_(\d+)_")


def block_of(name: str, family: str) -> tuple[str, int] | None:
    """("down" | "mid" | "up", number) of a UNet module by kohya's name; None for one outside the blocks.

    SD1's first down block holds no LoRA, so its numbers begin at 1.
    """
    if family == "sdxl":
        if not (match := _SDXL_PLACE.match(name)):
            return None
        return {"input_blocks": "down", "middle_block": "mid", "output_blocks": "up"}[match[1]], int(match[2])
    if name.startswith("lora_unet_mid_block_"):
        return "mid", 0
    if not (match := _PLACE.match(name)):
        return None
    index = 3 * int(match[2]) + (2 if match[3].endswith("samplers") else int(match[4]))
    return match[1], index + (match[1] == "down")


def weight_of_block(config: TrainingConfig, family: str) -> dict[tuple[str, int], float]:
    """The factor of every block. Raises UserError where there are not as many numbers as blocks."""
    weights: dict[tuple[str, int], float] = {}
    texts = {"down": config.down_lr_weight, "mid": config.mid_lr_weight, "up": config.up_lr_weight}
    for (side, text), count in zip(texts.items(), COUNTS[family], strict=True):
        numbers = _numbers(text, count)
        if len(numbers) != count:
            raise UserError(
                f"{side}_lr_weight has {len(numbers)} numbers; this base model has {count} {side} blocks.",
                "Give one number a block, or leave it empty.",
            )
        weights.update({(side, k): n for k, n in enumerate(numbers)})
    return weights


def _numbers(text: str, count: int) -> list[float]:
    name, _, base = text.strip().partition("+")
    if not text.strip():
        return [1.0] * count
    if name not in CURVES:
        return [float(part or 0.0) for part in text.split(",")]
    return [CURVES[name](k / (count - 1)) + float(base or 0.0) for k in range(count)]


#: sd-scripts' named curves over the way from the first block (0) to the last (1)
CURVES = {
    "cosine": lambda x: math.sin(math.pi * (1.0 - x) / 2.0),
    "sine": lambda x: math.sin(math.pi * x / 2.0),
    "linear": lambda x: x,
    "reverse_linear": lambda x: 1.0 - x,
    "zeros": lambda x: 0.0,
}
