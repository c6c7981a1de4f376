"""Hosts on torch_directml, ZLUDA, ROCm and XPU are told what training and tagging will use."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from lora_studio import backends, doctor
from lora_studio.training.config import TrainingConfig
from lora_studio.training.preflight import preflight


@pytest.mark.parametrize(
    ("have", "arguments", "system", "kind"),
    [
        ({"torch": "2.1.2+cu121"}, "", "win32", ""),
        ({"torch": "2.13.0"}, "", "linux", ""),
        ({"torch": "2.3.1+rocm6.0"}, "", "linux", "ROCm"),
        ({"torch": "2.4.1+cpu", "torch-directml": "0.2.5.dev240914"}, "", "win32", "torch_directml"),
        ({"torch": "2.0.0", "torch-directml": "0.2.0"}, "", "linux", "torch_directml"),
        ({"torch": "2.4.1+cu121", "torch-directml": "0.2.5"}, "", "win32", ""),  # brought by an extension: the card is NVIDIA's
        ({"torch": "2.6.0+cu118"}, "--use-zluda --medvram", "win32", "ZLUDA"),
        ({"torch": "2.6.0+cu118"}, "--use-zluda", "linux", ""),
        ({"torch": "2.7.0+xpu"}, "", "win32", "XPU"),
    ],
)
def test_the_kind_is_told_from_what_is_installed(have: dict[str, str], arguments: str, system: str, kind: str) -> None:
    assert backends.kind(have, {}, arguments.split(), system) == backends.kind(have, {"COMMANDLINE_ARGS": arguments}, [], system) == kind


@pytest.mark.parametrize(("kind", "warned"), [("torch_directml", True), ("ZLUDA", True), ("XPU", True), ("ROCm", False), ("", False)])
def test_it_is_said_before_a_training_and_by_the_doctor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, warned: bool) -> None:
    backend = backends.TABLE.get(kind)
    monkeypatch.setattr(backends, "found", lambda: backend)
    values = {"base": "none.safetensors", "folders": [{"path": str(tmp_path)}], "output_name": "x", "output_dir": str(tmp_path)}
    found = preflight(TrainingConfig.from_dict(values)).warnings
    assert any("on the processor" in text and "LORA_STUDIO_PYTHON" in text for text in found) is warned
    chosen = preflight(TrainingConfig.from_dict({**values, "device": "cpu"})).warnings
    assert not any("LORA_STUDIO_PYTHON" in text for text in chosen)  # the processor was asked for
    assert doctor.backend_facts()[0].get("kind", "") == kind


def test_of_another_python_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends.pins, "installed", lambda: {"torch": "2.4.1+rocm6.0"})
    backends.found.cache_clear()
    found = backends.found()
    assert found is not None and found.kind == "ROCm"
    backends.found.cache_clear()
    monkeypatch.setenv("LORA_STUDIO_PYTHON", "/other/python")
    assert backends.found() is None
    backends.found.cache_clear()


@pytest.mark.torch
@pytest.mark.parametrize(("name", "is_one"), [("AMD Radeon RX 6800 [ZLUDA]", True), ("NVIDIA GeForce RTX 3060", False)])
def test_zluda_goes_without_what_it_does_not_have(monkeypatch: pytest.MonkeyPatch, name: str, is_one: bool) -> None:
    torch = pytest.importorskip("torch")
    from lora_studio.trainer import zluda

    asked: dict[str, bool] = {}
    for part in ("flash", "mem_efficient", "math"):
        monkeypatch.setattr(torch.backends.cuda, f"enable_{part}_sdp", lambda on, part=part: asked.update({part: on}))
    monkeypatch.delattr(torch.backends.cuda, "enable_cudnn_sdp", raising=False)  # as before torch 2.5
    monkeypatch.setattr(torch.backends, "cudnn", SimpleNamespace(enabled=True))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert zluda.settle(torch.device("cuda", 0)) is is_one
    assert torch.backends.cudnn.enabled is not is_one
    assert asked == ({"flash": False, "mem_efficient": False, "math": True} if is_one else {})
    assert zluda.settle(torch.device("cpu")) is False


class Runtime:
    """ONNX Runtime for DirectML: ``refuses`` options it does not know, as one may."""

    def __init__(self, refuses: bool = False, works: bool = True) -> None:
        self.refuses, self.works, self.asked = refuses, works, []

    SessionOptions = lambda self: SimpleNamespace(add_session_config_entry=lambda *_: None)  # noqa: E731

    def get_available_providers(self) -> list[str]:
        return ["DmlExecutionProvider", "CPUExecutionProvider"]

    def InferenceSession(self, path: str, options: object, providers: list[object]) -> SimpleNamespace:  # noqa: N802
        self.asked.append(providers)
        if self.refuses and isinstance(providers[0], tuple):
            raise ValueError("unknown option")
        if not self.works and providers != ["CPUExecutionProvider"]:
            raise RuntimeError("no adapter")
        return SimpleNamespace(get_providers=lambda: [p[0] if isinstance(p, tuple) else p for p in providers])


DML, CPU = "DmlExecutionProvider", "CPUExecutionProvider"


@pytest.mark.parametrize(
    ("runtime", "tries", "used", "warned"),
    [(Runtime(), 1, DML, 0), (Runtime(refuses=True), 2, DML, 0), (Runtime(works=False), 3, CPU, 1)],
)
def test_directml_takes_the_strong_adapter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runtime: Runtime, tries: int, used: str, warned: int
) -> None:
    from lora_studio.tagging import providers

    monkeypatch.setattr(providers, "runtime", lambda: runtime)
    session, warnings = providers.open_session(tmp_path / "model.onnx")
    assert runtime.asked[0][0] == (DML, {"performance_preference": "high_performance"})
    assert (len(runtime.asked), session.get_providers()[0], len(warnings)) == (tries, used, warned)


def test_the_runtime_that_is_installed_takes_options_beside_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The way they are given, on a provider that is here."""
    pytest.importorskip("onnxruntime")
    from lora_studio.tagging import providers

    monkeypatch.setattr(providers, "PROVIDER_OPTIONS", {CPU: {}})
    model = Path(providers.__file__).parents[1] / "demo" / "assets" / "tagger" / "model.onnx"
    session, warnings = providers.open_session(model)
    assert (session.get_providers(), warnings) == ([CPU], [])
