"""Back and forth in the history of a dataset's captions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import OutdatedError
from .carried import Carried
from .index import open_index, opened, took
from .journal import Journal
from .records import Entry
from .reports import HistoryLine, HistoryReport


def undo(dataset_dir: str | Path, expected: str = "") -> HistoryReport:
    """Bring the captions back, byte for byte, to before the latest edit. A caption changed by another program since is left alone and named.

    expected: the entry that is meant; OutdatedError is raised when there is a later one by now.
    """
    with opened(dataset_dir) as journal:
        _expect(expected, journal.done)
        return _steps(journal, ["undo"] if journal.done else [])


def redo(dataset_dir: str | Path, expected: str = "") -> HistoryReport:
    """Do the edit again that was undone last. expected: as with `undo`."""
    with opened(dataset_dir) as journal:
        _expect(expected, journal.undone)
        return _steps(journal, ["redo"] if journal.undone else [])


def go_to(dataset_dir: str | Path, entry: str) -> HistoryReport:
    """Undo or redo until an entry is the latest in force; "" goes back to before the first. Raises UserError for an unknown entry."""
    with opened(dataset_dir) as journal:
        if not entry or entry in journal.done:
            steps = ["undo"] * (len(journal.done) - (journal.done.index(entry) + 1 if entry else 0))
        elif entry in journal.undone:
            steps = ["redo"] * (len(journal.undone) - journal.undone.index(entry))
        else:
            raise OutdatedError("This point of the history is no longer there.", "Somebody edited since; show the list anew.")
        return _steps(journal, steps)


def _expect(expected: str, entries: Sequence[str]) -> None:
    if expected and (not entries or entries[-1] != expected):
        raise OutdatedError("The captions were edited elsewhere meanwhile.", "Look what the latest edit is now, then try again.")


def _steps(journal: Journal, steps: Sequence[str]) -> HistoryReport:
    changed: dict[str, None] = {}
    names: dict[str, None] = {}
    refused: dict[str, str] = {}
    carried: list[Carried] = []
    entry, revision = None, open_index(journal.dataset_dir).revision
    for step in steps:
        found = journal.undo() if step == "undo" else journal.redo()
        if found is None:
            break
        entry, applied = found
        concerned, revision = took(journal.dataset_dir, applied)
        names.update(dict.fromkeys(concerned))
        changed.update(dict.fromkeys(applied.changed))
        refused.update(applied.refused)
        change = Carried.from_dict(entry.details.get("project"))
        carried.append(change.inverse() if step == "undo" else change)
    if entry is None:
        return HistoryReport(done=False, revision=revision, note=journal.note)
    return HistoryReport(
        True, entry.id, entry.kind, tuple(changed), tuple(refused.items()), tuple(names), tuple(carried), len(carried), revision, journal.note
    )


def history(dataset_dir: str | Path, limit: int | None = None) -> list[HistoryLine]:
    """All edits in force, oldest first, then those that can be redone, next first. limit: so many of each, those next to the present."""
    journal = Journal(dataset_dir)
    done, undone = journal.done, list(reversed(journal.undone))
    if limit is not None:
        done, undone = done[max(0, len(done) - limit) :], undone[:limit]
    lines = []
    for identity, is_undone in [*((i, False) for i in done), *((i, True) for i in undone)]:
        entry: Entry = journal.entry(identity)
        lines.append(HistoryLine(entry.id, entry.kind, entry.when, entry.count, is_undone, entry.details))
    return lines
