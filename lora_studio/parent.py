"""A helper process ends when the program that waits for its answer is gone: a closed WebUI leaves nothing running unseen.

(A training run is nobody's helper: it goes on, and is found again. See training/runs.py.)
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

#: the number of the process that wants this and, where known, when it began: ``PID@SECONDS``. Not passed on by us.
VARIABLE = "LORA_STUDIO_PARENT"
LOOK_EVERY = 1.0  # seconds
SAME = 2.0  # seconds by which two readings of one process's begin may differ
NO_SUCH_PROCESS = 87  # what Windows says of a number that nobody has


def helper() -> dict[str, str]:
    """For the environment of a child that shall end with this process."""
    began = _began(os.getpid())
    return {VARIABLE: str(os.getpid()) if began is None else f"{os.getpid()}@{began:.2f}"}


def end_with_parent() -> None:
    """Begin to watch whoever started this process, if it asked for that. Called first thing by every helper.

    Between the two there may be another process: on Windows a virtual environment's python.exe only starts the real one.
    """
    number, _, began = os.environ.pop(VARIABLE, "").partition("@")
    if not number.isdecimal():
        return
    gone = _wait_windows if sys.platform == "win32" else _wait_posix
    threading.Thread(target=_watch, args=(gone, int(number), float(began or 0)), name="parent", daemon=True).start()


def _watch(gone: Callable[[int, float], None], parent: int, began: float) -> None:
    gone(parent, began)
    os._exit(1)  # nobody reads what we would say; files are written whole or not at all


def _wait_posix(parent: int, began: float) -> None:
    """Returns once it is gone."""
    if os.getppid() == parent:  # told at once and for certain, whoever is given its number afterwards
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY)
        return
    while _is_there(parent) and not _is_another(parent, began):
        time.sleep(LOOK_EVERY)


def _wait_windows(parent: int, began: float) -> None:
    """Returns once it is gone; never for one that may not be watched."""
    import ctypes

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = kernel.OpenProcess(0x00100000, False, parent)  # SYNCHRONIZE
    if not handle:
        if ctypes.get_last_error() == NO_SUCH_PROCESS:  # type: ignore[attr-defined,unused-ignore]
            return
        threading.Event().wait()  # it cannot be watched: go on without
    if not _is_another(parent, began):
        kernel.WaitForSingleObject(ctypes.c_void_p(handle), 0xFFFFFFFF)


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # only asks
    except ProcessLookupError:
        return False
    except OSError:  # it is there, and another user's
        return True
    return True


def _is_another(pid: int, began: float) -> bool:
    """Whether the number was given to another process since, or belongs to one that ended. ``began`` 0: not known, so it is taken for the same."""
    now = _began(pid)
    return bool(began) and now is not None and abs(now - began) > SAME


def _began(pid: int) -> float | None:
    """When a process began, in seconds since 1970; 0 for one that ended and waits to be buried, None where that cannot be told."""
    try:
        import psutil

        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except Exception:  # psutil is not everywhere, and not every system tells
        return None
