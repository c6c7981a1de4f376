"""Whether a run outlives the program that started Lora Studio: on Windows a launcher may hold all its children in a job object that ends with it.

Run as a script, with nothing but the standard library, it is the probe: a process started as a run would be tells which job it was put into.
(A virtual environment's own python.exe holds its child in a job too, which lets children of that one go: hence a question to a process that
was really started, by the interpreter behind it.)
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from typing import Any

BREAKAWAY = 0x01000000  # CREATE_BREAKAWAY_FROM_JOB: a job that allows it lets the new process go
KILL_ON_CLOSE = 0x2000  # JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
EXTENDED_LIMITS = 9  # JobObjectExtendedLimitInformation
DENIED = 5
PROBE_SECONDS = 20.0

Flags = int
Spawn = Callable[[Flags], Any]


class _Limits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION, with JOBOBJECT_BASIC_LIMIT_INFORMATION at its beginning."""

    _fields_ = (
        ("PerProcessUserTimeLimit", ctypes.c_int64),
        ("PerJobUserTimeLimit", ctypes.c_int64),
        ("LimitFlags", ctypes.c_uint32),
        ("MinimumWorkingSetSize", ctypes.c_size_t),
        ("MaximumWorkingSetSize", ctypes.c_size_t),
        ("ActiveProcessLimit", ctypes.c_uint32),
        ("Affinity", ctypes.c_size_t),
        ("PriorityClass", ctypes.c_uint32),
        ("SchedulingClass", ctypes.c_uint32),
        ("IoInfo", ctypes.c_uint64 * 6),
        ("Memory", ctypes.c_size_t * 4),
    )


def job_limits(kernel: Any) -> int | None:
    """The limit flags of the innermost job that this process is in, None where it is in none. kernel: kernel32, or what stands in for it."""
    if kernel is None:
        return None
    inside = ctypes.c_int(0)
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    me = ctypes.c_void_p(kernel.GetCurrentProcess())
    if not kernel.IsProcessInJob(me, None, ctypes.byref(inside)) or not inside.value:
        return None
    limits = _Limits()
    if not kernel.QueryInformationJobObject(None, EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits), None):
        return None
    return int(limits.LimitFlags)


def free(spawn: Spawn) -> Any:
    """``spawn`` with the flag that leads out of a job, without it where the job does not allow that."""
    try:
        return spawn(BREAKAWAY)
    except OSError as error:
        if getattr(error, "winerror", None) != DENIED:
            raise
        return spawn(0)


def tied(kernel: Any = None, probe: Callable[[Flags], str] | None = None) -> bool:
    """Whether a process started from here ends with the launcher that this one was started from. Nothing but Windows knows such launchers."""
    if job_limits(kernel or _kernel()) is None:
        return False
    try:
        told = free(probe or _probe)
        return bool(int(told) & KILL_ON_CLOSE)
    except (OSError, ValueError, subprocess.SubprocessError):
        return False  # not known: nothing is said


def _kernel() -> Any:
    if sys.platform == "win32":
        return ctypes.WinDLL("kernel32")
    return None


def _probe(flags: Flags) -> str:
    """What this file prints as a process of its own."""
    python = getattr(sys, "_base_executable", None) or sys.executable
    flags |= getattr(subprocess, "CREATE_NO_WINDOW", 0)
    command = [python, "-I", "-S", __file__]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PROBE_SECONDS, creationflags=flags, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    print(job_limits(_kernel()) or 0)
