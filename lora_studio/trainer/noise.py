"""The diffusion process: noise levels, signal-to-noise ratio and what a loss is weighted with. Formulas only."""

from __future__ import annotations

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
    ratio = snr(alphas)
    divisor = ratio + 1.0 if prediction == "v_prediction" else ratio
    return torch.clamp(ratio, max=gamma) / divisor


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
