"""Step 4: a tagger with exactly WD14's interface, trained to read the world.

Input (n, 448, 448, 3) float32 BGR 0..255, output (n, tags) with the sigmoid
applied, dynamic batch; ``selected_tags.csv`` beside it. Inside, a 7 x 7 mean
makes 64 x 64 of the picture and a small CNN does the rest.
"""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import nn

from ..scene import TAGS, scene_tags
from .parallel import Budget, decay, launch
from .pictures import load_scenes
from .vae import SCALE

RATINGS = ("general", "sensitive", "questionable", "explicit")
HELD_OUT = 1000
PAINTED, HELD_OUT_PAINTED = 2000, 200
FIRST_PAINTED = HELD_OUT - HELD_OUT_PAINTED
WRONG = 0.4
"""Largest spread of the error put on the latents (whose own spread is 1)."""


class Reader(nn.Module):
    """(n, 3, 64, 64) BGR 0..255 -> (n, tags) logits."""

    def __init__(self) -> None:
        super().__init__()

        def block(i: int, o: int, stride: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())

        self.features = nn.Sequential(
            block(3, 24, 2), block(24, 32, 1), block(32, 48, 2), block(48, 64, 1), block(64, 96, 2), block(96, 96, 2)
        )
        self.head = nn.Linear(96 * 16, len(TAGS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x / 127.5 - 1).flatten(1))


class Wd14Shaped(nn.Module):
    """The reader behind WD14's interface: ratings first (always "general"), then the tags."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader
        self.register_buffer("ratings", torch.tensor([[0.98, 0.02, 0.001, 0.001]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tags = torch.sigmoid(self.reader(F.avg_pool2d(x.permute(0, 3, 1, 2), 7, 7)))
        return torch.cat([self.ratings.expand(tags.shape[0], 4), tags], 1)


def _small(pictures: np.ndarray) -> torch.Tensor:
    """(n, 128, 128, 3) RGB uint8 -> (n, 3, 64, 64) BGR, what 448 pixels and the 7 x 7 mean come to."""
    x = torch.from_numpy(np.ascontiguousarray(pictures[..., ::-1])).permute(0, 3, 1, 2).float()
    return F.avg_pool2d(x, 2).round().to(torch.uint8)


def _painted(work: Path, batch: int = 8) -> torch.Tensor:
    """(n, 3, 64, 64) BGR: pictures from FIRST_PAINTED on as the VAE gives them back from slightly wrong latents, as a diffusion model's are."""
    vae = AutoencoderKL.from_pretrained(work / "vae").eval()
    latents = torch.from_numpy(np.load(work / "latents.npy"))[FIRST_PAINTED : HELD_OUT + PAINTED]
    noise = torch.Generator().manual_seed(5)
    rows = []
    with torch.no_grad():
        for part in latents.split(batch):
            wrong = part + torch.randn(part.shape, generator=noise) * torch.rand(len(part), 1, 1, 1, generator=noise) * WRONG
            back = ((vae.decode(wrong / SCALE).sample.clamp(-1, 1) + 1) * 127.5).flip(1)
            rows.append(F.avg_pool2d(back, 2).round().to(torch.uint8))
    return torch.cat(rows)


def _disturb(x: torch.Tensor, rng: random.Random) -> torch.Tensor:
    """Blur, noise, tint and place: drawn pictures must read like generated ones, and a colour a little off is still that colour."""
    if rng.random() < 0.6:
        tint = 1 + (torch.rand(len(x), 3, 1, 1) - 0.5) * 0.2
        x = x * tint + (torch.rand(len(x), 3, 1, 1) - 0.5) * 24
    if rng.random() < 0.5:
        if rng.random() < 0.6:
            shrink = F.interpolate(x, scale_factor=1 / rng.uniform(1, 2.5), mode="area")
            x = F.interpolate(shrink, size=(64, 64), mode="bilinear")
        x = (x + torch.randn_like(x) * rng.uniform(0, 12)) * rng.uniform(0.93, 1.07) + rng.uniform(-6, 6)
    if rng.random() < 0.3:
        # Raw pictures are padded to a square and shown whole: the figure is smaller then.
        side = 2 * rng.randint(20, 31)
        pad = 64 - side
        left = rng.randint(0, pad)
        x = F.pad(F.interpolate(x, size=(side, side), mode="area"), (left, pad - left, pad // 2, pad - pad // 2), value=rng.choice((255.0, 200.0)))
    dx, dy = rng.randint(0, 4), rng.randint(0, 4)
    return F.pad(x, (2, 2, 2, 2), mode="replicate")[:, :, dy : dy + 64, dx : dx + 64].clamp(0, 255)


def _train(rank: int, work: Path, steps: int, minutes: float) -> None:
    torch.manual_seed(rank)
    rng = random.Random(rank)
    scenes = load_scenes(work)
    answers = torch.tensor([[float(t in tags) for t in TAGS] for tags in (set(scene_tags(s)) for s in scenes)])
    pictures = np.load(work / "pictures.npy", mmap_mode="r")
    small = torch.cat([_small(pictures[a : a + 500]) for a in range(0, len(pictures), 500)])
    painted = _painted(work)
    reader = Reader()
    optimizer = torch.optim.AdamW(reader.parameters(), lr=3e-3, weight_decay=1e-2)
    budget = Budget(steps, minutes)
    while (f := budget.fraction()) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * decay(f, budget.done, 50, 0.0)
        drawn, generated = torch.randint(HELD_OUT, len(small), (40,)), torch.randint(HELD_OUT, HELD_OUT + PAINTED, (24,))
        shown = torch.cat([small[drawn], painted[generated - FIRST_PAINTED]])
        wanted = torch.cat([answers[drawn], answers[generated]])
        loss = F.binary_cross_entropy_with_logits(reader(_disturb(shown.float(), rng)), wanted)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        budget.done += 1
        if budget.done % 100 == 0:
            print(f"tagger {budget.done} {f:.2f} loss {loss.item():.4f}", flush=True)
    reader.eval()
    torch.save(reader.state_dict(), work / "tagger.pt")
    with torch.no_grad():
        found = torch.sigmoid(reader(small[:HELD_OUT].float())) > 0.5
        again = torch.sigmoid(reader(painted[:HELD_OUT_PAINTED].float())) > 0.5
    right = (found == (answers[:HELD_OUT] > 0.5)).float().mean(0)
    quality = {
        "mean": float(right.mean()),
        "worst": float(right.min()),
        "worst_tag": TAGS[int(right.argmin())],
        "painted": float((again == (answers[FIRST_PAINTED:HELD_OUT] > 0.5)).float().mean()),
        "steps": budget.done,
    }
    (work / "tagger.json").write_text(json.dumps(quality), encoding="utf-8")
    print(quality, flush=True)


def train(work: Path, steps: int, minutes: float) -> None:
    """Train the reader and write ``tagger/model.onnx`` and ``tagger/selected_tags.csv``."""
    launch(_train, 1, work, steps, minutes)
    reader = Reader()
    reader.load_state_dict(torch.load(work / "tagger.pt", weights_only=True))
    folder = work / "tagger"
    folder.mkdir(exist_ok=True)
    torch.onnx.export(
        Wd14Shaped(reader).eval(),
        (torch.zeros(1, 448, 448, 3),),
        str(folder / "model.onnx"),
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "batch_size"}, "output": {0: "batch_size"}},
        opset_version=17,
        dynamo=False,
    )
    with (folder / "selected_tags.csv").open("w", encoding="utf-8", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(("tag_id", "name", "category", "count"))
        for k, name in enumerate(RATINGS):
            rows.writerow((9999999 - k, name, 9, 0))
        for k, name in enumerate(TAGS):
            rows.writerow((k, name.replace(" ", "_"), 0, 0))
