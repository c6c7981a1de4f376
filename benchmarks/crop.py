"""Cropping a folder against bare decode, cut, resize and encode of the same boxes, one picture after the other.

    python benchmarks/crop.py [--images 24] [--size 512] [--source 3000x4000] [--source-format jpg]

Two ratios: carrying out the plan alone, and with making it (reading headers, looking for the focal point).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lora_studio.crop import CropOptions, apply_plan, plan_project
from lora_studio.crop.looks import looks_path
from lora_studio.project import Project


def make_pictures(folder: Path, count: int, size: tuple[int, int], suffix: str) -> None:
    """Smooth colours with grain, as photographs have."""
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 9, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        pixels = np.asarray(coarse, dtype=np.int16) + rng.integers(-6, 7, (size[1], size[0], 3), dtype=np.int16)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{i:04d}.{suffix}", quality=92)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--size", default="512")
    parser.add_argument("--source", default="3000x4000")
    parser.add_argument("--source-format", default="jpg", choices=("jpg", "png", "webp"))
    parser.add_argument("--focal", default="smart", choices=("smart", "center"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    width, height = (int(side) for side in arguments.source.split("x"))
    options = CropOptions(size=arguments.size, focal=arguments.focal)

    bare, applied, planned = [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        project = Project.create(temporary, "benchmark")
        out = Path(temporary) / "bare"
        out.mkdir()
        make_pictures(project.raw_dir, arguments.images, (width, height), arguments.source_format)
        for _ in range(arguments.repeats):
            looks_path(project).unlink(missing_ok=True)
            started = time.perf_counter()
            plan = plan_project(project, options)
            planned.append(time.perf_counter() - started)
            started = time.perf_counter()
            apply_plan(plan, project, force=True)
            applied.append(time.perf_counter() - started)
            started = time.perf_counter()
            for entry in plan.entries:
                with Image.open(project.raw_dir / entry.source) as image:
                    cut = image.convert("RGB").resize(entry.size, Image.Resampling.LANCZOS, box=entry.box)
                cut.save(out / Path(entry.source).with_suffix(".png").name)
            bare.append(time.perf_counter() - started)
    result = {
        "images": arguments.images,
        "source": f"{arguments.source} {arguments.source_format}",
        "size": arguments.size,
        "focal": arguments.focal,
        "bare_images_per_second": round(arguments.images / min(bare), 2),
        "apply_images_per_second": round(arguments.images / min(applied), 2),
        "plan_and_apply_images_per_second": round(arguments.images / (min(applied) + min(planned)), 2),
        "ratio_apply": round(min(bare) / min(applied), 3),
        "ratio_plan_and_apply": round(min(bare) / (min(applied) + min(planned)), 3),
    }
    print(json.dumps(result) if arguments.json else "\n".join(f"{name}: {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
