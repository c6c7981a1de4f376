"""A grid a person asks for: epochs × weights, for every prompt and seed; planned first, then filled cell by cell.

A grid is its folder, ``<run>/evaluation/grids/<time>/``: ``grid.json`` says what every cell is, ``cells/`` fills up, ``grid.png`` is
the labelled sheet. One that was stopped goes on where it was.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import UserError
from ..files import atomic_write_json
from ..progress import Progress, silent
from ..reading import entries, read_object
from ..untrusted import inside, mapping, number, own_folder, refuse, sequence, text, whole
from .grid import PAPER, draw_grid
from .options import EvaluateOptions
from .painter import Painter
from .prompts import TestPrompt
from .run import load_painter, save_picture
from .setup import read_setup
from .usage import without_loras

FOLDER, FILE, SHEET = "grids", "grid.json", "grid.png"
MOST = 1000
CELL_FILE = re.compile(r"cells/[\w.+-]+\.png")


@dataclass(frozen=True)
class GridOptions:
    """What to draw. ``epochs`` empty: all that are there; a weight of 0 is the base model. ``width``, ``height`` 0: the training resolution.

    ``cfg`` None: the run's ``sample_cfg``.
    """

    prompts: tuple[str, ...]
    epochs: tuple[int, ...] = ()
    weights: tuple[float, ...] = (0.4, 0.6, 0.8, 1.0)
    negative: str = ""
    seeds: tuple[int, ...] = (1,)
    steps: int = 20
    cfg: float | None = None
    width: int = 0
    height: int = 0

    def __post_init__(self) -> None:
        problems = []
        if not self.prompts or any(not p.strip() for p in self.prompts):
            problems.append("there is no prompt")
        if not self.weights or any(not -4 <= w <= 4 for w in self.weights):
            problems.append("weights must lie between -4 and 4")
        if not self.seeds or any(not 0 <= s < 2**32 for s in self.seeds):
            problems.append("seeds must be whole numbers from 0 to 4294967295")
        if any(not isinstance(e, int) or not 0 <= e < 10**6 for e in self.epochs):
            problems.append("epochs must be whole numbers")
        if not 2 <= self.steps <= 150:
            problems.append("steps must lie between 2 and 150")
        if self.cfg is not None and not 1 <= self.cfg <= 30:
            problems.append("cfg must lie between 1 and 30")
        if any(side and (not 64 <= side <= 4096 or side % 8) for side in (self.width, self.height)):
            problems.append("width and height must be multiples of 8 between 64 and 4096")
        if problems:
            raise UserError("The grid cannot be drawn: " + "; ".join(problems) + ".")


@dataclass(frozen=True)
class Cell:
    """One picture: epoch and weight, indices into the prompts, a seed, and its file below the grid's folder."""

    epoch: int
    weight: float
    prompt: int
    seed: int
    file: str


def cells_of(options: GridOptions) -> list[Cell]:
    """Every cell, those of one LoRA at one weight next to each other."""
    return [
        Cell(epoch, weight, p, seed, f"cells/e{epoch:02d}-w{weight:g}-p{p + 1}-s{seed}.png")
        for epoch in options.epochs
        for weight in options.weights
        for p in range(len(options.prompts))
        for seed in options.seeds
    ]


def plan(run_dir: Path, options: GridOptions) -> Path:
    """Make the folder of a grid; nothing is drawn yet.

    Raises:
        UserError: an epoch that is not there, or more than MOST cells.
    """
    setup = read_setup(run_dir, EvaluateOptions(epochs=options.epochs))
    there = tuple(epoch for epoch, _ in setup.epochs)
    if missing := sorted(set(options.epochs) - set(there)):
        raise UserError(f"These epochs are not there: {', '.join(map(str, missing))}.", "Choose among: " + ", ".join(map(str, there)) + ".")
    options = replace(
        options,
        prompts=tuple(dict.fromkeys(p.strip() for p in options.prompts)),
        epochs=there,
        weights=tuple(dict.fromkeys(options.weights)),
        seeds=tuple(dict.fromkeys(options.seeds)),
        cfg=setup.cfg if options.cfg is None else options.cfg,
        width=options.width or setup.size[0],
        height=options.height or setup.size[1],
    )
    cells = cells_of(options)
    if len(cells) > MOST:
        raise UserError(f"This grid has {len(cells)} pictures; at most {MOST} are drawn at once.", "Choose fewer epochs, weights, prompts or seeds.")
    folder = _new_folder(setup.run_dir / "evaluation" / FOLDER)
    facts = {"format": 1, "created": datetime.now().isoformat(timespec="seconds"), "base": setup.base, "trigger": setup.trigger}
    loras = {str(epoch): path.name for epoch, path in setup.epochs}
    atomic_write_json(folder / FILE, {**facts, "loras": loras, "options": asdict(options), "cells": [asdict(c) for c in cells]})
    return folder


def _new_folder(parent: Path) -> Path:
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for k in range(1000):
        folder = parent / (stamp if k == 0 else f"{stamp}_{k + 1}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise UserError(f"No new folder can be made in {parent}.")


def read_plan(folder: Path) -> tuple[Mapping[str, Any], GridOptions, list[Cell]]:
    """What ``grid.json`` holds. Raises UserError for a folder that is no grid, and for cells that would lie elsewhere."""
    what = f"The grid {folder.name}"
    found = read_object(folder / FILE)
    options = _options(mapping(found.get("options"), what), what)
    cells = []
    for row in sequence(found.get("cells"), what, MOST):
        cell, last = mapping(row, what), len(options.prompts) - 1
        file = text(cell.get("file"), what)
        if not CELL_FILE.fullmatch(file):
            raise refuse(what, file, "is none of its pictures")
        inside(folder, file, what)
        weight = number(cell.get("weight"), what, -4, 4)
        cells.append(Cell(_count(cell.get("epoch"), what), weight, whole(cell.get("prompt"), what, 0, last), _count(cell.get("seed"), what), file))
    most = len(options.epochs) * len(options.weights) * len(options.prompts) * len(options.seeds)
    if most > MOST or {replace(cell, file="") for cell in cells} != {replace(cell, file="") for cell in cells_of(options)}:
        raise UserError(f"{folder / FILE} does not describe a grid.", "Delete its folder and draw a new one.")
    return found, options, cells


def _options(values: Mapping[str, Any], what: str) -> GridOptions:
    def each(name: str, read: Callable[..., Any], *bounds: Any) -> tuple[Any, ...]:
        return tuple(read(value, what, *bounds) for value in sequence(values.get(name, []), what, MOST))

    return GridOptions(
        prompts=each("prompts", text),
        epochs=each("epochs", whole, 0, 2**32),
        weights=each("weights", number, -4, 4),
        negative=text(values.get("negative", ""), what),
        seeds=each("seeds", whole, 0, 2**32),
        steps=whole(values.get("steps", 20), what, 2, 150),
        cfg=None if values.get("cfg") is None else number(values["cfg"], what, 1, 30),
        width=whole(values.get("width", 0), what, 0, 4096),
        height=whole(values.get("height", 0), what, 0, 4096),
    )


def _count(value: Any, what: str) -> int:
    return whole(value, what, 0, 2**32)


def fill(
    run_dir: Path, name: str, progress: Progress = silent, painter_of: Callable[[Mapping[str, Any], GridOptions], Painter] | None = None
) -> dict[str, Any]:
    """Draw the cells that are missing, then the sheet; each cell is on disk as soon as it is drawn.

    ``painter_of`` makes the painter from what grid.json holds (a WebUI's txt2img); without it the run's base model is loaded here.
    """
    folder = grid_folder(run_dir, name)
    found, options, cells = read_plan(folder)
    setup = read_setup(run_dir, EvaluateOptions(epochs=options.epochs))
    loras = dict(setup.epochs)
    missing = [c for c in cells if not (folder / c.file).is_file()]
    painter = painter_of(found, options) if painter_of else _own_painter(setup, options, progress) if missing else None
    for (epoch, weight), group in groupby(missing, key=lambda c: (c.epoch, c.weight)):
        if epoch not in loras:
            raise UserError(f"Epoch {epoch} is no longer there.", "Put it back, or draw a new grid without it.")
        assert painter is not None
        batch = list(group)
        before = len(cells) - len(missing) + missing.index(batch[0])
        tell = partial(_tell, progress, before, len(cells), f"drawing epoch {epoch} at weight {weight:g}")
        tell(0)
        prompts = [TestPrompt("grid", without_loras(options.prompts[c.prompt]), c.seed, ()) for c in batch]
        pictures = painter.draw(prompts, loras[epoch] if weight else None, weight, tell)
        for cell, picture in zip(batch, pictures, strict=True):
            save_picture(picture, folder / cell.file)
    save_picture(sheet(folder), folder / SHEET)
    progress(len(cells), len(cells), "done")
    return {"grid": name, "folder": str(folder), "cells": len(cells)}


def _tell(progress: Progress, before: int, total: int, message: str, drawn: int) -> None:
    progress(before + drawn, total, message)


def _own_painter(setup: Any, options: GridOptions, progress: Progress) -> Painter:
    asked = EvaluateOptions(steps=options.steps, cfg=options.cfg, negative=options.negative, width=options.width, height=options.height)
    return load_painter(setup, asked, progress)


def sheet(folder: Path) -> Image.Image:
    """All cells in one labelled picture: a row an epoch, a column a weight, one block for each prompt and seed; what is not drawn stays empty."""
    _, options, cells = read_plan(folder)
    by_place = {(c.epoch, c.weight, c.prompt, c.seed): folder / c.file for c in cells}
    columns = [f"weight {w:g}" for w in options.weights]

    def picture(epoch: int, weight: float, prompt: int, seed: int) -> Image.Image:
        path = by_place.get((epoch, weight, prompt, seed))
        if path is None or not path.is_file():
            return Image.new("RGB", (options.width, options.height), (236, 236, 240))
        with Image.open(path) as opened:
            return opened.convert("RGB")

    blocks = []
    for p, prompt in enumerate(options.prompts):
        for seed in options.seeds:
            rows = [(f"epoch {e}", [picture(e, w, p, seed) for w in options.weights]) for e in options.epochs]
            blocks.append(draw_grid(rows, columns, f"{prompt}   (seed {seed})"))
    whole = Image.new("RGB", (max(b.width for b in blocks), sum(b.height for b in blocks)), PAPER)
    top = 0
    for block in blocks:
        whole.paste(block, (0, top))
        top += block.height
    return whole


def grid_folder(run_dir: Path, name: str) -> Path:
    """A grid of a run by its name. Raises UserError for anything that is not the name of one."""
    folder = run_dir / "evaluation" / FOLDER
    known = [p.name for p in entries(folder) if os.path.isfile(p / FILE)]
    if name not in known:
        raise UserError(f"There is no grid {name}.", "Load the list again.")
    return own_folder(run_dir, folder / name, f"The grid {name}")


def list_grids(run_dir: Path) -> list[dict[str, Any]]:
    """The grids of a run, newest first: name, prompts, epochs, weights, how many cells are drawn of how many."""
    folder = run_dir / "evaluation" / FOLDER
    found = []
    for path in reversed(entries(folder)):
        if not os.path.lexists(path / FILE):
            continue
        try:
            _, options, cells = read_plan(own_folder(run_dir, path, f"The grid {path.name}"))
        except UserError as error:
            found.append({"name": path.name, "problem": error.message})
            continue
        drawn = sum((path / c.file).is_file() for c in cells)
        found.append({"name": path.name, **asdict(options), "drawn": drawn, "total": len(cells)})
    return found


def show_grid(run_dir: Path, name: str) -> dict[str, Any]:
    """What the page shows of a grid: its options and cells, each with whether it is drawn."""
    folder = grid_folder(run_dir, name)
    found, options, cells = read_plan(folder)
    shown = [{**asdict(c), "drawn": (folder / c.file).is_file()} for c in cells]
    base = Path(str(found.get("base", ""))).name
    return {"name": name, "created": str(found.get("created", "")), "base": base, "options": asdict(options), "cells": shown}
