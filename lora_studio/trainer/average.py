"""The running average (EMA) of the LoRA's weights: steadier than their last values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

from lora_studio.errors import UserError
from lora_studio.trainer.network import Network


class Average:
    """One averaged copy of each flat tensor."""

    def __init__(self, network: Network, decay: float) -> None:
        self.network = network
        self.decay = decay
        self.flat = {name: flat.detach().clone() for name, flat in network.flat.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after step `step` (from 1). The first steps count more, so that the start is soon forgotten."""
        decay = min(self.decay, (1.0 + step) / (10.0 + step))
        for name, flat in self.network.flat.items():
            self.flat[name].lerp_(flat.detach(), 1.0 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the network holds the average; afterwards what it held, to the bit."""
        kept = {name: flat.detach().clone() for name, flat in self.network.flat.items()}
        with torch.no_grad():
            for name, flat in self.network.flat.items():
                flat.copy_(self.flat[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, flat in self.network.flat.items():
                    flat.copy_(kept[name])

    def tensors(self) -> dict[str, torch.Tensor]:
        return {f"average.{name}": tensor for name, tensor in self.flat.items()}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for name, flat in self.flat.items():
            saved = tensors.get(f"average.{name}")
            if saved is None or saved.shape != flat.shape:
                raise UserError("The saved state holds no running average (ema_decay was 0).", "Start a new run, or set ema_decay back.")
            flat.copy_(saved)
