"""Step 1: draw the pictures everything else is trained on."""

from __future__ import annotations

import json
import multiprocessing
import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from ..drawer import draw
from ..raw_pictures import raw_picture
from ..scene import Scene, sample_scene

SIZE = 128
LOOSE = 0.2
"""Share of pictures cut loosely out of a raw one, clutter and all, as an automatic crop would."""


def loose_crop(scene: Scene, rng: random.Random) -> Image.Image:
    """A square cut near the figure of a raw picture, off by up to an eighth of its side."""
    raw = raw_picture(scene, rng)
    w, h = raw.image.size
    left, top, right, bottom = raw.box
    side = min(w, h)
    off = side * 0.12
    x = min(max(0, (left + right - side) / 2 + rng.uniform(-off, off)), w - side)
    y = min(max(0, (top + bottom - side) / 2 + rng.uniform(-off, off)), h - side)
    return raw.image.resize((SIZE, SIZE), Image.Resampling.BOX, box=(x, y, x + side, y + side))


def _chunk(args: tuple[int, int]) -> tuple[np.ndarray, list[Scene]]:
    seed, count = args
    rng = random.Random(seed)
    scenes = [sample_scene(rng) for _ in range(count)]
    pictures = [loose_crop(s, rng) if rng.random() < LOOSE else draw(s, rng, SIZE) for s in scenes]
    return np.stack([np.asarray(p) for p in pictures]), scenes


def build(work: Path, count: int, processes: int, seed: int = 1) -> None:
    """Write ``pictures.npy`` (count, 128, 128, 3) uint8 RGB and ``scenes.json``."""
    size = 250
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        parts = pool.map(_chunk, [(seed * 1_000_003 + k, size) for k in range(-(-count // size))], chunksize=1)
    np.save(work / "pictures.npy", np.concatenate([p for p, _ in parts])[:count])
    scenes = [s for _, part in parts for s in part][:count]
    (work / "scenes.json").write_text(
        json.dumps([{**asdict(s), "extras": sorted(s.extras)} for s in scenes]), encoding="utf-8"
    )


def load_scenes(work: Path) -> list[Scene]:
    """The scenes of ``pictures.npy``, in its order."""
    rows = json.loads((work / "scenes.json").read_text(encoding="utf-8"))
    return [Scene(**{**r, "extras": frozenset(r["extras"])}) for r in rows]
