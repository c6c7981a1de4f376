"""Keep some of the saved epochs: the others go to the project's trash, all or none, and come back as easily.

A batch says in its record whether its move came to its end ("done"). One that was broken off (the program was ended, or another one held a file both
ways) is put back at the next look.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write_json, locked, read_json
from ..moving import Move, move_all
from ..patience import rmtree
from ..project import Project
from .loras import PREVIEWS, Places, list_loras

FOLDER = ".trash"
FILE = "moves.json"
LOCK = "lock"
LEFT = "Some files are still in the trash. They are put back as soon as nobody holds them: load the list again."
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
    places = Places.of(project, lora_dir).named
    moves = [
        (place, path.name)
        for place, folder in places.items()
        for stem in others
        for path in (folder / f"{stem}.safetensors", *(folder / (stem + suffix) for suffix in SIDECARS))
        if path.is_file()
    ]
    with locked(project.folder / FOLDER / LOCK):
        batch = _new_batch(project.folder / FOLDER)
        there = [(places[place] / name, batch / place / name) for place, name in moves]
        try:
            # Written first: whatever happens in between, the next look knows where everything belongs.
            _record(batch, moves, done=False)
            move_all(there)
            _record(batch, moves, done=True)
        except UserError as error:
            with suppress(UserError):
                move_all([(target, source) for source, target in there if target.is_file()])
            if not _remove_empty(batch):
                raise UserError(error.message, LEFT) from error
            raise
    return {"moved": sorted(f"{stem}.safetensors" for stem in others), "batch": batch.name}


def batches(project: Project) -> list[dict[str, Any]]:
    """What lies in the trash, oldest first: name, LoRA files and bytes of each batch."""
    folder = project.folder / FOLDER
    found = []
    for batch in sorted(folder.iterdir()) if folder.is_dir() else ():
        files = [p for p in batch.rglob("*") if p.is_file() and p.name != FILE] if (batch / FILE).is_file() else []
        names = sorted({p.name for p in files if p.suffix == ".safetensors"})
        if names:
            found.append({"batch": batch.name, "files": names, "size": sum(p.stat().st_size for p in files)})
    return found


def restore(project: Project, lora_dir: Path | None, batch: str = "") -> dict[str, Any]:
    """Put a batch ("" = the newest) back where it was. Raises UserError when there is none or something lies in its place now."""
    known = [b["batch"] for b in batches(project)]
    if not known:
        raise UserError("There is nothing to put back.")
    name = batch or known[-1]
    if name not in known:
        raise UserError(f"There is no {name} in the trash.", "Load the list again: it may have been put back already.")
    folder = project.folder / FOLDER / name
    with locked(project.folder / FOLDER / LOCK):
        recorded = read_json(folder / FILE)["moves"]
        moves = _back(project, lora_dir, folder, recorded)
        if taken := sorted({target.name for _, target in moves if target.exists()}):
            raise UserError(f"These names are taken by newer files: {', '.join(taken)}.", f"Rename them, or take the old ones from {folder}.")
        _record(folder, recorded, done=False)
        try:
            move_all(moves)
        except UserError:
            with suppress(UserError):
                _record(folder, recorded, done=True)
            raise
        if not _remove_empty(folder, {target.name for _, target in moves}):
            _record(folder, recorded, done=True)
    return {"restored": sorted({t.name for _, t in moves if t.suffix == ".safetensors"})}


def settle(project: Project, lora_dir: Path | None) -> None:
    """Put back what a move that was broken off left in the trash. What cannot be put back now is left for the next look."""
    trash = project.folder / FOLDER
    broken = [record.parent for record in sorted(trash.glob(f"*/{FILE}")) if not _is_done(record)]
    if not broken:
        return
    with suppress(UserError), locked(trash / LOCK, timeout=0):  # somebody is moving right now
        for batch in broken:
            if _is_done(batch / FILE):
                continue
            recorded = read_json(batch / FILE)["moves"]
            if any(str(place) not in Places.of(project, lora_dir).named for place, _ in recorded):
                continue  # they belong to a LoRA folder that is not known now
            moves = _back(project, lora_dir, batch, recorded)
            with suppress(UserError):
                move_all([(source, target) for source, target in moves if not target.exists()])
                if not _remove_empty(batch):  # something newer has a name: from now on people decide
                    _record(batch, recorded, done=True)


def _back(project: Project, lora_dir: Path | None, batch: Path, recorded: Any) -> list[Move]:
    """The moves that bring the files of a batch back."""
    places = Places.of(project, lora_dir).named
    moves: list[Move] = []
    for place, file in recorded:
        source = batch / str(place) / Path(str(file)).name
        if source.is_file():
            # without a LoRA folder now, its copies go to the output, where they are not lost
            moves.append((source, places.get(str(place), places["output"]) / source.name))
    return list({target: (source, target) for source, target in reversed(moves)}.values())


def _record(batch: Path, moves: Any, done: bool) -> None:
    atomic_write_json(batch / FILE, {"version": 1, "moves": moves, "done": done})


def _is_done(record: Path) -> bool:
    """Of records without that word, too: earlier versions wrote none."""
    with suppress(UserError):
        found = read_json(record)
        return not isinstance(found, dict) or found.get("done") is not False
    return True


def _remove_empty(batch: Path, needless: Collection[str] = ()) -> bool:
    """Remove a batch in which no file is left but its record, and second copies of these names; whether that was so."""
    if any(p.is_file() and p.name not in (FILE, *needless) for p in batch.rglob("*")):
        return False
    rmtree(batch, ignore_errors=True)
    return True


def _new_batch(trash: Path) -> Path:
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for k in range(1000):
        folder = trash / (stamp if k == 0 else f"{stamp}_{k + 1}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise UserError(f"No new folder can be made in {trash}.")
