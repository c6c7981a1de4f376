"""Several one-thread processes that train one model: on a few CPU cores this beats one process of many threads."""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def launch(worker: Callable[..., None], processes: int, *args: Any) -> None:
    """Run ``worker(rank, *args)`` in ``processes`` processes joined by gloo."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    mp.spawn(_enter, args=(worker, processes, args), nprocs=processes)


def _enter(rank: int, worker: Callable[..., None], processes: int, args: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    dist.init_process_group("gloo", rank=rank, world_size=processes)
    worker(rank, *args)
    dist.destroy_process_group()


def average_gradients(params: Iterable[torch.nn.Parameter], clip: float = 1.0) -> float:
    """Average the gradients over all processes, clip their global norm; returns the norm before clipping."""
    grads = [p.grad for p in params if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in grads])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    norm = float(torch.linalg.vector_norm(flat))
    if norm > clip:
        flat *= clip / norm
    torch._foreach_copy_(grads, [f.view_as(g) for f, g in zip(flat.split([g.numel() for g in grads]), grads)])
    return norm


@dataclass
class Budget:
    """How far a training has come: by steps, or by minutes where those run out first."""

    steps: int
    minutes: float = math.inf
    started: float = field(default_factory=time.monotonic)
    done: int = 0

    def fraction(self) -> float:
        """0 at the start, 1 at the end; the same in every process."""
        by_time = (time.monotonic() - self.started) / 60 / self.minutes
        t = torch.tensor([max(self.done / self.steps, by_time)])
        dist.broadcast(t, 0)
        return min(1.0, float(t))


def decay(fraction: float, done: int, warmup: int, hold: float) -> float:
    """Learning-rate factor: linear warm-up in steps, constant until ``hold``, cosine to 2 %."""
    up = min(1.0, (done + 1) / warmup)
    if fraction < hold:
        return up
    return up * max(0.02, 0.5 * (1 + math.cos(math.pi * (fraction - hold) / (1 - hold))))


class Average:
    """Exponential moving average of parameters."""

    def __init__(self, params: Iterable[torch.nn.Parameter], rate: float) -> None:
        self.params = list(params)
        self.rate = rate
        self.shadow = [p.detach().clone() for p in self.params]
        self.updates = 0

    def update(self) -> None:
        self.updates += 1
        weight = max(1 - self.rate, 9 / (9 + self.updates))
        with torch.no_grad():
            torch._foreach_lerp_(self.shadow, [p.detach() for p in self.params], weight)

    def apply(self) -> None:
        """Put the averages into the model."""
        with torch.no_grad():
            for p, s in zip(self.params, self.shadow):
                p.copy_(s)
