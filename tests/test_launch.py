"""launch.py without installing anything: the commands it would run are written down instead."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lora_studio import longpaths, torch_builds
from tests import isolated

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
    for name in ("TORCH_COMMAND", "TORCH_INDEX_URL", "INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
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
        steps = ["venv" if "venv" in c else Path(c[c.index("-r") + 1]).stem if "-r" in c else " ".join(c[4:]) for c in self.ran]
        self.ran.clear()
        return steps


@pytest.fixture
def machine(launch: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(launch)
    monkeypatch.setattr(launch.subprocess, "call", machine.call)
    monkeypatch.setattr(launch, "start", machine.start)
    monkeypatch.setattr(launch, "nvidia_cards", list)
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
    ("system", "cards", "said"),
    [
        ("Darwin", [], "2.13.0"),
        ("Linux", [], "2.13.0"),
        ("Windows", [], "2.13.0"),
        # RTX 40xx
        ("Linux", [(8.9, 580.65)], "2.13.0"),
        ("Windows", [(8.9, 580.65)], "2.13.0 cu130"),
        ("Linux", [(8.9, 552.4)], "2.13.0 cu126"),
        ("Windows", [(8.9, 552.4)], "2.13.0 cu126"),
        ("Linux", [(8.9, 525.1)], "2.13.0 cu126"),
        ("Windows", [(8.9, 525.1)], "driver 528 or newer"),
        ("Linux", [(8.9, 470.2)], "driver 525 or newer"),
        # RTX 50xx
        ("Linux", [(12.0, 590.1)], "2.13.0"),
        ("Windows", [(12.0, 590.1)], "2.13.0 cu130"),
        ("Linux", [(12.0, 572.16)], "2.11.0 cu128"),
        ("Windows", [(12.0, 572.16)], "2.11.0 cu128"),
        ("Linux", [(12.0, 566.3)], "driver 570 or newer"),
        ("Windows", [(12.0, 566.3)], "driver 570 or newer"),
        # GTX 10xx, GTX 9xx and V100
        ("Linux", [(6.1, 580.65)], "2.13.0 cu126"),
        ("Windows", [(6.1, 580.65)], "2.13.0 cu126"),
        ("Linux", [(5.2, 535.0)], "2.13.0 cu126"),
        ("Linux", [(7.0, 580.65)], "2.13.0 cu126"),
        ("Windows", [(6.1, 472.0)], "driver 528 or newer"),
        # GTX 16xx and RTX 20xx
        ("Linux", [(7.5, 580.65)], "2.13.0"),
        ("Windows", [(7.5, 560.0)], "2.13.0 cu126"),
        # too old for every build
        ("Linux", [(3.5, 470.0)], "2.13.0 cpu"),
        ("Windows", [(3.5, 470.0)], "2.13.0 cpu"),
        # several: what serves the most of them, else the newest
        ("Linux", [(8.6, 590.0), (3.5, 590.0)], "2.13.0"),
        ("Linux", [(8.6, 580.0), (6.1, 580.0)], "2.13.0 cu126"),
        ("Windows", [(12.0, 580.0), (6.1, 580.0)], "2.13.0 cu130"),
        # a driver that does not answer, one that is too old to tell the capability
        ("Windows", [(0.0, 0.0)], "2.13.0 cu126"),
        ("Linux", [(0.0, 0.0)], "2.13.0"),
        ("Windows", [(0.0, 472.0)], "driver 528 or newer"),
    ],
)
def test_the_build_of_torch_fits_the_cards(launch: ModuleType, system: str, cards: list[tuple[float, float]], said: str) -> None:
    found = [torch_builds.Card("A card" if driver else "", capability, driver) for capability, driver in cards]
    if "driver" in said:
        with pytest.raises(launch.SetupError, match=said) as caught:
            launch.torch_arguments({}, system, found)
        assert "nvidia.com/drivers" in str(caught.value) and "TORCH_COMMAND" in str(caught.value)
        return
    version, _, index = said.partition(" ")
    assert launch.torch_arguments({}, system, found) == [
        "pip", "install", f"torch=={version}", *(["--index-url", f"https://download.pytorch.org/whl/{index}"] if index else []),
    ]  # fmt: skip


def test_a_card_that_is_left_out_is_named(
    launch: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [torch_builds.Card("RTX 5090", 12.0, 580.0), torch_builds.Card("GTX 1080", 6.1, 580.0)]
    monkeypatch.setattr(launch, "nvidia_cards", lambda: both)
    monkeypatch.setattr(launch.platform, "system", lambda: "Windows")
    assert launch.main(["demo"]) == 0
    said = capsys.readouterr().out
    assert "The GTX 1080" in said and "The RTX 5090" not in said


@pytest.mark.parametrize(
    ("mirror", "system", "card", "said"),
    [
        # the WebUI's own torch is for another CUDA: the mirror is meant, not that CUDA
        ("https://mirror/whl/cu121", "Windows", (8.9, 590.0), ["torch==2.13.0", "--index-url", "https://mirror/whl/cu130"]),
        ("https://mirror/whl/cu121/", "Linux", (8.9, 590.0), ["torch==2.13.0", "--index-url", "https://mirror/whl/cu130"]),
        ("https://mirror/whl/cu130", "Linux", (12.0, 572.0), ["torch==2.11.0", "--index-url", "https://mirror/whl/cu128"]),
        ("https://mirror/whl/cu121", "Linux", None, ["torch==2.13.0"]),
        ("https://mirror/whl/rocm7.0", "Linux", None, ["torch==2.13.0", "--index-url", "https://mirror/whl/rocm7.0"]),
        ("https://mirror/whl/cpu", "Windows", (8.9, 590.0), ["torch==2.13.0", "--index-url", "https://mirror/whl/cpu"]),
    ],
)
def test_a_mirror_of_pytorchs_index_is_used(
    launch: ModuleType, mirror: str, system: str, card: tuple[float, float] | None, said: list[str]
) -> None:
    cards = [torch_builds.Card("A card", *card)] if card else []
    assert launch.torch_arguments({"TORCH_INDEX_URL": mirror}, system, cards)[2:] == said


def test_mirrors_named_as_in_the_webui_are_used(launch: ModuleType) -> None:
    card = [torch_builds.Card("RTX 4090", 8.9, 590.0)]
    assert launch.torch_arguments({"INDEX_URL": "https://mirror/simple"}, "Linux", card)[3:] == ["--index-url", "https://mirror/simple"]
    assert launch.torch_arguments({"INDEX_URL": "https://mirror/simple"}, "Windows", card)[4].endswith("/cu130")  # a mirror of PyPI has no such build


def test_the_packages_come_from_the_mirror_too(launch: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INDEX_URL", "https://mirror/simple")
    launch.main(["demo"])
    assert [c[-2:] for c in machine.ran if "pip" in c] == [["--index-url", "https://mirror/simple"]] * 3


@pytest.mark.parametrize(("there", "again"), [("13.0", True), ("12.6", False), ("", False)])
def test_a_torch_for_other_cards_gives_way_when_the_set_up_is_repaired(
    launch: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch, there: str, again: bool
) -> None:
    """pip takes 2.13.0 for CUDA 13 and for CUDA 12.6 for the same version, and would leave the wrong one."""
    launch.main(["demo"])
    machine.installed()
    if there:
        folder = launch.VENV / "lib" / "python3.11" / "site-packages" / "torch"
        folder.mkdir(parents=True)
        (folder / "version.py").write_text(f"__version__ = '2.13.0+cu'\nfrom typing import Optional\ncuda: Optional[str] = '{there}'\n")
    monkeypatch.setattr(launch, "nvidia_cards", lambda: [torch_builds.Card("GTX 1060", 6.1, 560.0)])
    monkeypatch.setattr(launch.platform, "system", lambda: "Linux")
    machine.fail = ("whl/cu126", 1)
    assert launch.main(["setup"]) == 1
    assert ("uninstall" in " ".join(map(str, machine.ran))) is again
    assert ("torch" in launch.read_stamp(launch.STAMP)) is not again  # so the next start goes on with it
    machine.fail = None
    assert launch.main(["setup"]) == 0


@pytest.mark.parametrize(
    ("said", "cards"),
    [
        ("NVIDIA GeForce RTX 5070, 572.16, 12.0\nNVIDIA GeForce GTX 1060 6GB, 572.16, 6.1\n", [(12.0, 572.16), (6.1, 572.16)]),
        ("NVIDIA GeForce GTX 960, 472.12\n", [(0.0, 472.12)]),
        ("Tesla V100, 470.182.03, [N/A]\n", [(0.0, 470.182)]),
        ("", []),
    ],
)
def test_what_the_driver_says_is_read(said: str, cards: list[tuple[float, float]]) -> None:
    assert [(card.capability, card.driver) for card in torch_builds.parse(said)] == cards


def test_torch_command_keeps_windows_paths(launch: ModuleType) -> None:
    arguments = launch.torch_arguments({"TORCH_COMMAND": r'pip install "C:\my wheels\torch.whl"'}, "Windows", [])
    assert arguments == ["pip", "install", r"C:\my wheels\torch.whl"]
    with pytest.raises(launch.SetupError, match="TORCH_COMMAND"):
        launch.torch_arguments({"TORCH_COMMAND": "conda install torch"}, "Linux", [])


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


def test_an_embedded_python_comes_as_far_as_the_doctor(tmp_path: Path) -> None:
    """It looks neither beside the script nor at PYTHONPATH."""
    python = isolated.make(tmp_path / "python", bare=True)
    for name in ("requirements", "lora_studio"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy2(ROOT / "launch.py", tmp_path / "own.py")  # of a folder that is not set up
    done = subprocess.run([python, "own.py", "doctor", "--json"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1 and json.loads(done.stdout)["python"]["executable"] == str(python), done.stderr[-500:]


def test_where_the_folder_is_too_deep_nothing_is_made(
    launch: ModuleType, machine: Machine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(longpaths, "limited", lambda: True)
    monkeypatch.setattr(longpaths, "LONGEST", 200)
    assert launch.main(["demo"]) == 1
    said = capsys.readouterr().out
    assert "too long for Windows" in said and str(launch.HERE) in said and machine.installed() == []


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
