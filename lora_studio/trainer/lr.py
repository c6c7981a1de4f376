"""Learning-rate schedules as pure functions of the step; formulas as in transformers and sd-scripts."""

from __future__ import annotations

import math


def warmup_steps(warmup: float, total: int, scheduler: str) -> int:
    """`warmup` below 1 is a share of all steps, otherwise a number of steps; a constant schedule has none."""
    if scheduler == "constant" or warmup <= 0:
        return 0
    return int(total * warmup) if warmup < 1 else min(int(warmup), total)


def lr_at(step: int, total: int, scheduler: str, *, warmup: int = 0, cycles: int = 1, power: float = 1.0) -> float:
    """Factor on the learning rate at a step (0 .. total - 1), between 0 and 1."""
    if scheduler == "constant":
        return 1.0
    if step < warmup:
        return step / max(1, warmup)
    if scheduler == "constant_with_warmup":
        return 1.0
    progress = (step - warmup) / max(1, total - warmup)
    if progress >= 1.0:
        return 0.0
    if scheduler == "linear":
        return 1.0 - progress
    if scheduler == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    if scheduler == "cosine_with_restarts":
        return 0.5 * (1.0 + math.cos(math.pi * ((cycles * progress) % 1.0)))
    if scheduler == "polynomial":
        return float((1.0 - progress) ** power)
    if scheduler == "rex":  # Chen et al. 2021, arXiv 2107.04197, with d = 0.9
        d = 0.9
        return (1.0 - progress) / ((1.0 - d) + d * (1.0 - progress))
    raise ValueError(f"unknown scheduler {scheduler}")
