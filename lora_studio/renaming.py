"""A project gets another name: its folder is called so, and so is its folder of LoRAs; the LoRA files in it keep their names."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from .errors import UserError
from .files import atomic_write_text, new_name, validate_name
from .patience import rename as move
from .project import Project
from .training.runs import list_runs

LEFT = frozenset({"raw", "dataset", "output"})  # pictures, captions and LoRAs know no paths
TEXTS = frozenset({".json", ".jsonl"})


def rename(project: Project, name: str, lora_dir: Path | None = None, folder_too: bool = True) -> Project:
    """The project under its new name. ``folder_too``: its folder is ours to rename; otherwise the name is kept in project.json alone.

    Raises:
        UserError: a name that cannot be used or is taken, or a training that runs.
    """
    name = validate_name(name)
    if name == project.name:
        return project
    new_name(name)
    if running := [run.folder.name for run in list_runs(project.runs_dir) if run.alive()]:
        raise UserError(f"The training {running[0]} of this project is running.", "Stop it first, or wait for its end.")
    before = project.folder.absolute()
    moves = [(before, before.with_name(name))] if folder_too else []
    if lora_dir is not None and (lora_dir / project.name).is_dir():
        moves.append(((lora_dir / project.name).absolute(), (lora_dir / name).absolute()))
    for source, target in moves:
        if target.exists() and not target.samefile(source):  # the same: only small and capital letters differ
            raise UserError(f"{target} is there already.", "Choose another name.")
    _move(moves)
    folder = before.with_name(name) if folder_too else before
    for path in _texts(folder):
        _repoint(path, moves)
    renamed = replace(Project.open(folder), name=name)
    renamed.save()
    return renamed


def _move(moves: list[tuple[Path, Path]]) -> None:
    """All of them, or none."""
    done: list[tuple[Path, Path]] = []
    for source, target in moves:
        try:
            move(source, target)
        except OSError as error:
            for before, after in reversed(done):
                move(after, before)
            raise UserError(f"{source} cannot be renamed: {error.strerror}.", "Close what has a file of it open, then try again.") from error
        done.append((source, target))


def _texts(folder: Path) -> Iterator[Path]:
    """The files in which a project knows where it lies: its settings and its runs, those in the trash too."""
    for place, folders, files in os.walk(folder):
        if Path(place) == folder:
            folders[:] = [name for name in folders if name not in LEFT]
        yield from (Path(place) / name for name in files if Path(name).suffix in TEXTS)


def _repoint(path: Path, moves: list[tuple[Path, Path]]) -> None:
    before = after = path.read_text(encoding="utf-8")
    for source, target in moves:
        for ascii_only in (False, True):
            old, new = (json.dumps(str(one), ensure_ascii=ascii_only)[1:-1] for one in (source, target))
            after = re.sub(re.escape(old) + r'(?=["/\\])', lambda _, text=new: text, after)  # type: ignore[misc]
    if after != before:
        atomic_write_text(path, after)
