"""The UNet's transformer blocks compiled by torch (regional compilation): slower to start, quicker afterwards.

The blocks hold most of the work and come in few shapes, so compiling them takes a minute, where the whole UNet would take many.
Everything around them (checkpointing, adapters switched off and on, buckets of all sizes) stays as it is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

BLOCKS = ("BasicTransformerBlock",)
#: kinds of one block: three widths, with and without LoRA, gradients, checkpointing
MOST_KINDS = 64


def compile_blocks(unet: nn.Module, device: torch.device) -> str:
    """Compile every transformer block in place, when it first runs; "" or the reason why it cannot be done here.

    A block that cannot be compiled after all is run as it is.
    """
    reason = _trial(device)
    if not reason:
        settings = _settings()
        settings.suppress_errors = True
        settings.cache_size_limit = max(settings.cache_size_limit, MOST_KINDS)
        for block in unet.modules():
            if type(block).__name__ in BLOCKS:
                block.compile()
    return reason


def _trial(device: torch.device) -> str:
    """Compile a layer: that shows whether there is a compiler (Triton on a graphics card, a C++ compiler on a processor)."""
    layer = nn.Linear(8, 8).to(device)
    try:
        torch.compile(lambda x: nn.functional.gelu(layer(x)))(torch.zeros(2, 8, device=device)).sum().backward()
    except Exception as error:  # whatever a compiler's own installation may raise
        return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return ""


def _settings() -> Any:
    import torch._dynamo

    return torch._dynamo.config
