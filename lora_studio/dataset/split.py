"""Which pictures are held out of a training to measure it with."""

from __future__ import annotations

import random


def held_out(count: int, share: float, seed: int) -> frozenset[int]:
    """Numbers of the pictures (of `count`, in order) that are held out: `share` of them, at least one and never all; none for share 0."""
    if share <= 0 or count < 2:
        return frozenset()
    wanted = min(count - 1, max(1, round(share * count)))
    return frozenset(random.Random(f"held out {seed}").sample(range(count), wanted))
