"""How many threads a computation gets."""

from __future__ import annotations

import os
from contextlib import suppress


def threads(beside: int = 1) -> int:
    """OMP_NUM_THREADS where it is set; else the physical cores this process may use, shared by ``beside`` processes.

    More threads than cores make every step slower, so hyper-threads do not count where that is known.
    """
    with suppress(ValueError):
        if (asked := int(os.environ.get("OMP_NUM_THREADS", "0").split(",")[0])) > 0:
            return asked
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = 0
    with suppress(Exception):  # psutil is not everywhere, and not every system tells
        import psutil

        cores = psutil.cpu_count(logical=False) or 0
    return max(1, min(cores or allowed, allowed) // beside)
