"""The changes that people make to a project's draft."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..errors import UserError
from ..project import Project
from . import draft as drafts
from .choices import Choice, decide
from .draft import Draft
from .looks import glance
from .options import CropOptions


def change_boxes(project: Project, changes: Sequence[Any], revision: int | None = None) -> tuple[Draft, set[str]]:
    """Make one step of changes, each {source, and one of box, focal, method, excluded}. Returns the draft and which pictures it touched.

    Raises UserError (and changes nothing) when one of them cannot be made.
    """
    looks = glance(project, fresh=False)

    def work(draft: Draft) -> Draft:
        chosen: dict[str, Choice] = {}
        for one in changes:
            source = one.get("source") if isinstance(one, dict) else None
            look = looks.get(source) if isinstance(source, str) else None
            if look is None or look.problem:
                raise UserError(f"There is no picture {source!r} in raw/ that can be cropped.", "Reload the page: the folder has changed.")
            chosen[str(source)] = decide(chosen.get(str(source), draft.choices.get(str(source), Choice())), one, look.size)
        return drafts.change(draft, chosen)

    if not changes:
        raise UserError("This change of a crop cannot be used.", "It names no picture.")
    return drafts.update(project, work, revision), {one["source"] for one in changes}


def change_options(project: Project, options: CropOptions, revision: int | None = None) -> Draft:
    """Take other options; boxes that people drew stay and are fitted to them."""
    return drafts.update(project, lambda draft: drafts.change(draft, options=replace(options, plan_file=None)), revision)


def take_boxes(project: Project, options: CropOptions, boxes: Mapping[str, Choice]) -> Draft:
    """Options and boxes of a crop that was made without the page."""
    return drafts.update(project, lambda draft: drafts.change(draft, boxes, replace(options, plan_file=None)))


def step(project: Project, forward: bool, revision: int | None = None) -> tuple[Draft, set[str] | None]:
    """Undo, or redo. Returns the draft and which pictures that touched (None: all of them)."""
    touched: list[drafts.Change] = []

    def work(draft: Draft) -> Draft:
        after = drafts.redo(draft) if forward else drafts.undo(draft)
        touched.append((draft.future if forward else draft.past)[-1])
        return after

    draft = drafts.update(project, work, revision)
    return draft, set(touched[0].choices) if touched[0].options is None else None
