"""Pictures taken out of a project: moved into its trash with their captions, and back again. Nothing is ever deleted here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from .. import untrusted
from ..errors import UserError
from ..files import atomic_write_json, explain_os_error
from ..project import Project
from ..reading import read_object
from .listing import picture_path

FOLDER = ".trash"
FILE = "pictures.json"
BESIDE = ".txt"


def take_out(project: Project, where: str, names: Sequence[str]) -> str:
    """Move pictures of ``raw`` or ``dataset`` (and the caption of each) into the trash; returns the batch that brings them back.

    Raises UserError for a name that is no picture there, and when a file cannot be moved (then all stay).
    """
    folder = _folder(project, where)
    if unknown := [name for name in names if picture_path(folder, name) is None]:
        raise UserError(f"{unknown[0]} is not a picture of this project.", "Load the page again: it may have been renamed or moved.")
    if not names:
        raise UserError("No picture is chosen.", "Choose at least one.")
    batch = _new_batch(project)
    # Written first: whatever happens in between, bringing back knows where everything belongs.
    moved = list(dict.fromkeys(n for name in names for n in (name, Path(name).stem + BESIDE) if (folder / n).is_file()))
    atomic_write_json(batch / FILE, {"version": 1, "where": where, "names": moved})
    _move(folder, batch, moved)
    return batch.name


def batches(project: Project) -> list[dict[str, Any]]:
    """What lies in the trash, the newest first: {batch, where, names of pictures, time (seconds since 1970)}; of a damaged one {…, problem}."""
    found = []
    for record in (project.folder / FOLDER).glob(f"pictures_*/{FILE}"):
        try:
            time = os.stat(record, follow_symlinks=False).st_mtime
            known = read_object(record)
            where, names = known["where"], [untrusted.file_name(name, FILE) for name in known["names"]]
            _folder(project, where)
        except (UserError, KeyError, TypeError) as error:
            problem = error.message if isinstance(error, UserError) else f"{record} is damaged."
            found.append({"batch": record.parent.name, "where": "", "names": [], "time": time, "problem": problem})
            continue
        except OSError:
            continue  # it was just put back
        if pictures := [name for name in names if picture_path(record.parent, name) is not None]:
            found.append({"batch": record.parent.name, "where": where, "names": pictures, "time": time})
    return sorted(found, key=lambda one: one["time"], reverse=True)


def bring_back(project: Project, batch: str) -> list[str]:
    """Undo `take_out`. Raises UserError for a batch that is not there and for names that are taken again (then nothing moves)."""
    if not batch or Path(batch).name != batch or batch.startswith(".") or any(c in batch for c in "/\\:\0"):
        raise UserError("This is not in the trash.", "Load the page again.")
    source = project.folder / FOLDER / batch
    try:
        known: Any = read_object(source / FILE)
        folder, names = _folder(project, str(known["where"])), [n for n in map(str, known["names"]) if Path(n).name == n and (source / n).is_file()]
    except (UserError, KeyError, TypeError) as error:
        raise UserError("This is not in the trash.", "Load the page again.") from error
    if taken := [name for name in names if (folder / name).exists()]:
        raise UserError(f"{taken[0]} is in the project again already.", "Rename one of the two, then try again.")
    _move(source, folder, names)
    shutil.rmtree(source, ignore_errors=True)
    return names


def _folder(project: Project, where: str) -> Path:
    if where not in ("raw", "dataset"):
        raise UserError(f"There is no such folder: {where}.", "raw or dataset.")
    return project.raw_dir if where == "raw" else project.dataset_dir


def _new_batch(project: Project) -> Path:
    name = "pictures_" + datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for number in range(1, 1000):
        batch = project.folder / FOLDER / (name if number == 1 else f"{name}_{number}")
        try:
            batch.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise explain_os_error(error, batch) or error from error
        return batch
    raise UserError(f"The trash {project.folder / FOLDER} is full of batches of the same second.", "Try again.")


def _move(source: Path, target: Path, names: Sequence[str]) -> None:
    """All or none."""
    done: list[str] = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in names:
            os.rename(source / name, target / name)
            done.append(name)
    except OSError as error:
        for name in done:
            os.rename(target / name, source / name)
        raise explain_os_error(error, source) or UserError(f"{source} cannot be moved: {error.strerror}.", "Close programs that use it.") from error
