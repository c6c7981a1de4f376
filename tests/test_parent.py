"""A helper ends with the process that wants it, whoever stands between the two; a training run does not."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from lora_studio import parent
from lora_studio.environment import Environment

ROOT = Path(__file__).resolve().parents[1]
HELPER = "from lora_studio.parent import end_with_parent; end_with_parent(); import time; print('up', flush=True); time.sleep(600)"
POSIX = pytest.mark.skipif(os.name == "nt", reason="the way of other systems; Windows' own is below")


def gone(pid: int, seconds: float = 20.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def start(program: str) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A program that starts helpers and prints their numbers as JSON; it and they."""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


PREPARE = f"""
import json, os, subprocess, sys, time
from lora_studio import parent
variables = {{**os.environ, **parent.helper()}}
helper = [sys.executable, "-c", {HELPER!r}]
"""


@POSIX
@pytest.mark.parametrize("between", [False, True])
def test_a_helper_does_not_outlive_a_killed_program(between: bool) -> None:
    """between: as a virtual environment's python.exe on Windows, which starts the real Python and waits."""
    launcher = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    start_it = f'helper = [sys.executable, "-c", {launcher!r}, *helper]' if between else ""
    program = f"""{PREPARE}
{start_it}
process = subprocess.Popen(helper, env=variables, stdout=subprocess.PIPE)
process.stdout.readline()
import psutil
print(json.dumps([p.pid for p in psutil.Process().children(recursive=True)]), flush=True)
time.sleep(600)
"""
    process, helpers = start(program)
    assert len(helpers) == 1 + between
    kill(process)
    assert gone(helpers[-1])


@POSIX
def test_one_whose_program_is_gone_before_it_looks_ends_at_once() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    done = subprocess.run([sys.executable, "-c", HELPER], env={**os.environ, parent.VARIABLE: str(ended.pid)}, cwd=ROOT, timeout=30, check=False)
    assert done.returncode == 1


def test_a_number_that_another_process_got_meanwhile_is_no_parent() -> None:
    other = os.getppid()
    began = parent._began(other)
    assert began and not parent._is_another(other, began) and not parent._is_another(other, 0.0)
    assert parent._is_another(other, began - 3600)
    ours, _, when = parent.helper()[parent.VARIABLE].partition("@")
    assert int(ours) == os.getpid() and abs(float(when) - psutil.Process().create_time()) < 0.1


def test_where_the_beginning_cannot_be_told_the_number_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert parent.helper() == {parent.VARIABLE: str(os.getpid())}
    assert parent._is_there(os.getpid()) and not parent._is_another(os.getpid(), 5.0)


@pytest.mark.parametrize("said", ["", "no number", "@12"])
def test_nobody_is_watched_unless_that_was_asked(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv(parent.VARIABLE, said)
    before = threading.active_count()
    parent.end_with_parent()
    assert threading.active_count() == before and parent.VARIABLE not in os.environ


class Kernel:
    """Windows' kernel32, as far as it is asked: ``there`` whether the process exists, ``error`` why it may not be opened."""

    def __init__(self, there: bool = True, error: int = 0) -> None:
        self.there, self.error, self.waited = there, error, 0
        self.OpenProcess: Any = lambda access, inherit, pid: 77 if there and not error else None

    def WaitForSingleObject(self, handle: Any, milliseconds: int) -> int:  # noqa: N802
        self.waited += 1
        return 0


@pytest.mark.parametrize(("kernel", "began", "waited"), [(Kernel(), 5.0, 1), (Kernel(), 0.0, 1), (Kernel(), 99.0, 0), (Kernel(False, 87), 5.0, 0)])
def test_windows_waits_for_the_named_process(monkeypatch: pytest.MonkeyPatch, kernel: Kernel, began: float, waited: int) -> None:
    """Its number need not be that of who started us; one who is gone, or whose number another process has, ends us at once."""
    monkeypatch.setattr(ctypes, "WinDLL", lambda name, **options: kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: kernel.error, raising=False)
    monkeypatch.setattr(parent, "_began", lambda pid: 5.5)
    parent._wait_windows(12345, began)
    assert kernel.waited == waited


def test_windows_lets_go_on_what_it_may_not_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(error=5)

    class StopError(Exception):
        pass

    def wait(self: object) -> None:
        raise StopError

    monkeypatch.setattr(ctypes, "WinDLL", lambda name, **options: kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: kernel.error, raising=False)
    monkeypatch.setattr(parent, "threading", SimpleNamespace(Event=lambda: SimpleNamespace(wait=lambda: wait(None))))
    with pytest.raises(StopError):
        parent._wait_windows(12345, 0.0)


@POSIX
def test_a_command_for_the_page_and_its_tagger_end_with_the_page(tmp_path: Path) -> None:
    """As a job, as a question that is answered at once, as the tagger that is kept open, as shares of a tagging: each starts a Python that waits."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, sys, time\nif os.environ.get({parent.VARIABLE!r}) and os.environ.get('SLOW'):\n"
        f"    from lora_studio.parent import end_with_parent\n    end_with_parent()\n"
        f"    open({str(tmp_path)!r} + f'/{{os.getpid()}}.pid', 'w').close()\n    time.sleep(600)\n",
        encoding="utf-8",
    )
    program = f"""
import json, os, sys, threading, time
os.environ["PYTHONPATH"] = {os.pathsep.join((str(tmp_path), str(ROOT)))!r}
os.environ["SLOW"] = "1"
from pathlib import Path
from lora_studio.environment import Environment
from lora_studio.jobs import run_command
from lora_studio.tagging.shards import run_shards
from lora_studio.web.desk import TaggerDesk
own = Environment()
works = [
    lambda: run_command(own.command("projects"), own.variables(), lambda *said: None),
    lambda: own.answer("projects"),
    lambda: TaggerDesk(lambda: own).interrogate("demo", ""),
    lambda: run_shards([(own.command("projects"), own.variables())], lambda *said: None),
]
for work in works:
    threading.Thread(target=work, daemon=True).start()
folder = Path({str(tmp_path)!r})
until = time.monotonic() + 60
while len(found := list(folder.glob("*.pid"))) < len(works) and time.monotonic() < until:
    time.sleep(0.05)
print(json.dumps([int(path.stem) for path in found]), flush=True)
time.sleep(600)
"""
    process, helpers = start(program)
    assert len(helpers) == 4
    kill(process)
    assert all(gone(pid) for pid in helpers)


@pytest.mark.parametrize(
    ("name", "more", "watches"),
    [
        ("lora_studio", ("--help",), True),
        ("lora_studio.tagging.serve", (), True),
        ("lora_studio.training.tensorboard", (".", "1"), True),
        ("lora_studio.trainer", (".",), False),
        ("lora_studio.trainer", (".",), "of several"),
    ],
)
def test_who_begins_with_the_watch(tmp_path: Path, name: str, more: tuple[str, ...], watches: bool | str) -> None:
    """Every helper; a training only in the processes that one launcher started for it."""
    replaced = "import os\nfrom lora_studio import parent\nparent.end_with_parent = lambda: os._exit(42)\n"
    (tmp_path / "sitecustomize.py").write_text(replaced, encoding="utf-8")
    environment = Environment()
    variables = environment.variables() | ({"WORLD_SIZE": "2"} if watches == "of several" else {})
    variables["PYTHONPATH"] = os.pathsep.join((str(tmp_path), variables["PYTHONPATH"]))
    done = subprocess.run(environment.module(name, *more), stdin=subprocess.DEVNULL, capture_output=True, env=variables, cwd=tmp_path, check=False)
    assert (done.returncode == 42) is bool(watches)


def test_a_training_run_is_nobodys_helper(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lora_studio.training import runs
    from lora_studio.training.runs import Run

    seen: dict[str, str] = {}

    def spawn(command: list[str], log: Path, environment: dict[str, str]) -> Any:
        seen.update(environment)
        return SimpleNamespace(pid=os.getpid(), poll=lambda: 0)

    monkeypatch.setattr(runs, "spawn", spawn)
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "control").mkdir()
    Run(tmp_path).start(Environment())
    assert seen["PYTHONPATH"] and parent.VARIABLE not in seen
