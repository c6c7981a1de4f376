"""Step 8: measure what was trained and write the model card."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from lora_studio.trainer.models import load_base
from lora_studio.trainer.sampling import Prompt, sample

from .. import ASSETS
from ..scene import GROUPS, TAGS, sample_scene, scene_tags
from .tagger import Reader, _small
from .vae import HELD_OUT, psnr, to_tensor

SAMPLES = 64


def generate(prompts: list[str], seed: int, assets: Path) -> np.ndarray:
    """(n, 128, 128, 3) uint8: DDIM, 20 steps, CFG 4, read from the exported checkpoint."""
    model = load_base(assets / "tiny_world.safetensors")
    wanted = [Prompt(text, seed=seed + k, width=128, height=128) for k, text in enumerate(prompts)]
    return np.stack([np.asarray(p) for p in sample(model, wanted, batch_size=16)])


def obeyed(reader: Reader, pictures: np.ndarray, wanted: list[list[str]]) -> dict[str, float]:
    """Per tag: share of the pictures prompted with it on which the tagger finds it (most likely of its group)."""
    with torch.no_grad():
        scores = torch.sigmoid(reader(_small(pictures).float())).numpy()
    hits: dict[str, list[bool]] = {}
    for row, tags in zip(scores, wanted):
        for tag in tags:
            group = next((g for name, g in GROUPS.items() if tag in g and name != "style"), None)
            p = row[TAGS.index(tag)]
            found = p >= max(row[TAGS.index(t)] for t in group) if group else p > 0.5
            hits.setdefault(tag, []).append(bool(found))
    return {t: float(np.mean(h)) for t, h in hits.items()}


def sheet(pictures: np.ndarray, columns: int) -> Image.Image:
    """Pictures side by side, row by row."""
    n, h, w, _ = pictures.shape
    out = Image.new("RGB", (columns * w, -(-n // columns) * h), "white")
    for k, p in enumerate(pictures):
        out.paste(Image.fromarray(p), (k % columns * w, k // columns * h))
    return out


def write(work: Path, assets: Path = ASSETS) -> None:
    """Write ``MODEL_CARD.md`` and the two contact sheets it shows."""
    reader = Reader()
    reader.load_state_dict(torch.load(work / "tagger.pt", weights_only=True))
    reader.eval()
    rng = random.Random(77)
    scenes = [sample_scene(rng) for _ in range(SAMPLES)]
    wanted = [scene_tags(s) for s in scenes]
    pictures = generate([", ".join(t) for t in wanted], 1000, assets)
    rates = obeyed(reader, pictures, wanted)
    mean = float(np.average(list(rates.values()), weights=[sum(t in w for w in wanted) for t in rates]))
    sheet(pictures[:32], 8).save(assets / "samples.png", optimize=True)
    vae = AutoencoderKL.from_pretrained(work / "vae").eval()
    drawn = np.load(work / "pictures.npy", mmap_mode="r")[:HELD_OUT]
    decibels = psnr(vae, drawn)
    with torch.no_grad():
        back = vae.decode(vae.encode(to_tensor(drawn[:16])).latent_dist.mean).sample.clamp(-1, 1)
    again = ((back + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    rows = np.concatenate([drawn[:8], again[:8], drawn[8:16], again[8:16]])
    sheet(rows, 8).save(work / "vae.png", optimize=True)
    tagger = json.loads((work / "tagger.json").read_text(encoding="utf-8"))
    worst = sorted(rates.items(), key=lambda r: r[1])[:6]
    steps = {name: (work / f"{name}_steps.txt").read_text(encoding="utf-8") for name in ("vae", "unet")}
    text = f"""# The demo world

A Stable Diffusion 1.x-shaped model and a WD14-shaped tagger, trained from nothing on pictures of `lora_studio/demo/drawer.py`.
They know {len(TAGS)} Danbooru tags and nothing else. Made by `python -m lora_studio.demo.build all`, seeded.

| part | shape | trained | measured |
|---|---|---|---|
| VAE | 128 x 128 to 16 x 16 x 4, widths 32/32/64/64 | {steps["vae"]} steps | {decibels:.1f} dB PSNR on {HELD_OUT} held-out pictures |
| text encoder | CLIP, 64 wide, 3 layers, the full vocabulary | with the UNet | |
| UNet | SD1.5's blocks, 64 wide, 192 LoRA modules | {steps["unet"]} steps of 24 | {mean:.3f} of prompted tags found by the tagger, {SAMPLES} pictures, DDIM 20 steps, CFG 4 |
| tagger | WD14's interface, 448 x 448 | {tagger["steps"]} steps of 64 | {tagger["mean"]:.4f} mean accuracy, worst {tagger["worst"]:.3f} ({tagger["worst_tag"]}); {tagger["painted"]:.4f} through the VAE |

Least obeyed: {", ".join(f"{t} {r:.2f}" for t, r in worst)}.

![Pictures by the base model](samples.png)

Use: the files are under this project's licence. The model draws cartoon busts and cannot draw anything else.
"""
    (assets / "MODEL_CARD.md").write_text(text, encoding="utf-8", newline="\n")
    print(text, flush=True)
