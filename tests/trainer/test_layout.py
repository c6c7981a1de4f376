"""The order of numbers in memory changes nothing but the time, and the quicker one is taken."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from lora_studio.trainer import layout, prepared
from lora_studio.trainer.layout import find_quicker, lay_out
from lora_studio.trainer.models import load_base
from lora_studio.trainer.network import LoraShape, attach
from tests.trainer.runs import digest, make_run, start

pytestmark = pytest.mark.torch


def is_last(unet: nn.Module) -> bool:
    weights = [m.weight for m in unet.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) and not m.weight.requires_grad]
    answers = {w.is_contiguous(memory_format=torch.channels_last) and not w.is_contiguous() for w in weights}
    assert len(answers) == 1
    return answers.pop()


@pytest.mark.parametrize("fp8", [False, True])
def test_the_order_changes_no_result_and_leaves_the_lora_in_its_vector(full_checkpoint: Path, fp8: bool) -> None:
    model = load_base(full_checkpoint, fp8=fp8)
    network = attach(model, LoraShape(4, 4.0, 2), 1)
    with torch.no_grad():
        for layer in network.layers:
            layer.up.fill_(0.01)
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    found = []
    for channels_last in (False, True, False):
        lay_out(model.unet, channels_last)
        assert is_last(model.unet) == channels_last
        network.zero_grad()
        answer = model.unet(x, torch.tensor([500, 20]), encoder_hidden_states=torch.ones(2, 77, 64)).sample
        answer.square().mean().backward()
        found.append((answer.detach(), network.flat["unet"].grad.clone()))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    start = network.flat["unet"].untyped_storage().data_ptr()
    assert all(layer.down.untyped_storage().data_ptr() == start for layer in network.layers if layer.part == "unet")


@pytest.mark.parametrize("slow", [False, True])
def test_the_quicker_one_is_taken(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, slow: bool) -> None:
    """Told apart by a clock that only the steps move on."""
    unet, now = load_base(tiny_checkpoint).unet, [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def step() -> None:
        now[0] += 2.0 if is_last(unet) == slow else 1.0

    assert find_quicker(unet, step, lambda: None) is not slow and is_last(unet) is not slow


def test_a_gain_that_may_be_noise_is_none(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unet, now = load_base(tiny_checkpoint).unet, [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def step() -> None:
        now[0] += (1.0 - layout.LEAST_GAIN / 2) if is_last(unet) else 1.0

    assert find_quicker(unet, step, lambda: None) is False and not is_last(unet)


def test_what_was_found_at_first_holds_for_the_whole_run(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(prepared, "lay_out", lambda unet, channels_last: asked.append(channels_last))
    run = make_run(tmp_path, tiny_checkpoint, pictures, epochs=1)
    (run / prepared.LAYOUT).write_text(json.dumps({"channels_last": True}), encoding="utf-8")
    start(run)
    assert asked == [True]


def test_a_rehearsal_leaves_no_trace(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole choice, on a processor that is taken for a card: the run is the same as without it."""
    start(make_run(tmp_path / "a", tiny_checkpoint, pictures, epochs=1))
    choose = prepared.Prepared._choose_layout

    def as_on_a_card(self: prepared.Prepared) -> None:
        find_quicker(self.model.unet, self.rehearse, lambda: None)
        self.network.zero_grad()
        choose(self)

    monkeypatch.setattr(prepared.Prepared, "_choose_layout", as_on_a_card)
    start(make_run(tmp_path / "b", tiny_checkpoint, pictures, epochs=1))
    assert digest(tmp_path / "a/output/word-01.safetensors") == digest(tmp_path / "b/output/word-01.safetensors")
