"""The LoRA: where its matrices sit, what kohya calls them, and putting a finished file into a model."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoraConfig, inject_adapter_in_model
from torch import nn

from lora_studio.errors import UserError
from lora_studio.trainer import ldm_keys
from lora_studio.trainer.models import BaseModel, open_checkpoint
from lora_studio.training.config import TrainingConfig

ADAPTER = "default"


@dataclass(frozen=True)
class LoraShape:
    """Rank and alpha; ``conv_dim`` above 0 adapts the UNet's residual blocks and samplers too (LoCon), its 3x3 convolutions at that rank."""

    dim: int
    alpha: float
    conv_dim: int = 0
    conv_alpha: float = 1.0

    @classmethod
    def of(cls, config: TrainingConfig) -> LoraShape:
        return cls(config.network_dim, config.network_alpha, config.conv_dim, config.conv_alpha)

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

    @property
    def down(self) -> nn.Parameter:
        weight: nn.Parameter = self.module.lora_A[ADAPTER].weight
        return weight

    @property
    def up(self) -> nn.Parameter:
        weight: nn.Parameter = self.module.lora_B[ADAPTER].weight
        return weight


class Network:
    """The LoRA inside a model. Each part's matrices are views into one flat float32 tensor, so that clipping, the
    optimizer and the saved state handle one tensor instead of hundreds.
    """

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers
        self.flat: dict[str, nn.Parameter] = {}
        for part in ("unet", "text"):
            parameters = [p for layer in layers if layer.part == part for p in (layer.down, layer.up)]
            if parameters:
                self.flat[part] = _flatten(parameters)

    @property
    def parameters(self) -> int:
        return sum(flat.numel() for flat in self.flat.values())

    def matrices(self, part: str) -> list[nn.Parameter]:
        """Each matrix of a part for itself: views into its flat tensor."""
        return [p for layer in self.layers if layer.part == part for p in (layer.down, layer.up)]

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
        paths = unet_targets(model.unet, shape.conv_dim > 0)
        alphas = _inject(model.unet, paths, shape)
        layers += [
            Layer(unet_name(p, model.family, model.unet.config), "unet", model.unet.get_submodule(p), alphas[p]) for p in paths
        ]
    if text:
        for index, encoder in enumerate(model.text_encoders):
            paths = text_targets(encoder)
            alphas = _inject(encoder, paths, shape)
            layers += [Layer(text_name(p, model.family, index), "text", encoder.get_submodule(p), alphas[p]) for p in paths]
    generator = torch.Generator("cpu").manual_seed(seed)
    with torch.no_grad():
        for layer in layers:
            if layer.down.is_meta:
                continue
            bound = 1.0 / math.sqrt(layer.down[0].numel())
            start = torch.empty(layer.down.shape).uniform_(-bound, bound, generator=generator)
            layer.down.data = start.to(layer.down.device)
            layer.up.data = torch.zeros_like(layer.up, dtype=torch.float32)
            if _adds_up_cheaply(layer):
                layer.module.forward = types.MethodType(_summed_forward, layer.module)
    return Network(layers)


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


def _adds_up_cheaply(layer: Layer) -> bool:
    """Whether W + scale * up @ down is computed faster than the two thin products beside W.

    The sum needs the gradient of a whole weight, about `in * out` multiplications a token, against
    `3 * rank * (in + out)`; but it is one operation instead of five, which decides on small layers: measured on the
    demo model, a step takes 189 ms instead of 246 ms. Only in float32: half precision would round the change away.
    """
    weight = layer.module.base_layer.weight
    outputs, inputs = weight.shape[0], weight[0].numel()
    return weight.dtype == torch.float32 and inputs * outputs <= 9 * layer.down.shape[0] * (inputs + outputs)


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
