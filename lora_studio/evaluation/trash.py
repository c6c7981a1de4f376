"""Keep some of the saved epochs: the others go to the project's trash, all or none, and come back as easily.

What a batch says of itself is input. Files go back only to where they can have come from, the project's output or its folder in the WebUI's LoRA
folder; only LoRAs and what lies beside one, by plain names, out of the batch itself, never onto a file that is there.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import patience
from ..errors import UserError
from ..files import atomic_path, atomic_write_json, explain_os_error, read_json
from ..project import Project
from ..untrusted import is_inside, mapping, name_in, refuse, sequence
from .loras import PREVIEWS, SUFFIX, Places, list_loras

FOLDER = ".trash"
FILE = "moves.json"
SIDECARS = (".json", *PREVIEWS, ".txt", ".civitai.info", ".description.txt")

PLACES = ("output", "lora")

Move = tuple[Path, Path]


def keep_only(project: Project, lora_dir: Path | None, keep: Collection[str], run: str = "") -> dict[str, Any]:
    """Move every other LoRA of ``run`` ("" = of the whole project), with what lies beside it, out of the output and LoRA folders.

    Raises:
        UserError: nothing would be kept, a name is not known, or a file could not be moved (then all are back where they were).
    """
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
    batch = _new_batch(project.own(project.folder / FOLDER))
    moves = [
        (place, path.name)
        for place, folder in places.items()
        for stem in others
        for path in (folder / f"{stem}.safetensors", *(folder / (stem + suffix) for suffix in SIDECARS))
        if path.is_file()
    ]
    # Written first: whatever happens in between, restoring knows where everything belongs.
    atomic_write_json(batch / FILE, {"version": 1, "moves": moves})
    try:
        _move_all([(places[place] / name, batch / place / name) for place, name in moves])
    except UserError:
        if not any(b["batch"] == batch.name for b in batches(project)):
            patience.rmtree(batch, ignore_errors=True)
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


def _moves(project: Project, batch: Path, places: dict[str, Path]) -> list[Move]:
    """What a batch's record says, checked: all of it, or RefusedError."""
    what = f"The trash of {project.name}"
    found: dict[Path, Move] = {}
    for row in sequence(mapping(read_json(batch / FILE), what).get("moves"), what):
        place, file = row if isinstance(row, list) and len(row) == 2 else (None, None)
        if place not in PLACES:
            raise refuse(what, row, "is no place that a LoRA can have come from")
        name = name_in(batch / place, file, what)
        source = batch / place / name
        if not name.endswith((SUFFIX, *SIDECARS)) or not is_inside(batch, source):
            raise refuse(what, row, "is no LoRA, nor what lies beside one")
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
    _move_all(moves)
    _remove(folder, {source for source, _ in moves})
    return {"restored": sorted({t.name for _, t in moves if t.suffix == ".safetensors"})}


def _remove(batch: Path, moved: Collection[Path]) -> None:
    """Take away what is left of a batch: its record, second copies of what went back, and folders; what else somebody put there stays."""
    gone = {path.name for path in moved}
    for place in [place for place in PLACES if is_inside(batch, batch / place)]:
        with suppress(OSError):
            for path in [p for p in (batch / place).iterdir() if p.name in gone]:
                patience.unlink(path)
            patience.rmdir(batch / place)
    patience.unlink(batch / FILE, missing_ok=True)
    with suppress(OSError):
        patience.rmdir(batch)


def _new_batch(trash: Path) -> Path:
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for k in range(1000):
        folder = trash / (stamp if k == 0 else f"{stamp}_{k + 1}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
    raise UserError(f"No new folder can be made in {trash}.")


def _move_all(moves: Sequence[Move]) -> None:
    """All or none: after a failure what was moved goes back, and the failure is told."""
    done: list[Move] = []
    try:
        for source, target in moves:
            move_file(source, target)
            done.append((source, target))
    except (OSError, UserError) as error:
        for source, target in reversed(done):
            with suppress(OSError, UserError):
                move_file(target, source)
        if isinstance(error, UserError):
            raise
        friendly = explain_os_error(error, source)
        raise friendly or UserError(f"{source.name} could not be moved: {error.strerror or error}.", "Nothing has changed. Try again.") from error


def move_file(source: Path, target: Path) -> None:
    """Move a file; onto another disk by a copy that is complete before the original goes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        patience.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV and getattr(error, "winerror", None) != 17:
            raise
        with atomic_path(target) as temporary:
            shutil.copy2(source, temporary)
        patience.unlink(source)
