"""What people decide about single pictures: their own box, a focal point, smart or centre, or leaving the picture out. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ..errors import UserError

Box = tuple[int, int, int, int]
DRAWN = ("drawn", "plan")
METHODS = ("", "smart", "center", "focal", *DRAWN)


@dataclass(frozen=True)
class Choice:
    """One picture's own settings.

    method: "" (as the options say), "smart", "center", "focal" (a largest box around `focal`, 0..1 each), "drawn" (`box`, in
    the pixels of a picture of `source_size`) or "plan" (the same, from a plan file). excluded: not for the dataset.
    """

    method: str = ""
    focal: tuple[float, float] | None = None
    box: Box | None = None
    source_size: tuple[int, int] | None = None
    excluded: bool = False

    def box_for(self, size: tuple[int, int]) -> Box | None:
        """The drawn box in a picture of this size: its own, or the same picture in other pixels; None when the shape is another."""
        if self.method not in DRAWN or self.box is None or self.source_size is None:
            return None
        if self.source_size == size:
            return self.box
        width, height = self.source_size
        if self.method == "plan" or abs(math.log((size[0] / size[1]) / (width / height))) > 0.01:
            return None
        across, down = size[0] / width, size[1] / height
        return inside((self.box[0] * across, self.box[1] * down, self.box[2] * across, self.box[3] * down), size)

    def to_dict(self) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        if self.method:
            plain["method"] = self.method
        if self.method == "focal" and self.focal:
            plain["focal"] = list(self.focal)
        if self.method in DRAWN and self.box and self.source_size:
            plain |= {"box": list(self.box), "source_size": list(self.source_size)}
        return plain | ({"excluded": True} if self.excluded else {})

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Choice:
        """Raises ValueError, KeyError or TypeError for what is none."""
        method, excluded = str(data.get("method", "")), data.get("excluded", False) is True
        if method not in METHODS:
            raise ValueError(f"{method!r} is no way to place a box")
        if method == "focal":
            x, y = (min(max(float(v), 0.0), 1.0) for v in data["focal"])
            return cls(method, (x, y), excluded=excluded)
        if method in DRAWN:
            left, top, right, bottom = (int(v) for v in data["box"])
            width, height = (int(v) for v in data["source_size"])
            if not (0 <= left < right <= width and 0 <= top < bottom <= height):
                raise ValueError("the box is not inside the picture")
            return cls(method, None, (left, top, right, bottom), (width, height), excluded)
        return cls(method, excluded=excluded)


def inside(box: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
    """A box in whole pixels of the picture: moved back over its edges, and shrunk only when it is larger than the picture."""
    width = min(size[0], max(1, round(abs(box[2] - box[0]))))
    height = min(size[1], max(1, round(abs(box[3] - box[1]))))
    left = min(max(round(min(box[0], box[2])), 0), size[0] - width)
    top = min(max(round(min(box[1], box[3])), 0), size[1] - height)
    return left, top, left + width, top + height


def decide(choice: Choice, change: dict[str, Any], size: tuple[int, int]) -> Choice:
    """The choice after one change for a picture of this size: {box}, {focal}, {method: smart, center or reset} or {excluded}.

    Raises UserError for anything else.
    """
    wanted = sorted(set(change) - {"source"})
    if wanted == ["excluded"] and isinstance(change["excluded"], bool):
        return replace(choice, excluded=change["excluded"])
    if wanted == ["method"] and change["method"] in ("smart", "center", "reset"):
        return Choice("" if change["method"] == "reset" else change["method"], excluded=choice.excluded)
    if wanted == ["focal"] and (focal := _numbers(change["focal"], 2)):
        return Choice("focal", (min(max(focal[0], 0.0), 1.0), min(max(focal[1], 0.0), 1.0)), excluded=choice.excluded)
    if wanted == ["box"] and (sides := _numbers(change["box"], 4)):
        return Choice("drawn", None, inside((sides[0], sides[1], sides[2], sides[3]), size), size, choice.excluded)
    raise UserError("This change of a crop cannot be used.", "It takes one of: box [left, top, right, bottom], focal [x, y], method, excluded.")


def _numbers(value: Any, count: int) -> list[float]:
    """So many numbers of a size that pixels can have, [] for anything else."""
    good = isinstance(value, list) and len(value) == count
    if not good or any(isinstance(v, bool) or not isinstance(v, (int, float)) or not abs(v) <= 1e7 for v in value):
        return []
    return [float(v) for v in value]
