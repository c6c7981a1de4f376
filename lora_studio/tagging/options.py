"""What tagging is asked to do, checked once with every mistake named."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..errors import UserError

MODES = ("skip", "overwrite", "append", "prepend", "merge")


@dataclass(frozen=True)
class TagOptions:
    """model: a name of the catalogue, "demo", a folder with model.onnx and selected_tags.csv, or several of these joined by "+" (see ensemble.py).

    general_threshold, character_threshold: a tag is written when its probability is above; None: the model's own.
    mcut: each picture's thresholds in the middle of the largest gap of its probabilities instead.
    underscores: keep them. escape: parentheses as a prompt needs them. ratings: add the likeliest rating.
    exclude: tags never written. rename: pairs (tag, other), done after exclude. add: tags written before all others.
    on_existing: for pictures with a caption: skip, overwrite, append, prepend or merge.
    batch_size: pictures given to the model at once, 0 for what suits the device. providers: ONNX Runtime's execution
    providers in order, None for the best there is.
    """

    model: str = "wd-swinv2-tagger-v3"
    general_threshold: float | None = None
    character_threshold: float | None = None
    mcut: bool = False
    underscores: bool = False
    escape: bool = False
    ratings: bool = False
    exclude: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    on_existing: str = "skip"
    batch_size: int = 0
    providers: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        wrong: list[str] = []
        object.__setattr__(self, "model", str(self.model))
        for name in ("exclude", "add"):
            value = getattr(self, name)
            if isinstance(value, str):
                value = value.split(",")
            object.__setattr__(self, name, tuple(tag.strip() for tag in value if tag.strip()))
        pairs = self.rename.items() if isinstance(self.rename, dict) else self.rename
        pairs = tuple((str(a).strip(), str(b).strip()) for a, b in pairs)
        object.__setattr__(self, "rename", pairs)
        if self.providers is not None:
            object.__setattr__(self, "providers", tuple(self.providers))
        for name in ("general_threshold", "character_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                wrong.append(f"{name} {value} is not between 0 and 1")
        if any(not a or not b for a, b in pairs):
            wrong.append("rename has an empty name (to leave a tag out, exclude it)")
        if commas := [t for t in (*self.add, *(b for _, b in pairs)) if any(c in t for c in ",，\r\n")]:
            wrong.append(f"{commas[0]!r} would be several tags in a caption")
        if self.on_existing not in MODES:
            wrong.append(f"on_existing {self.on_existing!r} is none of {', '.join(MODES)}")
        if not 0 <= self.batch_size <= 1024:
            wrong.append(f"batch_size {self.batch_size} is not between 0 and 1024")
        if not self.model.strip():
            wrong.append("no model is named")
        if wrong:
            raise UserError("These tagging settings cannot be used: " + "; ".join(wrong) + ".", "See: tag --help")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TagOptions:
        return cls(**{key: value for key, value in data.items() if key in cls.__dataclass_fields__})
