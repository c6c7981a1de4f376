"""The computer does not fall asleep while something long runs; the screen may. Ends with the process that asked, however that ends.

Windows: a flag of the calling thread. macOS: caffeinate, which watches us. Linux: systemd-inhibit around a program that waits for the end of
its input, which the system closes when we are gone. A lid that is closed, or a battery that is empty, still puts the computer to sleep.
"""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

#: SetThreadExecutionState: what is said holds until it is said otherwise; the system is needed
CONTINUOUS, SYSTEM_REQUIRED = 0x80000000, 0x00000001
#: exists where systemd runs; without it nothing puts a Linux machine to sleep that would ask anybody
SYSTEMD = Path("/run/systemd/system")
ANSWER = 2.0  # seconds that systemd-inhibit may take to say that it holds


def _nothing() -> None:
    pass


class Hold(NamedTuple):
    """How to let go again; ``reason``: why the computer cannot be kept awake, "" where it is (or never sleeps)."""

    release: Callable[[], None] = _nothing
    reason: str = ""


@contextmanager
def awake(why: str) -> Iterator[str]:
    """Keep the computer awake for the block. Gives "", or a sentence that says that it cannot be done. Enter and leave in one thread."""
    hold = _hold(why)
    message = f"The computer may go to sleep before the work is done ({hold.reason}): turn sleep off in its power settings." if hold.reason else ""
    try:
        yield message
    finally:
        hold.release()


def _hold(why: str) -> Hold:
    try:
        if sys.platform == "win32":
            return hold_windows(ctypes.WinDLL("kernel32"))
        return hold_macos() if sys.platform == "darwin" else hold_linux(why)
    except (OSError, subprocess.SubprocessError) as error:
        return Hold(reason=str(error))


def hold_windows(kernel: Any) -> Hold:
    """kernel: kernel32, or what stands in for it."""
    kernel.SetThreadExecutionState.argtypes = (ctypes.c_uint32,)
    kernel.SetThreadExecutionState.restype = ctypes.c_uint32
    if not kernel.SetThreadExecutionState(CONTINUOUS | SYSTEM_REQUIRED):
        return Hold(reason="Windows refuses")

    def release() -> None:
        kernel.SetThreadExecutionState(CONTINUOUS)

    return Hold(release)


def hold_macos() -> Hold:
    tool = shutil.which("caffeinate", path=os.environ.get("PATH", "") + os.pathsep + "/usr/bin")
    if tool is None:
        return Hold(reason="caffeinate is not there")
    quiet = subprocess.DEVNULL
    command = [tool, "-i", "-s", "-w", str(os.getpid())]  # -w: until this process is gone, whoever ends it
    return Hold(_ending(subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)))


def hold_linux(why: str) -> Hold:
    if "microsoft" in platform.release().lower():
        return Hold(reason="Windows decides, and Linux inside it is not asked")
    tool = shutil.which("systemd-inhibit")
    if not SYSTEMD.is_dir() or tool is None:
        return Hold()
    command = [tool, "--what=idle:sleep", "--mode=block", "--who=Lora Studio", f"--why={why}", "sh", "-c", "echo held; exec cat >/dev/null"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    said: list[bytes] = []
    reader = threading.Thread(target=lambda: said.append(child.stdout.readline() if child.stdout else b""), daemon=True)
    reader.start()
    reader.join(ANSWER)
    release = _ending(child)
    if said and not said[0]:  # it ended without a word
        release()
        return Hold(reason="the system refuses")
    return Hold(release)


def _ending(child: subprocess.Popen[bytes]) -> Callable[[], None]:
    def release() -> None:
        with suppress(OSError):
            if child.stdin is not None:
                child.stdin.close()
            child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(5)
        if child.stdout is not None:
            child.stdout.close()

    return release
