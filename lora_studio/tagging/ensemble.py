"""Several taggers as one: named "a+b", each asked about every picture, their probabilities averaged.

Models have different thresholds (0.53 of one says what 0.26 of another says), so each one's probabilities are first stretched until its own
threshold lies at the mean of all. A tag that some of them do not know is judged by those that do. Stored are the members' probabilities; the
ensemble's are made from them whenever they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .catalogue import is_tagger_dir
from .labels import Label
from .store import FLOOR, Store, store_path
from .words import key

if TYPE_CHECKING:
    from .wd14 import TaggerFiles

JOIN = "+"
Floats = NDArray[np.float64]


def members(name_or_dir: str) -> tuple[str, ...]:
    """The taggers that a name stands for: itself, unless it joins several by "+" (a folder may have one in its own name)."""
    if JOIN not in name_or_dir or is_tagger_dir(Path(name_or_dir).expanduser()):
        return (name_or_dir,)
    return tuple(dict.fromkeys(part.strip() for part in name_or_dir.split(JOIN) if part.strip()))


def union(files: Sequence[TaggerFiles]) -> tuple[Label, ...]:
    """Every label that one of them knows, once, in the order of the first that does."""
    found: dict[tuple[str, str], Label] = {}
    for one in files:
        for label in one.labels:
            found.setdefault(_place(label), label)
    return tuple(found.values())


def _place(label: Label) -> tuple[str, str]:
    return label.category, key(label.name)


def stretched(values: Floats, own: Floats, common: Floats) -> Floats:
    """Probabilities with `own` moved to `common`, 0 and 1 left where they are, straight lines between."""
    low, high = np.maximum(own, 1e-6), np.maximum(1 - own, 1e-6)
    return np.where(values <= own, values / low * common, common + (values - own) / high * (1 - common))


class EnsembleStore(Store):
    """The stored probabilities of several taggers as those of one; a picture is in it when all of them have read it."""

    def __init__(self, files: TaggerFiles, stores: Sequence[Store]) -> None:
        super().__init__(None, files.fingerprint(), len(files.labels))
        self.stores = tuple(stores)
        self.problem = "; ".join(store.problem for store in stores if store.problem)
        column = {_place(label): k for k, label in enumerate(files.labels)}
        self._columns = [np.array([column[_place(label)] for label in one.labels], dtype=np.int64) for one in files.members]
        # Of ratings the likeliest counts, no threshold: they stay as they are.
        self._own = [_limits(one.labels, one.thresholds) for one in files.members]
        self._common = [_limits(one.labels, files.thresholds) for one in files.members]
        self._knowing = np.zeros(len(files.labels))
        for columns in self._columns:
            self._knowing[np.unique(columns)] += 1

    def __contains__(self, digest: bytes) -> bool:
        return all(digest in store for store in self.stores)

    def sparse(self, digest: bytes) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The columns that are not 0, rising, and their values. Raises KeyError when a member has not read the picture."""
        if digest not in self._rows:
            row = np.zeros(self.width)
            for store, columns, own, common in zip(self.stores, self._columns, self._own, self._common, strict=True):
                here, values = store.sparse(digest)
                np.add.at(row, columns[here], stretched(values.astype(np.float64), own[here], common[here]))
            row = np.clip(row / self._knowing, 0, 1)
            chosen = np.flatnonzero(row >= FLOOR)
            self._rows[digest] = (chosen.astype(np.uint32), row[chosen].astype(np.float32))
        return super().sparse(digest)

    def get(self, digest: bytes) -> NDArray[np.float32]:
        """Probabilities (labels,) of the picture with this content. Raises KeyError when a member has not read it."""
        self.sparse(digest)
        return super().get(digest)


def _limits(labels: Sequence[Label], thresholds: tuple[float, float]) -> Floats:
    limits = {"general": thresholds[0], "character": thresholds[1]}
    return np.array([limits.get(label.category, 0.5) for label in labels])


def open_store(studio_dir: Path, files: TaggerFiles) -> Store:
    """The stored probabilities of a tagger, or of an ensemble."""
    if files.members:
        return EnsembleStore(files, [open_store(studio_dir, one) for one in files.members])
    return Store(store_path(studio_dir, files.name), files.fingerprint(), len(files.labels))
