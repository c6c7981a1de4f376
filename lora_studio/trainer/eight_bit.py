"""Frozen weights kept in 8 bits (float8_e4m3fn): half the memory of 16, computed in the run's own precision.

Every row of a weight (one output of the layer) has a scale of its own, so that its largest value uses the whole range of the
format; what is left is a relative error of at most 1/16 a weight. The whole weight exists only while its layer computes: the
backward pass makes it again from the 8 bits, where autograd by itself would keep every one of them until then.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from lora_studio.errors import UserError

STORAGE = torch.float8_e4m3fn
SCALE = "lora_studio_scale"
#: what a model of many layers is made of, by the names in diffusers and transformers; the rest (embeddings, first and last layer) is small
STACKS = ("down_blocks", "mid_block", "up_blocks", "text_model.encoder")


def allowed(device: torch.device) -> bool:
    """Whether a device can turn these numbers into others."""
    try:
        torch.ones(1).to(STORAGE).to(device).to(torch.float32)
    except (RuntimeError, TypeError):
        return False
    return True


def store(model: nn.Module, dtype: torch.dtype, device: torch.device) -> int:
    """Turn the linear and convolution weights inside the model's stacks into 8 bits on `device`, in place; they compute in `dtype`.

    One layer after the other, so that the whole model never lies there in 16 bits. Returns how many layers it were.
    Afterwards the model must not be converted to another dtype, only moved.
    Raises UserError where the device has no such numbers.
    """
    if not allowed(device):
        raise UserError(f"This device ({device}) cannot keep the base model in 8 bits.", "Turn fp8_base off.")
    layers = list(_layers(model))
    for layer in layers:
        _store(layer, dtype, device)
    return len(layers)


def is_stored(layer: nn.Module) -> bool:
    return hasattr(layer, SCALE)


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    for path in STACKS:
        try:
            stack = model.get_submodule(path)
        except AttributeError:
            continue
        yield from (m for m in stack.modules() if isinstance(m, (nn.Linear, nn.Conv2d)) and not m.weight.requires_grad)


def _store(layer: Any, dtype: torch.dtype, device: torch.device) -> None:
    weight = layer.weight.detach().to(device)
    largest = weight.flatten(1).float().abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
    scale = largest / torch.finfo(STORAGE).max
    rows = scale.view(-1, *[1] * (weight.ndim - 1))
    layer.weight = nn.Parameter((weight.float() / rows).to(STORAGE), requires_grad=False)
    layer.register_buffer(SCALE, rows.to(dtype), persistent=False)
    layer.forward = types.MethodType(_linear if isinstance(layer, nn.Linear) else _convolution, layer)


def _linear(self: Any, x: torch.Tensor) -> torch.Tensor:
    scale = getattr(self, SCALE)
    answer: torch.Tensor = _Linear.apply(x.to(scale.dtype), self.weight, scale)
    return answer if self.bias is None else answer + self.bias


def _convolution(self: Any, x: torch.Tensor) -> torch.Tensor:
    scale = getattr(self, SCALE)
    answer: torch.Tensor = _Convolution.apply(x.to(scale.dtype), self.weight, scale, (self.stride, self.padding, self.dilation, self.groups))
    return answer if self.bias is None else answer + self.bias[:, None, None]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(weight, scale)
        return F.linear(x, weight.to(scale.dtype) * scale)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        weight, scale = ctx.saved_tensors
        return gradient.to(scale.dtype) @ (weight.to(scale.dtype) * scale), None, None


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, how: tuple[Any, ...]) -> torch.Tensor:
        ctx.save_for_backward(weight, scale)
        ctx.shape, ctx.how = x.shape, how
        return F.conv2d(x, weight.to(scale.dtype) * scale, None, *how)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        weight, scale = ctx.saved_tensors
        whole = weight.to(scale.dtype) * scale
        return torch.nn.grad.conv2d_input(ctx.shape, whole, gradient.to(scale.dtype), *ctx.how), None, None, None
