"""In which order a picture's numbers lie in memory: channels last suits some graphics cards' convolutions, and costs others time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lora_studio.untrusted import mapping, refuse

#: steps that are run to warm up, and that are timed
WARM, TIMED = 1, 2
#: share of the time that must be won: below, it is noise
LEAST_GAIN = 0.05


def channels_last(values: Any) -> bool:
    """What layout.json says. Raises RefusedError where it says something else."""
    found = mapping(values, "The run's layout.json").get("channels_last")
    if not isinstance(found, bool):
        raise refuse("The run's layout.json", found, "is neither true nor false")
    return found


def lay_out(unet: nn.Module, last: bool) -> None:
    """Turn the frozen convolution weights; what flows through the model follows them. The LoRA's stay, they are views into one vector."""
    order = torch.channels_last if last else torch.contiguous_format
    for module in unet.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.requires_grad:
            module.weight.data = module.weight.data.contiguous(memory_format=order)


def find_quicker(unet: nn.Module, step: Callable[[], Any], settle: Callable[[], Any]) -> bool:
    """Time a step both ways and leave the model in the quicker one; returns whether that is channels last.

    `settle` waits until the device has done all that `step` asked of it.
    """
    seconds = []
    for last in (False, True):
        lay_out(unet, last)
        for _ in range(WARM):
            step()
        settle()
        began = time.perf_counter()
        for _ in range(TIMED):
            step()
        settle()
        seconds.append(time.perf_counter() - began)
    chosen = seconds[1] < (1.0 - LEAST_GAIN) * seconds[0]
    lay_out(unet, chosen)
    return chosen
