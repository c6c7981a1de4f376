"""Draw the prompts with every model, read the pictures, count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from .painter import Painter
from .prompts import KINDS, TestPrompt
from .recommend import Scores
from .scores import Reader, Tally, tally


class Judge(Protocol):
    """What an evaluation asks of the tagger."""

    @property
    def reader(self) -> Reader:
        """Its tags and thresholds."""
        ...

    def predict(self, pictures: Sequence[Image]) -> NDArray[np.float32] | None:
        """Probabilities (pictures, tags); None where nothing is read."""
        ...


@dataclass(frozen=True)
class Model:
    """What is measured: the base model (``lora`` None, epoch 0) or an epoch's LoRA on it."""

    epoch: int
    lora: Path | None = None


@dataclass(frozen=True)
class Measured:
    """A model's pictures (in the prompts' order) and what was found on them, by kind of prompt."""

    model: Model
    pictures: tuple[Image, ...]
    tallies: dict[str, Tally]

    @property
    def scores(self) -> Scores:
        """Likeness, flexibility and leakage."""
        return Scores(*(self.tallies[kind].share for kind in KINDS))


def measure(
    model: Model, prompts: Sequence[TestPrompt], painter: Painter, judge: Judge, weight: float, drawn: Callable[[int], None]
) -> Measured:
    """Draw and read one model's pictures at one LoRA weight."""
    pictures = painter.draw(prompts, model.lora, weight, drawn)
    probabilities = judge.predict(pictures)
    tallies = {}
    for kind in KINDS:
        chosen = [i for i, prompt in enumerate(prompts) if prompt.kind == kind]
        if probabilities is None:
            tallies[kind] = Tally({}, {})
            continue
        tallies[kind] = tally(judge.reader, probabilities[chosen], [prompts[i].looked_for for i in chosen])
    return Measured(model, tuple(pictures), tallies)


def of_kind(measured: Measured, prompts: Sequence[TestPrompt], kind: str) -> tuple[tuple[Image, ...], tuple[str, ...]]:
    """The pictures of one kind of prompt and their prompts."""
    chosen = [i for i, prompt in enumerate(prompts) if prompt.kind == kind]
    return tuple(measured.pictures[i] for i in chosen), tuple(prompts[i].text for i in chosen)
