"""TensorBoard is started on this machine alone, once for a project, and does not outlive who started it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_studio.environment import Environment
from lora_studio.errors import UserError
from lora_studio.training import tensorboard


@pytest.fixture
def ended() -> Iterator[None]:
    yield
    tensorboard.stop_all()


def test_without_tensorboard_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard, "find_spec", lambda name: None)
    assert not tensorboard.installed(Environment())
    with pytest.raises(UserError, match="not installed"):
        tensorboard.start(tmp_path, Environment())


def test_one_that_ends_at_once_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: None) -> None:
    monkeypatch.setattr(tensorboard, "installed", lambda environment: True)
    monkeypatch.setattr(Environment, "module", lambda self, *more: [sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(UserError, match="ended as soon"):
        tensorboard.start(tmp_path, Environment())


@pytest.mark.slow
@pytest.mark.torch
def test_it_answers_here_alone_and_is_started_once(tmp_path: Path, ended: None) -> None:
    if not tensorboard.installed(Environment()):
        pytest.skip("tensorboard is not installed")
    port = tensorboard.start(tmp_path, Environment())
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/data/environment", timeout=60) as answer:
        assert answer.status == 200
    assert tensorboard.start(tmp_path, Environment()) == port
    process = next(iter(tensorboard._running.values()))[0]
    tensorboard.stop_all()
    assert process.poll() is not None


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.skipif(os.name == "nt", reason="a killed parent is told apart by its number")
def test_it_does_not_outlive_a_killed_program(tmp_path: Path) -> None:
    psutil = pytest.importorskip("psutil")
    if not tensorboard.installed(Environment()):
        pytest.skip("tensorboard is not installed")
    code = f"""
import time
from pathlib import Path
from lora_studio.environment import Environment
from lora_studio.training import tensorboard
tensorboard.start(Path({str(tmp_path)!r}), Environment())
print(next(iter(tensorboard._running.values()))[0].pid, flush=True)
time.sleep(600)
"""
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).resolve().parents[2])
    assert program.stdout is not None
    child = psutil.Process(int(program.stdout.readline()))
    program.kill()
    program.wait()
    program.stdout.close()
    deadline = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
