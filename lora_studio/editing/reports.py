"""What edits of captions did, in the words that the page and the command line show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..errors import OutdatedError
from .carried import Carried
from .edits import Tags, TraitCount


@dataclass(frozen=True)
class EditReport:
    """What a bulk edit did, or would do when dry.

    pictures: how many there are; changed: captions that differ; removed_traits: trait tags taken out of the captions, most
    frequent first; by_group: the traits found, with pictures, frequency and whether removed, by group; kept_states: states
    left in; kept_rare: traits left in because they are on too few pictures; preview: (file, before, after) of the first
    changes; refused: (file, why) of captions left alone; entry: the edit's id in the history, empty when nothing was written.
    matches: how often the searches found something; names: the pictures whose captions were changed; carried: what becomes of
    the project's trigger word and traits; revision: the index's after the edit (of what was looked at, when dry); note: what else to know.
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
    matches: int = 0
    names: tuple[str, ...] = ()
    carried: Carried = field(default_factory=Carried)
    revision: int = 0
    note: str = ""

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
            "matches": self.matches,
            "revision": self.revision,
            "note": self.note,
        }


class ChangedSinceError(OutdatedError):
    """The captions are no longer as they were when the edit was previewed. report: the preview as it would be now."""

    def __init__(self, report: EditReport) -> None:
        super().__init__("The captions were changed elsewhere since this preview.", "Look at the preview as it is now, then apply it.")
        self.report = report


class TagsChangedError(OutdatedError):
    """Somebody else changed tags that were to be set anew. tags: of the pictures concerned, as they are now."""

    def __init__(self, tags: dict[str, Tags]) -> None:
        super().__init__("The tags were changed elsewhere meanwhile.", "Nothing was overwritten: look at the tags as they are now, then edit again.")
        self.tags = tags


@dataclass(frozen=True)
class OpsReport:
    """What edits of single pictures did. tags: of each picture named, as they are now; changed: pictures whose caption was written;
    elsewhere: pictures whose tags were not those the page had shown."""

    tags: dict[str, Tags] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    entry: str = ""
    revision: int = 0
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {**self.__dict__, "tags": {name: list(tags) for name, tags in self.tags.items()}}


@dataclass(frozen=True)
class HistoryReport:
    """What undo or redo did. done: False when there was nothing to do; changed: caption files; refused: (file, why) of captions
    left alone; names: pictures whose tags changed; carried: what becomes of the project's trigger word and traits, in order."""

    done: bool
    entry: str = ""
    kind: str = ""
    changed: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()
    carried: tuple[Carried, ...] = ()
    steps: int = 0
    revision: int = 0
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "done": self.done,
            "entry": self.entry,
            "kind": self.kind,
            "changed": list(self.changed),
            "refused": [list(r) for r in self.refused],
            "steps": self.steps,
            "revision": self.revision,
            "note": self.note,
        }


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
