"""Step 2: the VAE, and step 3: latents whitened into its weights so that SD's 0.18215 holds.

Widths are multiples of 32 because the WebUI's own model code fixes 32 norm groups.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from .parallel import Average, Budget, average_gradients, decay, launch

SCALE = 0.18215
HELD_OUT = 200


def make_vae() -> AutoencoderKL:
    """An SD1.x-shaped VAE (factor 8, 4 channels), randomly initialised so that it starts close to plain resampling."""
    torch.manual_seed(0)
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 32, 64, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=32,
        sample_size=128,
        scaling_factor=SCALE,
    )
    binomial = torch.tensor([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    with torch.no_grad():
        for name, p in vae.named_parameters():
            if name.endswith(("conv2.weight", "to_out.0.weight")):
                p.mul_(0.05)  # residual branches begin almost silent
            elif name.endswith(("conv2.bias", "to_out.0.bias", "conv_shortcut.bias", "encoder.conv_out.bias")):
                p.zero_()
            elif name.endswith("conv_shortcut.weight"):
                torch.nn.init.orthogonal_(p.view(p.shape[0], -1))
            elif "samplers" in name and p.ndim == 4:
                p.mul_(0.5)
                for c in range(p.shape[0]):
                    if "downsamplers" in name:
                        p[c, c, :2, :2] += 0.25
                    else:
                        p[c, c] += binomial
            elif name == "encoder.conv_out.weight":
                p.mul_(3**0.5)
                p[4:] *= 0.1
            elif name.endswith("coder.conv_in.weight"):
                p.mul_(3**0.5)
            elif name == "quant_conv.weight":
                p.mul_(0.3)
                p[:4, :4] += torch.eye(4)[:, :, None, None]
            elif name == "quant_conv.bias":
                p[4:] = -4.0
            elif name == "post_quant_conv.weight":
                p.copy_(torch.eye(4)[:, :, None, None])
    return vae


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """(n, h, w, 3) uint8 -> (n, 3, h, w) float in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def _edges(d: torch.Tensor) -> torch.Tensor:
    return (d[..., 1:] - d[..., :-1]).abs().mean() + (d[..., 1:, :] - d[..., :-1, :]).abs().mean()


def _train(rank: int, work: Path, steps: int, minutes: float) -> None:
    vae = make_vae()
    pictures = np.load(work / "pictures.npy", mmap_mode="r")
    rng = np.random.default_rng(rank)
    torch.manual_seed(rank)
    params = list(vae.parameters())
    optimizer = torch.optim.AdamW(params, lr=2e-3, betas=(0.9, 0.99), weight_decay=0, fused=True)
    average, budget, shown = Average(params, 0.99), Budget(steps, minutes), []
    while (f := budget.fraction()) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * decay(f, budget.done, 40, 0.4)
        # Small crops first: many cheap steps; whole pictures at the end, when details settle.
        count, side = (1, 128) if f > 0.9 else (2 if f < 0.4 else 4, 64)
        crops = []
        for k in rng.integers(HELD_OUT, len(pictures), count):
            y, x = rng.integers(0, 129 - side, 2)
            crop = pictures[k, y : y + side, x : x + side]
            crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
        target = to_tensor(np.stack(crops))
        posterior = vae.encode(target).latent_dist
        diff = vae.decode(posterior.mean + posterior.std * torch.randn_like(posterior.mean)).sample - target
        sharp = min(1.0, max(0.0, (f - 0.4) * 3))
        kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).mean()
        mse = (diff**2).mean()
        loss = 2 * mse + (0.1 + 0.9 * sharp) * diff.abs().mean() + 0.3 * sharp * _edges(diff) + 3e-5 * kl
        loss.backward()
        average_gradients(params)
        optimizer.step()
        optimizer.zero_grad()
        average.update()
        budget.done += 1
        shown.append(mse.item())
        if rank == 0 and budget.done % 100 == 0:
            print(f"vae {budget.done} {f:.2f} mse {np.mean(shown[-100:]):.5f}", flush=True)
    if rank == 0:
        average.apply()
        vae.save_pretrained(work / "vae_raw")
        (work / "vae_steps.txt").write_text(str(budget.done), encoding="utf-8")


def psnr(vae: AutoencoderKL, pictures: np.ndarray) -> float:
    """Decibels of encode-decode on uint8 pictures (peak 255)."""
    x = to_tensor(pictures)
    with torch.no_grad():
        y = vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1)
    return 10 * math.log10(4 / float(((y - x) ** 2).mean()))


def _encode(rank: int, work: Path, processes: int) -> None:
    vae = AutoencoderKL.from_pretrained(work / "vae_raw").eval()
    pictures = np.load(work / "pictures.npy", mmap_mode="r")
    mine = np.array_split(np.arange(len(pictures)), processes)[rank]
    with torch.no_grad():
        parts = [vae.encode(to_tensor(pictures[ix])).latent_dist.mean.numpy() for ix in np.array_split(mine, len(mine) // 25)]
    np.save(work / f"latents_{rank}.npy", np.concatenate(parts))


def train(work: Path, processes: int, steps: int, minutes: float) -> None:
    """Train the VAE; writes ``vae_raw/``."""
    launch(_train, processes, work, steps, minutes)


def whiten(work: Path, processes: int) -> None:
    """Encode all pictures, fold mean and spread of the latents into the VAE; writes ``vae/`` and ``latents.npy``.

    ``latents.npy`` holds unit-variance latents (n, 4, 16, 16): what the UNet sees.
    """
    launch(_encode, processes, work, processes)
    latents = np.concatenate([np.load(work / f"latents_{r}.npy") for r in range(processes)])
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    vae = AutoencoderKL.from_pretrained(work / "vae_raw")
    gain, shift = torch.from_numpy(1 / SCALE / std), torch.from_numpy(mean)
    with torch.no_grad():
        q, back = vae.quant_conv, vae.post_quant_conv
        q.weight[:4] *= gain[:, None, None, None]
        q.bias[:4] = (q.bias[:4] - shift) * gain
        q.bias[4:] += 2 * gain.log()
        back.bias += back.weight[:, :, 0, 0] @ shift
        back.weight /= gain[None, :, None, None]
    vae.save_pretrained(work / "vae")
    np.save(work / "latents.npy", (latents - mean[:, None, None]) / std[:, None, None])
    pictures = np.load(work / "pictures.npy", mmap_mode="r")[:HELD_OUT]
    print(f"vae psnr {psnr(vae, pictures):.2f} dB on {HELD_OUT} held-out pictures", flush=True)
