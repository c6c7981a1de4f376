"""Captions of 1,000, 10,000 and 100,000 pictures: open and index, filter, count tags, replace everywhere, dedupe, undo.

    python benchmarks/dataset.py [--sizes 1000 10000 100000] [--rounds 5] [--folder DIR] [--json]

Every edit is timed to its end: history entry on the disk, captions replaced, index up to date. Opening is timed on a folder
whose captions are in the system's cache; each round is an index made anew. Medians are told.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lora_studio.dataset.listing import list_pictures
from lora_studio.editing import EditOptions, Op, Search, Wanted, edit_dataset, edit_pictures, redo, undo
from lora_studio.editing import view as shown
from lora_studio.editing.index import DatasetIndex, open_index

COMMON = ("1girl", "solo", "long hair", "looking at viewer", "smile", "blue eyes", "hat")
TAGS = 26  # of a picture, about as many as a tagger writes


def picture() -> bytes:
    file = BytesIO()
    Image.new("RGB", (512, 640), (120, 90, 200)).save(file, "JPEG")
    return file.getvalue()


def make(folder: Path, count: int, seed: int = 0) -> None:
    """Pictures with captions: a few tags nearly everywhere, 3,000 others by Zipf, one caption in four with a tag twice."""
    rng = random.Random(seed)
    words = [f"{a} {b}" for a in ("red", "blue", "open", "torn", "white", "short") for b in (f"word{k}" for k in range(500))]
    weights = [1 / (k + 1) for k in range(len(words))]
    drawn = rng.choices(words, weights, k=count * TAGS)
    data = picture()
    folder.mkdir(parents=True)
    for k in range(count):
        tags = [tag for tag in COMMON if rng.random() < 0.7] + list(dict.fromkeys(drawn[k * TAGS : k * TAGS + TAGS - 5]))
        if k % 4 == 0:
            tags.append(tags[0])
        (folder / f"{k:06d}.jpg").write_bytes(data)
        (folder / f"{k:06d}.txt").write_text(", ".join(tags), encoding="utf-8")


def timed(work: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(folder: Path, rounds: int) -> dict[str, float]:
    found: dict[str, float] = {}
    found["open: index"] = timed(lambda: DatasetIndex(folder).refresh(now=True), rounds)
    start = time.perf_counter()
    list_pictures(folder, folder / ".lora_studio")
    found["sizes, first time"] = time.perf_counter() - start
    open_index(folder).refresh(now=True)
    found["open: page, again"] = timed(lambda: shown.show(folder, Wanted(), 40), rounds)
    found["filter: tag -tag"] = timed(lambda: shown.show(folder, Wanted('tag:"long hair" -tag:hat'), 40), rounds)
    index = open_index(folder)
    found["filter alone"] = timed(lambda: Wanted('tag:"long hair" -tag:hat').names(index), rounds)
    found["filter: wildcard, count"] = timed(lambda: Wanted("*_word1* count:>20 OR red").names(index), rounds)
    found["tags of all"] = timed(lambda: shown.tags(folder, Wanted()), rounds)
    found["tags of a filter"] = timed(lambda: shown.tags(folder, Wanted("tag:smile")), rounds)
    found["one edit of one picture"] = timed(lambda: edit_pictures(folder, [Op("move", "000001.jpg", "smile", to=0)]), rounds)

    swap = [EditOptions(search=(Search("solo", "alone"),)), EditOptions(search=(Search("alone", "solo"),))]
    edits = {
        "replace everywhere": swap,
        "remove a tag, dry run": [EditOptions(remove=("1girl",), dry_run=True)],
        "add in front of all": [EditOptions(add_front=("tag a",)), EditOptions(add_front=("tag b",))],
    }
    for name, options in edits.items():
        counter = iter(range(10**6))
        found[name] = timed(lambda options=options, counter=counter: edit_dataset(folder, options[next(counter) % len(options)]), rounds)
    dedupe, back, again = [], [], []
    for _ in range(rounds):
        dedupe.append(timed(lambda: edit_dataset(folder, EditOptions(dedupe=True)), 1))
        back.append(timed(lambda: undo(folder), 1))
    found["dedupe (a quarter)"], found["undo dedupe"] = statistics.median(dedupe), statistics.median(back)
    back = []
    for _ in range(rounds):
        found["remove everywhere"] = timed(lambda: edit_dataset(folder, EditOptions(remove=("1girl",))), 1)
        back.append(timed(lambda: undo(folder), 1))
        again.append(timed(lambda: redo(folder), 1))
        undo(folder)
    found["undo"], found["redo"] = statistics.median(back), statistics.median(again)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10000, 100000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where the datasets are made (default: the system's temporary folder)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        for size in options.sizes:
            folder = Path(temporary) / str(size)
            make(folder, size)
            results[size] = measure(folder, options.rounds)
    if options.json:
        print(json.dumps(results))
        return
    print(f"{'seconds':28}" + "".join(f"{size:>12,}" for size in options.sizes))
    for name in results[options.sizes[0]]:
        print(f"{name:28}" + "".join(f"{results[size][name]:12.4f}" for size in options.sizes))
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
