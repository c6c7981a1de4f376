"""Bulk edits of a dataset's captions: read, edit, record, write; and back again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dataset import format_tags, list_items, parse_tags
from ..dataset.captions import decode
from ..errors import UserError
from .edits import EditOptions, Tags, TraitCount, make_edit
from .journal import Applied, Journal, read_bytes
from .traits import normal_form

PREVIEWED = 20


@dataclass(frozen=True)
class EditReport:
    """What a bulk edit did, or would do when dry.

    pictures: how many there are; changed: captions that differ; removed_traits: trait tags taken out of the captions, most
    frequent first; by_group: the traits found, with pictures, frequency and whether removed, by group; kept_states: states
    left in; kept_rare: traits left in because they are on too few pictures; preview: (file, before, after) of the first
    changes; refused: (file, why) of captions left alone; entry: the edit's id in the history, empty when nothing was written.
    """

    pictures: int = 0
    changed: int = 0
    removed_traits: tuple[str, ...] = ()
    by_group: dict[str, tuple[TraitCount, ...]] | None = None
    kept_states: tuple[str, ...] = ()
    kept_rare: tuple[str, ...] = ()
    preview: tuple[tuple[str, str, str], ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    entry: str = ""
    dry_run: bool = False

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "pictures": self.pictures,
            "changed": self.changed,
            "removed_traits": list(self.removed_traits),
            "by_group": {group: [t.to_dict() for t in traits] for group, traits in (self.by_group or {}).items()},
            "kept_states": list(self.kept_states),
            "kept_rare": list(self.kept_rare),
            "preview": [list(row) for row in self.preview],
            "refused": [list(row) for row in self.refused],
            "entry": self.entry,
            "dry_run": self.dry_run,
        }


@dataclass(frozen=True)
class HistoryReport:
    """What undo or redo did. done: False when there was nothing to do; refused: (file, why) of captions left alone."""

    done: bool
    entry: str = ""
    kind: str = ""
    changed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"done": self.done, "entry": self.entry, "kind": self.kind, "changed": list(self.changed), "refused": [list(r) for r in self.refused]}


@dataclass(frozen=True)
class HistoryLine:
    """One edit in the history. undone: it can be redone; files: how many captions it changed; details: its options."""

    id: str
    kind: str
    when: float
    files: int
    undone: bool
    details: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


def edit_dataset(dataset_dir: str | Path, options: EditOptions) -> EditReport:
    """Edit the captions of all pictures in a folder as one undoable step. Captions that stay the same are not written.

    Raises UserError for a folder that is not there, options that mean nothing, a full disk; captions are then whole,
    each the old or the new one, and the next edit, undo or redo first finishes what was begun.
    """
    folder = Path(dataset_dir)
    options.check()
    if not options.dry_run:
        Journal(folder).recover()
    paths = list(dict.fromkeys(item.caption_path for item in list_items(folder)))
    before = {path.name: read_bytes(path) for path in paths}
    captions: dict[str, Tags] = {name: parse_tags(decode(data)[0]) if data else () for name, data in before.items()}
    edit, traits = make_edit(list(captions.values()), options)
    past = _past(Journal(folder)) if options.add_back else {}
    edited = {name: edit(tags, past.get(name, frozenset())) for name, tags in captions.items()}
    changed = {name: tags for name, tags in edited.items() if tags != captions[name]}
    entry, applied = "", Applied()
    if changed and not options.dry_run:
        bytes_of = {name: (before[name], format_tags(tags).encode("utf-8")) for name, tags in changed.items()}
        entry, applied = Journal(folder).commit("edit", options.to_dict(), bytes_of)
    by_group: dict[str, tuple[TraitCount, ...]] = {}
    for trait in traits:
        by_group[trait.group] = (*by_group.get(trait.group, ()), trait)
    refused = {name for name, _ in applied.refused}
    return EditReport(
        pictures=len(captions),
        changed=len(changed) - len(refused),
        removed_traits=tuple(t.tag for t in traits if t.removed),
        by_group=by_group,
        kept_states=tuple(t.tag for t in traits if t.is_state and not t.removed),
        kept_rare=tuple(t.tag for t in traits if not t.removed and not t.is_state),
        preview=tuple((name, format_tags(captions[name]), format_tags(tags)) for name, tags in list(changed.items())[:PREVIEWED]),
        refused=applied.refused,
        entry=entry,
        dry_run=options.dry_run,
    )


def _past(journal: Journal) -> dict[str, frozenset[str]]:
    """The tags (normal forms) that each caption had before one of the edits in force."""
    had: dict[str, set[str]] = {}
    for identity in journal.done:
        for change in journal.changes(identity):
            if change.before:
                had.setdefault(change.name, set()).update(map(normal_form, parse_tags(decode(change.before)[0])))
    return {name: frozenset(forms) for name, forms in had.items()}


def record_captions(dataset_dir: str | Path, kind: str, captions: dict[str, Tags], details: dict[str, Any] | None = None) -> EditReport:
    """Write these captions {file name: tags} as one undoable step of another kind, e.g. tagging or typing one by hand."""
    folder = Path(dataset_dir)
    journal = Journal(folder)
    journal.recover()
    changes: dict[str, tuple[bytes | None, bytes | None]] = {}
    for name, tags in captions.items():
        if Path(name).name != name or name.startswith(".") or not name.lower().endswith(".txt"):
            raise UserError(f"{name!r} is not a caption of this folder.", "Give the file's name alone, ending in .txt.")
        old, new = read_bytes(folder / name), format_tags(tags).encode("utf-8")
        if old != new:
            changes[name] = (old, new)
    if not changes:
        return EditReport(pictures=len(captions))
    entry, applied = journal.commit(kind, details or {}, changes)
    return EditReport(pictures=len(captions), changed=len(applied.changed), refused=applied.refused, entry=entry)


def _step(dataset_dir: str | Path, step: Callable[[Journal], Any]) -> HistoryReport:
    result = step(Journal(dataset_dir))
    if result is None:
        return HistoryReport(done=False)
    entry, applied = result
    return HistoryReport(True, entry.id, entry.kind, applied.changed, applied.refused)


def undo(dataset_dir: str | Path) -> HistoryReport:
    """Bring the captions back, byte for byte, to before the latest edit. A caption changed by another program since is left alone and named."""
    return _step(dataset_dir, Journal.undo)


def redo(dataset_dir: str | Path) -> HistoryReport:
    """Do the edit again that was undone last."""
    return _step(dataset_dir, Journal.redo)


def history(dataset_dir: str | Path) -> list[HistoryLine]:
    """All edits in force, oldest first, then those that can be redone, next first."""
    journal = Journal(dataset_dir)
    lines = []
    for identity, undone in [*((i, False) for i in journal.done), *((i, True) for i in reversed(journal.undone))]:
        entry = journal.entry(identity)
        lines.append(HistoryLine(entry.id, entry.kind, entry.when, entry.count, undone, entry.details))
    return lines
