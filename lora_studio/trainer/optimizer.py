"""One optimizer over the LoRA, with gradient clipping; its state is plain tensors and numbers, never a pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch

from lora_studio.errors import UserError
from lora_studio.trainer.network import Network
from lora_studio.trainer.optimizers import KINDS, make
from lora_studio.training.config import TrainingConfig

#: what fp16's losses are multiplied with begins at 65536 and is halved while gradients overflow, most often down to some hundreds
LEAST_SCALE = 1.0
NUMBERS = "optimizer.numbers"  # everything of the state that is no tensor, as JSON in bytes


class Optimizer:
    """One parameter group a group of the network, each with its own peak learning rate."""

    def __init__(self, network: Network, config: TrainingConfig, *, scaled: bool = False) -> None:
        self.network = network
        self.max_norm = config.max_grad_norm
        kind = KINDS[config.optimizer]
        self.peaks = {"unet": config.unet_lr, "text": config.text_lr}
        if kind.finds_rate:  # it finds one rate for everything
            self.peaks["text"] = config.unet_lr if network.has("unet") else config.text_lr
        self.finds_rate = kind.finds_rate
        groups: list[dict[str, Any]] = [
            {"params": network.matrices(name) if kind.by_matrix else [flat], "lr": self.peaks[part] * weight, "part": part, "weight": weight}
            for (name, flat), (part, weight) in zip(network.flat.items(), network.groups.values(), strict=True)
        ]
        self._inner = make(config, groups)
        # a scaler is needed for fp16 only: its gradients underflow
        self._scaler = _grad_scaler() if scaled else None

    def backward(self, loss: torch.Tensor) -> None:
        (self._scaler.scale(loss) if self._scaler else loss).backward()

    def step(self, factor: float) -> None:
        """One update at `factor` times the peak learning rates; gradients are clipped and then zeroed."""
        for group in self._inner.param_groups:
            group["lr"] = self.peaks[group["part"]] * group["weight"] * factor
        if self._scaler:
            self._scaler.unscale_(self._inner)
        if self.max_norm > 0:
            self._clip()
        if self._scaler:
            self._scaler.step(self._inner)
            self._scaler.update()
        else:
            self._inner.step()
        self.network.zero_grad()

    def rates(self) -> dict[str, float]:
        """The learning rate of each part in the last step (of its fastest block); of an optimizer that finds it, what it found."""
        rates: dict[str, float] = {}
        for g in self._inner.param_groups:
            rate = float(g["lr"]) * float(g.get("d", 1.0) if self.finds_rate else 1.0)
            rates[g["part"]] = max(rate, rates.get(g["part"], 0.0))
        return rates

    def _clip(self) -> None:
        gradients = [flat.grad for flat in self.network.flat.values() if flat.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
        # no branch on the norm: that would make the GPU wait for the CPU
        scale = torch.clamp(self.max_norm / (norm + 1e-6), max=1.0)
        for gradient in gradients:
            gradient.mul_(scale)

    # -- state -------------------------------------------------------------------------------------------------

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights and everything the optimizer remembers, for `state.save_state`."""
        found = {f"{part}.weights": flat.detach() for part, flat in self.network.flat.items()}
        numbers: dict[str, Any] = {}
        for g, group in enumerate(self._inner.param_groups):
            for name, value in group.items():
                if name not in ("params", "part", "weight", "lr"):
                    _put(found, numbers, f"group.{g}.{name}", value)
            for p, parameter in enumerate(group["params"]):
                for name, value in self._inner.state.get(parameter, {}).items():
                    _put(found, numbers, f"state.{g}.{p}.{name}", value)
        found[NUMBERS] = torch.frombuffer(bytearray(json.dumps(numbers).encode("ascii")), dtype=torch.uint8)
        return found

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """UserError where the saved state is of a network with other layers, another rank or another optimizer."""
        self._inner.state.clear()  # what was saved before the first step remembers nothing
        wrong = UserError("The saved state does not fit this configuration.", "Start a new run; the rank, the base or the optimizer changed.")
        for part, flat in self.network.flat.items():
            saved = tensors.get(f"{part}.weights")
            if saved is None or saved.shape != flat.shape or NUMBERS not in tensors:
                raise wrong
            with torch.no_grad():
                flat.copy_(saved)
        remembered: dict[str, Any] = {**json.loads(bytes(tensors[NUMBERS].tolist())), **tensors}
        for key, value in remembered.items():
            place, _, rest = key.partition(".")
            if place not in ("group", "state"):
                continue
            try:
                self._restore(place, rest, value)
            except (IndexError, ValueError) as error:
                raise wrong from error

    def _restore(self, place: str, rest: str, value: Any) -> None:
        g, rest = rest.split(".", 1)
        group = self._inner.param_groups[int(g)]
        if place == "group":
            if isinstance(value, torch.Tensor):
                value = value.clone().to(group["params"][0].device)
            group[rest] = tuple(value) if isinstance(group.get(rest), tuple) else value
            return
        p, name = rest.split(".", 1)
        parameter = group["params"][int(p)]
        if isinstance(value, torch.Tensor):
            # torch's own AdamW keeps its step counter on the processor unless it is fused
            stays = name == "step" and not self._inner.defaults.get("fused")
            value = value.clone() if stays else value.clone().to(parameter.device)
        self._inner.state[parameter][name] = value

    @property
    def lost(self) -> bool:
        """Whether the scaler has halved so often that the gradients are no numbers at any scale: a search ends long before. Waits for the device."""
        return self._scaler is not None and float(self._scaler.get_scale()) < LEAST_SCALE

    @property
    def scaler_state(self) -> dict[str, float] | None:
        return None if self._scaler is None else dict(self._scaler.state_dict())

    @scaler_state.setter
    def scaler_state(self, value: dict[str, float] | None) -> None:
        if self._scaler is not None and value:
            self._scaler.load_state_dict(value)


def _put(tensors: dict[str, torch.Tensor], numbers: dict[str, Any], key: str, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        tensors[key] = value.detach().clone() if key.startswith("group.") else value.detach()  # groups share theirs
    elif value is None or isinstance(value, (bool, int, float, str, tuple, list)):
        numbers[key] = value  # JSON carries infinity too


def _grad_scaler() -> Any:
    if hasattr(torch.amp, "GradScaler"):  # torch 2.3 and later
        return torch.amp.GradScaler("cuda")
    return torch.cuda.amp.GradScaler()
