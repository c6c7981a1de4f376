"""Probabilities kept per picture and model, so that another threshold needs no inference."""

from __future__ import annotations

import glob
import hashlib
import re
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files import atomic_path
from ..patience import opened, unlink
from ..project import in_place
from ..untrusted import is_inside

VERSION = 1
ARRAYS = ("version", "fingerprint", "width", "hashes", "ends", "columns", "values")
# What no sensible threshold lets through is not kept: of a real model's 10,861 values a few hundred remain.
FLOOR = 0.001
LARGEST = 2 * 2**30  # bytes: the values of a million pictures


def content_hash(path: str | Path) -> bytes:
    """SHA-256 of a file's bytes: the same for a renamed picture, another for a changed one. Raises OSError."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def floored(row: NDArray[np.float32]) -> NDArray[np.float32]:
    """The probabilities as the store gives them back: below 0.001 they are 0."""
    return np.where(row >= FLOOR, row, np.float32(0))


def store_path(studio_dir: Path, model: str) -> Path:
    """The file of a model's probabilities. The name of a folder that only differs in odd characters shares it (the fingerprint tells)."""
    return studio_dir / f"tags_{re.sub(r'[^A-Za-z0-9._-]+', '_', model)[:80] or 'model'}.npz"


def shards_of(path: Path) -> list[Path]:
    """The files in which shares of a dataset keep what they found, until it is taken into the store."""
    own = re.compile(re.escape(path.stem) + r"\.share-\d{1,4}-of-\d{1,4}\.npz")
    return sorted(p for p in path.parent.glob(f"{glob.escape(path.stem)}.share-*-of-*.npz") if own.fullmatch(p.name) and is_inside(path.parent, p))


def _unsound(path: Path) -> str:
    """Why a file is no store of ours, or "": it holds other things, or unpacks to more than it is (we never compress)."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if {member.filename for member in members} != {f"{name}.npy" for name in ARRAYS} or len(members) != len(ARRAYS):
        return "it holds something else."
    packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
    return "it unpacks to more than it is." if packed or sum(member.file_size for member in members) > path.stat().st_size else ""


class Store:
    """The probabilities of one model, in a file or, without a path, in memory alone.

    `problem` says why a file that was there could not be used (it is then made anew).

    fingerprint: of the model; a file made by another is not used. width: how many labels it has.
    """

    def __init__(self, path: Path | None, fingerprint: str, width: int) -> None:
        self.path = path
        self.fingerprint = fingerprint
        self.width = width
        self.problem = ""
        self.changed = False
        self._rows: dict[bytes, tuple[NDArray[np.uint32], NDArray[np.float32]]] = {}
        if path is not None and path.is_file():
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            if why := _unsound(path):
                self.problem = f"{path.name} could not be used and is made anew: {why}"
                return
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                if sum(member.file_size for member in data.zip.infolist()) > LARGEST:
                    raise ValueError("it is too large")
                if int(data["version"]) != VERSION or str(data["fingerprint"]) != self.fingerprint or int(data["width"]) != self.width:
                    return
                hashes, ends, columns, values = (data[name] for name in ("hashes", "ends", "columns", "values"))
        except Exception as error:  # damaged archives raise nearly anything; what they hold can be made again
            self.problem = f"{path.name} could not be used and is made anew: {error}"
            return
        sound = (
            hashes.dtype == np.uint8 and hashes.ndim == 2 and hashes.shape[1:] == (32,) and ends.dtype == np.int64 and ends.shape == (len(hashes),)
            and columns.dtype == np.uint32 and values.dtype == np.float32 and columns.shape == values.shape == (ends[-1] if len(ends) else 0,)
            and bool(np.all(np.diff(ends, prepend=0) >= 0)) and bool(np.all(columns < self.width)) and bool(np.all((values >= 0) & (values <= 1)))
        )  # fmt: skip
        if not sound:
            self.problem = f"{path.name} is damaged and is made anew."
            return
        start = 0
        for digest, end in zip(hashes, ends.tolist(), strict=True):
            self._rows[digest.tobytes()] = (columns[start:end], values[start:end])
            start = end

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, digest: bytes) -> NDArray[np.float32]:
        """Probabilities (labels,) of the picture with this content. Raises KeyError when there are none."""
        columns, values = self._rows[digest]
        row = np.zeros(self.width, dtype=np.float32)
        row[columns] = values
        return row

    def sparse(self, digest: bytes) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
        """The columns that are not 0, rising, and their values. Raises KeyError when there are none."""
        return self._rows[digest]

    def put(self, digest: bytes, row: NDArray[np.float32]) -> None:
        """Keep a picture's probabilities (labels,)."""
        columns = np.flatnonzero(row >= FLOOR)
        self._rows[digest] = (columns.astype(np.uint32), row[columns].astype(np.float32))
        self.changed = True

    def take(self, other: Store) -> None:
        """Take over another store's pictures; of the same model."""
        if not other._rows.keys() <= self._rows.keys():
            self._rows.update(other._rows)
            self.changed = True

    def save(self) -> None:
        """Write the file, whole or not at all, if there is something new. Raises UserError when it cannot be written."""
        if not self.changed or self.path is None:
            return
        rows = list(self._rows.values())
        arrays: dict[str, NDArray[np.generic]] = {
            "version": np.array(VERSION),
            "fingerprint": np.array(self.fingerprint),
            "width": np.array(self.width),
            "hashes": np.frombuffer(b"".join(self._rows), dtype=np.uint8).reshape(-1, 32),
            "ends": np.cumsum([len(columns) for columns, _ in rows], dtype=np.int64),
            "columns": np.concatenate([columns for columns, _ in rows]) if rows else np.zeros(0, np.uint32),
            "values": np.concatenate([values for _, values in rows]) if rows else np.zeros(0, np.float32),
        }
        in_place(self.path.parent)
        with atomic_path(self.path) as temporary, opened(temporary, "xb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        self.changed = False


def take_shards(store: Store) -> None:
    """Take in what shares have left beside a store, and remove their files once it is saved."""
    found = shards_of(store.path) if store.path is not None else []
    for path in found:
        store.take(Store(path, store.fingerprint, store.width))
    if found:
        store.save()
        for path in found:
            with suppress(OSError):
                unlink(path)
