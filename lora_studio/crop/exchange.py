"""Plans between people: the settings and boxes of one project as a file, taken by another that has the same pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..project import Project
from . import draft as drafts
from .applied import earlier_names
from .detectors import detector_id
from .draft import Draft
from .looks import glance
from .plan import buckets_for, plan_from
from .propose import AUTOMATIC, boxes_of, make_plan, propose


def give(project: Project, detector: Path | None = None) -> dict[str, Any]:
    """The plan of the draft. Raises UserError while pictures have yet to be looked at, and where there are none."""
    draft, looks = drafts.load(project), glance(project)
    buckets = buckets_for(draft.options)
    known = detector_id(detector) if detector is not None and draft.options.needs_faces else ""
    for name, look in looks.items():
        if not look.problem and propose(name, look, draft.options, buckets, draft.choices.get(name, AUTOMATIC), known).pending:
            raise UserError("The best places are still being looked for.", "Wait for the end, then save the plan.")
    return make_plan(looks, draft.options, draft.choices, known, earlier_names(project, draft.options)).to_dict()


def take(project: Project, data: Any, revision: int | None = None) -> Draft:
    """Make a plan's settings and boxes the draft's, for the pictures that are here. Raises UserError when it is no plan or names none of them."""
    plan = plan_from(data, "This file")
    looks = glance(project)
    boxes = {name: choice for name, choice in boxes_of(plan).items() if name in looks}
    if plan.entries and not boxes:
        raise UserError("This plan is for other pictures: it names none of those in raw/.", "Their file names have to be the same.")
    return drafts.update(project, lambda draft: drafts.change(draft, boxes, replace(plan.options, plan_file=None)), revision)
