"""What the edit step shows: the pictures that are asked for, their tags by frequency, and what a page needs to draw them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .index import DatasetIndex, open_index
from .journal import FROM_ELSEWHERE, UNREADABLE, Journal
from .lint import contradictions
from .query import Wanted
from .timeline import history
from .tokens import caption_tokens
from .traits import DESCRIPTIONS, OPTIONAL_GROUPS, classify

AT_ONCE = 300  # pictures described in one answer
LOST = "The history of edits of this folder cannot be read. With your first edit it is put aside."
FOREIGN = (
    "The history of edits that came with this folder was written by somebody else, and none of it is used. With your first edit it is put aside. "
    "If it is yours after all: history PROJECT --mine"
)
HISTORY = 200  # steps of the history listed on either side of the present


def current(dataset_dir: Path) -> DatasetIndex | None:
    """The folder's index, up to date; None while there is no folder."""
    if not dataset_dir.is_dir():
        return None
    index = open_index(dataset_dir)
    index.refresh(now=True)
    return index


def show(dataset_dir: Path, wanted: Wanted, first: int = 0) -> dict[str, Any]:
    """The names of the pictures wanted, in order, the first few described, and what can be said of the whole dataset."""
    index = current(dataset_dir)
    if index is None:
        nothing = {"revision": 0, "total": 0, "names": [], "pictures": {}, "captions": 0, "repeated": 0, "unreadable": []}
        return {**nothing, "present": present(dataset_dir)}
    with wanted.found(index) as names:
        captions = index.captions()
        return {
            "revision": index.revision,
            "total": len(index.pictures),
            "names": names,
            "pictures": _described(index, names[: min(first, AT_ONCE)]),
            "captions": sum(picture.data is not None for picture in captions.values()),
            "repeated": sum(picture.repeated > 0 for picture in captions.values()),
            "unreadable": sorted((name, picture.problem) for name, picture in captions.items() if picture.problem),
            "present": present(dataset_dir),
        }


def pictures(dataset_dir: Path, names: Sequence[str]) -> dict[str, Any]:
    """{revision, pictures: {name: what is shown of it}} of those that are there."""
    index = current(dataset_dir)
    if index is None:
        return {"revision": 0, "pictures": {}}
    with index.lock:
        return {"revision": index.revision, "pictures": _described(index, names[:AT_ONCE])}


def _described(index: DatasetIndex, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for name in names:
        picture = index.pictures.get(name)
        if picture is not None:
            facts = index.facts(name)
            found[name] = {
                "tags": picture.tags,
                "v": facts.version,
                "size": [facts.width, facts.height],
                "problem": facts.problem or (f"Its caption cannot be used: {picture.problem}" if picture.problem else ""),
                "tokens": caption_tokens(picture.tags),
                "against": [[index.usual(a), index.usual(b)] for a, b in contradictions(picture.forms)],
                "shared": len(index.owners(picture.caption)) > 1,
            }
    return found


def tags(dataset_dir: Path, wanted: Wanted) -> dict[str, Any]:
    """{revision, tags: [[tag, pictures among those wanted, pictures at all, group of traits, kind]]}, the most frequent first."""
    index = current(dataset_dir)
    if index is None:
        return {"revision": 0, "tags": []}
    with wanted.found(index) as names:
        of_all = dict(index.counts())
        rows = [(tag, n, of_all[tag]) for tag, n in (of_all.items() if wanted.everything else index.counts(names))]
        return {"revision": index.revision, "tags": [[tag, here, n, *_kind(tag)] for tag, here, n in rows]}


def _kind(tag: str) -> tuple[str, str]:
    trait = classify(tag, optional=True)
    return ("", "") if trait is None else (trait.group, "state" if trait.is_state else "worn" if trait.group in OPTIONAL_GROUPS else "trait")


def present(dataset_dir: Path) -> dict[str, str]:
    """The entries that undo and redo would take next, empty for none."""
    journal = Journal(dataset_dir)
    return {"undo": journal.done[-1] if journal.done else "", "redo": journal.undone[-1] if journal.undone else ""}


def past(dataset_dir: Path) -> dict[str, Any]:
    """The history around the present, for showing. note: what to know of one that is not this user's."""
    journal = Journal(dataset_dir)
    return {
        "lines": [line.to_dict() for line in history(dataset_dir, HISTORY)],
        "steps": len(journal.done),
        "first": len(journal.first_names()),
        "present": present(dataset_dir),
        "note": {"": "", FROM_ELSEWHERE: FOREIGN, UNREADABLE: LOST}[journal.foreign],
    }


def groups() -> list[dict[str, Any]]:
    """The groups of traits: [{name, about, optional}]."""
    return [{"name": name, "about": about, "optional": name in OPTIONAL_GROUPS} for name, about in DESCRIPTIONS.items()]
