"""What a crop is asked to do, checked once with every mistake named."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import UserError
from .naming import pattern_problem
from .siblings import PARTS

FORMATS = {"png": ".png", "jpg": ".jpg", "webp": ".webp", "avif": ".avif"}
FOCAL = ("smart", "center", "face")
LARGEST_SIDE = 8192


@dataclass(frozen=True)
class CropOptions:
    """size: a number for squares, "WxH" in pixels, or "bucket" (each picture to the aspect-ratio bucket nearest to it).

    base: bucket area is base x base pixels. bucket_max 0: 1024, or 2048 for a base above 768.
    focal: "smart", "center" or "face" (where a detector finds one, else smart).
    plan_file: JSON of an earlier plan whose boxes are used for the pictures it names.
    upscale: pictures smaller than the size are enlarged instead of left out.
    format: png, jpg, webp or avif; quality 1..100 for the last three.
    pad: "" (never), "edge" or "#rrggbb": the whole picture, what is missing of the size filled in.
    parts: "upper", "face": more crops around a face that a detector finds. flip: a mirrored copy of every crop.
    split: a picture of which one box would hold no more than this share (0..1) becomes several, `split_overlap` alike; 0: never.
    rename: "" (as the original) or a pattern with {name}, {n}, {n:3}, {w}, {h}; numbers begin at rename_start.
    """

    size: str = "512"
    base: int = 512
    bucket_min: int = 256
    bucket_max: int = 0
    bucket_step: int = 64
    focal: str = "smart"
    plan_file: str | None = None
    upscale: bool = False
    format: str = "png"
    quality: int = 95
    pad: str = ""
    parts: tuple[str, ...] = ()
    flip: bool = False
    split: float = 0.0
    split_overlap: float = 0.2
    rename: str = ""
    rename_start: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", str(self.size).strip().lower().replace("×", "x"))
        object.__setattr__(self, "format", {"jpeg": "jpg"}.get(str(self.format).lower().lstrip("."), str(self.format).lower().lstrip(".")))
        object.__setattr__(self, "focal", {"centre": "center"}.get(self.focal, self.focal))
        if self.plan_file is not None:
            object.__setattr__(self, "plan_file", str(self.plan_file))
        wrong: list[str] = []
        if self.size != "bucket":
            match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", self.size)
            sides = [int(side) for side in match.groups() if side] if match else []
            if not sides or not all(8 <= side <= LARGEST_SIDE for side in sides):
                wrong.append(f"size {self.size!r} is neither a number, WIDTHxHEIGHT (8 to {LARGEST_SIDE}) nor bucket")
        if not 64 <= self.base <= 4096:
            wrong.append(f"base {self.base} is not between 64 and 4096")
        if self.bucket_step < 8 or self.bucket_step % 8:
            wrong.append(f"bucket_step {self.bucket_step} is not a multiple of 8")
        elif self.bucket_min < self.bucket_step or self.largest_bucket_side < self.bucket_min:
            wrong.append(f"bucket_min {self.bucket_min} is not between bucket_step and bucket_max")
        if not 0 <= self.bucket_max <= LARGEST_SIDE:
            wrong.append(f"bucket_max {self.bucket_max} is not between 0 and {LARGEST_SIDE}")
        if self.focal not in FOCAL:
            wrong.append(f"focal {self.focal!r} is none of {', '.join(FOCAL)}")
        if self.format not in FORMATS:
            wrong.append(f"format {self.format!r} is none of {', '.join(FORMATS)}")
        if not 1 <= self.quality <= 100:
            wrong.append(f"quality {self.quality} is not between 1 and 100")
        wrong += self._more_mistakes()
        if wrong:
            raise UserError("These crop settings cannot be used: " + "; ".join(wrong) + ".", "See: crop --help")

    def _more_mistakes(self) -> list[str]:
        wrong = []
        object.__setattr__(self, "parts", tuple(part for part in PARTS if part in self.parts) + tuple(p for p in self.parts if p not in PARTS))
        if self.pad and not is_padding(self.pad):
            wrong.append(f"pad {self.pad!r} is neither edge nor a colour like #ffffff")
        if unknown := [part for part in self.parts if part not in PARTS]:
            wrong.append(f"parts {', '.join(map(repr, unknown))} are none of {', '.join(PARTS)}")
        if not 0 <= self.split <= 1:
            wrong.append(f"split {self.split} is not between 0 and 1")
        if not 0 <= self.split_overlap <= 0.9:
            wrong.append(f"split_overlap {self.split_overlap} is not between 0 and 0.9")
        if self.rename and (problem := pattern_problem(self.rename)):
            wrong.append(problem)
        if not 0 <= self.rename_start <= 10**6:
            wrong.append(f"rename_start {self.rename_start} is not between 0 and 1000000")
        return wrong

    @property
    def needs_faces(self) -> bool:
        """Whether a detector has to look, where there is one."""
        return self.focal == "face" or bool(self.parts)

    @property
    def largest_bucket_side(self) -> int:
        return self.bucket_max or (1024 if self.base <= 768 else 2048)

    @property
    def suffix(self) -> str:
        """The suffix of the pictures written, with its dot."""
        return FORMATS[self.format]

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """(width, height) in pixels, or None for buckets."""
        if self.size == "bucket":
            return None
        width, _, height = self.size.partition("x")
        return int(width), int(height or width)

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "parts": list(self.parts)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CropOptions:
        """Raises UserError, TypeError, ValueError or AttributeError for what is none."""
        known = {key: value for key, value in data.items() if key in cls.__dataclass_fields__}
        for key, value in known.items():
            if not _fits(value, cls.__dataclass_fields__[key].default):
                raise TypeError(f"{key} cannot be {str(value)[:100]!r}")
        if "parts" in known:
            known["parts"] = tuple(known["parts"])
        return cls(**known)


def is_padding(text: str) -> bool:
    """Whether this says how to fill what lies outside of a picture."""
    return text == "edge" or re.fullmatch(r"#[0-9a-fA-F]{6}", text) is not None


def _fits(value: object, default: object) -> bool:
    """Whether a value is of the kind of an option's default: a file may hold anything."""
    if isinstance(default, tuple):
        return isinstance(value, (list, tuple)) and len(value) <= 100 and all(isinstance(one, str) for one in value)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, (int, float)):
        return isinstance(value, int) or (isinstance(default, float) and isinstance(value, float))
    return (value is None and default is None) or isinstance(value, int) or (isinstance(value, str) and len(value) <= 4096)
