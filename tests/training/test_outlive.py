"""A run outlives its launcher where Windows lets it, and says so where not. The Windows API is a table of functions that write as real ones do."""

from __future__ import annotations

import argparse
import ctypes
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lora_studio.cli.training import follow
from lora_studio.errors import UserError
from lora_studio.training import outlive, runs
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import read_events
from lora_studio.training.outlive import BREAKAWAY, KILL_ON_CLOSE, free, job_limits, tied
from lora_studio.training.runs import PROCESS, TIED, Run

CONFIG = TrainingConfig.from_dict({"base": "b", "folders": ["d"], "output_name": "n", "output_dir": "o"})
SILENT_BREAKAWAY = 0x1000  # of the job that a virtual environment's python.exe holds its child in


class Kernel:
    """kernel32 for a process in a job with these limits, None: in none."""

    def __init__(self, limits: int | None) -> None:
        self.limits = limits
        self.GetCurrentProcess = lambda: -1

    def IsProcessInJob(self, process: Any, job: None, answer: Any) -> int:  # noqa: N802 - Windows' name
        assert job is None
        answer._obj.value = int(self.limits is not None)
        return 1

    def QueryInformationJobObject(self, job: None, kind: int, into: Any, size: int, length: None) -> int:  # noqa: N802
        assert (job, kind, length) == (None, 9, None)
        assert size == ctypes.sizeof(into._obj) and self.limits is not None
        # LimitFlags lies behind two LARGE_INTEGERs
        ctypes.memmove(ctypes.addressof(into._obj) + 16, ctypes.byref(ctypes.c_uint32(self.limits)), 4)
        return 1


def denied(number: int) -> OSError:
    error = OSError(13, "Access is denied")
    error.winerror = number  # type: ignore[attr-defined,unused-ignore]  # as on Windows
    return error


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="64 bit")
def test_the_structure_is_as_long_as_windows_wants_it() -> None:
    assert ctypes.sizeof(outlive._Limits) == 144  # of JOBOBJECT_EXTENDED_LIMIT_INFORMATION on x64
    assert outlive._Limits.LimitFlags.offset == 16


@pytest.mark.parametrize("limits", [None, 0, KILL_ON_CLOSE, KILL_ON_CLOSE | SILENT_BREAKAWAY])
def test_the_limits_of_our_job_are_read(limits: int | None) -> None:
    assert job_limits(Kernel(limits)) == limits


@pytest.mark.parametrize(
    ("ours", "lets_go", "childs", "expected"),
    [
        (None, True, 0, False),  # started from a console
        (KILL_ON_CLOSE | SILENT_BREAKAWAY, True, 0, False),  # a virtual environment's own job
        (KILL_ON_CLOSE | SILENT_BREAKAWAY, False, KILL_ON_CLOSE, True),  # that, inside of StabilityMatrix' job
        (KILL_ON_CLOSE, False, KILL_ON_CLOSE, True),  # StabilityMatrix without an environment between
        (KILL_ON_CLOSE | 0x800, True, 0, False),  # a launcher that allows breaking away
        (0x2, False, 0x2, False),  # a job that limits something else
    ],
)
def test_whether_a_run_ends_with_the_launcher(ours: int | None, lets_go: bool, childs: int, expected: bool) -> None:
    asked = []

    def probe(flags: int) -> str:
        asked.append(flags)
        if flags and not lets_go:
            raise denied(5)
        return str(childs)

    assert tied(Kernel(ours), probe) is expected
    assert asked == ([] if ours is None else [BREAKAWAY] if lets_go else [BREAKAWAY, 0])


@pytest.mark.parametrize("answer", [ValueError("no number"), OSError(2, "no such file"), subprocess.TimeoutExpired("python", 1)])
def test_a_probe_that_fails_says_nothing(answer: Exception) -> None:
    def probe(flags: int) -> str:
        raise answer

    assert tied(Kernel(KILL_ON_CLOSE), probe) is False


def test_other_errors_of_a_start_are_not_tried_again() -> None:
    tried = []

    def start(flags: int) -> None:
        tried.append(flags)
        raise denied(2)

    with pytest.raises(OSError, match="denied"):
        free(start)
    assert tried == [BREAKAWAY]


def test_the_probe_is_a_program_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-I", "-S", outlive.__file__], capture_output=True, text=True, check=True)
    assert done.stdout.strip().isdigit()
    assert sys.platform == "win32" or (done.stdout.strip() == "0" and tied() is False)


def test_on_windows_a_process_leaves_the_job_or_starts_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    flags = []

    def popen(command: list[str], **options: Any) -> str:
        assert "start_new_session" not in options
        flags.append(options["creationflags"])
        if options["creationflags"] & BREAKAWAY:
            raise denied(5)
        return "started"

    monkeypatch.setattr(runs.sys, "platform", "win32")
    monkeypatch.setattr(runs.subprocess, "CREATE_NEW_PROCESS_GROUP", 0x200, raising=False)
    monkeypatch.setattr(runs.subprocess, "CREATE_NO_WINDOW", 0x08000000, raising=False)
    monkeypatch.setattr(runs.subprocess, "Popen", popen)
    assert runs.spawn(["x"], tmp_path / "log", {}) == "started"
    assert flags == [0x08000200 | BREAKAWAY, 0x08000200]


SPAWN = runs.spawn


def started(run: Run, code: str, monkeypatch: pytest.MonkeyPatch, bound: bool = False) -> None:
    monkeypatch.setattr(runs, "tied", lambda: bound)
    monkeypatch.setattr(runs, "spawn", lambda command, log, variables: SPAWN([sys.executable, "-c", code], log, variables))
    run.start()
    run.follow(lambda event: None, pause=0.02)


def forget(run: Run) -> None:
    """As after a restart of the WebUI: nobody has the process as a child any more."""
    runs._children.pop(str(run.folder.resolve()), None)


def test_a_run_that_ends_with_its_launcher_says_so_before_and_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(tmp_path, CONFIG)
    started(run, "import os; os._exit(1)", monkeypatch, bound=True)
    assert [e.data["message"] for e in read_events(run.events_path)] == [TIED] and run.status().warnings == (TIED,)
    assert run.status().state == "crashed" and "together with the launcher" in run.status().message
    started(run, "pass", monkeypatch)
    assert "together" not in run.status().message


@pytest.mark.parametrize("detach", [True, False])
def test_the_command_line_says_it_too(detach: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run = Run.create(tmp_path, CONFIG)
    started(run, "pass", monkeypatch, bound=True)
    with suppress(UserError):  # it ended without a word
        follow(argparse.Namespace(detach=detach, json=False, quiet=True, progress="text"), None, run)  # type: ignore[arg-type]
    assert f"WARNING  {TIED}" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_the_exit_code_of_a_run_is_kept_and_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(tmp_path, CONFIG)
    started(run, "import os; os.kill(os.getpid(), 9)", monkeypatch)
    forget(run)
    status = run.status()
    assert status.state == "crashed" and status.message.startswith("The trainer ended without a word. It was killed")
    assert "Close other programs" in status.hint and "Resume the run" in status.hint
    started(run, "print('CUDA out of memory'); import os; os._exit(0)", monkeypatch)
    assert "The graphics card has not enough memory" in run.status().message


def test_only_what_was_printed_since_the_last_start_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(tmp_path, CONFIG)
    said = "Could not load library cudnn_cnn_infer64_8.dll. Error code 126"
    started(run, f"import os; print({said!r}, flush=True); os._exit(7)", monkeypatch)
    assert "CUDA libraries" in run.status().message
    started(run, "import os; os._exit(7)", monkeypatch)
    assert run.status().message == "The trainer ended without a word: it was killed, or the machine went down."


@pytest.mark.parametrize("facts", ["", "[]", '{"pid": 1, "code": "x", "printed": []}', '{"code": 99999999999999999999, "printed": -5}'])
def test_a_damaged_note_of_the_process_is_no_error(tmp_path: Path, facts: str) -> None:
    run = Run.create(tmp_path, CONFIG)
    (run.folder / PROCESS).write_text(facts, encoding="utf-8")
    (run.folder / "console.log").write_bytes(b"x\xff")
    assert run.status().state == "crashed" and os.fspath(run.folder) == run.status().folder
