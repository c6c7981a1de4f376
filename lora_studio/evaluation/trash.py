"""Keep some of the saved epochs: the others go to the project's trash, all or none, and come back as easily.

What a batch says of itself is input. Files go back only to where they can have come from, the project's output or its folder in the WebUI's LoRA
folder; only LoRAs and what lies beside one, by plain names, out of the batch itself, never onto a file that is there.

A batch says in its record whether its move came to its end ("done"). One that was broken off (the program was ended, or another one held a file both
ways) is put back at the next look.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write_json, locked
from ..moving import Move, move_all
from ..patience import rmdir, rmdir_if_empty, unlink
from ..project import Project
from ..reading import read_object
from ..untrusted import is_inside, name_in, refuse, sequence
from .loras import PREVIEWS, SUFFIX, Places, list_loras

FOLDER = ".trash"
FILE = "moves.json"
LOCK = "lock"
LEFT = "Some files are still in the trash. They are put back as soon as nobody holds them: load the list again."
PLACES = ("output", "lora")
SIDECARS = (".json", *PREVIEWS, ".txt", ".civitai.info", ".description.txt")


def keep_only(project: Project, lora_dir: Path | None, keep: Collection[str], run: str = "") -> dict[str, Any]:
    """Move every other LoRA of ``run`` ("" = of the whole project), with what lies beside it, out of the output and LoRA folders.

    Files of a move that was broken off come back first.

    Raises:
        UserError: nothing would be kept, a name is not known, or a file could not be moved (then all are back where they were).
    """
    settle(project, lora_dir)
    loras = [x for x in list_loras(project, lora_dir) if not run or x.run == run]
    wanted = set(keep)
    if unknown := sorted(wanted - {x.file for x in loras}):
        raise UserError(f"These are not among the saved epochs: {', '.join(unknown)}.", "Load the list again: they may have been moved or deleted.")
    if not wanted:
        raise UserError("Nothing is chosen to be kept.", "Choose at least one epoch.")
    others = [x.stem for x in loras if x.file not in wanted]
    if not others:
        return {"moved": [], "batch": ""}
    places = Places.to_write(project, lora_dir).named
    trash = project.own(project.folder / FOLDER)
    moves = [
        (place, path.name)
        for place, folder in places.items()
        for stem in others
        for path in (folder / f"{stem}.safetensors", *(folder / (stem + suffix) for suffix in SIDECARS))
        if path.is_file()
    ]
    with locked(trash / LOCK):
        batch = _new_batch(trash)
        there = [(places[place] / name, batch / place / name) for place, name in moves]
        try:
            # Written first: whatever happens in between, the next look knows where everything belongs.
            _record(batch, moves, done=False)
            move_all(there)
            _record(batch, moves, done=True)
        except UserError as error:
            with suppress(UserError):
                move_all([(target, source) for source, target in there if target.is_file()])
            if not _remove(batch):
                raise UserError(error.message, LEFT) from error
            raise
    return {"moved": sorted(f"{stem}.safetensors" for stem in others), "batch": batch.name}


def batches(project: Project) -> list[dict[str, Any]]:
    """What lies in the trash, oldest first: name, LoRA files and bytes of each batch."""
    folder = project.folder / FOLDER
    found = []
    for batch in sorted(folder.iterdir()) if folder.is_dir() and is_inside(project.folder, folder) else ():
        if not (batch / FILE).is_file() or not is_inside(project.folder, batch):
            continue
        files = [p for place in PLACES if is_inside(batch, batch / place) and (batch / place).is_dir() for p in (batch / place).iterdir()]
        files = [p for p in files if p.is_file() and not p.is_symlink()]
        names = sorted({p.name for p in files if p.suffix == SUFFIX})
        if names:
            found.append({"batch": batch.name, "files": names, "size": sum(p.stat().st_size for p in files)})
    return found


def _recorded(project: Project, batch: Path) -> list[tuple[str, str]]:
    """(place, file) of a batch's record, checked: all of it, or RefusedError."""
    what = f"The trash of {project.name}"
    found = []
    for row in sequence(read_object(batch / FILE).get("moves"), what):
        place, file = row if isinstance(row, list) and len(row) == 2 else (None, None)
        if place not in PLACES:
            raise refuse(what, row, "is no place that a LoRA can have come from")
        name = name_in(batch / place, file, what)
        if not name.endswith((SUFFIX, *SIDECARS)) or not is_inside(batch, batch / place / name):
            raise refuse(what, row, "is no LoRA, nor what lies beside one")
        found.append((place, name))
    return found


def _moves(project: Project, batch: Path, places: dict[str, Path]) -> list[Move]:
    """The moves that bring the files of a batch back."""
    found: dict[Path, Move] = {}
    for place, name in _recorded(project, batch):
        source = batch / place / name
        if source.is_file():
            # without a LoRA folder now, its copies go to the output, where they are not lost; where both are there, the output's own goes
            target = places.get(place, places["output"]) / name
            found.setdefault(target, (source, target))
    return list(found.values())


def restore(project: Project, lora_dir: Path | None, batch: str = "") -> dict[str, Any]:
    """Put a batch ("" = the newest) back where it was. Raises UserError when there is none or something lies in its place now."""
    known = [b["batch"] for b in batches(project)]
    if not known:
        raise UserError("There is nothing to put back.")
    name = batch or known[-1]
    if name not in known:
        raise UserError(f"There is no {name} in the trash.", "Load the list again: it may have been put back already.")
    folder = project.own(project.folder / FOLDER / name)
    moves = _moves(project, folder, Places.to_write(project, lora_dir).named)
    if taken := sorted({target.name for _, target in moves if os.path.lexists(target)}):
        raise UserError(f"These names are taken by newer files: {', '.join(taken)}.", f"Rename them, or take the old ones from {folder}.")
    recorded = _recorded(project, folder)
    with locked(project.own(project.folder / FOLDER) / LOCK):
        _record(folder, recorded, done=False)
        try:
            move_all(moves)
        except UserError:
            with suppress(UserError):
                _record(folder, recorded, done=True)
            raise
        if not _remove(folder, {source.name for source, _ in moves}):
            _record(folder, recorded, done=True)
    return {"restored": sorted({t.name for _, t in moves if t.suffix == ".safetensors"})}


def settle(project: Project, lora_dir: Path | None) -> None:
    """Put back what a move that was broken off left in the trash. What cannot be put back now is left for the next look."""
    trash = project.folder / FOLDER
    broken = [record.parent for record in sorted(trash.glob(f"*/{FILE}")) if not _is_done(record)]
    if not broken:
        return
    with suppress(UserError), locked(project.own(trash) / LOCK, timeout=0):  # somebody is moving right now
        places = Places.to_write(project, lora_dir).named
        for batch in broken:
            with suppress(UserError):
                recorded = _recorded(project, project.own(batch))
                if _is_done(batch / FILE) or any(place not in places for place, _ in recorded):
                    continue  # those belong to a LoRA folder that is not known now
                moves = _moves(project, batch, places)
                move_all([(source, target) for source, target in moves if not os.path.lexists(target)])
                if not _remove(batch):  # something newer has a name: from now on people decide
                    _record(batch, recorded, done=True)


def _record(batch: Path, moves: Any, done: bool) -> None:
    atomic_write_json(batch / FILE, {"version": 1, "moves": moves, "done": done})


def _is_done(record: Path) -> bool:
    """Of records without that word, too: earlier versions wrote none."""
    with suppress(UserError):
        return read_object(record).get("done") is not False
    return True


def _remove(batch: Path, gone: Collection[str] = ()) -> bool:
    """Remove a batch in which nothing is left but its record, and second copies of these names; whether that was so. What else is there stays."""
    for place in [place for place in PLACES if is_inside(batch, batch / place) and (batch / place).is_dir()]:
        with suppress(OSError):
            for path in [p for p in (batch / place).iterdir() if p.name in gone]:
                unlink(path)
        rmdir_if_empty(batch / place)
    if any(path.name != FILE for path in batch.iterdir()):
        return False
    with suppress(OSError):
        unlink(batch / FILE, missing_ok=True)
        rmdir(batch)
    return True


def _new_batch(trash: Path) -> Path:
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for k in range(1000):
        folder = trash / (stamp if k == 0 else f"{stamp}_{k + 1}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise UserError(f"No new folder can be made in {trash}.")
