"""Pictures with their captions copied or moved to another folder; nothing there is overwritten."""

from __future__ import annotations

import filecmp
import os
import uuid
from collections.abc import Iterable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dataset.captions import problem
from ..errors import UserError
from ..files import atomic_path, explain_os_error, locked
from ..moving import move_all
from ..patience import copy, rmdir, unlink, within
from ..project import STUDIO, in_place, is_in_place
from .index import open_index
from .journal import FOLDER

#: seconds that all pictures of a move together wait for programs that hold them
LONGEST = 60.0
ASIDE = Path(".lora_studio") / "moved"


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
        if is_in_place(source / ASIDE):
            _settle(source)
        index = open_index(source)
        index.refresh(now=True)
        try:
            target.mkdir(parents=True, exist_ok=True)
            taken = {Path(entry.name).stem.lower() for entry in os.scandir(target)}
        except OSError as error:
            raise explain_os_error(error, target) or UserError(f"The folder {target} cannot be made: {error.strerror}.", "Check the path.") from error
        done, skipped = [], []
        with within(LONGEST):
            for name in dict.fromkeys(names):
                picture = index.pictures.get(name)
                if picture is None:
                    skipped.append((name, "it is not in the dataset"))
                    continue
                caption = source / picture.caption
                if why := problem(caption):
                    skipped.append((name, f"its caption cannot be used: {why}"))
                    continue
                stem = Path(name).stem
                if not (move and stem.lower() in taken and _is_there(source / name, caption, target)):
                    stem = _free(stem, taken)
                there = stem + Path(name).suffix
                try:
                    if caption.is_file():  # first, so that no picture is ever there without its caption
                        _copy(caption, target / f"{stem}.txt")
                    _copy(source / name, target / there)
                    if move:
                        alone = not [one for one in index.owners(picture.caption) if one != name and (source / one).exists()]
                        _remove(source / name, caption if alone and caption.is_file() else None)
                except (OSError, UserError) as error:
                    _take_back(target / there, target / f"{stem}.txt")
                    if not isinstance(error, OSError):
                        raise  # no room, or no permission: the next one would fare no better
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


def _remove(picture: Path, caption: Path | None) -> None:
    """Both or none: aside first, the caption before the picture, and deleted once both are there."""
    aside = picture.parent / ASIDE / uuid.uuid4().hex[:12]
    move_all([(path, aside / path.name) for path in (caption, picture) if path is not None])
    _delete(aside)


def _delete(aside: Path) -> None:
    """The picture last: as long as it is there, what lies aside was to go."""
    with suppress(OSError):
        for path in sorted(aside.iterdir(), key=lambda path: path.suffix != ".txt"):
            unlink(path)
        rmdir(aside)


def _settle(folder: Path) -> None:
    """What a removal that was broken off has left aside: a caption without its picture comes back, the rest was to go."""
    for aside in sorted((folder / ASIDE).glob("*")):
        if not is_in_place(aside) or not aside.is_dir():  # a link out of the project: what it leads to is nobody's leftover
            continue
        left = list(aside.iterdir())
        if any(path.suffix != ".txt" for path in left):
            _delete(aside)
            continue
        with suppress(UserError):
            move_all([(path, folder / path.name) for path in left if not (folder / path.name).exists()])
        with suppress(OSError):
            rmdir(aside)


def _take_back(*arrived: Path) -> None:
    """What has come only in part is not left there: the next try brings it whole."""
    for path in arrived:
        with suppress(OSError):
            unlink(path, missing_ok=True)


def _is_there(picture: Path, caption: Path, target: Path) -> bool:
    """Whether all that has this stem in the target is what a move of the picture that was broken off has brought."""
    brought = {picture.name: picture, f"{picture.stem}.txt": caption}
    found = [entry.name for entry in os.scandir(target) if Path(entry.name).stem.lower() == picture.stem.lower()]
    return all(name in brought and brought[name].is_file() and filecmp.cmp(brought[name], target / name, shallow=False) for name in found)


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        copy(source, temporary, times=True)
