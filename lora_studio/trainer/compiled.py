"""The UNet's transformer blocks compiled by torch (regional compilation): slower to start, quicker afterwards.

The blocks hold most of the work and come in few shapes, so compiling them takes a minute, where the whole UNet would take many.
Everything around them (checkpointing, adapters switched off and on, buckets of all sizes) stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from lora_studio import cards
from lora_studio.cards import Card

BLOCKS = ("BasicTransformerBlock",)
#: kinds of one block: three widths, with and without LoRA, gradients, checkpointing
MOST_KINDS = 64
#: compiled code rounds elsewhere: how far its gradients may be off, as a share of their length, by the precision of the run
ALLOWED = {torch.float32: 0.01, torch.float16: 0.1, torch.bfloat16: 0.1}
#: rehearsals of which the last must be right: one compiles, one records the graphs, one replays them
REHEARSALS = 3


def why(kind: str, device: torch.device, card: Card | None) -> str:
    """Why blocks are not compiled there, in words; "" where it is worth a try."""
    if kind == "graphs" and device.type != "cuda":
        return "CUDA graphs need an NVIDIA card"
    if card is not None and not torch.version.hip and (0, 0) < card.capability < cards.TRITON_FROM:
        return f"Triton, which compiles, needs compute capability {cards.TRITON_FROM[0]}.{cards.TRITON_FROM[1]}: the {card.words} is too old"
    missing = [name for name, place in NEEDED[kind] if not hasattr(place(), name)]
    return f"PyTorch {torch.__version__.split('+')[0]} has no {', '.join(missing)}" if missing else ""


def compile_blocks(unet: nn.Module, kind: str, gradients: Callable[[], torch.Tensor], dtype: torch.dtype) -> str:
    """Compile every transformer block in place; `gradients` runs a step and gives all its gradients in one vector.

    kind: "blocks", or "graphs" to record them as CUDA graphs too, one for each bucket.
    Returns "" when they compute the same afterwards; else the reason, and the blocks are as before.
    """
    device = next(unet.parameters()).device
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


#: what torch has to have for each kind: graphs of training steps came with 2.2
NEEDED: dict[str, list[tuple[str, Callable[[], Any]]]] = {
    "blocks": [("compile", lambda: nn.Module)],
    "graphs": [("compile", lambda: nn.Module), ("cudagraph_mark_step_begin", lambda: torch.compiler)],
}


def _trial(device: torch.device) -> None:
    """Compile a layer: that shows at once whether there is a compiler (Triton on a graphics card, a C++ compiler on a processor)."""
    layer = nn.Linear(8, 8).to(device)
    torch.compile(lambda x: nn.functional.gelu(layer(x)))(torch.zeros(2, 8, device=device)).sum().backward()


def _compile(unet: nn.Module, kind: str) -> None:
    import torch._dynamo

    settings: Any = torch._dynamo.config
    for limit in ("recompile_limit", "cache_size_limit"):  # its name since torch 2.6, and before
        if hasattr(settings, limit):
            setattr(settings, limit, max(getattr(settings, limit), MOST_KINDS))
            break
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
