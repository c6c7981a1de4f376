"""What people decide about single pictures: their own box, a focal point, smart or centre, or leaving the picture out. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ..errors import UserError
from ..untrusted import mapping, number, text, whole

Box = tuple[int, int, int, int]
PLAN = "The crops of this project"
FARTHEST, LONGEST = 10**7, 255  # pixels; letters of a name
DRAWN = ("drawn", "plan")
METHODS = ("", "smart", "center", "focal", *DRAWN)
MOST = 20  # further boxes of one picture
TAKEN_OVER = ("face", "upper")  # parts that a detector places until somebody does


@dataclass(frozen=True)
class Choice:
    """One picture's own settings.

    method: "" (as the options say), "smart", "center", "focal" (a largest box around `focal`, 0..1 each), "drawn" (`box`, in
    the pixels of a picture of `source_size`) or "plan" (the same, from a plan file). excluded: not for the dataset.
    more: further boxes of the same picture by their part ("2", "3", … made by hand; "face", "upper" from a plan file).
    """

    method: str = ""
    focal: tuple[float, float] | None = None
    box: Box | None = None
    source_size: tuple[int, int] | None = None
    excluded: bool = False
    more: tuple[tuple[str, Box], ...] = ()

    def box_for(self, size: tuple[int, int]) -> Box | None:
        """The drawn box in a picture of this size: its own, or the same picture in other pixels; None when the shape is another."""
        return self._fitted(self.box, size) if self.method in DRAWN and self.box is not None else None

    def more_for(self, size: tuple[int, int]) -> dict[str, Box]:
        """The further boxes, by part, in a picture of this size; none when its shape is another."""
        fitted = {part: self._fitted(box, size) for part, box in self.more}
        return {part: box for part, box in fitted.items() if box is not None}

    def _fitted(self, box: Box, size: tuple[int, int]) -> Box | None:
        if self.source_size is None or self.source_size == size:
            return box if self.source_size else None
        width, height = self.source_size
        if self.method == "plan" or abs(math.log((size[0] / size[1]) / (width / height))) > 0.01:
            return None
        across, down = size[0] / width, size[1] / height
        return inside((box[0] * across, box[1] * down, box[2] * across, box[3] * down), size)

    def to_dict(self) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        if self.method:
            plain["method"] = self.method
        if self.method == "focal" and self.focal:
            plain["focal"] = list(self.focal)
        if self.method in DRAWN and self.box:
            plain["box"] = list(self.box)
        if self.more:
            plain["more"] = {part: list(box) for part, box in self.more}
        if self.source_size and ("box" in plain or self.more):
            plain["source_size"] = list(self.source_size)
        return plain | ({"excluded": True} if self.excluded else {})

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Choice:
        """Raises ValueError, KeyError, TypeError or UserError for what is none."""
        method, excluded = str(data.get("method", "")), data.get("excluded", False) is True
        if method not in METHODS:
            raise ValueError(f"{method!r} is no way to place a box")
        more = {text(part, PLAN, LONGEST): _whole(box) for part, box in mapping(data.get("more", {}), PLAN).items()}
        if len(more) > MOST + len(TAKEN_OVER):
            raise ValueError("there are too many boxes")
        box = _whole(data["box"]) if method in DRAWN else None
        size = None
        if more or box:
            width, height = (whole(v, PLAN, 1, FARTHEST) for v in data["source_size"])
            size = (width, height)
            if not all(
                0 <= left < right <= width and 0 <= top < bottom <= height for left, top, right, bottom in [*more.values(), *([box] if box else [])]
            ):
                raise ValueError("the box is not inside the picture")
        focal = None
        if method == "focal":
            x, y = (min(max(number(v, PLAN), 0.0), 1.0) for v in data["focal"])
            focal = (x, y)
        return cls(method, focal, box, size, excluded, tuple(more.items()))


def _whole(sides: Any) -> Box:
    left, top, right, bottom = (int(number(v, PLAN, -FARTHEST, FARTHEST)) for v in sides)
    return left, top, right, bottom


def inside(box: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
    """A box in whole pixels of the picture: moved back over its edges, and shrunk only when it is larger than the picture."""
    width = min(size[0], max(1, round(abs(box[2] - box[0]))))
    height = min(size[1], max(1, round(abs(box[3] - box[1]))))
    left = min(max(round(min(box[0], box[2])), 0), size[0] - width)
    top = min(max(round(min(box[1], box[3])), 0), size[1] - height)
    return left, top, left + width, top + height


def decide(choice: Choice, change: dict[str, Any], size: tuple[int, int]) -> Choice:
    """The choice after one change for a picture of this size.

    {box}, {focal}, {method: smart, center or reset} or {excluded}; of further boxes {add: box}, {part, box} or {part, remove: true}.
    Raises UserError for anything else.
    """
    wanted = sorted(set(change) - {"source"})
    if wanted == ["excluded"] and isinstance(change["excluded"], bool):
        return replace(choice, excluded=change["excluded"])
    own = Choice(excluded=choice.excluded, more=tuple(choice.more_for(size).items()))
    own = replace(own, source_size=size if own.more else None)
    if wanted == ["method"] and change["method"] in ("smart", "center", "reset"):
        return replace(own, method="" if change["method"] == "reset" else change["method"])
    if wanted == ["focal"] and (focal := _numbers(change["focal"], 2)):
        return replace(own, method="focal", focal=(min(max(focal[0], 0.0), 1.0), min(max(focal[1], 0.0), 1.0)))
    if wanted == ["box"] and (sides := _numbers(change["box"], 4)):
        return replace(own, method="drawn", box=inside((sides[0], sides[1], sides[2], sides[3]), size), source_size=size)
    if (after := _more_changed(dict(own.more), change, wanted, size)) is not None:
        main = choice.box_for(size)
        lost = choice.method in DRAWN and main is None  # it was drawn for another picture
        kept = replace(choice, method="" if lost else choice.method, box=main, more=tuple(after.items()))
        return replace(kept, source_size=size if main or after else None)
    raise UserError("This change of a crop cannot be used.", "It takes one of: box [left, top, right, bottom], focal [x, y], method, excluded, add.")


def _more_changed(more: dict[str, Box], change: dict[str, Any], wanted: list[str], size: tuple[int, int]) -> dict[str, Box] | None:
    """The further boxes after a change of one of them; None when it is no such change."""
    if wanted == ["add"] and (sides := _numbers(change["add"], 4)) and len(more) < MOST:
        number = max((int(part) for part in more if part.isdigit()), default=1) + 1
        return {**more, str(number): inside((sides[0], sides[1], sides[2], sides[3]), size)}
    part = change.get("part")
    if not isinstance(part, str) or not (part in more or part in TAKEN_OVER):
        return None
    if wanted == ["box", "part"] and (sides := _numbers(change["box"], 4)):
        return {**more, part: inside((sides[0], sides[1], sides[2], sides[3]), size)}
    if wanted == ["part", "remove"] and change["remove"] is True:
        return {name: box for name, box in more.items() if name != part}
    return None


def _numbers(value: Any, count: int) -> list[float]:
    """So many numbers of a size that pixels can have, [] for anything else."""
    good = isinstance(value, list) and len(value) == count
    if not good or any(isinstance(v, bool) or not isinstance(v, (int, float)) or not abs(v) <= 1e7 for v in value):
        return []
    return [float(v) for v in value]
