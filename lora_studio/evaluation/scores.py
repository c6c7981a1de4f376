"""From a tagger's probabilities to likeness, flexibility and leakage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .families import family, plain


@dataclass(frozen=True)
class Reader:
    """The tagger's side of a score: its tags, and from what probability it would write each into a caption.

    ``thresholds`` is one number per tag.
    """

    tags: tuple[str, ...]
    thresholds: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.tags) != len(self.thresholds):
            raise ValueError("one threshold per tag is needed")


def found(reader: Reader, probabilities: NDArray[np.float32], wanted: Sequence[str]) -> dict[str, bool]:
    """Which of the wanted tags one picture shows.

    A tag is found when its probability is above its threshold and, in a family of tags that exclude each other, no
    tag outside the wanted ones is more probable: a picture on which blue hair is at 0.6 and red hair at 0.9 shows
    red hair. ``probabilities`` has shape (tags,). Tags the tagger does not know are left out of the answer.
    """
    index = _index(reader)
    wanted = [plain(tag) for tag in wanted]
    answer: dict[str, bool] = {}
    for tag in wanted:
        if tag not in index:
            continue
        p = float(probabilities[index[tag]])
        shown = p > reader.thresholds[index[tag]]
        if shown and (name := family(tag)):
            rivals = [float(probabilities[i]) for t, i in index.items() if t not in wanted and family(t) == name]
            shown = all(p >= rival for rival in rivals)
        answer[tag] = shown
    return answer


def _index(reader: Reader) -> dict[str, int]:
    index: dict[str, int] = {}
    for i, tag in enumerate(reader.tags):
        index.setdefault(plain(tag), i)
    return index


@dataclass(frozen=True)
class Tally:
    """How often tags were looked for and found, over several pictures."""

    looked: Mapping[str, int]
    found: Mapping[str, int]

    @property
    def share(self) -> float | None:
        """Found of looked for, 0 to 1, each tag of each picture counting once; None if nothing was looked for."""
        total = sum(self.looked.values())
        return sum(self.found.values()) / total if total else None

    @property
    def by_tag(self) -> dict[str, float]:
        """The share of each tag."""
        return {tag: self.found.get(tag, 0) / n for tag, n in self.looked.items()}


def tally(reader: Reader, probabilities: NDArray[np.float32], wanted: Sequence[Sequence[str]]) -> Tally:
    """Count over pictures. ``probabilities`` (pictures, tags); ``wanted`` has one list of tags per picture."""
    looked: dict[str, int] = {}
    hits: dict[str, int] = {}
    for row, tags in zip(probabilities, wanted):
        for tag, shown in found(reader, row, tags).items():
            looked[tag] = looked.get(tag, 0) + 1
            hits[tag] = hits.get(tag, 0) + shown
    return Tally(looked, hits)
