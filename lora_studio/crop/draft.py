"""The plan as people edit it: options and choices, with undo and redo. Pure transitions, and one file that keeps them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import OutdatedError, UserError
from ..files import atomic_write_json, read_json
from ..patience import HeldError
from ..project import Project, in_place
from ..untrusted import sequence, whole
from .choices import PLAN, Choice
from .options import CropOptions

VERSION = 1
KEPT = 100  # changes that can be taken back

_lock = threading.Lock()


@dataclass(frozen=True)
class Change:
    """How things were before a change: the choices it touched (None: there was none) and the options, where it touched them."""

    choices: Mapping[str, Choice | None] = field(default_factory=dict)
    options: CropOptions | None = None

    def to_dict(self) -> dict[str, Any]:
        choices = {name: None if choice is None else choice.to_dict() for name, choice in self.choices.items()}
        return {"choices": choices, "options": None if self.options is None else self.options.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Change:
        choices = {str(name): None if choice is None else Choice.from_dict(choice) for name, choice in data["choices"].items()}
        return cls(choices, None if data["options"] is None else CropOptions.from_dict(data["options"]))


@dataclass(frozen=True)
class Draft:
    """What is wanted now. revision: goes up by one with each change, so that two pages notice each other."""

    options: CropOptions = field(default_factory=CropOptions)
    choices: Mapping[str, Choice] = field(default_factory=dict)
    revision: int = 0
    past: tuple[Change, ...] = ()
    future: tuple[Change, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "revision": self.revision,
            "options": self.options.to_dict(),
            "choices": {name: choice.to_dict() for name, choice in sorted(self.choices.items())},
            "past": [change.to_dict() for change in self.past],
            "future": [change.to_dict() for change in self.future],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Draft:
        return cls(
            CropOptions.from_dict(data["options"]),
            {str(name): Choice.from_dict(choice) for name, choice in data["choices"].items()},
            whole(data["revision"], PLAN, 0, 2**53),
            tuple(Change.from_dict(change) for change in sequence(data["past"], PLAN, KEPT)),
            tuple(Change.from_dict(change) for change in sequence(data["future"], PLAN, KEPT)),
        )


def _turn(draft: Draft, change: Change) -> tuple[Draft, Change]:
    """Bring back what a change holds; also returns the change that would turn it round again."""
    now = Change({name: draft.choices.get(name) for name in change.choices}, draft.options if change.options is not None else None)
    choices = {**draft.choices, **change.choices}
    kept = {name: choice for name, choice in choices.items() if choice is not None and choice != Choice()}
    return replace(draft, choices=kept, options=change.options or draft.options, revision=draft.revision + 1), now


def change(draft: Draft, choices: Mapping[str, Choice] | None = None, options: CropOptions | None = None) -> Draft:
    """The draft with these choices and options; the same draft when nothing differs."""
    different = {name: choice for name, choice in (choices or {}).items() if choice != draft.choices.get(name, Choice())}
    another = options if options != draft.options else None
    if not different and another is None:
        return draft
    now, before = _turn(draft, Change(different, another))
    return replace(now, past=(*draft.past, before)[-KEPT:], future=())


def undo(draft: Draft) -> Draft:
    """Raises UserError when there is nothing to take back."""
    if not draft.past:
        raise UserError("There is nothing to undo.")
    now, back = _turn(draft, draft.past[-1])
    return replace(now, past=draft.past[:-1], future=(*draft.future, back))


def redo(draft: Draft) -> Draft:
    """Raises UserError when nothing was taken back."""
    if not draft.future:
        raise UserError("There is nothing to redo.")
    now, back = _turn(draft, draft.future[-1])
    return replace(now, past=(*draft.past, back), future=draft.future[:-1])


def load(project: Project) -> Draft:
    """The stored draft; without one (or with a damaged one) the options of the last crop and no choices.

    Raises HeldError while another program holds it: the next change would be written over it.
    """
    try:
        return Draft.from_dict(read_json(project.studio_dir / "crop_draft.json"))
    except HeldError:
        raise
    except (UserError, KeyError, TypeError, ValueError, AttributeError):
        pass
    try:
        return Draft(replace(CropOptions.from_dict(project.last("crop")), plan_file=None))
    except (UserError, TypeError, ValueError, AttributeError):
        return Draft()


def update(project: Project, work: Callable[[Draft], Draft], revision: int | None = None) -> Draft:
    """Change the stored draft. revision: what the change was made upon (None: whatever is there).

    Raises OutdatedError when somebody else changed it since.
    """
    with _lock:
        before = load(project)
        if revision is not None and revision != before.revision:
            raise OutdatedError("The crops were changed elsewhere in the meantime.", "They are shown as they are now; do your change again.")
        after = work(before)
        if after is not before:
            atomic_write_json(in_place(project.studio_dir) / "crop_draft.json", after.to_dict())
        return after
