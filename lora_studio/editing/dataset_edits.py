"""Edits of a dataset's captions: look, edit, record, write; and back again. Nobody else changes them meanwhile."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..dataset import format_tags, parse_tags
from ..dataset.captions import CaptionError, caption_bytes, decode
from ..errors import UserError
from .carried import Carried, carried_by
from .edits import EditOptions, Tags, TraitCount, count_matches, make_edit
from .index import DatasetIndex, Picture, open_index, opened, took
from .journal import Journal
from .ops import Op, apply_op
from .reports import ChangedSinceError, EditReport, OpsReport, TagsChangedError
from .traits import normal_form

PREVIEWED = 20
TOGETHER = 1.0  # seconds: edits of one picture that follow each other this closely are undone together
LISTED = 20  # edits of one entry that the history tells apart


def edit_dataset(
    dataset_dir: str | Path,
    options: EditOptions,
    names: Iterable[str] | None = None,
    project: tuple[str, Sequence[str]] = ("", ()),
    revision: int | None = None,
) -> EditReport:
    """Edit the captions of a folder's pictures, or of those named, as one undoable step. Captions that stay the same are not written.

    project: its trigger word and traits, to say what becomes of them. revision: of the preview that this edit was decided on.
    Raises ChangedSinceError when the captions were changed after that; UserError for a folder that is not there, options that
    mean nothing, a full disk; captions are then whole, each the old or the new one, and the next edit, undo or redo first
    finishes what was begun.
    """
    folder = Path(dataset_dir)
    options.check()
    chosen = None if names is None else list(names)
    if not folder.is_dir():
        raise UserError(f"The folder {folder} cannot be read: it is not there.", "Check the path.")
    if options.dry_run:
        return _plan(folder, options, chosen, project)[0]
    with opened(folder) as journal:
        report, changes = _plan(folder, options, chosen, project, journal)
        if revision is not None and revision != report.revision:
            raise ChangedSinceError(report)
        report = replace(report, note=journal.note)
        if not changes:
            return report
        scope = {} if chosen is None else {"scope": len(chosen)}
        details = {**options.to_dict(), **scope, "project": report.carried.to_dict()}
        entry, applied = journal.commit("edit", details, changes)
        names_changed, now = took(folder, applied)
    refused = (*report.refused, *applied.refused)
    return replace(
        report, changed=len(changes) - len(applied.refused), refused=refused, entry=entry, names=tuple(names_changed), revision=now
    )


def _plan(
    folder: Path, options: EditOptions, names: Collection[str] | None, project: tuple[str, Sequence[str]], journal: Journal | None = None
) -> tuple[EditReport, dict[str, tuple[bytes | None, bytes | None]]]:
    """What an edit would do, and the bytes of the captions it changes, before and after."""
    index = open_index(folder)
    with index.lock:
        index.refresh(now=True)
        found, revision = index.captions(names), index.revision
    captions = {name: picture for name, picture in found.items() if not picture.problem}
    tags = {name: picture.tags for name, picture in captions.items()}
    edit, traits = make_edit(list(tags.values()), options)
    past = _past(journal or Journal(folder)) if options.add_back else {}
    edited = {name: edit(before, past.get(name, frozenset())) for name, before in tags.items()}
    changed = {name: after for name, after in edited.items() if after != tags[name]}
    by_group: dict[str, tuple[TraitCount, ...]] = {}
    for trait in traits:
        by_group[trait.group] = (*by_group.get(trait.group, ()), trait)
    removed = tuple(t.tag for t in traits if t.removed)
    report = EditReport(
        pictures=len(found),
        changed=len(changed),
        removed_traits=removed,
        by_group=by_group,
        kept_states=tuple(t.tag for t in traits if t.is_state and not t.removed),
        kept_rare=tuple(t.tag for t in traits if not t.removed and not t.is_state),
        preview=tuple((name, format_tags(tags[name]), format_tags(after)) for name, after in list(changed.items())[:PREVIEWED]),
        refused=tuple((name, picture.problem) for name, picture in found.items() if picture.problem),
        dry_run=options.dry_run,
        matches=count_matches(tags.values(), options) if options.search else 0,
        carried=carried_by(options, removed, *project),
        revision=revision,
    )
    return report, {name: (captions[name].data, format_tags(after).encode("utf-8")) for name, after in changed.items()}


def _past(journal: Journal) -> dict[str, frozenset[str]]:
    """The tags (normal forms) that each caption had before one of the edits in force."""
    had: dict[str, set[str]] = {}
    for identity in journal.done:
        for change in journal.changes(identity):
            if change.before:
                had.setdefault(change.name, set()).update(map(normal_form, parse_tags(decode(change.before)[0])))
    return {name: frozenset(forms) for name, forms in had.items()}


def edit_pictures(dataset_dir: str | Path, ops: Sequence[Op]) -> OpsReport:
    """Carry out edits of single pictures, in order, on what their captions hold now, as one undoable step.

    Edits of the same picture within a second of each other become one step. Setting all tags of a picture is refused, with
    TagsChangedError, when they are not those `seen`; the other edits fit whatever is there. Raises UserError for a picture that is
    not there, an edit that means nothing, a full disk.
    """
    folder = Path(dataset_dir)
    for op in ops:
        op.check()
    with opened(folder) as journal:
        index = open_index(folder)
        now = _fresh(index, [op.name for op in ops])
        tags = {picture.caption: picture.tags for picture in now.values()}
        if outdated := {op.name: now[op.name].tags for op in ops if op.op == "set" and op.seen not in (None, now[op.name].tags)}:
            raise TagsChangedError(outdated)
        elsewhere = [op.name for op in ops if op.seen is not None and op.seen != now[op.name].tags]
        for op in ops:
            caption = now[op.name].caption
            tags[caption] = apply_op(tags[caption], op)
        changes: dict[str, tuple[bytes | None, bytes | None]] = {
            p.caption: (p.data, format_tags(tags[p.caption]).encode("utf-8")) for p in now.values() if p.tags != tags[p.caption]
        }
        entry = ""
        if changes:
            details = {"ops": [op.summary() for op in ops[:LISTED]], "count": len(ops)}
            entry, applied = journal.commit("op", details, changes, merge=_follows(journal, ops))
            changed, revision = took(folder, applied)
            refused = {name for name, _ in applied.refused}
            elsewhere += [p.name for p in now.values() if p.caption in refused]
        else:
            changed, revision = [], index.revision
        shown = {name: index.pictures[name].tags for name in dict.fromkeys([op.name for op in ops])}
    return OpsReport(shown, tuple(changed), tuple(dict.fromkeys(elsewhere)), entry, revision, journal.note)


def _fresh(index: DatasetIndex, names: Iterable[str]) -> dict[str, Picture]:
    """The pictures named, as they are on disk now. Raises UserError for one that is not there, or whose caption cannot be edited."""
    with index.lock:
        if not index.pictures or any(name not in index.pictures for name in names):
            index.refresh(now=True)
        found = {}
        for name in names:
            if name not in index.pictures:
                raise UserError(f"There is no picture {name} in the dataset.", "It was renamed or taken away; show the list anew.")
            index.reread(index.pictures[name].caption)
            found[name] = index.pictures[name]
            if found[name].problem:
                raise CaptionError(index.folder / found[name].caption, found[name].problem)
        return found


def _follows(journal: Journal, ops: Sequence[Op]) -> bool:
    """Whether these edits belong to the latest entry: the same pictures, only a moment later."""
    if not journal.done or journal.undone:
        return False
    latest = journal.entry(journal.done[-1])
    edited = latest.details.get("ops")
    names = {str(op.get("name")) if isinstance(op, dict) else "" for op in edited} if isinstance(edited, list) else set()
    return latest.kind == "op" and 0 <= time.time() - latest.when < TOGETHER and names == {op.name for op in ops} and len(names) == 1


def record_captions(dataset_dir: str | Path, kind: str, captions: dict[str, Tags], details: dict[str, Any] | None = None) -> EditReport:
    """Write these captions {file name: tags} as one undoable step of another kind, e.g. tagging or typing one by hand."""
    for name in captions:
        if Path(name).name != name or name.startswith(".") or not name.lower().endswith(".txt"):
            raise UserError(f"{name!r} is not a caption of this folder.", "Give the file's name alone, ending in .txt.")
    wanted: dict[str, bytes | None] = {name: format_tags(tags).encode("utf-8") for name, tags in captions.items()}
    with opened(dataset_dir) as journal:
        return _record(journal, kind, details or {}, wanted)


def restore_first(dataset_dir: str | Path, project: tuple[str, Sequence[str]] = ("", ())) -> EditReport:
    """Bring every caption back to how it was before this program first touched it, as one more undoable step."""
    with opened(dataset_dir) as journal:
        first = journal.first_states()
        back = {normal_form(tag) for data in first.values() if data for tag in parse_tags(decode(data)[0])}
        carried = Carried(dropped=tuple(tag for tag in project[1] if normal_form(tag) in back))
        return replace(_record(journal, "restore", {"project": carried.to_dict()}, first), carried=carried)


def _record(journal: Journal, kind: str, details: dict[str, Any], wanted: dict[str, bytes | None]) -> EditReport:
    changes: dict[str, tuple[bytes | None, bytes | None]] = {}
    left: list[tuple[str, str]] = []
    for name, data in wanted.items():
        try:
            before = caption_bytes(journal.dataset_dir / name)
        except CaptionError as error:
            left.append((name, error.reason))
            continue
        if before != data:
            changes[name] = before, data
    if not changes:
        return EditReport(pictures=len(wanted), refused=tuple(left), note=journal.note)
    entry, applied = journal.commit(kind, details, changes)
    names, revision = took(journal.dataset_dir, applied)
    refused = (*left, *applied.refused)
    return EditReport(
        pictures=len(wanted), changed=len(applied.changed), refused=refused, entry=entry, names=tuple(names), revision=revision, note=journal.note
    )
