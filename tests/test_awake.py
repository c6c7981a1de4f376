"""The computer is kept awake: what each system is asked for, and that it is let go of whatever becomes of us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lora_studio import awake as module
from lora_studio.awake import awake, hold_linux, hold_macos, hold_windows

posix = pytest.mark.skipif(sys.platform == "win32", reason="scripts with #!")
#: as systemd-inhibit: runs the command behind its options, and exists as long as it does
INHIBIT = """#!/bin/sh
echo "$@" > "{note}"
while [ "$1" != sh ]; do shift; done
"$@"
"""


class Kernel:
    """kernel32, as far as it is asked: remembers the state of this thread."""

    def __init__(self, before: int) -> None:
        self.asked: list[int] = []

        def set_state(flags: int) -> int:
            self.asked.append(flags)
            return before

        self.SetThreadExecutionState = set_state  # a function takes argtypes, as ctypes' do


def test_windows_is_told_that_the_system_is_needed_and_then_no_more() -> None:
    kernel = Kernel(0x80000000)
    release, reason = hold_windows(kernel)
    assert reason == "" and kernel.asked == [0x80000001]  # ES_CONTINUOUS | ES_SYSTEM_REQUIRED; not the display
    release()
    assert kernel.asked[-1] == 0x80000000
    assert hold_windows(Kernel(0)).reason == "Windows refuses"


def tool(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


@posix
def test_a_mac_runs_caffeinate_until_this_process_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "note"
    tool(tmp_path / "bin", "caffeinate", f'#!/bin/sh\necho "$$ $@" > "{note}.part"; mv "{note}.part" "{note}"\nexec sleep 60\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    hold = hold_macos()
    while not note.exists():
        time.sleep(0.01)
    pid, *flags = note.read_text().split()
    assert hold.reason == "" and flags == ["-i", "-s", "-w", str(os.getpid())]
    hold.release()
    assert gone(int(pid))
    monkeypatch.setattr(module.shutil, "which", lambda *_, **__: None)
    assert hold_macos().reason == "caffeinate is not there"


@pytest.fixture
def linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with systemd; the note that its systemd-inhibit leaves."""
    note = tmp_path / "asked"
    tool(tmp_path / "bin", "systemd-inhibit", INHIBIT.format(note=note))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(module, "SYSTEMD", tmp_path)
    monkeypatch.setattr(module.platform, "release", lambda: "6.1.0-generic")
    return note


@posix
def test_linux_holds_an_inhibitor_and_lets_it_go(linux: Path) -> None:
    before = set(psutil.Process().children())
    hold = hold_linux("a training runs")
    (child,) = set(psutil.Process().children()) - before
    assert hold.reason == "" and "--what=idle:sleep --mode=block --who=Lora Studio --why=a training runs" in linux.read_text()
    assert child.is_running() and child.children(), "it lives as long as what it runs"
    inside = child.children()[0].pid
    hold.release()
    assert gone(child.pid) and gone(inside)


@posix
def test_linux_lets_go_when_we_are_killed(linux: Path) -> None:
    """Nobody can clean up after SIGKILL: the system closes our end of the pipe."""
    code = (
        "import sys, time; from pathlib import Path; from lora_studio import awake as m; m.SYSTEMD = Path(sys.argv[1]); "
        "m.platform.release = lambda: '6.1'; hold = m.hold_linux('x'); import psutil; "
        "print([p.pid for p in psutil.Process().children(recursive=True)], flush=True); time.sleep(60)"
    )
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen([sys.executable, "-c", code, str(linux.parent)], stdout=subprocess.PIPE, text=True, cwd=root) as child:
        assert child.stdout is not None
        pids = [int(word) for word in child.stdout.readline().strip("[]\n").split(",")]
        assert len(pids) >= 2 and all(psutil.pid_exists(pid) for pid in pids)
        child.send_signal(signal.SIGKILL)
    assert all(gone(pid) for pid in pids)


@posix
def test_where_it_cannot_be_done_that_is_said(linux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(linux.parent / "bin", "systemd-inhibit", "#!/bin/sh\necho 'Failed to inhibit: Access denied' >&2; exit 1\n")
    assert hold_linux("x").reason == "the system refuses"
    monkeypatch.setattr(module, "hold_linux", hold_linux)
    if sys.platform == "linux":
        with awake("x") as message:
            assert "may go to sleep" in message and "the system refuses" in message
    monkeypatch.setattr(module.platform, "release", lambda: "5.15.153.1-microsoft-standard-WSL2")
    assert "Windows decides" in hold_linux("x").reason


@posix
def test_where_nothing_sleeps_nothing_is_said_or_started(linux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SYSTEMD", linux.parent / "none")
    assert hold_linux("x").reason == "" and not linux.exists()


def words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # another test's, that just ended
        return ""


@pytest.mark.skipif(sys.platform != "linux", reason="systemd")
def test_it_is_released_on_every_way_out(linux: Path) -> None:
    with pytest.raises(ZeroDivisionError), awake("tests run") as message:
        assert message == "" and linux.exists()
        (held,) = [child for child in psutil.Process().children() if "systemd-inhibit" in words(child)]
        1 / 0  # noqa: B018
    assert gone(held.pid)


def test_on_this_machine_it_says_yes_or_why_not_and_leaves_nothing_behind() -> None:
    before = set(psutil.Process().children())
    with awake("tests run") as message:
        assert message == "" or "may go to sleep" in message
    assert set(psutil.Process().children()) == before
