"""What an evaluation may be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import UserError

NO_TAGGER = "none"
"""In place of a tagger's name: draw the pictures and score nothing."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Settings of one evaluation; round-trips through JSON with ``to_dict`` and ``from_dict``.

    ``tagger`` empty: the one that tagged the dataset; NO_TAGGER: none. ``traits`` None: the traits that were removed from the
    captions. ``width``, ``height`` 0: the training resolution; ``cfg`` None: the run's ``sample_cfg``.
    ``epochs`` empty: all that were saved. ``out`` empty: ``evaluation`` in the run's folder.
    """

    tagger: str = ""
    traits: tuple[str, ...] | None = None
    epochs: tuple[int, ...] = ()
    trigger_pictures: int = 12
    flexibility_pictures: int = 16
    leakage_pictures: int = 12
    weights: tuple[float, ...] = (0.4, 0.6, 0.8, 1.0)
    steps: int = 20
    cfg: float | None = None
    negative: str = ""
    seed: int = 1000
    width: int = 0
    height: int = 0
    batch_size: int = 8
    device: str = "auto"
    out: str = ""

    def __post_init__(self) -> None:
        problems = []
        for name in ("trigger_pictures", "flexibility_pictures", "leakage_pictures", "batch_size", "steps"):
            least = 2 if name == "steps" else 1
            if getattr(self, name) < least:
                problems.append(f"{name} must be at least {least}")
        if self.steps > 500:
            problems.append("steps must be at most 500")
        if any(not 0 <= w <= 4 for w in self.weights):
            problems.append("weights must lie between 0 and 4")
        if any(side and (side < 64 or side % 8) for side in (self.width, self.height)):
            problems.append("width and height must be multiples of 8 and at least 64")
        if problems:
            raise UserError("The evaluation cannot start: " + "; ".join(problems) + ".")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EvaluateOptions:
        """Raises UserError for a key that does not exist."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UserError(f"Unknown evaluation settings: {', '.join(unknown)}.", "Known are: " + ", ".join(sorted(known)) + ".")
        lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
        return cls(**{**values, **lists})
