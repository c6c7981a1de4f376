"""A helper process ends when the program that waits for its answer is gone: a closed WebUI leaves nothing running unseen.

(A training run is nobody's helper: it goes on, and is found again. See training/runs.py.)
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

VARIABLE = "LORA_STUDIO_PARENT"  # the process number of who started us and wants this; not passed on by us
LOOK_EVERY = 1.0  # seconds


def end_with_parent() -> None:
    """Begin to watch whoever started this process, if it asked for that. Called first thing by the command line."""
    wanted = os.environ.pop(VARIABLE, "")
    if wanted != str(os.getppid()):
        return
    gone = _wait_windows if sys.platform == "win32" else _wait_posix
    threading.Thread(target=_watch, args=(gone, int(wanted)), name="parent", daemon=True).start()


def _watch(gone: Callable[[int], None], parent: int) -> None:
    gone(parent)
    os._exit(1)  # nobody reads what we would say; files are written whole or not at all


def _wait_posix(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_EVERY)


def _wait_windows(parent: int) -> None:
    import ctypes

    kernel = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined,unused-ignore]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(0x00100000, False, parent)  # SYNCHRONIZE
    if not handle:
        threading.Event().wait()  # it cannot be watched: go on without
    kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0xFFFFFFFF)
