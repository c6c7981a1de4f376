"""Who holds a file: Windows' Restart Manager, and what is open elsewhere."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from lora_studio import holders


class RestartManager:
    """Answers as rstrtmgr.dll does: asked without room it says how much is needed (234), and only of registered files."""

    def __init__(self, held: dict[str, list[tuple[str, int]]], fails: str = "") -> None:
        self.held, self.fails, self.files, self.open = held, fails, [], 0

    def RmStartSession(self, session: Any, flags: int, key: Any) -> int:  # noqa: N802
        assert flags == 0 and len(key) == 33
        session._obj.value = 5
        self.open += 1
        return 29 if self.fails == "start" else 0

    def RmRegisterResources(self, session: Any, files: int, names: Any, *rest: Any) -> int:  # noqa: N802
        assert session.value == 5 and rest == (0, None, 0, None)
        self.files = [names[k] for k in range(files)]
        return 0

    def RmGetList(self, session: Any, needed: Any, count: Any, rows: Any, reasons: Any) -> int:  # noqa: N802
        assert session.value == 5
        found = [one for file in self.files for one in self.held.get(file, ())]
        if self.fails == "folder":
            return 5
        needed._obj.value = len(found)
        if count._obj.value < len(found):
            return 234
        for k, (name, pid) in enumerate(found):
            rows[k].name, rows[k].process.pid = name, pid
        count._obj.value = len(found)
        return 0

    def RmEndSession(self, session: Any) -> int:  # noqa: N802
        self.open -= 1
        return 0


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Any:
    def use(manager: RestartManager) -> RestartManager:
        monkeypatch.setattr(holders.sys, "platform", "win32")
        monkeypatch.setattr(holders, "_library", lambda: manager)
        return manager

    return use


def test_windows_names_the_programs(tmp_path: Path, windows: Any) -> None:
    path = tmp_path / "a 花.png"
    path.write_bytes(b"x")
    manager = windows(RestartManager({str(path): [("Krita", 7), ("OneDrive", 8)]}))
    assert holders.holders(path) == ("Krita (process 7)", "OneDrive (process 8)") and manager.open == 0
    assert holders.holders(tmp_path / "gone.png") == ()


def test_of_a_folder_its_files_are_asked_about(tmp_path: Path, windows: Any) -> None:
    deep = tmp_path / "run" / "samples"
    deep.mkdir(parents=True)
    for k in range(holders.MOST_FILES + 5):
        (deep / f"{k:03d}.png").write_bytes(b"x")
    held = {str(deep / f"{k:03d}.png"): [("Viewer", 9)] for k in range(holders.MOST_FILES + 5)}
    manager = windows(RestartManager(held))
    assert holders.holders(tmp_path / "run") == ("Viewer (process 9)",) and len(manager.files) == holders.MOST_FILES


@pytest.mark.parametrize("fails", ["start", "folder"])
def test_what_cannot_be_found_out_is_not_said(tmp_path: Path, windows: Any, fails: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    manager = windows(RestartManager({str(path): [("Krita", 7)]}, fails))
    assert holders.holders(path) == () and manager.open == (1 if fails == "start" else 0)


def test_without_the_library_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"x")

    def missing() -> None:
        raise OSError("no rstrtmgr")

    monkeypatch.setattr(holders.sys, "platform", "win32")
    monkeypatch.setattr(holders, "_library", missing)
    assert holders.holders(tmp_path / "a") == ()


@pytest.mark.skipif(sys.platform == "win32", reason="there the Restart Manager is asked")
def test_elsewhere_this_process_is_found_by_what_it_has_open(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    path = tmp_path / "a"
    with path.open("wb"):
        assert any(f"(process {os.getpid()})" in who for who in holders.holders(path))
    assert holders.holders(path) == ()
