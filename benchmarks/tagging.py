"""Tagging a folder against nothing but ONNX Runtime on the same pictures, already prepared.

    python benchmarks/tagging.py [--images 48] [--size 832x1216] [--format jpg] [--model demo|vit-b|NAME|FOLDER]

The ratio says what share of the bare speed is left when decoding, padding, resizing, hashing, choosing tags and
writing captions are counted too. The demo tagger takes a few milliseconds a picture, so it shows the overhead at its
worst; vit-b is a stand-in with the amount of work of WD14's ViT-B and random weights (needs the package onnx).
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lora_studio import cores
from lora_studio.demo.raw_pictures import raw_picture
from lora_studio.demo.scene import sample_scene
from lora_studio.tagging import TagOptions, load_tagger, tag_folder
from lora_studio.tagging.preprocess import read_picture


def make_pictures(folder: Path, count: int, size: tuple[int, int], suffix: str) -> list[Path]:
    """Drawn pictures with grain, so that decoding costs what it does on photographs."""
    rng, grain = random.Random(0), np.random.default_rng(0)
    paths = []
    for i in range(count):
        image = raw_picture(sample_scene(rng), rng).image.resize(size)
        pixels = np.asarray(image, dtype=np.int16) + grain.integers(-6, 7, (size[1], size[0], 3), dtype=np.int16)
        paths.append(folder / f"{i:04d}.{suffix}")
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(paths[-1], quality=92)
    return paths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--size", default="832x1216")
    parser.add_argument("--format", default="jpg", choices=("jpg", "png", "webp"))
    parser.add_argument("--model", default="demo")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.size.split("x"))

    bare, whole, again, bare_cpu, whole_cpu = [], [], [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if arguments.model == "vit-b":
            from vit_onnx import write_vit

            (made := folder / "wd-vit-stand-in").mkdir()
            arguments.model = str(write_vit(made))
        paths = make_pictures(folder, arguments.images, (width, height), arguments.format)
        with load_tagger(arguments.model) as tagger:
            batch, provider = tagger.best_batch, tagger.provider
            arrays = [read_picture(path, tagger.size) for path in paths]
            tagger.predict_prepared(arrays[:batch])
            for _ in range(arguments.repeats):
                started, cpu = time.perf_counter(), time.process_time()
                for start in range(0, len(arrays), batch):
                    tagger.predict_prepared(arrays[start : start + batch])
                bare.append(time.perf_counter() - started)
                bare_cpu.append(time.process_time() - cpu)
                for made in (*folder.glob("*.txt"), *(folder / ".lora_studio").glob("*.npz")):
                    made.unlink()
                started, cpu = time.perf_counter(), time.process_time()
                tag_folder(folder, TagOptions(model=arguments.model))
                whole.append(time.perf_counter() - started)
                whole_cpu.append(time.process_time() - cpu)
                started = time.perf_counter()
                tag_folder(folder, TagOptions(model=arguments.model, general_threshold=0.2, on_existing="overwrite"))
                again.append(time.perf_counter() - started)
    result = {
        "images": arguments.images,
        "size": arguments.size,
        "format": arguments.format,
        "model": tagger.name,
        "provider": provider,
        "threads": cores.threads(),
        "batch": batch,
        "bare_images_per_second": round(arguments.images / min(bare), 1),
        "tag_images_per_second": round(arguments.images / min(whole), 1),
        "ratio": round(min(bare) / min(whole), 3),
        "ratio_of_processor_time": round(min(bare_cpu) / min(whole_cpu), 3),
        "overhead_ms_per_image": round((min(whole) - min(bare)) / arguments.images * 1000, 2),
        "new_threshold_images_per_second": round(arguments.images / min(again), 1),
    }
    print(json.dumps(result) if arguments.json else "\n".join(f"{name}: {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
