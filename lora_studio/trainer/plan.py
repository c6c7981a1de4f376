"""How a batch is fitted into memory: in one go, in parts, or with its activations computed twice. The result is the same."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lora_studio.untrusted import mapping, refuse, whole

#: share of the free graphics memory that a plan may fill: beyond, some drivers spill into the machine's memory and crawl
FILL = 0.92
#: share of a card's memory that a driver which lends main memory leaves free when it has begun to do so
NEARLY_NONE = 0.01


@dataclass(frozen=True)
class Plan:
    """`parts`: into how many pieces a batch is split, their gradients added. `checkpointing`: activations are computed again."""

    parts: int = 1
    checkpointing: bool = False

    @classmethod
    def from_dict(cls, values: Any) -> Plan:
        """Raises RefusedError for what is no plan."""
        found = mapping(values, "The run's plan.json")
        if not isinstance(found.get("checkpointing"), bool):
            raise refuse("The run's plan.json", found.get("checkpointing"), "is neither true nor false")
        return cls(whole(found.get("parts"), "The run's plan.json", 1, 1024), found["checkpointing"])

    def slices(self, count: int) -> Iterator[slice]:
        """The pieces of `count` pictures, as even as possible, none empty."""
        parts = max(1, min(self.parts, count))
        for k in range(parts):
            yield slice(count * k // parts, count * (k + 1) // parts)

    def words(self, batch_size: int) -> str:
        at_once = -(-batch_size // self.parts)
        split = f"batches of {batch_size} go in parts of {at_once}" if self.parts > 1 else f"batches of {batch_size} go in one"
        return split + (", with gradient checkpointing" if self.checkpointing else "")


def candidates(batch_size: int, checkpointing: bool) -> list[Plan]:
    """Every plan from the quickest to the smallest. Whoever asked for checkpointing gets it in each.

    Checkpointing computes a third more; each halving leaves a device a little less to do at once.
    """
    halvings = range((batch_size - 1).bit_length() + 1)
    plans = [(1.33 if c else 1.0, k, Plan(min(batch_size, 2**k), c)) for k in halvings for c in {checkpointing, True}]
    return [plan for _, _, plan in sorted(plans, key=lambda entry: (entry[0] * (1.0 + 0.15 * entry[1]), entry[1]))]


def smaller(plan: Plan, batch_size: int, checkpointing: bool) -> Plan | None:
    """The plan to try when memory ran out with this one; None if there is none."""
    following = iter(candidates(batch_size, checkpointing))
    for known in following:
        if known == plan:
            return next(following, None)
    return None


def spills(reserved: int, free: int, total: int, *, lends: bool) -> bool:
    """Whether a training has outgrown the card (bytes): where the driver `lends` main memory (Windows), nothing fails, all gets slow."""
    return reserved > total or (lends and free < NEARLY_NONE * total)


def limit(free: int, reserved: int, state: int) -> float:
    """Bytes that a step may take: of what is free, and what this process holds already, the share that is safe, less what training adds later."""
    return FILL * (free + reserved) - state


def lends_memory() -> bool:
    """Whether the driver gives a full card main memory instead of an error: on Windows, and on Linux inside it."""
    return os.name == "nt" or "microsoft" in platform.release().lower()


def choose(plans: list[Plan], measure: Callable[[Plan], float], limit: float) -> tuple[Plan, float]:
    """The first plan whose measured peak (bytes; infinite where memory ran out) stays below `limit`, and that peak.

    The last plan if none does: training tries it all the same.
    """
    peak = 0.0
    for plan in plans:
        peak = measure(plan)
        if peak <= limit:
            return plan, peak
    return plans[-1], peak
