from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lora_studio import doctor
from lora_studio.cards import Build
from tests.trainer.fake_card import Machine, machine

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


def on(monkeypatch: pytest.MonkeyPatch, fake: Machine) -> tuple[dict[str, Any], list[dict[str, str]], str]:
    """What the doctor finds on a machine with these cards, and what it prints of it."""
    monkeypatch.setitem(sys.modules, "torch", fake.module())
    monkeypatch.setattr(doctor, "installed_version", lambda name: fake.build.torch)
    monkeypatch.setattr(doctor.nvidia, "seen", fake.seen)
    facts, problems = doctor.torch_facts([card.name for card in fake.cards])
    whole = {"lora_studio": "0", "python": {}, "onnx": {}, "disk": {}, "packages": {}, "torch": facts, "problems": problems, "ok": not problems}
    return facts, problems, doctor.report(whole)


@pytest.mark.parametrize("version", ["2.1.2", "2.3.1", "2.13.0"])
@pytest.mark.parametrize(("name", "line"), [
    ("GTX 1660", "cuda:0        NVIDIA GeForce GTX 1660, compute capability 7.5, trains in fp16 (fp32 if that gives no numbers), 5.5 of 6.0 GB free"),
    ("RTX 3060", "cuda:0        NVIDIA GeForce RTX 3060, compute capability 8.6, trains in bf16, 11.5 of 12.0 GB free"),
])  # fmt: skip
def test_a_card_and_what_it_does(monkeypatch: pytest.MonkeyPatch, version: str, name: str, line: str) -> None:
    facts, problems, text = on(monkeypatch, machine(version, name))
    assert problems == [] and line in text and "Driver        580.65" in text and facts["cards"][0]["kernels"]


@pytest.mark.parametrize(
    ("version", "name", "driver", "what", "fix"),
    [
        ("2.13.0", "GTX 1080", "580.65", "no code for the GTX 1080", "cu126"),
        ("2.1.2", "RTX 5090", "580.65", "no code for the RTX 5090", "torch==2.7.1"),
        ("2.13.0", "RTX 5090", "572.16", "driver 572.16 is too old", "driver 580 or newer"),
        ("2.13.0", "GTX 1080", "560.94", "no code for the GTX 1080", "cu126"),
    ],
)
def test_a_card_that_torch_cannot_use(monkeypatch: pytest.MonkeyPatch, version: str, name: str, driver: str, what: str, fix: str) -> None:
    _, problems, text = on(monkeypatch, machine(version, name, driver=driver))
    assert len(problems) == 1 and what in problems[0]["what"] and fix in problems[0]["fix"] and problems[0]["fix"] in text


def test_our_own_environment_mends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCH_COMMAND", raising=False)
    fake = machine("2.13.0", "GTX 1080", driver="580.65")
    assert "launch.py setup" not in on(monkeypatch, fake)[1][0]["fix"] or Path(sys.prefix).name == ".venv"
    monkeypatch.setattr(doctor, "HERE", Path(sys.prefix).parent)
    monkeypatch.setattr(doctor.sys, "prefix", str(Path(sys.prefix).parent / ".venv"))
    assert on(monkeypatch, fake)[1][0]["fix"].startswith("Run: ") and "launch.py setup" in on(monkeypatch, fake)[1][0]["fix"]
    monkeypatch.setenv("TORCH_COMMAND", "pip install torch==2.13.0")
    assert not on(monkeypatch, fake)[1][0]["fix"].startswith("Run: ")


def test_a_torch_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Machine(Build("2.13.0+cpu"), machine("2.13.0", "RTX 4090").cards)
    assert "without CUDA" in on(monkeypatch, plain)[1][0]["what"]
    assert on(monkeypatch, Machine(Build("2.13.0+cpu"), []))[1] == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    hidden = machine("2.13.0", "RTX 4090")
    monkeypatch.setattr(Machine, "available", False)
    assert "hides the RTX 4090" in on(monkeypatch, hidden)[1][0]["what"]


def test_of_several_cards_each_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    facts, problems, text = on(monkeypatch, machine("2.13.0", "GTX 1080", "RTX 3060"))
    assert [card["kernels"] for card in facts["cards"]] == [False, True] and facts["name"] == "NVIDIA GeForce RTX 3060"
    assert len(problems) == 1 and "cuda:1        NVIDIA GeForce RTX 3060" in text and "has no code for it" in text


def test_little_memory_on_the_card(monkeypatch: pytest.MonkeyPatch) -> None:
    facts, problems, _ = on(monkeypatch, machine("2.13.0", "RTX 4090", others=23 * doctor.GB))
    assert facts["vram_free"] == doctor.GB and "Close what uses the card" in problems[0]["fix"]
    small = machine("2.13.0", "RTX 4090")
    small.cards = [replace(small.cards[0], total=2 * doctor.GB)]
    assert "device=cpu" in on(monkeypatch, small)[1][0]["fix"]


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
