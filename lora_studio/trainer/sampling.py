"""Pictures from prompts: DDIM as the WebUI runs it, with its noise, its timesteps and its rounding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from lora_studio.trainer.guard import out_of_memory, release_memory
from lora_studio.trainer.models import BaseModel
from lora_studio.trainer.text import Conditioning, concat, encode_prompts, predict
from lora_studio.trainer.tiles import in_tiles, use_tiles

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Prompt:
    """One picture to draw. Sizes in pixels, multiples of 8."""

    text: str
    negative: str = ""
    seed: int = 0
    width: int = 512
    height: int = 512
    steps: int = 20
    cfg: float = 4.0


def timesteps(steps: int) -> torch.Tensor:
    """The WebUI's ascending DDIM timesteps: every (1000 // steps)-th, plus one."""
    return torch.clamp(torch.arange(0, 1000, 1000 // steps) + 1, 0, 999)


def start_noise(prompt: Prompt) -> torch.Tensor:
    """(1, 4, h / 8, w / 8), from the CPU's generator, so that every machine starts from the same noise."""
    generator = torch.Generator("cpu").manual_seed(prompt.seed)
    return torch.randn((4, prompt.height // 8, prompt.width // 8), generator=generator)[None]


@torch.no_grad()
def sample(
    model: BaseModel,
    prompts: Sequence[Prompt],
    batch_size: int = 8,
    progress: Progress | None = None,
    each_step: Callable[[], None] | None = None,
) -> list[Image.Image]:
    """Draw each prompt; one picture a prompt, in order. Prompts of one size and setting share batches.

    `each_step` is called before every step and may raise to end the drawing. Where memory is short, fewer are drawn at once (they do
    not depend on each other) and decoded in tiles; only when one does not fit either, the error of the device is raised.
    """
    groups: dict[tuple[int, int, int, float], list[int]] = {}
    for index, prompt in enumerate(prompts):
        groups.setdefault((prompt.width, prompt.height, prompt.steps, prompt.cfg), []).append(index)
    pictures: dict[int, Image.Image] = {}
    for indices in groups.values():
        while indices:
            batch = indices[: min(batch_size, model.most_at_once)]
            try:
                drawn = _sample_batch(model, [prompts[i] for i in batch], each_step)
            except (RuntimeError, MemoryError) as error:
                if len(batch) == 1 or not out_of_memory(error):
                    raise
                model.most_at_once = len(batch) // 2
                drawn = []
            if not drawn:
                release_memory()
                continue
            pictures.update(zip(batch, drawn, strict=True))
            indices = indices[len(batch) :]
            if progress is not None:
                progress(len(pictures), len(prompts), "drawing samples")
    return [pictures[index] for index in range(len(prompts))]


def _sample_batch(model: BaseModel, prompts: list[Prompt], each_step: Callable[[], None] | None) -> list[Image.Image]:
    first = prompts[0]
    guided = first.cfg != 1.0
    with autocast(model):
        positive = _encode_each(model, [p.text for p in prompts])
        negative = _encode_negative(model, [p.negative for p in prompts]) if guided else None
        x = torch.cat([start_noise(p) for p in prompts]).to(model.device)
        schedule = timesteps(first.steps)
        alphas = model.alphas_cumprod.cpu()
        # the WebUI never runs the lowest timestep: the last step goes from the second lowest to it
        for index in range(len(schedule) - 1, 0, -1):
            if each_step is not None:
                each_step()
            here, following = int(schedule[index]), int(schedule[index - 1])
            epsilon = _guided_epsilon(model, x, here, positive, negative, first.cfg)
            a, a_next = float(alphas[here]), float(alphas[following])
            clean = (x - (1.0 - a) ** 0.5 * epsilon) / a**0.5
            x = a_next**0.5 * clean + (1.0 - a_next) ** 0.5 * epsilon
    return decode(model, x)


def _guided_epsilon(
    model: BaseModel, x: torch.Tensor, t: int, positive: Conditioning, negative: Conditioning | None, cfg: float
) -> torch.Tensor:
    if negative is None:
        return _epsilon(model, x, t, positive)
    if positive.hidden.shape[1] == negative.hidden.shape[1]:
        both = _epsilon(model, torch.cat([x, x]), t, concat([positive, negative]))
        with_text, without = both.chunk(2)
    else:
        with_text, without = _epsilon(model, x, t, positive), _epsilon(model, x, t, negative)
    return without + cfg * (with_text - without)


def _epsilon(model: BaseModel, x: torch.Tensor, t: int, text: Conditioning) -> torch.Tensor:
    steps = torch.full((len(x),), t, device=x.device, dtype=torch.long)
    answer = predict(model, x.to(model.dtype), steps, text).float()
    if model.prediction != "v_prediction":
        return answer
    a = float(model.alphas_cumprod[t])
    return a**0.5 * answer + (1.0 - a) ** 0.5 * x


def _encode_each(model: BaseModel, texts: list[str]) -> Conditioning:
    """Encode each different text once (prompts often differ in their seed only)."""
    unique = list(dict.fromkeys(texts))
    encoded = encode_prompts(model, unique, emphasis=True)
    rows = torch.tensor([unique.index(text) for text in texts], device=encoded.hidden.device)
    return Conditioning(encoded.hidden[rows], None if encoded.pooled is None else encoded.pooled[rows])


def _encode_negative(model: BaseModel, texts: list[str]) -> Conditioning:
    encoded = _encode_each(model, texts)
    if model.family == "sdxl" and not any(texts):
        # SDXL was trained with zeros, not with an encoded empty text, as its unconditional input
        pooled = None if encoded.pooled is None else torch.zeros_like(encoded.pooled)
        return Conditioning(torch.zeros_like(encoded.hidden), pooled)
    return encoded


def autocast(model: BaseModel) -> AbstractContextManager[Any]:
    """Half precision compute where the model is in half precision; otherwise nothing, not even a question: on Macs torch before 2.5 has none."""
    half = model.dtype in (torch.float16, torch.bfloat16)
    return torch.autocast(model.device.type, dtype=model.dtype) if half else nullcontext()


@torch.no_grad()
def decode(model: BaseModel, latents: torch.Tensor) -> list[Image.Image]:
    """Latents (batch, 4, h, w) to pictures, one at a time (the VAE is what needs most memory); rounds down as the WebUI does."""
    pictures = []
    for one in latents.float().split(1):
        image = _decode_one(model, one / model.vae.config.scaling_factor)
        pixels = torch.clamp((image + 1.0) / 2.0, 0.0, 1.0).permute(1, 2, 0).cpu().numpy() * 255.0
        pictures.append(Image.fromarray(pixels.astype(np.uint8)))
    return pictures


def _decode_one(model: BaseModel, latent: torch.Tensor) -> torch.Tensor:
    try:
        whole: torch.Tensor = model.vae.decode(latent, return_dict=False)[0][0]
        return whole
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error) or in_tiles(model.vae):
            raise
    release_memory()
    use_tiles(model.vae)
    tiled: torch.Tensor = model.vae.decode(latent, return_dict=False)[0][0]
    return tiled
