"""The LoRA in a model: where its matrices sit, what kohya calls them, and all of them as few flat tensors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from lora_studio.trainer import blocks, ldm_keys
from lora_studio.trainer.forward import ADAPTER, Dropout, choose_forward
from lora_studio.trainer.models import BaseModel
from lora_studio.training.config import TrainingConfig


@dataclass(frozen=True)
class LoraShape:
    """Rank and alpha; ``conv_dim`` above 0 adapts the UNet's residual blocks and samplers too (LoCon), its 3x3 convolutions at that rank.

    ``block_weights``: factors on the learning rate by block (see `blocks.block_of`); a block with 0 has no LoRA at all.
    """

    dim: int
    alpha: float
    conv_dim: int = 0
    conv_alpha: float = 1.0
    block_weights: Mapping[tuple[str, int], float] = field(default_factory=dict)
    dropout: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def of(cls, config: TrainingConfig, family: str = "sd1") -> LoraShape:
        weighed = config.down_lr_weight or config.mid_lr_weight or config.up_lr_weight
        return cls(
            config.network_dim,
            config.network_alpha,
            config.conv_dim,
            config.conv_alpha,
            blocks.weight_of_block(config, family) if weighed else {},
            (config.network_dropout, config.rank_dropout, config.module_dropout),
        )

    def weight(self, name: str, family: str) -> float:
        """The factor on the learning rate of a UNet module, by kohya's name."""
        place = blocks.block_of(name, family)
        return 1.0 if place is None else self.block_weights.get(place, 1.0)

    def at(self, module: nn.Module) -> tuple[int, float]:
        """Rank and alpha of one layer."""
        return (self.dim, self.alpha) if _is_plain(module) else (self.conv_dim, self.conv_alpha)


def unet_targets(unet: nn.Module, convolutions: bool = False) -> list[str]:
    """Paths of every linear layer and 1x1 convolution inside the transformers: kohya's choice (192 in SD1, 722 in SDXL).

    convolutions: those of residual blocks and samplers too, 3x3 included (278 and 788).
    """
    plain = _inside(unet, {"Transformer2DModel"}, _is_plain)
    if not convolutions:
        return plain
    return plain + _inside(unet, {"ResnetBlock2D", "Downsample2D", "Upsample2D"}, lambda m: isinstance(m, (nn.Linear, nn.Conv2d)))


def text_targets(encoder: nn.Module) -> list[str]:
    """Paths of the linear layers of attention and MLP (72 in CLIP-L, 192 in OpenCLIP bigG)."""
    return _inside(encoder, {"CLIPAttention", "CLIPSdpaAttention", "CLIPFlashAttention2", "CLIPMLP"}, _is_plain)


def _inside(model: nn.Module, parents: set[str], wanted: Callable[[nn.Module], bool]) -> list[str]:
    paths: dict[str, None] = {}
    for parent, module in model.named_modules():
        if type(module).__name__ in parents:
            for name, child in module.named_modules():
                if wanted(child):
                    paths[f"{parent}.{name}"] = None
    return list(paths)


def _is_plain(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1))


def unet_name(path: str, family: str, config: Mapping[str, Any]) -> str:
    """kohya's name of a UNet module: diffusers' path for SD1 and SD2, the original (SAI) path for SDXL."""
    return "lora_unet_" + (ldm_keys.unet_path(path, config) if family == "sdxl" else path).replace(".", "_")


def text_name(path: str, family: str, index: int) -> str:
    prefix = f"lora_te{index + 1}_" if family == "sdxl" else "lora_te_"
    return prefix + path.replace(".", "_")


@dataclass
class Layer:
    """One adapted module: kohya's name and its two matrices (down: rank x in, up: out x rank; 4-D for convolutions)."""

    name: str
    part: str  # "unet" or "text"
    module: Any
    alpha: float
    lr_weight: float = 1.0

    @property
    def group(self) -> str:
        """What shares one learning rate."""
        return self.part if self.lr_weight == 1.0 else f"{self.part} x{self.lr_weight:g}"

    @property
    def scale(self) -> float:
        return self.alpha / self.down.shape[0]

    @property
    def down(self) -> nn.Parameter:
        weight: nn.Parameter = self.module.lora_A[ADAPTER].weight
        return weight

    @property
    def up(self) -> nn.Parameter:
        weight: nn.Parameter = self.module.lora_B[ADAPTER].weight
        return weight


class Network:
    """The LoRA inside a model. The matrices of each group (what shares a learning rate) are views into one flat float32
    tensor, so that clipping, the optimizer and the saved state handle one tensor instead of hundreds.
    """

    def __init__(self, layers: list[Layer], dropout: Dropout | None = None) -> None:
        self.layers = layers
        self.dropout = dropout or Dropout()
        self.flat: dict[str, nn.Parameter] = {}
        #: of each group its part ("unet" or "text") and its factor on that part's learning rate
        self.groups: dict[str, tuple[str, float]] = {layer.group: (layer.part, layer.lr_weight) for layer in layers}
        for group in self.groups:
            self.flat[group] = _flatten(self.matrices(group))

    @property
    def parameters(self) -> int:
        return sum(flat.numel() for flat in self.flat.values())

    def has(self, part: str) -> bool:
        return any(part == own for own, _ in self.groups.values())

    def matrices(self, group: str) -> list[nn.Parameter]:
        """Each matrix of a group for itself: views into its flat tensor."""
        return [p for layer in self.layers if layer.group == group for p in (layer.down, layer.up)]

    @torch.no_grad()
    def limit_norms(self, limit: float) -> torch.Tensor:
        """Shrink every layer whose change of the base (scale * up @ down) has a Frobenius norm above `limit` (sd-scripts' max norm).

        Returns three numbers on the device: how many were shrunk, the mean and the largest norm afterwards.
        """
        # |U D|^2 is the sum of (U'U) * (D D'): no product of the weight's own size
        norms = torch.stack([layer.scale * _product_norm(layer.up, layer.down) for layer in self.layers])
        ratios = (limit / norms.clamp(min=limit)).sqrt()
        torch._foreach_mul_([m for layer in self.layers for m in (layer.up.data, layer.down.data)], list(ratios.repeat_interleave(2)))
        bounded = norms.clamp(max=limit)
        return torch.stack([(ratios < 1.0).sum().to(norms.dtype), bounded.mean(), bounded.max()])

    def finite(self) -> bool:
        return all(bool(torch.isfinite(flat).all()) for flat in self.flat.values())

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """The base model as it is, adapters off."""
        for layer in self.layers:
            layer.module._disable_adapters = True
        try:
            yield
        finally:
            for layer in self.layers:
                layer.module._disable_adapters = False

    def zero_grad(self) -> None:
        for flat in self.flat.values():
            assert flat.grad is not None
            flat.grad.zero_()


def _product_norm(up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    up, down = up.flatten(1), down.flatten(1)
    return ((up.T @ up) * (down @ down.T)).sum().clamp(min=0.0).sqrt()


def _flatten(parameters: list[nn.Parameter]) -> nn.Parameter:
    flat = nn.Parameter(torch.cat([p.detach().float().reshape(-1) for p in parameters]))
    flat.grad = torch.zeros_like(flat)
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        shape = parameter.shape
        parameter.data = flat.data[start:end].view(shape)
        # autograd adds into an existing gradient in place: these views stay the flat tensor's gradient
        parameter.grad = flat.grad[start:end].view(shape)
        start = end
    return flat


def attach(model: BaseModel, shape: LoraShape, seed: int, *, unet: bool = True, text: bool = True) -> Network:
    """Put a fresh LoRA into the model: down kaiming-uniform from `seed`, up zero (kohya's and peft's start)."""
    layers: list[Layer] = []
    if unet:
        names = {p: unet_name(p, model.family, model.unet.config) for p in unet_targets(model.unet, shape.conv_dim > 0)}
        weights = {p: shape.weight(name, model.family) for p, name in names.items()}
        paths = [p for p in names if weights[p] > 0]
        alphas = _inject(model.unet, paths, shape)
        layers += [Layer(names[p], "unet", model.unet.get_submodule(p), alphas[p], weights[p]) for p in paths]
    if text:
        for index, encoder in enumerate(model.text_encoders):
            paths = text_targets(encoder)
            alphas = _inject(encoder, paths, shape)
            layers += [Layer(text_name(p, model.family, index), "text", encoder.get_submodule(p), alphas[p]) for p in paths]
    generator = torch.Generator("cpu").manual_seed(seed)
    dropout = Dropout(*shape.dropout)
    with torch.no_grad():
        for layer in layers:
            if layer.down.is_meta:
                continue
            bound = 1.0 / math.sqrt(layer.down[0].numel())
            start = torch.empty(layer.down.shape).uniform_(-bound, bound, generator=generator)
            layer.down.data = start.to(layer.down.device)
            layer.up.data = torch.zeros_like(layer.up, dtype=torch.float32)
            choose_forward(layer.module, dropout)
    return Network(layers, dropout)


def _inject(module: nn.Module, paths: list[str], shape: LoraShape) -> dict[str, float]:
    """Adapt the layers at these paths; returns each one's alpha."""
    sizes = {path: shape.at(module.get_submodule(path)) for path in paths}
    special = {path: size for path, size in sizes.items() if size != (shape.dim, shape.alpha)}
    config = LoraConfig(
        r=shape.dim,
        lora_alpha=shape.alpha,
        target_modules=paths,
        init_lora_weights=True,
        # peft reads the keys as patterns that end a path
        rank_pattern={"^" + re.escape(path): rank for path, (rank, _) in special.items()},
        alpha_pattern={"^" + re.escape(path): alpha for path, (_, alpha) in special.items()},
    )
    inject_adapter_in_model(config, module, adapter_name=ADAPTER)
    return {path: alpha for path, (_, alpha) in sizes.items()}
