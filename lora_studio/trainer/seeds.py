"""Randomness without memory: every draw has a seed made from the run's seed and what it is for.

So nothing has to be remembered to resume a run bit for bit, and the order in which things are done does not matter.
"""

from __future__ import annotations

import hashlib
import random

import torch


def seed_of(*parts: object) -> int:
    """A 63-bit seed from any values, the same on every machine and Python version."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def tensor_generator(*parts: object) -> torch.Generator:
    """A CPU generator: the same numbers whatever device trains."""
    return torch.Generator("cpu").manual_seed(seed_of(*parts))


def python_generator(*parts: object) -> random.Random:
    return random.Random(seed_of(*parts))
