"""A forward pass of the base model before anything depends on it: some cards compute no numbers in half precision."""

from __future__ import annotations

from dataclasses import replace

import torch

from lora_studio.trainer import eight_bit
from lora_studio.trainer.guard import out_of_memory, release_memory
from lora_studio.trainer.models import BaseModel
from lora_studio.trainer.sampling import autocast
from lora_studio.trainer.text import encode_prompts, predict
from lora_studio.training import memory
from lora_studio.training.config import TrainingConfig

#: noise levels that are tried: nearly none, half, nearly all
LEVELS = (20, 500, 980)
#: steps in which a loss that is no number comes from the precision: the rate has changed next to nothing yet
FIRST_STEPS = 10


@torch.no_grad()
def gives_numbers(model: BaseModel, size: tuple[int, int]) -> bool:
    """Whether the model answers with finite numbers, as it is, in its own precision, for one picture of `size` (pixels, width and height).

    Where memory is too short to find out, it counts as yes: that has cures of its own.
    """
    width, height = size
    generator = torch.Generator("cpu").manual_seed(0)
    noise = torch.randn((1, 4, max(1, height // 8), max(1, width // 8)), generator=generator).to(model.device)
    try:
        with autocast(model):
            text = encode_prompts(model, [""])
            for level in LEVELS:
                steps = torch.full((1,), level, device=model.device, dtype=torch.long)
                if not bool(torch.isfinite(predict(model, noise.to(model.dtype), steps, text).float()).all()):
                    return False
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        release_memory()
    return True


def needs_8_bits(config: TrainingConfig, family: str, device: torch.device) -> bool:
    """Whether a graphics card has no room for the base model in float32, even with one picture at a time and gradient checkpointing."""
    if device.type != "cuda":
        return False
    smallest = replace(config, precision="fp32", fp8_base=False, batch_size=1, gradient_checkpointing=True)
    free, _ = torch.cuda.mem_get_info(device)
    return memory.needed(smallest, family, 0) > free and eight_bit.allowed(device)
