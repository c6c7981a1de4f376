"""How our own processes are started: with our path in every Python there is, and without a console window on Windows. Standard library only."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

# For a Python that does not look at PYTHONPATH: an embedded one (python3xx._pth beside it), or one that was started with -I or -E.
BOOT = (
    "import os, runpy, sys; sys.path[:0] = filter(None, os.environ.get('PYTHONPATH', '').split(os.pathsep)); "
    "runpy.run_module(sys.argv.pop(1), None, '__main__', True)"
)


def isolated() -> bool:
    """Whether the Python we run in takes no notice of PYTHONPATH. (Before 3.11 a ``._pth`` file sets only the first of these flags.)"""
    return bool(sys.flags.isolated or sys.flags.ignore_environment)


def module(python: str, name: str, *arguments: str) -> list[str]:
    """``python -m NAME ARGUMENTS``, with PYTHONPATH of the environment it is started in also where this Python would ignore it.

    Of another Python than ours nothing is known, so it is started in the way that always works.
    """
    if python == sys.executable and not isolated():
        return [python, "-m", name, *arguments]
    return [python, "-X", "utf8", "-u", "-c", BOOT, name, *arguments]


def hidden() -> dict[str, Any]:
    """Options of subprocess for a program without a window: under pythonw and some launchers each child would open a console."""
    return {"creationflags": getattr(subprocess, "CREATE_NO_WINDOW", 0x08000000)} if sys.platform == "win32" else {}
