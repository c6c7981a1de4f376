"""Windows takes no path of more than 259 characters unless long paths are switched on. Standard library only."""

from __future__ import annotations

import sys
from pathlib import Path

LONGEST = 259
#: characters below the folder of the deepest file that an installation writes, as measured: overlay of requirements/stack.txt; .venv with torch's
IN_OVERLAY = 131
IN_VENV = 200
SWITCH = "or switch long paths on: search for “Enable Win32 long paths” in Windows' group policy editor, or set LongPathsEnabled to 1, then restart"


def limited() -> bool:
    """Whether this system has the limit: Windows with long paths switched off."""
    if sys.platform != "win32":
        return False
    return not _switched_on()


def _switched_on() -> bool:
    try:
        import winreg

        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:  # type: ignore[attr-defined,unused-ignore]
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])  # type: ignore[attr-defined,unused-ignore]
    except (ImportError, OSError):
        return False


def excess(folder: Path, below: int) -> int:
    """By how many characters a folder is too deep for files ``below`` characters under it; 0: none, or there is no limit."""
    return max(0, len(str(folder.absolute())) + 1 + below - LONGEST) if limited() else 0
