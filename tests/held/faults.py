"""Another program that holds files, as Windows lets it: the system's calls that replace, rename, delete and open for writing fail below one folder.

Time is made up: patience waits without anybody waiting.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lora_studio import patience

#: Windows' numbers, taken in turn: in use, access denied, locked
NUMBERS = (32, 5, 33)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC
HOLDER = "Viewer (process 7)"


@dataclass(frozen=True)
class Call:
    """One call that may fail: what it does, and the paths it touches."""

    kind: str
    paths: tuple[str, ...]


@dataclass
class Faults:
    """`calls`: all that were made since `begin`, `refused`: those that failed. `failed`: how many failed since this was made."""

    root: Path
    calls: list[Call] = field(default_factory=list)
    refused: list[Call] = field(default_factory=list)
    failed: int = 0
    now: float = 0.0
    waited: Callable[[float], None] = lambda now: None  # called with the time that has passed since `begin`, in each pause
    _refuses: Callable[[int, Call], bool] = lambda number, call: False
    _lock: Any = field(default_factory=threading.RLock)

    # -- what is to fail ------------------------------------------------------------------------------------------

    def begin(self, refuses: Callable[[int, Call], bool] = lambda number, call: False) -> None:
        """From now on calls are counted from 0, and those are refused that are to be."""
        self.calls, self.refused, self.now, self._refuses, self.waited = [], [], 0.0, refuses, lambda now: None

    def release(self) -> None:
        """Nothing is held any more."""
        self._refuses = lambda number, call: False

    def some(self, first: int, count: int) -> None:
        """The call of this number fails, and as many after it as make `count`."""
        self.begin(lambda number, call: first <= number < first + count)

    def second(self, first: int) -> None:
        """From the call of this number on all fail, for a second."""
        until = [float("inf")]

        def refuses(number: int, call: Call) -> bool:
            if number == first:
                until[0] = self.now + 1.0
            return number >= first and self.now < until[0]

        self.begin(refuses)

    def ever(self, first: int, target: bool = False) -> None:
        """The file of the call of this number is held from then on, and with it the folders that it lies in.

        target: always the one that would be written over, also where there is none yet.
        """
        held: list[str] = []

        def refuses(number: int, call: Call) -> bool:
            if number == first:
                # what is written over is held, else what is to be put there
                held.append(next((p for p in reversed(call.paths) if target or os.path.lexists(p)), call.paths[0]))
            return any(h == p or h.startswith(p + os.sep) for h in held for p in call.paths)

        self.begin(refuses)

    def everything(self, first: int) -> None:
        """From the call of this number on all fail, on the way back too."""
        self.begin(lambda number, call: number >= first)

    # -- standing in for the system -------------------------------------------------------------------------------

    def met(self, kind: str, *paths: Any) -> None:
        """Count a call of ours, and refuse it if it is to be."""
        names = tuple(os.path.abspath(os.fsdecode(p)) for p in paths if isinstance(p, (str, bytes, os.PathLike)))
        if not names or not any(name.startswith(str(self.root) + os.sep) for name in names):
            return
        with self._lock:
            number, call = len(self.calls), Call(kind, names)
            self.calls.append(call)
            refused = self._refuses(number, call)
            self.failed += refused
            self.refused += [call] * refused
        if refused:
            error = PermissionError(errno.EACCES, "The process cannot access the file because it is being used by another process", names[0])
            # open() on Windows knows the C library's number alone
            error.winerror = None if kind == "open" else NUMBERS[number % len(NUMBERS)]
            raise error

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds
        self.waited(self.now)


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Faults:
    """Over everything below the test's folder `here`, and the system's temporary files in it."""
    found = Faults(tmp_path / "here")
    install(found, monkeypatch)
    return found


def install(found: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    def of(module: Any, name: str, kind: str, paths: int) -> None:
        real = getattr(module, name)

        def stand_in(*arguments: Any, **options: Any) -> Any:
            if os.path.lexists(arguments[0]):  # nobody holds what is not there
                found.met(kind, *arguments[:paths])
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, stand_in)

    for name in ("replace", "rename"):
        of(os, name, name, 2)
    for name in ("unlink", "remove", "rmdir"):
        of(os, name, name, 1)
    real_open, real_os_open = io.open, os.open

    def opening(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if set(mode) & set("wax+"):
            found.met("open", file)
        return real_open(file, mode, *arguments, **options)

    def os_opening(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if flags & WRITING:
            found.met("open", path)
        return real_os_open(path, flags, *arguments, **options)

    monkeypatch.setattr(io, "open", opening)
    monkeypatch.setattr(builtins, "open", opening)
    monkeypatch.setattr(os, "open", os_opening)
    monkeypatch.setattr(shutil, "_use_fd_functions", False)  # Windows has none: it deletes by whole names
    monkeypatch.setattr(patience, "WINDOWS", True)
    monkeypatch.setattr(patience, "sleep", found.sleep)
    monkeypatch.setattr(patience, "clock", lambda: found.now)
    monkeypatch.setattr(patience, "holders", lambda path: (HOLDER,))
    temporary = found.root / "temp"
    temporary.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
