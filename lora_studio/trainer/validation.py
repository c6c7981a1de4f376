"""The loss of pictures that are not trained on, always with the same noise: it rises when learning turns into copying."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lora_studio.trainer import noise as diffusion
from lora_studio.trainer.data import Dataset, Draw, LatentCache
from lora_studio.trainer.models import BaseModel
from lora_studio.trainer.objective import picture_facts
from lora_studio.trainer.sampling import autocast
from lora_studio.trainer.seeds import tensor_generator
from lora_studio.trainer.text import encode_prompts, predict

#: noise levels every picture is measured at, spread evenly
TIMESTEPS = (100, 300, 500, 700, 900)


@torch.no_grad()
def validation_loss(model: BaseModel, held_out: Dataset, latents: LatentCache, alphas: torch.Tensor, seed: int, batch_size: int) -> float:
    """Mean squared error over held-out pictures and `TIMESTEPS`, without weights, masks, flips or shuffling."""
    total, count = 0.0, 0
    jobs = [(index, step) for index in range(len(held_out.examples)) for step in TIMESTEPS]
    jobs.sort(key=lambda job: held_out.examples[job[0]].bucket)
    for rows in _batches(held_out, jobs, batch_size):
        draws = [Draw(index, False, ", ".join(held_out.examples[index].tags), "") for index, _ in rows]
        clean = torch.stack([latents.get(index, False)[0] for index, _ in rows]) * model.vae.config.scaling_factor
        noise = torch.cat([torch.randn((1, *clean.shape[1:]), generator=tensor_generator(seed, "validation", *row)) for row in rows])
        steps = torch.tensor([step for _, step in rows], device=model.device)
        clean, noise = clean.to(model.device), noise.to(model.device)
        levels = alphas[steps]
        with autocast(model):
            text = encode_prompts(model, [draw.caption for draw in draws])
            noisy = diffusion.add_noise(clean, noise, levels).to(model.dtype)
            answer = predict(model, noisy, steps, text, picture_facts(model, held_out, draws))
        target = diffusion.target(clean, noise, levels, model.prediction)
        total += float((answer.float() - target).square().mean(dim=(1, 2, 3)).sum())
        count += len(rows)
    return total / max(1, count)


def _batches(dataset: Dataset, jobs: Sequence[tuple[int, int]], size: int) -> list[list[tuple[int, int]]]:
    """Runs of at most `size` jobs whose pictures share a bucket."""
    batches: list[list[tuple[int, int]]] = []
    for job in jobs:
        last = batches[-1] if batches else []
        same = last and dataset.examples[last[0][0]].bucket == dataset.examples[job[0]].bucket
        if same and len(last) < size:
            last.append(job)
        else:
            batches.append([job])
    return batches
