"""Pictures taken out of a project: moved into its trash with their captions, and back again. Nothing is ever deleted here.

What a batch says of itself is input: only pictures and captions by plain names go back, only to `raw/` or `dataset/`, never onto a file that is
there, and neither end of a move is a link out of the project.

A batch says in its record whether its move came to its end ("done"). One that was broken off (the program was ended, or another one held a file both
ways) is put back at the next look.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write_json, explain_os_error, locked
from ..moving import move_all
from ..patience import rmdir, unlink
from ..project import Project
from ..reading import read_object
from ..untrusted import name_in, sequence
from .items import is_picture_name
from .listing import picture_path

FOLDER = ".trash"
FILE = "pictures.json"
BESIDE = ".txt"
LOCK = "pictures.lock"
LEFT = "Some files are still in the trash. They are put back as soon as nobody holds them: load the page again."


def take_out(project: Project, where: str, names: Sequence[str]) -> str:
    """Move pictures of ``raw`` or ``dataset`` (and the caption of each) into the trash; returns the batch that brings them back.

    Raises UserError for a name that is no picture there, and when a file cannot be moved (then all stay).
    """
    folder = _folder(project, where)
    settle(project)
    if unknown := [name for name in names if picture_path(folder, name) is None]:
        raise UserError(f"{unknown[0]} is not a picture of this project.", "Load the page again: it may have been renamed or moved.")
    if not names:
        raise UserError("No picture is chosen.", "Choose at least one.")
    with locked(project.own(project.folder / FOLDER) / LOCK):
        batch = _new_batch(project)
        moved = list(dict.fromkeys(n for name in names for n in (name, Path(name).stem + BESIDE) if (folder / n).is_file()))
        try:
            # Written first: whatever happens in between, the next look knows where everything belongs.
            _record(batch, where, moved, done=False)
            move_all([(folder / name, batch / name) for name in moved])
            _record(batch, where, moved, done=True)
        except UserError as error:
            with suppress(UserError):
                move_all([(batch / name, folder / name) for name in moved if (batch / name).is_file()])
            if not _remove_empty(batch):
                raise UserError(error.message, LEFT) from error
            raise
    return batch.name


def batches(project: Project) -> list[dict[str, Any]]:
    """What lies in the trash, the newest first: {batch, where, names of pictures, time (seconds since 1970)}; of a damaged one {…, problem}."""
    settle(project)
    found = []
    for record in (project.folder / FOLDER).glob(f"pictures_*/{FILE}"):
        try:
            time = os.stat(record, follow_symlinks=False).st_mtime
            where, names, _ = _known(project, record.parent)
            _folder(project, where)
        except UserError as error:
            if os.path.lexists(record):
                found.append({"batch": record.parent.name, "where": "", "names": [], "time": time, "problem": error.message})
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
    if not os.path.lexists(source / FILE):
        raise UserError("This is not in the trash.", "Load the page again.")
    where, recorded, _ = _known(project, source)
    folder, names = _folder(project, where), [name for name in recorded if os.path.lexists(source / name)]
    if taken := [name for name in names if os.path.lexists(folder / name)]:
        raise UserError(f"{taken[0]} is in the project again already.", "Rename one of the two, then try again.")
    with locked(project.own(project.folder / FOLDER) / LOCK):
        _record(source, where, recorded, done=False)
        try:
            move_all([(source / name, folder / name) for name in names])
        except UserError:
            with suppress(UserError):
                _record(source, where, recorded, done=True)
            raise
        if not _remove_empty(source):
            _record(source, where, recorded, done=True)
    return names


def settle(project: Project) -> None:
    """Put back what a move that was broken off left in the trash. What cannot be put back now is left for the next look."""
    trash = project.folder / FOLDER
    broken = [record.parent for record in sorted(trash.glob(f"pictures_*/{FILE}")) if not _is_done(project, record.parent)]
    if not broken:
        return
    with suppress(UserError), locked(project.own(trash) / LOCK, timeout=0):  # somebody is moving right now
        for batch in broken:
            if _is_done(project, batch):
                continue
            with suppress(UserError):
                where, recorded, _ = _known(project, batch)
                folder = _folder(project, where)
                names = [n for n in recorded if (batch / n).is_file() and not os.path.lexists(folder / n)]
                move_all([(batch / name, folder / name) for name in names])
                if not _remove_empty(batch):  # something newer has a name: from now on people decide
                    _record(batch, where, recorded, done=True)


def _record(batch: Path, where: str, names: Any, done: bool) -> None:
    try:
        atomic_write_json(batch / FILE, {"version": 1, "where": where, "names": list(map(str, names)), "done": done})
    except OSError as error:
        raise explain_os_error(error, batch) or UserError(f"{batch} cannot be written: {error.strerror}.", "Try again.") from error


def _known(project: Project, batch: Path) -> tuple[str, list[str], bool]:
    """Where the pictures of a batch came from, the names of its files, and whether its move came to its end.

    Raises UserError for a record that is not to be followed.
    """
    what = f"The trash of {project.name}"
    known = read_object(project.own(batch) / FILE)
    names = [name_in(batch, name, what) for name in sequence(known.get("names"), what)]
    return str(known.get("where")), [name for name in names if is_picture_name(name) or name.lower().endswith(BESIDE)], known.get("done") is not False


def _is_done(project: Project, batch: Path) -> bool:
    """Of records without that word, too (earlier versions wrote none), and of those that nobody should follow."""
    try:
        return _known(project, batch)[2]
    except (UserError, OSError):
        return True


def _remove_empty(batch: Path) -> bool:
    """Remove a batch in which no file is left but its record; whether that was so."""
    if any(path.name != FILE for path in batch.iterdir()):
        return False
    with suppress(OSError):
        unlink(batch / FILE, missing_ok=True)
        rmdir(batch)
    return True


def _folder(project: Project, where: str) -> Path:
    if where not in ("raw", "dataset"):
        raise UserError(f"There is no such folder: {where}.", "raw or dataset.")
    return project.own(project.raw_dir if where == "raw" else project.dataset_dir)


def _new_batch(project: Project) -> Path:
    name = "pictures_" + datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    project.own(project.folder / FOLDER)
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
