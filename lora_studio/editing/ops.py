"""Edits of one picture's tags, written so that they still make sense when somebody else changed the caption meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..dataset import parse_tags
from ..errors import UserError
from .traits import normal_form

Tags = tuple[str, ...]


@dataclass(frozen=True)
class Op:
    """One edit of the picture `name`.

    add: `tag` (commas make several) at the place `to`, at the end without one; a tag that is there already is not added again.
    remove: `tag`. move: `tag` to the place `to` among the others. replace: `tag` by `new` (commas make several, empty removes).
    set: all tags are `tags`. at: where the page showed `tag`, to tell two of the same apart. seen: the tags that the page showed.
    """

    op: Literal["add", "remove", "move", "replace", "set"]
    name: str
    tag: str = ""
    new: str = ""
    at: int | None = None
    to: int | None = None
    tags: tuple[str, ...] = ()
    seen: tuple[str, ...] | None = None

    def check(self) -> None:
        """Raise UserError for an edit that means nothing."""
        if self.op != "set" and not parse_tags(self.tag):
            raise UserError("The edit has no tag.", "A tag is a word or words without commas or line breaks.")
        if self.op == "move" and self.to is None:
            raise UserError("The edit does not say where the tag is to go.")

    def summary(self) -> dict[str, Any]:
        """For the history."""
        words = {"op": self.op, "name": self.name, "tag": self.tag, "new": self.new}
        return {key: value for key, value in words.items() if value}


def apply_op(tags: Tags, op: Op) -> Tags:
    """The tags after an edit; unchanged where it has nothing to do any more."""
    if op.op == "set":
        return tuple(tag for text in op.tags for tag in parse_tags(text))
    if op.op == "add":
        have = set(map(normal_form, tags))
        fresh = tuple(tag for tag in dict.fromkeys(parse_tags(op.tag)) if normal_form(tag) not in have)
        return _inserted(tags, fresh, len(tags) if op.to is None else op.to)
    place = find_tag(tags, op.tag, op.at)
    if place is None:
        return tags
    rest = (*tags[:place], *tags[place + 1 :])
    if op.op == "remove":
        return rest
    if op.op == "move":
        return _inserted(rest, (tags[place],), op.to or 0)
    return _inserted(rest, parse_tags(op.new), place)


def find_tag(tags: Tags, tag: str, at: int | None = None) -> int | None:
    """Where a tag stands: at the place given if it is there, else the nearest one spelled so, else the nearest in another spelling."""
    tag = tag.strip()
    form, near = normal_form(tag), at or 0
    places = [place for place, one in enumerate(tags) if one == tag] or [place for place, one in enumerate(tags) if normal_form(one) == form]
    return min(places, key=lambda place: abs(place - near)) if places else None


def _inserted(tags: Tags, some: Tags, place: int) -> Tags:
    place = max(0, min(place, len(tags)))
    return (*tags[:place], *some, *tags[place:])
