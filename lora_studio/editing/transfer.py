"""Pictures with their captions copied or moved to another folder; nothing there is overwritten."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import patience
from ..dataset.captions import problem
from ..errors import UserError
from ..files import atomic_path, explain_os_error, locked
from ..project import STUDIO, in_place, is_in_place
from .index import open_index
from .journal import FOLDER


@dataclass(frozen=True)
class Transferred:
    """pictures: [name here, name there] of those that arrived; skipped: [name, why]."""

    pictures: tuple[tuple[str, str], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"pictures": [list(pair) for pair in self.pictures], "skipped": [list(pair) for pair in self.skipped]}


def transfer(dataset_dir: str | Path, names: Iterable[str], target: str | Path, move: bool = False) -> Transferred:
    """Copy or move pictures with their captions into another folder. A name that is taken there gets a number.

    A caption that other pictures share stays with them. Raises UserError for a folder that is this one, or cannot be written (as the dataset of
    a project that is a link out of it).
    """
    source, target = Path(dataset_dir), Path(target)
    in_place(target / STUDIO)
    if move:
        in_place(source / STUDIO)
    if target.exists() and target.samefile(source):
        raise UserError("The pictures are in this folder already.", "Choose another one.")
    with locked(source / FOLDER / "lock") if is_in_place(source / FOLDER) else nullcontext():
        index = open_index(source)
        index.refresh(now=True)
        try:
            target.mkdir(parents=True, exist_ok=True)
            taken = {Path(entry.name).stem.lower() for entry in os.scandir(target)}
        except OSError as error:
            raise explain_os_error(error, target) or UserError(f"The folder {target} cannot be made: {error.strerror}.", "Check the path.") from error
        done, skipped = [], []
        for name in dict.fromkeys(names):
            picture = index.pictures.get(name)
            if picture is None:
                skipped.append((name, "it is not in the dataset"))
                continue
            stem = _free(Path(name).stem, taken)
            there = stem + Path(name).suffix
            caption = source / picture.caption
            if why := problem(caption):
                skipped.append((name, f"its caption cannot be used: {why}"))
                continue
            try:
                if caption.is_file():  # first, so that no picture is ever there without its caption
                    _copy(caption, target / f"{stem}.txt")
                _copy(source / name, target / there)
                if move:
                    patience.unlink(source / name)
                    others = [one for one in index.owners(picture.caption) if one != name and (source / one).exists()]
                    if caption.is_file() and not others:
                        patience.unlink(caption)
            except OSError as error:
                skipped.append((name, str(error.strerror or error)))
                continue
            done.append((name, there))
        index.refresh(now=True)
    return Transferred(tuple(done), tuple(skipped))


def _free(stem: str, taken: set[str]) -> str:
    """The stem, with a number where somebody has it already."""
    found, number = stem, 2
    while found.lower() in taken:
        found, number = f"{stem}-{number}", number + 1
    taken.add(found.lower())
    return found


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copy2(source, temporary)
