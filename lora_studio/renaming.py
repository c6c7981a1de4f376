"""A project gets another name: its folder is called so, and so is its folder of LoRAs; the LoRA files in it keep their names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from . import staged
from .errors import UserError
from .files import locked, new_name, validate_name
from .project import FILE, Project
from .reading import read_bytes
from .training.runs import list_runs

LEFT = frozenset({"raw", "dataset", "output", staged.STAGE})  # pictures, captions and LoRAs know no paths
TEXTS = frozenset({".json", ".jsonl"})
Contents = dict[Path, tuple[bytes, staged.Stamp | None]]


def rename(project: Project, name: str, lora_dir: Path | None = None, folder_too: bool = True) -> Project:
    """The project under its new name, or everything as it was. ``folder_too``: its folder is ours to rename; else project.json alone keeps the name.

    Raises:
        UserError: a name that cannot be used or is taken, a training that runs, a full disk, a file that another program holds.
    """
    name = validate_name(name)
    if name == project.name:
        return project
    new_name(name)
    if running := [run.folder.name for run in list_runs(project.runs_dir) if run.alive()]:
        raise UserError(f"The training {running[0]} of this project is running.", "Stop it first, or wait for its end.")
    before = project.folder.absolute()
    after = before.with_name(name) if folder_too else before
    moves = [(before, after)] if folder_too else []
    beside = None
    if lora_dir is not None and (lora_dir / project.name).is_dir():
        beside = ((lora_dir / project.name).absolute(), (lora_dir / name).absolute())
        moves.append(beside)
    for source, target in moves:
        if target.exists() and not target.samefile(source):  # the same: only small and capital letters differ
            raise UserError(f"{target} is there already.", "Choose another name.")
    if project.studio_dir.is_dir():
        with locked(project.studio_dir / "history" / "lock"):
            pass  # an edit of the captions that is under way comes to its end
    contents = _contents(before, moves)
    renamed = replace(project, folder=after, name=name)
    contents[before / FILE] = (renamed.text().encode("utf-8"), _stamp(before / FILE))
    staged.change(before, after.name, beside, contents)
    return renamed


def _contents(folder: Path, moves: list[tuple[Path, Path]]) -> Contents:
    """{file: what it will hold} of all that know where the project or its LoRAs lie. Raises UserError for one that cannot be read."""
    found: Contents = {}
    for path in _texts(folder):
        stamp = _stamp(path)
        data = read_bytes(path)
        if (changed := _repointed(data, moves)) != data:
            found[path] = (changed, stamp)
    return found


def _texts(folder: Path) -> Iterator[Path]:
    """The files in which a project knows where it lies: its settings and its runs, those in the trash too. Links are not followed."""
    for place, folders, files in os.walk(folder):
        if Path(place) == folder:
            folders[:] = [name for name in folders if name not in LEFT]
        paths = (Path(place) / name for name in files if Path(name).suffix in TEXTS)
        yield from (path for path in paths if path.is_file() and not path.is_symlink())


def _repointed(data: bytes, moves: list[tuple[Path, Path]]) -> bytes:
    """A JSON text with the old places replaced by the new ones, as bytes: in another encoding than UTF-8 none of ours wrote it."""
    for source, target in moves:
        for ascii_only in (False, True):
            old, new = (json.dumps(str(one), ensure_ascii=ascii_only)[1:-1].encode("utf-8", "surrogatepass") for one in (source, target))
            data = re.sub(re.escape(old) + rb'(?=["/\\])', lambda _, text=new: text, data)  # type: ignore[misc]
    return data


def _stamp(path: Path) -> staged.Stamp | None:
    return staged.stamp_of(path) if path.exists() else None
