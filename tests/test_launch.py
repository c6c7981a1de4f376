"""launch.py without installing anything: the commands it would run are written down instead."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, believing that it lies in an empty folder with pins of its own."""
    spec = importlib.util.spec_from_file_location("launch_under_test", ROOT / "launch.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "HERE", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "lora_studio_setup.json")
    monkeypatch.delenv("TORCH_COMMAND", raising=False)
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "stack.txt").write_text("# why\npeft==0.21.2\n")
    (tmp_path / "requirements" / "page.txt").write_text("gradio==6.17.3\n")
    (tmp_path / "requirements" / "test.txt").write_text("pytest\n")
    return module


class Machine:
    """Stands in for running programs: `fail` names a word that makes a command fail or be interrupted."""

    def __init__(self, launch: ModuleType) -> None:
        self.launch = launch
        self.ran: list[list[str]] = []
        self.started: list[list[str]] = []
        self.fail: tuple[str, int | type[BaseException]] | None = None

    def call(self, command: list[str], **_: object) -> int:
        if "venv" in command:
            python = self.launch.venv_python(self.launch.VENV)
            python.parent.mkdir(parents=True, exist_ok=True)
            python.write_text("")
        if self.fail and any(self.fail[0] in part for part in command):
            if isinstance(self.fail[1], int):
                return self.fail[1]
            raise self.fail[1]
        self.ran.append(command)
        return 0

    def start(self, command: list[str], cwd: Path | None = None) -> int:
        self.started.append(command)
        return 0

    def installed(self) -> list[str]:
        """What was installed since the last time this was asked, in short."""
        steps = ["venv" if "venv" in c else Path(c[-1]).stem if "-r" in c else " ".join(c[4:]) for c in self.ran]
        self.ran.clear()
        return steps


@pytest.fixture
def machine(launch: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(launch)
    monkeypatch.setattr(launch.subprocess, "call", machine.call)
    monkeypatch.setattr(launch, "start", machine.start)
    monkeypatch.setattr(launch, "nvidia_card", lambda: None)
    return machine


def test_first_use_sets_up_and_the_second_touches_nothing(launch: ModuleType, machine: Machine) -> None:
    assert launch.main(["demo", "--out", "x y"]) == 0
    assert machine.installed() == ["venv", "torch==2.13.0", "stack", "page"]
    assert machine.started[-1][1:] == ["-m", "lora_studio", "demo", "--out", "x y"]
    assert launch.main(["crop", "p"]) == 0
    assert machine.installed() == []
    assert launch.main(["test", "--fast", "-k", "crop"]) == 0
    assert machine.installed() == ["test"]
    assert machine.started[-1][1:] == ["-m", "pytest", "-m", "not slow", "-k", "crop"]


def test_only_changed_pins_install_again(launch: ModuleType, machine: Machine) -> None:
    launch.main(["demo"])
    machine.installed()
    stack = launch.HERE / "requirements" / "stack.txt"
    stack.write_text("# another word of explanation\n\npeft==0.21.2   # and here\n")
    launch.main(["demo"])
    assert machine.installed() == []
    stack.write_text("peft==0.22.0\n")
    launch.main(["demo"])
    assert machine.installed() == ["stack"]


@pytest.mark.parametrize("how", [1, KeyboardInterrupt, OSError])
def test_an_interrupted_set_up_goes_on_where_it_was(launch: ModuleType, machine: Machine, how: int | type[BaseException]) -> None:
    machine.fail = ("stack.txt", how)
    assert launch.main(["demo"]) in (1, launch.INTERRUPTED)
    assert not machine.started
    assert machine.installed() == ["venv", "torch==2.13.0"]
    machine.fail = None
    assert launch.main(["demo"]) == 0
    assert machine.installed() == ["stack", "page"]


def test_half_a_virtual_environment_is_made_anew(launch: ModuleType, machine: Machine) -> None:
    machine.fail = ("venv", KeyboardInterrupt)
    assert launch.main(["demo"]) == launch.INTERRUPTED
    assert launch.venv_python(launch.VENV).exists()
    machine.fail = None
    launch.main(["demo"])
    assert machine.installed()[0] == "venv"
    launch.venv_python(launch.VENV).unlink()
    launch.main(["demo"])
    assert machine.installed() == ["venv", "torch==2.13.0", "stack", "page"]
    launch.STAMP.write_text("{ half")
    launch.main(["demo"])
    assert machine.installed()[0] == "venv"


def test_torch_command_chooses_and_is_remembered(launch: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_COMMAND", "pip install torch==2.7.0 --index-url https://example.org/whl")
    launch.main(["demo"])
    assert machine.installed()[1] == "torch==2.7.0 --index-url https://example.org/whl"
    monkeypatch.delenv("TORCH_COMMAND")
    launch.main(["demo"])
    assert machine.installed() == []
    monkeypatch.setenv("TORCH_COMMAND", "pip install torch==2.8.0")
    launch.main(["demo"])
    assert machine.installed() == ["torch==2.8.0"]


def test_set_up_by_name_repairs(launch: ModuleType, machine: Machine) -> None:
    launch.main(["demo"])
    machine.installed()
    assert launch.main(["setup"]) == 0
    assert machine.installed() == ["torch==2.13.0", "stack", "page"]
    assert launch.main(["setup", "--tests"]) == 0
    assert machine.installed() == ["torch==2.13.0", "stack", "page", "test"]


@pytest.mark.parametrize(
    ("system", "card", "index"),
    [
        ("Linux", (8.9, 590.1), None),
        ("Darwin", None, None),
        ("Windows", None, None),
        ("Windows", (8.9, 590.1), "cu130"),
        ("Windows", (8.9, 552.4), "cu126"),
        ("Windows", (6.1, 590.1), "cu126"),
    ],
)
def test_the_build_of_torch_fits_the_card(launch: ModuleType, system: str, card: tuple[float, float] | None, index: str | None) -> None:
    arguments = launch.torch_arguments({}, system, card)
    assert arguments[:3] == ["pip", "install", "torch==2.13.0"]
    assert arguments[3:] == (["--index-url", f"https://download.pytorch.org/whl/{index}"] if index else [])


def test_torch_command_keeps_windows_paths(launch: ModuleType) -> None:
    arguments = launch.torch_arguments({"TORCH_COMMAND": r'pip install "C:\my wheels\torch.whl"'}, "Windows", None)
    assert arguments == ["pip", "install", r"C:\my wheels\torch.whl"]
    with pytest.raises(launch.SetupError, match="TORCH_COMMAND"):
        launch.torch_arguments({"TORCH_COMMAND": "conda install torch"}, "Linux", None)


def test_without_a_command_the_page_opens(launch: ModuleType, machine: Machine) -> None:
    assert launch.main([]) == 0
    assert machine.started[-1][1:] == ["-m", "lora_studio", "ui"]


def test_help_needs_no_set_up(launch: ModuleType, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch.main(["--help"]) == 0
    assert "launch.py demo" in capsys.readouterr().out
    assert machine.installed() == []


def test_the_doctor_comes_before_the_set_up(launch: ModuleType, machine: Machine) -> None:
    assert launch.main(["doctor", "--json"]) == 0
    assert machine.started == [[sys.executable, "-m", "lora_studio.doctor", "--json"]]
    launch.main(["demo"])
    launch.main(["doctor"])
    assert machine.started[-1][1:] == ["-m", "lora_studio", "doctor"]


def test_a_failed_step_says_what_to_do(launch: ModuleType, machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.fail = ("torch==", 1)
    assert launch.main(["demo"]) == 1
    assert "run the same command again" in capsys.readouterr().out
    machine.fail = ("venv", 1)
    launch.STAMP.unlink()
    assert launch.main(["demo"]) == 1
    assert "python3-venv" in capsys.readouterr().out


def test_standard_library_only() -> None:
    code = "import sys; sys.path.insert(0, '.'); import launch; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-S", "-c", "import json;" + code], capture_output=True, text=True, cwd=ROOT, check=True)
    tops = {name.split(".")[0] for name in json.loads(done.stdout)} - {"launch", "__main__", "__mp_main__"}
    assert {name for name in tops if not name.startswith("_")} <= set(sys.stdlib_module_names)


def test_programs_find_the_package_from_anywhere(launch: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    environment = launch.environment()
    assert environment["PYTHONPATH"] == os.pathsep.join((str(launch.HERE), "elsewhere"))
    assert environment["PYTHONUTF8"] == "1"
