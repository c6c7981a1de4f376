"""Pictures worked on by all cores at once, with few enough open that their pixels fit in memory; results in order."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

In = TypeVar("In")
Out = TypeVar("Out")

# Pixels decoded at the same time: 0.8 GB of RGB, whatever the pictures. One larger than that is worked on alone.
ROOM = 2**28
AHEAD = 4  # results for each thread that may wait for an earlier one


def threads() -> int:
    """How many pictures are worked on at once. Decoding and encoding leave the interpreter free."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(16, allowed))


class _Room:
    """So many pixels, lent and given back."""

    def __init__(self, pixels: int) -> None:
        self.whole = self.free = pixels
        self.condition = threading.Condition()

    def take(self, pixels: int) -> int:
        pixels = min(pixels, self.whole)
        with self.condition:
            self.condition.wait_for(lambda: self.free >= pixels)
            self.free -= pixels
        return pixels

    def give(self, pixels: int) -> None:
        with self.condition:
            self.free += pixels
            self.condition.notify_all()


def each(items: Sequence[In], pixels: Sequence[int], work: Callable[[In], Out]) -> Iterator[tuple[In, Out]]:
    """(item, what `work` made of it) for every item, in order. pixels: how many each takes while it is worked on.

    What is under way ends before an error, or leaving the loop, goes on.
    """
    room = _Room(ROOM)

    def one(item: In, size: int) -> Out:
        taken = room.take(size)
        try:
            return work(item)
        finally:
            room.give(taken)

    count = threads()
    pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix="crop")
    waiting: deque[tuple[In, Future[Out]]] = deque()
    try:
        for item, size in zip(items, pixels, strict=True):
            waiting.append((item, pool.submit(one, item, size)))
            if len(waiting) >= count * AHEAD:
                first, result = waiting.popleft()
                yield first, result.result()
        while waiting:
            first, result = waiting.popleft()
            yield first, result.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
