"""The UNet's transformer blocks compiled by torch (regional compilation): slower to start, quicker afterwards.

The blocks hold most of the work and come in few shapes, so compiling them takes a minute, where the whole UNet would take many.
Everything around them (checkpointing, adapters switched off and on, buckets of all sizes) stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

BLOCKS = ("BasicTransformerBlock",)
#: kinds of one block: three widths, with and without LoRA, gradients, checkpointing
MOST_KINDS = 64
#: compiled code rounds elsewhere: how far its gradients may be off, as a share of their length, by the precision of the run
ALLOWED = {torch.float32: 0.01, torch.float16: 0.1, torch.bfloat16: 0.1}
#: rehearsals of which the last must be right: one compiles, one records the graphs, one replays them
REHEARSALS = 3


def compile_blocks(unet: nn.Module, kind: str, gradients: Callable[[], torch.Tensor], dtype: torch.dtype) -> str:
    """Compile every transformer block in place; `gradients` runs a step and gives all its gradients in one vector.

    kind: "blocks", or "graphs" to record them as CUDA graphs too, one for each bucket.
    Returns "" when they compute the same afterwards; else the reason, and the blocks are as before.
    """
    device = next(unet.parameters()).device
    if kind == "graphs" and device.type != "cuda":
        return "CUDA graphs need an NVIDIA card"
    expected = gradients()
    try:
        _trial(device)
        _compile(unet, kind)
        for _ in range(REHEARSALS):
            found = gradients()
    except Exception as error:  # whatever a compiler, or its installation, may raise
        lines = str(error).strip().splitlines()
        reason = lines[0][:200] if lines else type(error).__name__
    else:
        if bool((found - expected).norm() <= ALLOWED[dtype] * expected.norm()):
            return ""
        reason = "compiled, it computes something else"
    undo(unet)
    return reason


def _trial(device: torch.device) -> None:
    """Compile a layer: that shows at once whether there is a compiler (Triton on a graphics card, a C++ compiler on a processor)."""
    layer = nn.Linear(8, 8).to(device)
    torch.compile(lambda x: nn.functional.gelu(layer(x)))(torch.zeros(2, 8, device=device)).sum().backward()


def _compile(unet: nn.Module, kind: str) -> None:
    import torch._dynamo

    settings: Any = torch._dynamo.config
    settings.cache_size_limit = max(settings.cache_size_limit, MOST_KINDS)
    graphs = {"mode": "reduce-overhead", "dynamic": False} if kind == "graphs" else {}
    for block in _blocks(unet):
        block.compile(**graphs)


def undo(unet: nn.Module) -> None:
    for block in _blocks(unet):
        block._compiled_call_impl = None


def _blocks(unet: nn.Module) -> list[Any]:
    return [module for module in unet.modules() if type(module).__name__ in BLOCKS]


def new_step() -> None:
    """What the recorded graphs of the step before left may be written over."""
    torch.compiler.cudagraph_mark_step_begin()
