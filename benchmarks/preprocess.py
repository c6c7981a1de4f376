"""Preparing pictures for a WD14 tagger against nothing but decoding them: 1, 3 and 12 megapixels, JPEG, PNG and WebP, one thread.

    python benchmarks/preprocess.py [--rounds 7] [--side 448] [--json]

A ratio below 1 means that preparing is faster than decoding the whole picture: large JPEGs are decoded at a fraction of their size.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lora_studio.demo.raw_pictures import raw_picture
from lora_studio.demo.scene import sample_scene
from lora_studio.tagging.preprocess import read_picture

SIZES = {"1 MP": (864, 1152), "3 MP": (1536, 2048), "12 MP": (3000, 4000)}
FORMATS = {"jpg": {"quality": 92}, "png": {}, "webp": {"quality": 90}}


def photograph(size: tuple[int, int]) -> Image.Image:
    """A drawn picture with grain, so that decoding costs what it does on photographs."""
    rng, grain = random.Random(0), np.random.default_rng(0)
    image = raw_picture(sample_scene(rng), rng).image.convert("RGB").resize(size)
    pixels = np.asarray(image, dtype=np.int16) + grain.integers(-6, 7, (size[1], size[0], 3), dtype=np.int16)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def decode(path: Path) -> None:
    with Image.open(path) as image:
        image.convert("RGB").load()


def milliseconds(work: Callable[..., Any], *arguments: Any) -> float:
    start = time.perf_counter()
    work(*arguments)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--side", type=int, default=448, help="of the model's input")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, size in SIZES.items():
            picture = photograph(size)
            for suffix, how in FORMATS.items():
                path = Path(temporary) / f"{size[0]}.{suffix}"
                picture.save(path, **how)
                # One after the other in each round: both meet the same moments of a busy machine.
                pairs = [(milliseconds(decode, path), milliseconds(read_picture, path, options.side)) for _ in range(options.rounds)]
                bare, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
                found = {"decode_ms": round(bare, 1), "prepare_ms": round(ours, 1), "ratio": round(ours / bare, 2)}
                rows.append({"size": name, "format": suffix, **found})
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{'':12}{'decode ms':>12}{'prepare ms':>12}{'ratio':>8}")
    for row in rows:
        print(f"{row['size']:6}{row['format']:6}{row['decode_ms']:12.1f}{row['prepare_ms']:12.1f}{row['ratio']:8.2f}")


if __name__ == "__main__":
    main()
