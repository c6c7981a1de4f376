"""Cropping a folder against bare decode, cut, resize and encode of the same boxes on all cores.

    python benchmarks/crop.py [--images 24] [--size 512] [--source 3000x4000] [--source-format jpg]

The bare loop is what anybody would write: Pillow in a thread pool as wide as the machine. It is timed twice, as it
stands and with JPEGs decoded at a half, quarter or eighth where that is enough ("draft"), as ours does. Two ratios
against each: carrying out the plan alone, and with making it (reading headers, looking for the focal point).
Rounds take turns, so that whatever else the machine does falls on all alike; medians are told.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lora_studio.crop import CropEntry, CropOptions, CropPlan, apply_plan, plan_project
from lora_studio.crop.looks import looks_path
from lora_studio.crop.parallel import threads
from lora_studio.project import Project


def make_pictures(folder: Path, count: int, size: tuple[int, int], suffix: str) -> None:
    """Smooth colours with grain, as photographs have."""
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 9, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        pixels = np.asarray(coarse, dtype=np.int16) + rng.integers(-6, 7, (size[1], size[0], 3), dtype=np.int16)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / f"{i:04d}.{suffix}", quality=92)


def crop_bare(plan: CropPlan, project: Project, out: Path, draft: bool) -> None:
    """The same boxes with Pillow alone."""

    def one(entry: CropEntry) -> None:
        with Image.open(project.raw_dir / entry.source) as image:
            left, top, right, bottom = entry.box
            if draft:
                scale = 2 * max(entry.size[0] / (right - left), entry.size[1] / (bottom - top))
                image.draft(None, (round(image.width * scale), round(image.height * scale)))
            across, down = image.width / entry.source_size[0], image.height / entry.source_size[1]
            box = (left * across, top * down, right * across, bottom * down)
            cut = image.convert("RGB").resize(entry.size, Image.Resampling.LANCZOS, box=box)
        cut.save(out / Path(entry.source).with_suffix(".png").name)

    with ThreadPoolExecutor(threads()) as pool:
        list(pool.map(one, plan.entries))


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

    times: dict[str, list[float]] = {name: [] for name in ("bare", "draft", "plan", "apply")}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = work()
        times[name].append(time.perf_counter() - started)
        return result

    with tempfile.TemporaryDirectory() as temporary:
        project = Project.create(temporary, "benchmark")
        out = Path(temporary) / "bare"
        out.mkdir()
        make_pictures(project.raw_dir, arguments.images, (width, height), arguments.source_format)
        for _ in range(arguments.repeats):
            looks_path(project).unlink(missing_ok=True)
            plan = timed("plan", partial(plan_project, project, options))
            timed("apply", partial(apply_plan, plan, project, force=True))
            timed("bare", partial(crop_bare, plan, project, out, False))
            timed("draft", partial(crop_bare, plan, project, out, True))
    middle = {name: statistics.median(rounds) for name, rounds in times.items()}
    ours = {"apply": middle["apply"], "plan_and_apply": middle["apply"] + middle["plan"]}
    result: dict[str, Any] = {
        "images": arguments.images,
        "source": f"{arguments.source} {arguments.source_format}",
        "size": arguments.size,
        "focal": arguments.focal,
        "threads": threads(),
        **{f"{name}_images_per_second": round(arguments.images / seconds, 2) for name, seconds in {**middle, **ours}.items()},
        **{f"ratio_{name}_to_{bare}": round(middle[bare] / seconds, 3) for bare in ("bare", "draft") for name, seconds in ours.items()},
    }
    print(json.dumps(result) if arguments.json else "\n".join(f"{name}: {value}" for name, value in result.items()))


if __name__ == "__main__":
    main()
