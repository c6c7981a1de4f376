"""About how much graphics memory a training takes: said before it starts. (The trainer itself measures, and splits batches that do not fit.)"""

from __future__ import annotations

from .config import TrainingConfig

#: parameters of UNet, text encoders and VAE together
PARAMETERS = {"sd1": 1_066_000_000, "sd2": 1_290_000_000, "sdxl": 3_470_000_000}
# Bytes that the backward pass keeps for one picture of the family's own size, in 16 bits, with the LoRA on every linear layer of the
# transformers. Counted on the published shapes: the sizes of all tensors that autograd saves in one forward pass.
KEPT = {"sd1": (940_000_000, 156_000_000), "sd2": (2_100_000_000, 348_000_000), "sdxl": (6_840_000_000, 573_000_000)}
OWN_SIZE = {"sd1": 512 * 512, "sd2": 768 * 768, "sdxl": 1024 * 1024}
# What the allocator cannot use, and what a checkpointed block needs again while it is computed a second time.
ROOM, ROOM_CHECKPOINTED = 1.25, 1.9
#: the driver's own share
CONTEXT = 800_000_000
#: the LoRA in 32 bits, its gradient and the optimizer's two averages
BYTES_PER_LORA_PARAMETER = 16
SMALLEST = 256


def needed(config: TrainingConfig, family: str, lora_parameters: int) -> int:
    """Bytes, about; 0 for sizes that only tiny models train at, and for what runs on no graphics card."""
    if family not in KEPT or max(config.resolution) < SMALLEST or config.device == "cpu":
        return 0
    width = 2 if config.precision == "fp32" else 1
    weights = PARAMETERS[family] * (1 if config.fp8_base else 2 * width)
    pictures = config.batch_size * config.resolution[0] * config.resolution[1] / OWN_SIZE[family]
    kept = KEPT[family][config.gradient_checkpointing] * (ROOM_CHECKPOINTED if config.gradient_checkpointing else ROOM)
    return round(CONTEXT + weights + BYTES_PER_LORA_PARAMETER * lora_parameters + width * pictures * kept)
