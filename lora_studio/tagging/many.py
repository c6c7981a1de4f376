"""What `Selector.tags` chooses, for all pictures of a dataset at once: so fast that a slider can be moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .select import CHARACTER_FLOOR, Selector, mcut
from .store import Store
from .words import key

GENERAL, CHARACTER, RATING = 0, 1, 2
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """The stored probabilities of pictures, one after another: picture, column and value of each that is not 0."""

    pictures: int
    picture: NDArray[np.int32]
    column: NDArray[np.uint32]
    value: NDArray[np.float64]

    @classmethod
    def of(cls, store: Store, digests: Sequence[bytes]) -> Rows:
        """Those of these pictures, all of which are in the store."""
        found = [store.sparse(digest) for digest in digests]
        if not found:
            return cls(0, np.zeros(0, np.int32), np.zeros(0, np.uint32), np.zeros(0, np.float64))
        picture = np.repeat(np.arange(len(found), dtype=np.int32), [len(columns) for columns, _ in found])
        return cls(len(found), picture, np.concatenate([c for c, _ in found]), np.concatenate([v for _, v in found]).astype(np.float64))


@dataclass(frozen=True)
class Chosen:
    """counts: {tag: captions with it}, the most frequent first; lengths: how many tags each caption has."""

    counts: dict[str, int]
    lengths: Ints


class ManySelector:
    """`selector` for many pictures."""

    def __init__(self, selector: Selector) -> None:
        self.selector = selector
        self.kind = np.full(len(selector.names), GENERAL, dtype=np.int8)
        self.kind[selector.columns["character"]] = CHARACTER
        self.kind[selector.columns["rating"]] = RATING
        self.tags: list[str] = []
        numbers: dict[str, int] = {}
        for tag in (*selector.options.add, *filter(None, selector.names)):
            if (k := key(tag)) not in numbers:
                numbers[k] = len(self.tags)
                self.tags.append(tag)
        self.number = np.array([numbers[key(name)] if name else -1 for name in selector.names], dtype=np.int64)
        self.added = np.array(sorted({numbers[key(tag)] for tag in selector.options.add}), dtype=np.int64)

    def thresholds(self, rows: Rows) -> NDArray[np.float64]:
        """General and character threshold of each picture (pictures, 2)."""
        if not self.selector.options.mcut:
            return np.tile(np.array([self.selector.general, self.selector.character]), (rows.pictures, 1))
        found = np.zeros((rows.pictures, 2))
        ends = np.searchsorted(rows.picture, np.arange(rows.pictures + 1))
        for kind, name in ((GENERAL, "general"), (CHARACTER, "character")):
            width = len(self.selector.columns[name])
            here = self.kind[rows.column] == kind
            for i in range(rows.pictures):
                part = slice(ends[i], ends[i + 1])
                values = rows.value[part][here[part]]
                # What is not stored is 0; of equal zeros two tell as much as thousands.
                found[i, kind] = mcut(np.append(values, np.zeros(min(2, width - len(values)))).astype(np.float32))
        found[:, 1] = np.maximum(found[:, 1], CHARACTER_FLOOR)
        return found

    def choose(self, rows: Rows) -> Chosen:
        """The tags of all captions, counted."""
        kind = self.kind[rows.column]
        limits = np.concatenate([self.thresholds(rows), np.full((rows.pictures, 1), np.inf)], axis=1)
        above = rows.value > limits[rows.picture, kind]
        picture, number = [rows.picture[above].astype(np.int64)], [self.number[rows.column[above]]]
        everyone = np.arange(rows.pictures, dtype=np.int64)
        ratings = self.selector.columns["rating"]
        if self.selector.options.ratings and len(ratings):
            table = np.zeros((rows.pictures, len(ratings)))
            rated = kind == RATING
            table[rows.picture[rated], np.searchsorted(ratings, rows.column[rated])] = rows.value[rated]
            picture.append(everyone)
            number.append(self.number[ratings[np.argmax(table, axis=1)]])
        picture.append(np.repeat(everyone, len(self.added)))
        number.append(np.tile(self.added, rows.pictures))
        return self._count(np.concatenate(picture), np.concatenate(number), rows.pictures)

    def _count(self, picture: Ints, number: Ints, pictures: int) -> Chosen:
        width = max(1, len(self.tags))
        written = number >= 0
        pairs = np.unique(picture[written] * width + number[written])  # a tag is in a caption once
        counts = np.bincount(pairs % width, minlength=width)
        present = np.flatnonzero(counts)
        by_count = sorted(((int(counts[i]), self.tags[i]) for i in present), key=lambda pair: (-pair[0], pair[1]))
        return Chosen({tag: n for n, tag in by_count}, np.bincount(pairs // width, minlength=pictures))
