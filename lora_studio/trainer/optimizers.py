"""The optimizers people train LoRAs with, as a table: which class, with which arguments."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch

from lora_studio.errors import UserError
from lora_studio.failures import because
from lora_studio.training.config import TrainingConfig

PLAIN_BETAS = (0.9, 0.999)


@dataclass(frozen=True)
class Kind:
    """``cls`` "package:Class". ``betas``: its own when the run keeps AdamW's. ``finds_rate``: the learning rate only scales what it finds.

    ``by_matrix``: it looks at rows and columns, so it needs each matrix for itself instead of the LoRA as one long vector.
    """

    cls: str
    arguments: dict[str, Any] = field(default_factory=dict)
    betas: tuple[float, ...] | None = PLAIN_BETAS
    finds_rate: bool = False
    by_matrix: bool = False


# Arguments as the notebooks recommend them; classes of pytorch_optimizer, which needs nothing but torch and numpy.
KINDS: dict[str, Kind] = {
    "adamw": Kind("torch.optim:AdamW", {"fused": True}),
    "adamw8bit": Kind("bitsandbytes.optim:AdamW8bit"),
    "lion": Kind("pytorch_optimizer:Lion", betas=(0.9, 0.99)),
    "adafactor": Kind(
        "pytorch_optimizer:AdaFactor",
        {"scale_parameter": False, "relative_step": False, "warmup_init": False, "momentum_dtype": torch.float32},
        by_matrix=True,
    ),
    "prodigy": Kind("pytorch_optimizer:Prodigy", {"d_coef": 2.0, "safeguard_warmup": True}, finds_rate=True),
    "dadapt_adam": Kind("pytorch_optimizer:DAdaptAdam", {"weight_decouple": True}, finds_rate=True),
    "dadapt_lion": Kind("pytorch_optimizer:DAdaptLion", {"weight_decouple": True}, finds_rate=True),
    "came": Kind("pytorch_optimizer:CAME", betas=(0.9, 0.999, 0.9999), by_matrix=True),
    "sgd_nesterov": Kind("torch.optim:SGD", {"momentum": 0.9, "nesterov": True}, betas=None),
}


def make(config: TrainingConfig, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The optimizer of a configuration over parameter groups (each with its ``lr``).

    Raises:
        UserError: its package is not there, or an argument of ``optimizer_args`` is none of its.
    """
    kind = KINDS[config.optimizer]
    cls = _find(config.optimizer, kind)
    arguments: dict[str, Any] = {"weight_decay": config.weight_decay, **kind.arguments}
    if kind.betas is not None:
        given = tuple(config.betas)
        arguments["betas"] = kind.betas if given == PLAIN_BETAS else (*given, *kind.betas[2:])
    arguments.update(parse_arguments(config.optimizer_args))
    if arguments.get("fused") and not all(_fused_works(p.device) for group in groups for p in group["params"][:1]):
        arguments["fused"] = False
    try:
        return cls(groups, **arguments)
    except (TypeError, ValueError) as error:
        raise UserError(f"The optimizer {config.optimizer} refuses its arguments: {error}", "Correct optimizer_args, or leave them empty.") from None


@lru_cache(maxsize=8)
def _fused_works(device: torch.device) -> bool:
    """Whether a step of the fused AdamW works there; torch before 2.4 makes one for the processor and then has no code for it."""
    parameter = torch.zeros(1, device=device, requires_grad=True)
    parameter.grad = torch.zeros_like(parameter)
    try:
        torch.optim.AdamW([parameter], fused=True).step()
    except RuntimeError:
        return False
    return True


def _find(name: str, kind: Kind) -> Any:
    module, _, cls = kind.cls.partition(":")
    try:
        return getattr(importlib.import_module(module), cls)
    except ImportError as error:
        small = "Choose adamw: a LoRA is small, so 8-bit states save only a few MB."
        if not isinstance(error, ModuleNotFoundError):
            why, hint = because(error, hint="Choose adamw.")
            raise UserError(f"The optimizer {name} does not start: {why}", hint) from error
        raise UserError(
            f"The optimizer {name} needs the package {module.split('.')[0]}, which is not installed.",
            small if name == "adamw8bit" else "Install the training packages again (`lora_studio doctor` says how), or choose adamw.",
        ) from error


def parse_arguments(texts: Sequence[str]) -> dict[str, Any]:
    """``["d_coef=1.5", "betas=(0.9, 0.99)"]`` as values; texts that are no Python literal stay text.

    Raises:
        UserError: naming every text that is not key=value.
    """
    wrong = [text for text in texts if "=" not in text]
    if wrong:
        raise UserError("optimizer_args: " + ", ".join(wrong) + " is not key=value.", "For example: d_coef=1.5")
    found: dict[str, Any] = {}
    for text in texts:
        key, _, value = text.partition("=")
        try:
            parsed = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            parsed = value.strip()
        found[key.strip()] = tuple(parsed) if isinstance(parsed, list) else parsed
    return found
