"""Edits of a project: of its captions, and of the trigger word and traits that go with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..project import Project
from .carried import Carried
from .dataset_edits import edit_dataset, restore_first
from .edits import EditOptions
from .reports import EditReport, HistoryReport


def edit(project: Project, options: EditOptions, names: Iterable[str] | None = None, revision: int | None = None) -> EditReport:
    """A bulk edit of all captions, or of those of the pictures named. See `edit_dataset`."""
    options = replace(options, leader=options.leader or project.trigger)
    report = edit_dataset(project.dataset_dir, options, names, (project.trigger, project.traits), revision)
    if not options.dry_run and report.pictures:
        _carry(project, [report.carried])
    return report


def restore(project: Project) -> EditReport:
    """Every caption as it was before this program first touched it, as one more step."""
    report = restore_first(project.dataset_dir, (project.trigger, project.traits))
    _carry(project, [report.carried])
    return report


def through(project: Project, step: Callable[[Path], HistoryReport]) -> HistoryReport:
    """Undo, redo or go to a point of the history, and let the project's trigger word and traits follow."""
    report = step(project.dataset_dir)
    _carry(project, report.carried)
    return report


def _carry(project: Project, changes: Sequence[Carried]) -> None:
    if not changes:
        return
    now = Project.open(project.folder)  # others may have saved other things in it meanwhile
    trigger, traits = now.trigger, now.traits
    for change in changes:
        trigger, traits = change.apply(trigger, traits)
    if (trigger, traits) != (now.trigger, now.traits):
        replace(now, trigger=trigger, traits=traits).save()
