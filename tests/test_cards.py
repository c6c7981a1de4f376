"""Cards, builds and drivers as facts: what runs on what, what helps, and which card is meant. Nothing here needs torch."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import pytest

from lora_studio import cards, nvidia
from lora_studio.cards import Build, Card
from lora_studio.host.standalone import Standalone
from tests.trainer.fake_card import CARDS, GB, TORCHES, machine


@pytest.mark.parametrize(
    ("capability", "kernels", "runs"),
    [
        ((8, 9), ("sm_86",), True), ((8, 6), ("sm_89",), False), ((8, 0), ("sm_86",), False), ((6, 1), ("sm_60",), True),
        ((6, 1), ("sm_50",), False), ((6, 1), ("compute_50",), True), ((12, 0), ("sm_90",), False), ((12, 0), ("sm_90", "compute_90"), True),
        ((12, 0), ("sm_120",), True), ((12, 1), ("sm_120a",), False), ((12, 0), ("sm_120a",), True), ((10, 3), ("sm_100f",), True),
        ((9, 0), ("compute_120",), False), ((0, 0), ("sm_120",), True), ((6, 1), (), True), ((7, 5), ("gfx1030",), False),
    ],
)  # fmt: skip
def test_code_for_a_card(capability: tuple[int, int], kernels: tuple[str, ...], runs: bool) -> None:
    assert cards.has_kernels(Card(0, "card", capability), Build("2.13.0", "13.0", "", kernels)) is runs


def test_amd_s_numbers_mean_something_else() -> None:
    card, build = Card(0, "AMD Radeon RX 6600", (10, 3)), Build("2.13.0", "", "6.4", ("gfx1030",))
    assert cards.has_kernels(card, build) and cards.precision_of(card, build) == "bf16" and cards.wrong(card, build) is None


@pytest.mark.parametrize(
    ("name", "precision", "breaks"),
    [("GTX 1080", "fp16", False), ("GTX 1660", "fp16", True), ("RTX 2080", "fp16", False), ("RTX 3060", "bf16", False), ("RTX 5090", "bf16", False)],
)
def test_precision_goes_by_the_card_s_own_capability(name: str, precision: str, breaks: bool) -> None:
    assert cards.precision_of(CARDS[name], TORCHES["2.13.0"]) == precision
    assert cards.breaks_half(CARDS[name]) is breaks


@pytest.mark.parametrize(
    ("name", "torch", "driver", "what", "fix"),
    [
        ("GTX 1080", "2.13.0", "580.65", "holds no code for the GTX 1080 (compute capability 6.1)", "torch==2.13.0 torchvision --index-url {}cu126"),
        ("RTX 5090", "2.1.2", "572.16", "holds no code for the RTX 5090", "torch==2.7.1 torchvision --index-url {}cu128"),
        ("RTX 5090", "2.13.0 cu126", "581.10", "holds no code", "torch==2.13.0 torchvision --index-url {}cu130"),
        ("RTX 5090", "2.13.0 cu126", "572.16", "holds no code", "torch==2.11.0 torchvision --index-url {}cu128"),
        ("RTX 5090", "2.13.0", "572.16", "driver 572.16 is too old", "driver 580 or newer"),
        ("RTX 3060", "2.13.0", "560.94", "needs 580 or newer", "Or keep the driver and install another PyTorch: \"pip install --force-reinstall"),
        ("RTX 3060", "2.1.2", "512.15", "needs 525 or newer", "driver 525 or newer"),
    ],
)
def test_what_helps_is_said_exactly(name: str, torch: str, driver: str, what: str, fix: str) -> None:
    found = cards.wrong(CARDS[name], TORCHES[torch], driver)
    assert found is not None and what in found[0] and fix.format(cards.INDEX) in found[1]


@pytest.mark.parametrize(("name", "torch"), [("GTX 1080", "2.1.2"), ("GTX 1080", "2.13.0 cu126"), ("RTX 3060", "2.13.0"), ("RTX 5090", "2.13.0")])
def test_nothing_is_wrong(name: str, torch: str) -> None:
    assert cards.wrong(CARDS[name], TORCHES[torch], "580.65") is None and cards.wrong(CARDS[name], TORCHES[torch]) is None


def test_a_build_without_cuda_and_a_card_too_old_for_all() -> None:
    plain = Build("2.13.0+cpu")
    assert "without CUDA" in cards.wrong(CARDS["RTX 3060"], plain, "580")[0]  # type: ignore[index]
    assert "cu126" in cards.wrong(CARDS["RTX 3060"], plain, "580")[1]  # type: ignore[index]
    assert "no PyTorch" in cards.wrong(Card(0, "GeForce GT 710", (3, 5)), plain, "470")[0]  # type: ignore[index]


def test_a_hidden_card_is_no_matter_of_the_driver() -> None:
    card, build = CARDS["RTX 3060"], TORCHES["2.13.0"]
    assert "CUDA_VISIBLE_DEVICES is '-1'" in cards.why(card, build, "580.1", "-1")[0]
    assert "cannot use it" in cards.why(card, build, "580.1", None)[0]
    assert "too old" in cards.why(card, build, "560.1", "0")[0]


@pytest.mark.parametrize(
    ("device", "home", "index"),
    [
        ("auto", "", 0), ("cuda", "cuda:1", 1), ("auto", "cuda:1", 1), ("cuda:0", "cuda:1", 0), ("CUDA:2", "", 2), ("cpu", "cuda:1", None),
        ("mps", "", None),
    ],
)  # fmt: skip
def test_which_card_is_meant(device: str, home: str, index: int | None) -> None:
    assert cards.index_of(device, home) == index


def test_the_words_of_torch_for_missing_code() -> None:
    assert cards.no_kernels(RuntimeError("CUDA error: no kernel image is available for execution on the device"))
    assert not cards.no_kernels(RuntimeError("CUDA out of memory."))


# -- the driver, asked without torch -------------------------------------------------------------------------------


class FakeDriver:
    """libcuda with two cards, CUDA's order: the quicker first."""

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return 0

    def cuDeviceGetCount(self, count: Any) -> None:  # noqa: N802
        count._obj.value = 2

    def cuDeviceGet(self, device: Any, index: int) -> None:  # noqa: N802
        device._obj.value = 10 + index

    def cuDeviceGetName(self, name: Any, size: int, device: Any) -> None:  # noqa: N802
        name.value = (b"NVIDIA GeForce RTX 4090", b"NVIDIA GeForce GTX 1660")[device.value - 10]

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> None:  # noqa: N802
        value._obj.value = {(10, 75): 8, (10, 76): 9, (11, 75): 7, (11, 76): 5}[device.value, attribute]

    def cuDeviceTotalMem_v2(self, total: Any, device: Any) -> None:  # noqa: N802
        total._obj.value = (24 * GB, 6 * GB)[device.value - 10]

    def cuDeviceGetUuid(self, raw: Any, device: Any) -> None:  # noqa: N802
        ctypes.memmove(raw, bytes(range(device.value, device.value + 16)), 16)


def test_cards_are_counted_as_cuda_does() -> None:
    first, second = nvidia.counted(FakeDriver())
    assert (first.device, first.name, first.capability, first.total) == ("cuda:0", "NVIDIA GeForce RTX 4090", (8, 9), 24 * GB)
    assert second.index == 1 and second.uuid == "GPU-0b0c0d0e-0f10-1112-1314-15161718191a"
    assert nvidia.counted(type("None", (), {"cuInit": lambda self, flags: 100})()) == []


def smi(monkeypatch: pytest.MonkeyPatch, text: str, children: str = "[]") -> list[list[str]]:
    """nvidia-smi prints this, and our own child that."""
    asked: list[list[str]] = []

    def answer(command: Any, environment: Any = None) -> str:
        asked.append(list(command))
        if environment is not None:
            return children
        return text if len(text.splitlines()[0].split(",")) == len(command[1].split(",")) else ""  # an old driver refuses what it does not know

    monkeypatch.setattr(nvidia.shutil, "which", lambda name: "nvidia-smi")
    monkeypatch.setattr(nvidia, "answer", answer)
    return asked


def test_nvidia_smi_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = smi(monkeypatch, "GPU-a, NVIDIA GeForce RTX 3060, 560.94, 11000, 12288, 8.6\nGPU-b, Old, 560.94, [N/A], 2048, [N/A]")
    first, second = nvidia.seen()
    assert (first.driver, first.free, first.capability) == ("560.94", 11000 * 2**20, (8, 6)) and len(asked) == 1
    assert (second.free, second.total, second.capability) == (0, 2 * GB, (0, 0))
    asked = smi(monkeypatch, "GPU-a, GeForce GTX 1080, 390.1, 8000, 8192")
    assert nvidia.seen()[0].capability == (0, 0) and len(asked) == 2


def test_memory_on_the_page_is_of_the_card_that_trains(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """CUDA counts the quicker card first, nvidia-smi the one in the first slot."""
    counted = [{"index": 0, "name": "RTX 4090", "capability": [8, 9], "total": 24 * GB, "uuid": "GPU-b"},
               {"index": 1, "name": "GTX 1660", "capability": [7, 5], "total": 6 * GB, "uuid": "GPU-a"}]  # fmt: skip
    rows = "GPU-a, GTX 1660, 580.1, 5000, 6144, 7.5\nGPU-b, RTX 4090, 580.1, 20000, 24576, 8.9"
    asked = smi(monkeypatch, rows, json.dumps(counted))
    host = Standalone(tmp_path, tmp_path)
    assert host.vram().total == 24 * GB and host.vram("cuda:1").total == 6 * GB and host.vram("cuda").free == 20000 * 2**20
    assert host.vram("cpu").total is None and host.vram("cuda:2").total is None
    assert [card.capability for card in host.cards()] == [(8, 9), (7, 5)]
    assert sum("lora_studio.nvidia" in command for command in asked) == 1, "the driver is asked once"


def test_without_the_driver_s_library_only_a_single_card_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    smi(monkeypatch, "GPU-a, GTX 1660, 580.1, 5000, 6144, 7.5")
    assert Standalone(tmp_path, tmp_path).vram().total == 6 * GB
    smi(monkeypatch, "GPU-a, GTX 1660, 580.1, 5000, 6144, 7.5\nGPU-b, RTX 4090, 580.1, 20000, 24576, 8.9")
    assert Standalone(tmp_path, tmp_path).vram().total is None
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    smi(monkeypatch, "GPU-a, GTX 1660, 580.1, 5000, 6144, 7.5")
    assert Standalone(tmp_path, tmp_path).vram().total is None


def test_the_child_that_counts_runs(tmp_path: Path) -> None:
    host = Standalone(tmp_path, tmp_path)
    assert json.loads(nvidia.answer(host.environment.module("lora_studio.nvidia"), host.environment.variables())) == [
        {**vars(card), "capability": list(card.capability)} for card in nvidia.counted()
    ]


def test_the_form_names_cards_where_there_are_several() -> None:
    from lora_studio.training import form

    def device(found: tuple[Card, ...]) -> dict[str, Any]:
        return next(f for group in form.schema(found) for f in group["fields"] if f["name"] == "device")

    two = machine("2.13.0", "RTX 4090", "GTX 1660").cards
    choices = device(tuple(two))["choices"]
    assert [value for value, _ in choices] == ["auto", "cuda:0", "cuda:1", "cpu"] and choices[2][1]["en"] == "NVIDIA GeForce GTX 1660, 6 GB (cuda:1)"
    assert device(())["kind"] == "text"


# -- the WebUI's card ----------------------------------------------------------------------------------------------


@pytest.fixture
def webui(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The WebUI as host with --device-id 1, on a machine with two cards and its own torch."""
    import sys
    from types import ModuleType, SimpleNamespace

    from lora_studio.host.webui import WebUI

    modules, shared = ModuleType("modules"), ModuleType("modules.shared")
    shared.cmd_opts = SimpleNamespace(device_id="1")  # type: ignore[attr-defined]
    modules.shared = shared  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "modules", modules)
    monkeypatch.setitem(sys.modules, "modules.shared", shared)
    monkeypatch.setitem(sys.modules, "torch", machine("2.1.2", "RTX 4090", "RTX 3060").module())
    return WebUI(), shared.cmd_opts  # type: ignore[attr-defined]


def test_with_device_id_everything_means_that_card(webui: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_studio.environment import Environment
    from lora_studio.host.base import on_its_card

    host, options = webui
    assert host.device == "cuda:1" and host.vram().total == 12 * GB and host.vram("cuda:0").total == 24 * GB and host.vram("cpu").total is None
    assert [card.device for card in host.cards()] == ["cuda:0", "cuda:1"]
    assert on_its_card(host, "auto") and on_its_card(host, "cuda:1") and not on_its_card(host, "cuda:0") and not on_its_card(host, "cpu")
    monkeypatch.setenv("LORA_STUDIO_PYTHON", "python")
    assert host.environment.variables()["LORA_STUDIO_DEVICE"] == "cuda:1"
    options.device_id = None
    assert host.device == "" and host.vram().total == 24 * GB and on_its_card(host, "cuda:0") and not on_its_card(host, "cuda:1")
    assert "LORA_STUDIO_DEVICE" not in Environment().variables()
