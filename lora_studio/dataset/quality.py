"""What to think of a dataset's pictures before training: too few, too small, blurred, see-through, extreme in shape, nearly the same twice.

Each picture is looked at once: a small grey copy of it gives a measure of sharpness and a perceptual hash, kept until the file changes.
Nothing is ever changed or removed here.
"""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import UserError
from ..progress import Progress, silent
from .images import open_image
from .listing import Picture, list_pictures
from .remembered import Remembered
from .thumbnails import small_picture

SIDE = 256
"""Pixels of the grey copy's longer side: sharpness of pictures of any size is compared at the size a face has in training."""

BLURRED = 40.0
"""Variance of the Laplacian of the grey copy below which a picture looks soft (a drawn or photographed one that is sharp has hundreds)."""

SAME_BITS = 6
"""Two pictures whose 64-bit hashes differ in no more bits are nearly the same: resized, recompressed, slightly cut."""

FACE, FIGURE = (10, 15), (25, 30)
"""How many pictures a face and a full-body character take."""

LONGEST = 3.0
KIND = "quality"


@dataclass(frozen=True)
class Look:
    """One picture's measures. blur: variance of the Laplacian, higher is sharper; hash: 64-bit pHash; clear: it has see-through parts."""

    blur: float
    hash: int
    clear: bool

    def to_list(self) -> list[Any]:
        return [round(self.blur, 2), f"{self.hash:016x}", self.clear]

    @classmethod
    def from_list(cls, fact: Any) -> Look | None:
        """The inverse of `to_list`; None for what is none (it is measured anew)."""
        try:
            found = cls(float(fact[0]), int(fact[1], 16), bool(fact[2]))
        except (TypeError, ValueError, LookupError):
            return None
        return found if 0 <= found.hash < 2**64 else None


def _dct(n: int) -> NDArray[np.float64]:
    """The orthonormal DCT-II as a matrix."""
    k, x = np.mgrid[0:n, 0:n]
    matrix = np.cos(np.pi * (2 * x + 1) * k / (2 * n)) * np.sqrt(2 / n)
    matrix[0] /= np.sqrt(2)
    return matrix


_DCT = _dct(32)


def perceptual_hash(grey: Image.Image) -> int:
    """pHash: the signs, against their median, of the 8 x 8 lowest frequencies of a 32 x 32 copy (the very lowest, the brightness, left out)."""
    small = np.asarray(grey.convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=np.float64)
    low = (_DCT @ small @ _DCT.T)[:8, :8].ravel()
    bits = low > np.median(low[1:])
    bits[0] = False
    return int("".join("1" if b else "0" for b in bits), 2)


def sharpness(grey: Image.Image) -> float:
    """The variance of the Laplacian (4 neighbours) of a grey picture."""
    g = np.asarray(grey.convert("L"), dtype=np.float32)
    if min(g.shape) < 3:
        return 0.0
    edges = g[:-2, 1:-1] + g[2:, 1:-1] + g[1:-1, :-2] + g[1:-1, 2:] - 4 * g[1:-1, 1:-1]
    return float(edges.var())


def look(path: Path) -> Look:
    """Measure one picture. Raises UserError when it cannot be read."""
    grey = small_picture(path, SIDE).convert("L")
    return Look(sharpness(grey), perceptual_hash(grey), _is_clear(path))


def _is_clear(path: Path) -> bool:
    """Whether there is anything to look through: the alpha channel alone says nothing."""
    with open_image(path) as image:
        if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
            return False
        image.thumbnail((SIDE, SIDE))
        return bool(np.asarray(image.convert("RGBA"))[..., 3].min() < 250)


def clusters(hashes: Sequence[int], bits: int = SAME_BITS) -> list[list[int]]:
    """Groups (of two and more) of indices whose hashes are within ``bits`` of a neighbour in the group. 10,000 in a tenth of a second.

    Of two hashes that differ in no more than ``bits`` places, cut into one piece more than that, one piece is equal: only those are compared.
    """
    values, which = np.unique(np.array(hashes, dtype=np.uint64), return_inverse=True)
    parent = np.arange(len(values))
    pieces = np.linspace(0, 64, min(bits, 63) + 2).round().astype(int)
    for low, high in itertools.pairwise(pieces.tolist()):
        keys = (values >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.argsort(keys, kind="stable")
        keys, own = keys[order], values[order]
        pairs = np.arange(len(keys) - 1)
        step = 1
        while len(pairs := pairs[pairs + step < len(keys)]) and len(pairs := pairs[keys[pairs] == keys[pairs + step]]):
            new = pairs[parent[order[pairs]] != parent[order[pairs + step]]]
            new = new[_bits(own[new] ^ own[new + step]) <= bits]
            _join(parent, order[new].tolist(), order[new + step].tolist())
            step += 1
    groups: dict[int, list[int]] = defaultdict(list)
    for k, root in enumerate(parent[which].tolist()):
        groups[root].append(k)
    return [group for group in groups.values() if len(group) > 1]


def _join(parent: NDArray[np.intp], some: Sequence[int], others: Sequence[int]) -> None:
    """Unite pairs; ``parent`` names every member's root before and after."""
    for a, b in zip(some, others, strict=True):
        one, two = parent[a], parent[b]
        if one != two:
            parent[parent == two] = one


_ONES = np.array([bin(n).count("1") for n in range(65536)], dtype=np.uint8)


def _bits(values: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """How many bits are set in each."""
    parts = values.view(np.uint16).reshape(-1, 4)  # numpy before 2.0 has no bit count
    return _ONES[parts].sum(1, dtype=np.uint8)


def smaller_side(size: str) -> int:
    """The pixels a picture needs at least, of a crop size as people write it: 768, 512x640; buckets go by 512."""
    numbers = [int(part) for part in size.lower().split("x") if part.strip().isdigit()]
    return min(numbers) if numbers else 512


def _known(folder: Path, cache_dir: Path) -> Remembered:
    return Remembered(cache_dir / f"quality_{folder.name}.json", KIND)


def check(folder: Path, cache_dir: Path, progress: Progress = silent) -> int:
    """Look at every picture of a folder that was not looked at as it is now; how many those were. Unreadable ones are left to the listing."""
    known = _known(folder, cache_dir)
    pictures = list_pictures(folder, cache_dir).pictures
    todo = [p for p in pictures if Look.from_list(known.get(p.name, p.stamp)) is None]

    def one(picture: Picture) -> Look | None:
        try:
            return look(folder / picture.name)
        except UserError:
            return None

    with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:
        for done, (picture, found) in enumerate(zip(todo, pool.map(one, todo), strict=True), 1):
            if found is not None:
                known.put(picture.name, picture.stamp, found.to_list())
            progress(done, len(todo), picture.name)
            if done % 500 == 0:
                known.save()
    known.keep_only({p.name for p in pictures})
    known.save()
    return len(todo)


def report(folder: Path, cache_dir: Path, side: int = 512) -> dict[str, Any]:
    """{where, total, pending, pictures: {name: [badges]}, groups: [[best, others…]], advice: [{text, values, names}]} from what `check` found.

    side: the training size in pixels, below which a picture would have to be enlarged. Badges: small, blurred, clear, long, double.
    """
    known = _known(folder, cache_dir)
    listing = list_pictures(folder, cache_dir)
    looks = {p.name: found for p in listing.pictures if (found := Look.from_list(known.get(p.name, p.stamp))) is not None}
    badges: dict[str, list[str]] = defaultdict(list)
    for p in listing.pictures:
        if min(p.width, p.height) < side:
            badges[p.name].append("small")
        if max(p.width, p.height) > LONGEST * min(p.width, p.height):
            badges[p.name].append("long")
    for name, found in looks.items():
        if found.blur < BLURRED:
            badges[name].append("blurred")
        if found.clear:
            badges[name].append("clear")
    groups = _doubles([p for p in listing.pictures if p.name in looks], looks)
    for group in groups:
        for name in group[1:]:
            badges[name].append("double")
    pending = len(listing.pictures) - len(looks)
    return {
        "where": folder.name, "total": len(listing.pictures), "pending": pending, "side": side, "pictures": dict(badges), "groups": groups,
        "unreadable": [list(row) for row in listing.unreadable], "advice": _advice(len(listing.pictures), badges, len(listing.unreadable), side),
    }  # fmt: skip


@lru_cache(maxsize=4)
def _clusters(hashes: tuple[int, ...]) -> list[list[int]]:
    # The page asks after every change, most of which change no picture.
    return clusters(hashes)


def _doubles(pictures: Sequence[Picture], looks: dict[str, Look]) -> list[list[str]]:
    """Groups of nearly the same pictures by name, the one to keep first: the largest, among equals the sharpest."""
    groups = _clusters(tuple(looks[p.name].hash for p in pictures))
    by_worth = [sorted((pictures[k] for k in group), key=lambda p: (-min(p.width, p.height), -looks[p.name].blur, p.name)) for group in groups]
    return [[p.name for p in group] for group in by_worth]


ADVICE = {
    "small": "{n} {picture is|pictures are} smaller than {side} pixels: enlarge before, or leave out.",
    "blurred": "{n} {picture looks|pictures look} blurred: the LoRA would learn that.",
    "double": "{n} {picture is|pictures are} nearly the same as another one and would count double.",
    "clear": "{n} {picture is|pictures are} see-through: what is behind becomes part of what is learnt.",
    "long": "{n} {picture is|pictures are} very long or wide: look under Crop where the box is.",
}


def _advice(total: int, badges: dict[str, list[str]], unreadable: int, side: int) -> list[dict[str, Any]]:
    """What to tell, the most important first; ``names`` are the pictures meant."""
    found: list[dict[str, Any]] = []
    if 0 < total < FACE[0]:
        text = "{n} {picture is|pictures are} few: a face takes 10 to 15, a full-body character 25 to 30."
        found.append({"kind": "count", "text": text, "values": {"n": total}, "names": []})
    elif FACE[0] <= total < FIGURE[0]:
        text = "{n} pictures: enough for a face; a full-body character takes 25 to 30."
        found.append({"kind": "count", "text": text, "values": {"n": total}, "names": []})
    if unreadable:
        found.append({"kind": "unreadable", "text": "{n} {file|files} cannot be read.", "values": {"n": unreadable}, "names": []})
    for kind, text in ADVICE.items():
        if names := [name for name, kinds in badges.items() if kind in kinds]:
            found.append({"kind": kind, "text": text, "values": {"n": len(names), "side": side}, "names": names})
    return found
