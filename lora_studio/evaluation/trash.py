"""Keep some of the saved epochs: the others go to the project's trash, all or none, and come back as easily."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_path, atomic_write_json, explain_os_error, read_json
from ..project import Project
from .loras import PREVIEWS, Places, list_loras

FOLDER = ".trash"
FILE = "moves.json"
SIDECARS = (".json", *PREVIEWS, ".txt", ".civitai.info", ".description.txt")

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
    batch = _new_batch(project.folder / FOLDER)
    places = Places.of(project, lora_dir).named
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
            shutil.rmtree(batch, ignore_errors=True)
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
    places = Places.of(project, lora_dir).named
    moves: list[Move] = []
    for place, file in read_json(folder / FILE)["moves"]:
        source = folder / str(place) / Path(str(file)).name
        if source.is_file():
            # without a LoRA folder now, its copies go to the output, where they are not lost
            moves.append((source, places.get(str(place), places["output"]) / source.name))
    moves = list({target: (source, target) for source, target in reversed(moves)}.values())
    if taken := sorted({target.name for _, target in moves if target.exists()}):
        raise UserError(f"These names are taken by newer files: {', '.join(taken)}.", f"Rename them, or take the old ones from {folder}.")
    _move_all(moves)
    shutil.rmtree(folder, ignore_errors=True)
    return {"restored": sorted({t.name for _, t in moves if t.suffix == ".safetensors"})}


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
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV and getattr(error, "winerror", None) != 17:
            raise
        with atomic_path(target) as temporary:
            shutil.copy2(source, temporary)
        source.unlink()
