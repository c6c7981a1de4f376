"""Which programs have a file open, as far as it can be found out cheaply: asked only once waiting for it was in vain.

Standard library; where it is not Windows, psutil if it is there.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from ctypes import wintypes
from pathlib import Path
from typing import Any

#: files of a folder that are asked about, programs that are named
MOST_FILES, MOST_NAMES = 200, 3
#: seconds that looking through other programs' open files may take
LONGEST = 1.0
MORE_DATA = 234  # Windows: the list is longer than the room given


def holders(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The programs that hold a file, or a file of a folder: ("Krita (process 4711)", ...); () where that cannot be found out. Never raises."""
    with suppress(Exception):  # saying who it is must not become a fault of its own
        files = _files(Path(path))
        found = list(_restart_manager(files) if sys.platform == "win32" else _open_files(files)) if files else []
        return tuple(dict.fromkeys(f"{name} (process {pid})" for name, pid in found))[:MOST_NAMES]
    return ()


def _files(path: Path) -> list[str]:
    if not path.is_dir():
        return [str(path)] if path.exists() else []
    found: list[str] = []
    for folder, _, names in os.walk(path):
        found += [os.path.join(folder, name) for name in names[: MOST_FILES - len(found)]]
        if len(found) >= MOST_FILES:
            break
    return found


class _Process(ctypes.Structure):
    """RM_UNIQUE_PROCESS"""

    _fields_ = [("pid", wintypes.DWORD), ("started", wintypes.FILETIME)]


class _Info(ctypes.Structure):
    """RM_PROCESS_INFO"""

    _fields_ = [
        ("process", _Process), ("name", ctypes.c_wchar * 256), ("service", ctypes.c_wchar * 64), ("kind", ctypes.c_int), ("status", ctypes.c_ulong),
        ("session", wintypes.DWORD), ("restartable", wintypes.BOOL),
    ]  # fmt: skip


def _library() -> Any:
    return ctypes.WinDLL("rstrtmgr")  # type: ignore[attr-defined]


def _restart_manager(files: Sequence[str]) -> Iterator[tuple[str, int]]:
    """(name, process) by Windows' Restart Manager, which installers ask the same question."""
    library, session = _library(), wintypes.DWORD()
    if library.RmStartSession(ctypes.byref(session), 0, ctypes.create_unicode_buffer(33)):
        return
    try:
        names = (wintypes.LPCWSTR * len(files))(*files)
        if library.RmRegisterResources(session, len(files), names, 0, None, 0, None):
            return
        room = 0
        for _ in range(4):  # programs may come between two questions
            needed, count, reasons = wintypes.UINT(), wintypes.UINT(room), wintypes.DWORD()
            rows = (_Info * max(1, room))()
            code = library.RmGetList(session, ctypes.byref(needed), ctypes.byref(count), rows if room else None, ctypes.byref(reasons))
            if code == 0:
                yield from ((rows[k].name, int(rows[k].process.pid)) for k in range(count.value))
            if code != MORE_DATA:
                return
            room = needed.value
    finally:
        library.RmEndSession(session)


def _open_files(files: Sequence[str]) -> Iterator[tuple[str, int]]:
    """(name, process) by what this user's programs have open."""
    import psutil

    wanted, until = {os.path.realpath(file) for file in files}, time.monotonic() + LONGEST
    for process in psutil.process_iter(["name"]):
        if time.monotonic() > until:
            return
        with suppress(psutil.Error):
            if any(one.path in wanted for one in process.open_files()):
                yield str(process.info["name"]), int(process.pid)
