from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lora_studio import doctor, torch_builds

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("0.35.2", "==0.35.2", True),
        ("0.36.0", "==0.35.2", False),
        ("2.13.0+cpu", "==2.13", True),
        ("2.4.6", ">=1.26,<3", True),
        ("3.0", ">=1.26,<3", False),
        ("1.9", ">=1.26", False),
        ("1.0rc1", ">=1", True),
        ("5", "", True),
    ],
)
def test_versions(version: str, wanted: str, fits: bool) -> None:
    assert doctor.satisfies(version, wanted) is fits


def test_the_pins_are_read() -> None:
    wanted = doctor.wanted_versions()
    assert wanted["diffusers"] == "==0.35.2"
    assert wanted["numpy"] == ">=1.26,<3"
    assert doctor.wanted_versions(Path("missing")) == {}


def test_every_part_is_examined_and_printed() -> None:
    facts = json.loads(json.dumps(doctor.examine()))
    assert facts["python"]["executable"] == sys.executable
    assert facts["disk"]["free"] > 0
    text = doctor.report(facts)
    for problem in facts["problems"]:
        assert problem["what"] in text
        assert problem["fix"] in text
    assert facts["ok"] == (not facts["problems"]) == ("Nothing is wrong" in text)


def test_missing_packages_come_with_the_command_that_installs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "installed_version", lambda name: {"peft": "0.1.0"}.get(name))
    facts = doctor.examine()
    whats = " ".join(p["what"] for p in facts["problems"])
    assert "diffusers" in whats
    assert "peft 0.1.0 instead of ==0.21.2" in whats
    assert "PyTorch is not installed" in whats
    assert {p["fix"] for p in facts["problems"]} == {"python launch.py setup"}
    assert "PROBLEM" in doctor.report(facts)


def fake_torch(monkeypatch: pytest.MonkeyPatch, **cuda: object) -> None:
    values = {"is_available": lambda: False, **cuda}
    torch = SimpleNamespace(
        __version__="2.13.0",
        version=SimpleNamespace(cuda=cuda.get("build"), hip=None),
        cuda=SimpleNamespace(**values),
        backends=SimpleNamespace(mps=None),
        get_num_threads=lambda: 2,
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(doctor, "installed_version", lambda name: "2.13.0")


def test_a_card_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_torch(monkeypatch)
    assert "TORCH_COMMAND" in doctor.torch_facts(["RTX 4090"])[1][0]["fix"]
    assert doctor.torch_facts([])[1] == []
    fake_torch(monkeypatch, build="13.0")
    assert "driver" in doctor.torch_facts(["RTX 4090"])[1][0]["fix"]


@pytest.mark.parametrize(
    ("card", "version", "cuda", "fix"),
    [
        # set up by an earlier version, which took the plain package whatever the card
        (("GTX 1060", 6.1, 560.0), "2.13.0", "13.0", "launch.py setup: it installs PyTorch 2.13.0 for CUDA 12.6"),
        (("RTX 3060", 8.6, 552.4), "2.13.0", "13.0", "launch.py setup: it installs PyTorch 2.13.0 for CUDA 12.6"),
        (("RTX 5070", 12.0, 572.2), "2.13.0+cu126", "12.6", "launch.py setup: it installs PyTorch 2.11.0 for CUDA 12.8"),
        (("RTX 5070", 12.0, 566.4), "2.13.0+cu130", "13.0", "NVIDIA driver 570 or newer"),
        (("RTX 5070", 12.0, 590.0), "2.1.2+cu121", "12.1", "launch.py setup: it installs PyTorch 2.13.0 for CUDA 13.0"),
        (("GTX 1060", 6.1, 560.0), "2.8.0+cu128", "12.8", "CUDA 12.6"),
        (("GTX 1060", 6.1, 560.0), "2.13.0+cu126", "12.6", ""),
        (("RTX 5070", 12.0, 590.0), "2.13.0", "13.0", ""),
        (("RTX 5070", 12.0, 572.2), "2.11.0+cu128", "12.8", ""),
        (("RTX 3060", 8.6, 552.4), "2.1.2+cu121", "12.1", ""),
        (("GTX 960", 0.0, 472.0), "2.13.0", "13.0", ""),  # too old a driver to tell: PyTorch's own words are shown
    ],
)
def test_a_torch_for_other_cards_is_noticed(
    monkeypatch: pytest.MonkeyPatch, card: tuple[str, float, float], version: str, cuda: str, fix: str
) -> None:
    fake_torch(monkeypatch, build=cuda)
    monkeypatch.setattr(sys.modules["torch"], "__version__", version)
    monkeypatch.setattr(doctor.torch_builds, "cards", lambda: [torch_builds.Card(*card)])
    monkeypatch.setattr(doctor.platform, "system", lambda: "Windows")
    monkeypatch.setattr(doctor, "HERE", Path(sys.prefix).parent)
    monkeypatch.setattr(doctor.sys, "prefix", str(Path(sys.prefix).parent / ".venv"))
    facts, problems = doctor.build_facts()
    assert facts["cards"][0]["name"] == card[0]
    assert fix in problems[0]["fix"] and card[0] in problems[0]["what"] + problems[0]["fix"] if fix else problems == []
    monkeypatch.setattr(doctor, "HERE", Path("elsewhere"))
    if "launch.py" in fix:  # a WebUI's torch is the WebUI's to change
        assert "--reinstall-torch" in doctor.build_facts()[1][0]["fix"]


def test_one_card_that_works_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_torch(monkeypatch, build="13.0")
    both = [torch_builds.Card("GTX 1060", 6.1, 580.0), torch_builds.Card("RTX 5090", 12.0, 580.0)]
    monkeypatch.setattr(doctor.torch_builds, "cards", lambda: both)
    assert doctor.build_facts()[1] == []


def test_little_memory_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    card = {"is_available": lambda: True, "get_device_name": lambda: "RTX", "device_count": lambda: 1, "build": "13.0"}
    fake_torch(monkeypatch, mem_get_info=lambda: (1 * doctor.GB, 24 * doctor.GB), **card)
    facts, problems = doctor.torch_facts(["RTX"])
    assert facts["vram_free"] == doctor.GB
    assert "Close what uses the card" in problems[0]["fix"]
    fake_torch(monkeypatch, mem_get_info=lambda: (2 * doctor.GB, 2 * doctor.GB), **card)
    assert "device=cpu" in doctor.torch_facts(["RTX"])[1][0]["fix"]
    fake_torch(monkeypatch, mem_get_info=lambda: (20 * doctor.GB, 24 * doctor.GB), **card)
    assert doctor.torch_facts(["RTX"])[1] == []


def test_two_onnx_runtimes_fight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(get_available_providers=lambda: ["CPUExecutionProvider"]))
    monkeypatch.setattr(doctor, "installed_version", lambda name: "1.23.2" if name.startswith("onnxruntime") else None)
    facts, problems = doctor.onnx_facts(["RTX"])
    assert "pip uninstall" in problems[0]["fix"]
    assert "onnxruntime-gpu" in facts["advice"]


def test_a_part_that_breaks_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such device")

    monkeypatch.setattr(doctor, "torch_facts", broken)
    facts = doctor.examine()
    assert any("no such device" in p["what"] for p in facts["problems"])
    assert "PyTorch" in doctor.report(facts)


def test_little_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: SimpleNamespace(free=1 * doctor.GB, total=100 * doctor.GB))
    facts, problems = doctor.disk_facts(tmp_path / "not" / "there yet")
    assert facts["folder"] == str(tmp_path.resolve())
    assert "1.0 GB" in problems[0]["what"]


def test_it_runs_where_nothing_is_installed() -> None:
    done = subprocess.run([sys.executable, "-S", "-m", "lora_studio.doctor", "--json"], capture_output=True, text=True, cwd=ROOT, check=False)
    facts = json.loads(done.stdout)
    assert done.returncode == 1
    assert any(p["fix"] == "python launch.py setup" for p in facts["problems"])
