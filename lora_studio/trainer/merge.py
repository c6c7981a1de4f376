"""Finished LoRA files: reading them, and putting one into a model for a while."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from lora_studio.errors import UserError
from lora_studio.trainer.models import BaseModel, open_checkpoint
from lora_studio.trainer.network import text_name, unet_name


@dataclass(frozen=True)
class MergeReport:
    """Which modules of a LoRA file found their place in the model."""

    matched: tuple[str, ...]
    unmatched: tuple[str, ...]


def named_modules(model: BaseModel) -> dict[str, nn.Module]:
    """Every linear and convolution layer of the model under each name a LoRA file may use for it."""
    found: dict[str, nn.Module] = {}
    for path, module in model.unet.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)) and ".lora_" not in path:
            path = path.removesuffix(".base_layer")
            found["lora_unet_" + path.replace(".", "_")] = module
            found[unet_name(path, "sdxl", model.unet.config)] = module
    for index, encoder in enumerate(model.text_encoders):
        for path, module in encoder.named_modules():
            if isinstance(module, nn.Linear) and ".lora_" not in path:
                path = path.removesuffix(".base_layer")
                found[text_name(path, model.family, index)] = module
                if model.family != "sdxl":
                    found["lora_te1_" + path.replace(".", "_")] = module
    return found


def read_lora(path: str | Path) -> dict[str, dict[str, torch.Tensor]]:
    """A kohya file as module name -> {"lora_down.weight", "lora_up.weight", "alpha"}; UserError if it is none."""
    path = Path(path)
    modules: dict[str, dict[str, torch.Tensor]] = {}
    with open_checkpoint(path) as file:
        names = file.keys()
        for key in names:
            name, _, rest = key.partition(".")
            modules.setdefault(name, {})[rest] = file.get_tensor(key)
    if not any("lora_up.weight" in parts for parts in modules.values()):
        raise UserError(f"{path.name} is not a LoRA in kohya's format.", "Choose a LoRA that this program or sd-scripts made.")
    return modules


@contextmanager
def merged(model: BaseModel, lora_path: str | Path, weight: float = 1.0) -> Iterator[MergeReport]:
    """Inside the block the model's weights include `weight` times the LoRA; afterwards they are what they were, to the bit.

    Adds alpha / rank * up @ down to each matched weight, as the WebUI does.
    """
    modules = named_modules(model)
    originals: list[tuple[nn.Parameter, torch.Tensor]] = []
    matched, unmatched = [], []
    try:
        with torch.no_grad():
            for name, parts in read_lora(lora_path).items():
                module = modules.get(name)
                change = None if module is None else _change(parts, module.weight)
                if module is None or change is None:
                    unmatched.append(name)
                    continue
                target: nn.Parameter = module.weight
                originals.append((target, target.detach().clone()))
                target.copy_((target.float() + weight * change).to(target.dtype))
                matched.append(name)
        yield MergeReport(tuple(matched), tuple(unmatched))
    finally:
        with torch.no_grad():
            for target, original in reversed(originals):
                target.copy_(original)


def _change(parts: Mapping[str, torch.Tensor], weight: torch.Tensor) -> torch.Tensor | None:
    """scale * up @ down in the weight's shape; None if the file's matrices do not fit it."""
    if "lora_up.weight" not in parts or "lora_down.weight" not in parts:
        return None
    up = parts["lora_up.weight"].to(weight.device).float().flatten(1)
    down = parts["lora_down.weight"].to(weight.device).float().flatten(1)
    if up.shape[1] != down.shape[0] or up.shape[0] * down.shape[1] != weight.numel():
        return None
    rank = down.shape[0]
    alpha = float(parts["alpha"]) if "alpha" in parts else float(rank)
    return (up @ down).reshape(weight.shape) * (alpha / rank)
