"""The diffusion process: noise levels, signal-to-noise ratio and what a loss is weighted with. Formulas only."""

from __future__ import annotations

import math

import torch

STEPS = 1000


def alphas_cumprod(start: float = 0.00085, end: float = 0.012, steps: int = STEPS) -> torch.Tensor:
    """Product of (1 - beta) up to each timestep, float32 (steps,); "scaled linear" betas of latent diffusion."""
    betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    return torch.cumprod(1.0 - betas, dim=0).float()


def zero_terminal_snr(alphas: torch.Tensor) -> torch.Tensor:
    """Shift and scale sqrt(alphas) so that the last step is pure noise (Lin et al. 2023, arXiv 2305.08891, algorithm 1)."""
    root = alphas.double().sqrt()
    first, last = root[0], root[-1]
    shifted = (root - last) * first / (first - last)
    return (shifted**2).float()


def snr(alphas: torch.Tensor) -> torch.Tensor:
    """Signal-to-noise ratio alpha / (1 - alpha), per timestep."""
    return alphas / (1.0 - alphas)


def min_snr_weights(alphas: torch.Tensor, gamma: float, prediction: str) -> torch.Tensor:
    """Loss weight per timestep, (steps,): min(snr, gamma) / snr for epsilon and / (snr + 1) for v (arXiv 2303.09556).

    gamma <= 0 gives ones.
    """
    if gamma <= 0:
        return torch.ones_like(alphas)
    ratio = snr(alphas).clamp(min=1e-8)  # pure noise, at zero terminal snr, would divide 0 by 0
    divisor = ratio + 1.0 if prediction == "v_prediction" else ratio
    return torch.clamp(ratio, max=gamma) / divisor


def loss_weights(
    alphas: torch.Tensor, prediction: str, *, min_snr_gamma: float = 0.0, debiased: bool = False, scale_v: bool = False
) -> torch.Tensor:
    """What a picture's loss at each timestep is multiplied with, (steps,), in sd-scripts' order.

    debiased: 1 / sqrt(snr), snr at most 1000, for epsilon (arXiv 2310.08442) and 1 / (snr + 1) for v. scale_v: snr / (snr + 1),
    which makes v's loss weigh as epsilon's does.
    """
    ratio = snr(alphas)
    weights = min_snr_weights(alphas, min_snr_gamma, prediction)
    if scale_v and prediction == "v_prediction":
        weights = weights * ratio / (ratio + 1.0)
    if debiased:
        bounded = ratio.clamp(min=1e-8, max=1000.0)
        weights = weights * (1.0 / (bounded + 1.0) if prediction == "v_prediction" else bounded.rsqrt())
    return weights


def pyramid_noise(noise: torch.Tensor, iterations: int, discount: float, generator: torch.Generator) -> torch.Tensor:
    """Noise (batch, channels, h, w) with ever coarser noise added, each level `discount` times the last, scaled back to unit spread.

    From "multi-resolution noise" (wandb.ai/johnowhitaker), as sd-scripts does it.
    """
    height, width = noise.shape[-2:]
    total = noise
    for level in range(iterations):
        shrink = (2.0 + 2.0 * float(torch.rand((), generator=generator))) ** level
        h, w = max(1, int(height / shrink)), max(1, int(width / shrink))
        coarse = torch.randn((*noise.shape[:2], h, w), generator=generator)
        total = total + torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear") * discount**level
        if h == 1 or w == 1:
            break
    return total / total.std()


def huber_width(alphas: torch.Tensor, schedule: str, c: float) -> torch.Tensor:
    """The error at which Huber's loss turns from square to straight, per timestep (steps,): constant, exponential or by snr (arXiv 2403.16728)."""
    if schedule == "constant":
        return torch.full_like(alphas, c)
    if schedule == "exponential":
        times = torch.arange(len(alphas), dtype=torch.float64)
        return torch.exp(math.log(c) / len(alphas) * times).to(alphas)
    sigma = ((1.0 - alphas) / alphas.clamp(min=1e-12)).sqrt()
    return (1.0 - c) / (1.0 + sigma) ** 2 + c


def elementwise_loss(answer: torch.Tensor, target: torch.Tensor, kind: str, width: torch.Tensor | None) -> torch.Tensor:
    """Loss of each number: l2, huber or smooth_l1 (both pseudo-Huber, with `width` (batch,))."""
    difference = answer - target
    if kind == "l2" or width is None:
        return difference.square()
    c = width.view(-1, 1, 1, 1)
    root = (difference.square() + c.square()).sqrt() - c
    return 2.0 * c * root if kind == "huber" else 2.0 * root


def add_noise(latents: torch.Tensor, noise: torch.Tensor, alphas: torch.Tensor) -> torch.Tensor:
    """sqrt(a) x + sqrt(1 - a) noise; `alphas` (batch,), latents and noise (batch, 4, h, w)."""
    a = alphas.view(-1, 1, 1, 1)
    return a.sqrt() * latents + (1.0 - a).sqrt() * noise


def target(latents: torch.Tensor, noise: torch.Tensor, alphas: torch.Tensor, prediction: str) -> torch.Tensor:
    """What the UNet is asked for: the noise, or v = sqrt(a) noise - sqrt(1 - a) x."""
    if prediction != "v_prediction":
        return noise
    a = alphas.view(-1, 1, 1, 1)
    return a.sqrt() * noise - (1.0 - a).sqrt() * latents
