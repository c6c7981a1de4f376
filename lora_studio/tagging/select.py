"""From one picture's probabilities to the tags of its caption."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .labels import Label
from .options import TagOptions
from .words import key, spell, unique

CHARACTER_FLOOR = 0.15


def mcut(probabilities: NDArray[np.float32]) -> float:
    """The middle of the largest gap between neighbours in the sorted probabilities (Largeron et al. 2012, MCut).

    Of equal gaps the one at the higher probabilities. With fewer than two values nothing is cut away: 0.
    """
    if len(probabilities) < 2:
        return 0.0
    falling = np.sort(probabilities.astype(np.float64))[::-1]
    gap = int(np.argmax(falling[:-1] - falling[1:]))
    return float((falling[gap] + falling[gap + 1]) / 2)


class Selector:
    """Chooses tags by the options' rules; made once for many pictures.

    general, character: the thresholds used where the options name none.
    """

    def __init__(self, labels: Sequence[Label], options: TagOptions, general: float, character: float) -> None:
        self.options = options
        self.general = general if options.general_threshold is None else options.general_threshold
        self.character = character if options.character_threshold is None else options.character_threshold
        excluded = {key(tag) for tag in options.exclude}
        renamed = {key(old): new for old, new in options.rename}
        # One spelling of a tag in all captions: as it was typed, else as the list has it.
        spelled: dict[str, str] = {}
        for tag in (*options.add, *renamed.values()):
            spelled.setdefault(key(tag), tag)
        self.columns = {
            category: np.array([i for i, label in enumerate(labels) if label.category == category], dtype=np.intp)
            for category in ("rating", "general", "character")
        }
        # "" for what is never written
        self.names: list[str] = []
        for label in labels:
            k = key(label.name)
            new = renamed.get(k)
            target = k if new is None else key(new)
            written = spelled.get(target)
            if written is None:
                written = spelled[target] = spell(label.name, options.underscores, options.escape)
            self.names.append("" if k in excluded else written)

    def _above(self, row: NDArray[np.float32], category: str, threshold: float) -> list[str]:
        columns = self.columns[category]
        values = row[columns]
        chosen = np.flatnonzero(values.astype(np.float64) > threshold)
        order = chosen[np.argsort(-values[chosen], kind="stable")]
        return [name for i in columns[order] if (name := self.names[i])]

    def thresholds(self, row: NDArray[np.float32]) -> tuple[float, float]:
        """(general, character) for this picture."""
        if not self.options.mcut:
            return self.general, self.character
        return mcut(row[self.columns["general"]]), max(CHARACTER_FLOOR, mcut(row[self.columns["character"]]))

    def tags(self, row: NDArray[np.float32]) -> tuple[str, ...]:
        """The caption's tags: the added ones, characters, general tags (each likeliest first), the rating.

        row: probabilities (labels,).
        """
        general, character = self.thresholds(row)
        chosen = [*self.options.add, *self._above(row, "character", character), *self._above(row, "general", general)]
        ratings = self.columns["rating"]
        if self.options.ratings and len(ratings) and (rating := self.names[ratings[int(np.argmax(row[ratings]))]]):
            chosen.append(rating)
        return unique(chosen)
