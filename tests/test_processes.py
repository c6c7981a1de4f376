"""Commands of ours start in every Python with our path in front, and without a console window."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lora_studio import processes
from lora_studio.environment import Environment
from tests import isolated

ROOT = Path(__file__).resolve().parents[1]
UNLOAD = b'{"unload": true}\n'


def answer(environment: Environment) -> object:
    """What a helper of ours says that was started in this environment."""
    command, variables = environment.module("lora_studio.tagging.serve"), environment.variables()
    done = subprocess.run(command, input=UNLOAD, capture_output=True, env=variables, cwd=os.sep, check=False)
    assert done.returncode == 0, done.stderr.decode()[-500:]
    return json.loads(done.stdout)


def test_a_python_with_a_pth_file_finds_us(tmp_path: Path) -> None:
    python = str(isolated.make(tmp_path))
    plain = subprocess.run([python, "-m", "lora_studio.tagging.serve"], input=UNLOAD, capture_output=True, cwd=ROOT, check=False,
                           env=Environment().variables())  # fmt: skip
    assert b"No module named" in plain.stderr  # so it is isolated indeed
    assert answer(Environment(python=python)) == {"unloaded": 0}


def test_so_do_the_children_of_one(tmp_path: Path) -> None:
    """Its own flags tell it that they would not look at PYTHONPATH."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from lora_studio.environment import Environment
import subprocess
assert Environment().python == sys.executable
done = subprocess.run(Environment().module("lora_studio.tagging.serve"), input={UNLOAD!r}, capture_output=True, env=Environment().variables())
sys.stdout.buffer.write(done.stdout)
sys.stderr.buffer.write(done.stderr)
"""
    done = subprocess.run([isolated.make(tmp_path), "-c", code], capture_output=True, cwd=tmp_path, check=False)
    assert done.stdout and json.loads(done.stdout) == {"unloaded": 0}, done.stderr.decode()[-500:]


@pytest.mark.parametrize("flags", [(1, 0), (0, 1), (1, 1)])
def test_each_sign_of_isolation_counts(monkeypatch: pytest.MonkeyPatch, flags: tuple[int, int]) -> None:
    """Python 3.10 with a ._pth file says isolated without ignore_environment, python -E the other way round."""
    own = SimpleNamespace(flags=SimpleNamespace(isolated=flags[0], ignore_environment=flags[1]), executable="py", platform=sys.platform)
    monkeypatch.setattr(processes, "sys", own)
    assert processes.module("py", "lora_studio", "tag") == ["py", "-X", "utf8", "-u", "-c", processes.BOOT, "lora_studio", "tag"]
    own.flags = SimpleNamespace(isolated=0, ignore_environment=0)
    assert processes.module("py", "lora_studio", "tag") == ["py", "-m", "lora_studio", "tag"]
    assert processes.module("another", "lora_studio")[1] != "-m"  # of which nothing is known


@pytest.mark.slow
@pytest.mark.torch
def test_all_processes_of_one_training_find_us(tmp_path: Path) -> None:
    """torchrun starts them itself: a module that lies where only PYTHONPATH tells stands for the trainer."""
    (tmp_path / "probe.py").write_text(
        "import os, sys\nfrom lora_studio import parent\n"
        "open(os.path.join(sys.argv[1], os.environ['RANK']), 'w').write(f'{sys.flags.isolated} {len(sys.argv)}')\n",
        encoding="utf-8",
    )
    run = tmp_path / "a run"
    run.mkdir()
    code = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from torch.distributed.run import main
from lora_studio.trainer.team import launch_words
main([word.replace("lora_studio.trainer", "probe") for word in launch_words([{str(run)!r}], 2)])
"""
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([isolated.make(tmp_path / "python"), "-c", code], capture_output=True, env=variables, cwd=os.sep, check=False)
    told = {path.name: path.read_text(encoding="utf-8") for path in run.iterdir()}
    assert told == {"0": "1 2", "1": "1 2"}, done.stderr.decode()[-2000:]


def test_windows_opens_no_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "sys", SimpleNamespace(platform="win32"))
    assert processes.hidden() == {"creationflags": 0x08000000}
    monkeypatch.setattr(processes, "sys", SimpleNamespace(platform="linux"))
    assert processes.hidden() == {}


STARTS = ("subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_call", "subprocess.check_output")
#: in a terminal already, or what it opens is to be seen
SEEN = {"bundle/launcher.py", "web/desktop.py"}
#: hides it with other flags besides
OTHER_FLAGS = {"training/runs.py", "training/outlive.py"}
#: starts nothing on Windows
ELSEWHERE = {"awake.py"}


def test_every_process_is_started_hidden() -> None:
    wrong = []
    for path in sorted((ROOT / "lora_studio").rglob("*.py")):
        place = path.relative_to(ROOT / "lora_studio").as_posix()
        if place in SEEN | OTHER_FLAGS | ELSEWHERE:
            continue
        source = path.read_text(encoding="utf-8")
        if "subprocess." not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in STARTS:
                words = [ast.unparse(k.value) for k in node.keywords if k.arg is None]
                named = [f"{w} = " in source or f"{w}: " in source for w in words if w.isidentifier()]
                if not any("hidden()" in w for w in words) and not (named and all(named) and "hidden()}" in source):
                    wrong.append(f"{place}:{node.lineno}")
    assert not wrong
