"""AdamW over the LoRA's flat tensors, with gradient clipping; its state is plain tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lora_studio.errors import UserError
from lora_studio.trainer.network import Network
from lora_studio.training.config import TrainingConfig


class Optimizer:
    """One parameter group a part (unet, text), each with its own peak learning rate."""

    def __init__(self, network: Network, config: TrainingConfig, *, scaled: bool = False) -> None:
        self.network = network
        self.max_norm = config.max_grad_norm
        self.peaks = {"unet": config.unet_lr, "text": config.text_lr}
        groups = [{"params": [flat], "lr": self.peaks[part], "part": part} for part, flat in network.flat.items()]
        options = {"betas": tuple(config.betas), "weight_decay": config.weight_decay}
        try:
            self._adam = torch.optim.AdamW(groups, fused=True, **options)
        except (RuntimeError, TypeError):  # older torch has no fused AdamW for this device
            self._adam = torch.optim.AdamW(groups, **options)
        # a scaler is needed for fp16 only: its gradients underflow
        self._scaler = _grad_scaler() if scaled else None

    def backward(self, loss: torch.Tensor) -> None:
        (self._scaler.scale(loss) if self._scaler else loss).backward()

    def step(self, factor: float) -> None:
        """One update at `factor` times the peak learning rates; gradients are clipped and then zeroed."""
        for group in self._adam.param_groups:
            group["lr"] = self.peaks[group["part"]] * factor
        if self._scaler:
            self._scaler.unscale_(self._adam)
        if self.max_norm > 0:
            self._clip()
        if self._scaler:
            self._scaler.step(self._adam)
            self._scaler.update()
        else:
            self._adam.step()
        self.network.zero_grad()

    def _clip(self) -> None:
        gradients = [flat.grad for flat in self.network.flat.values() if flat.grad is not None]
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
        # no branch on the norm: that would make the GPU wait for the CPU
        scale = torch.clamp(self.max_norm / (norm + 1e-6), max=1.0)
        for gradient in gradients:
            gradient.mul_(scale)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Weights and moments, for `state.save_state`."""
        found: dict[str, torch.Tensor] = {}
        for part, flat in self.network.flat.items():
            found[f"{part}.weights"] = flat.detach()
            for name, value in self._adam.state.get(flat, {}).items():
                found[f"{part}.{name}"] = value
        return found

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """UserError where the saved state is of a network with other layers or another rank."""
        for part, flat in self.network.flat.items():
            saved = tensors.get(f"{part}.weights")
            if saved is None or saved.shape != flat.shape:
                raise UserError(
                    "The saved state does not fit this configuration.", "Start a new run; network_dim or the base changed."
                )
            with torch.no_grad():
                flat.copy_(saved)
            moments = {
                name: tensors[f"{part}.{name}"] for name in ("step", "exp_avg", "exp_avg_sq") if f"{part}.{name}" in tensors
            }
            if moments:
                self._adam.state[flat] = {
                    name: value.clone().to(flat.device) if name != "step" else self._step_tensor(value, flat)
                    for name, value in moments.items()
                }

    def _step_tensor(self, value: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
        fused = self._adam.defaults.get("fused")
        return value.clone().to(flat.device if fused else "cpu")

    @property
    def scaler_state(self) -> dict[str, float] | None:
        return None if self._scaler is None else dict(self._scaler.state_dict())

    @scaler_state.setter
    def scaler_state(self, value: dict[str, float] | None) -> None:
        if self._scaler is not None and value:
            self._scaler.load_state_dict(value)


def _grad_scaler() -> Any:
    if hasattr(torch.amp, "GradScaler"):  # torch 2.3 and later
        return torch.amp.GradScaler("cuda")
    return torch.cuda.amp.GradScaler()
