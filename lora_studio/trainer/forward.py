"""How an adapted layer computes: the quick way where it is one, and with parts of the LoRA left out at random."""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from lora_studio.trainer.eight_bit import is_stored

ADAPTER = "default"


@dataclass
class Dropout:
    """What is left out while `active`, as in sd-scripts: of the inner values (`network`), the ranks (`rank`), whole layers (`module`).

    The draws come from torch's own generator, which gradient checkpointing restores when it computes a block again;
    whoever trains seeds it for each batch.
    """

    network: float = 0.0
    rank: float = 0.0
    module: float = 0.0
    active: bool = False

    @property
    def any(self) -> bool:
        return max(self.network, self.rank, self.module) > 0


def choose_forward(module: Any, dropout: Dropout) -> None:
    """Replace the forward of peft's layer where another one is needed or quicker."""
    if dropout.any:
        module.lora_studio_dropout = dropout
        module.forward = types.MethodType(_dropout_forward, module)
    elif _adds_up_cheaply(module):
        module.forward = types.MethodType(_summed_forward, module)


def _adds_up_cheaply(module: Any) -> bool:
    """Whether W + scale * up @ down is computed faster than the two thin products beside W.

    The sum needs the gradient of a whole weight, about `in * out` multiplications a token, against
    `3 * rank * (in + out)`; but it is one operation instead of five, which decides on small layers: measured on the
    demo model, a step takes 189 ms instead of 246 ms. Only in float32: half precision would round the change away.
    """
    weight = module.base_layer.weight
    if is_stored(module.base_layer):
        return False
    outputs, inputs = weight.shape[0], weight[0].numel()
    rank = module.lora_A[ADAPTER].weight.shape[0]
    return bool(weight.dtype == torch.float32 and inputs * outputs <= 9 * rank * (inputs + outputs))


def _summed_forward(self: Any, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    base = self.base_layer
    if self._disable_adapters:
        answer: torch.Tensor = base(x)
        return answer
    up, down = self.lora_B[ADAPTER].weight, self.lora_A[ADAPTER].weight
    weight = torch.addmm(base.weight.flatten(1), up.flatten(1), down.flatten(1), alpha=self.scaling[ADAPTER])
    if base.weight.ndim == 2:
        return F.linear(x, weight, base.bias)
    return F.conv2d(x, weight.view(base.weight.shape), base.bias, base.stride, base.padding)


def _dropout_forward(self: Any, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    answer: torch.Tensor = self.base_layer(x)
    dropout: Dropout = self.lora_studio_dropout
    if self._disable_adapters or (dropout.active and dropout.module and float(torch.rand(())) < dropout.module):
        return answer
    down, up = self.lora_A[ADAPTER], self.lora_B[ADAPTER]
    inner, scale = down(x.to(down.weight.dtype)), self.scaling[ADAPTER]
    if dropout.active:
        inner = F.dropout(inner, p=dropout.network)
        if dropout.rank:
            ranks = inner.shape[1] if inner.ndim == 4 else inner.shape[-1]
            kept = torch.rand((len(inner), ranks), device=inner.device) > dropout.rank
            inner = inner * (kept[:, :, None, None] if inner.ndim == 4 else kept[:, None] if inner.ndim == 3 else kept)
            scale = scale / (1.0 - dropout.rank)
    return answer + (up(inner) * scale).to(answer.dtype)
