"""Compiled blocks compute what the others do; where there is no compiler, the training goes on without."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from lora_studio.trainer import compiled
from lora_studio.trainer.models import load_base
from lora_studio.trainer.network import LoraShape, attach
from tests.trainer.runs import digest, make_run, start

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "cl"))), reason="there is no C++ compiler")
def test_compiled_blocks_give_the_same(tiny_checkpoint: Path) -> None:
    from torch._dynamo.utils import counters

    counters.clear()
    found = []
    for quick in (False, True):
        model = load_base(tiny_checkpoint)
        network = attach(model, LoraShape(4, 4.0), 1)
        for layer in network.layers:
            layer.up.data.fill_(0.01)
        if quick:
            assert compiled.compile_blocks(model.unet, CPU) == ""
            blocks = [m for m in model.unet.modules() if type(m).__name__ in compiled.BLOCKS]
            assert blocks and all(b._compiled_call_impl is not None for b in blocks)
        for count, size in ((2, 8), (1, 16)):  # another batch, another bucket
            x = torch.randn(count, 4, size, size, generator=torch.Generator().manual_seed(1))
            answer = model.unet(x, torch.tensor([500] * count), encoder_hidden_states=torch.ones(count, 77, 64)).sample
            answer.square().mean().backward()
            found.append((answer.detach(), network.flat["unet"].grad.clone()))
        with torch.no_grad(), network.disabled():
            plain = model.unet(x, torch.tensor([500]), encoder_hidden_states=torch.ones(1, 77, 64)).sample
        found.append((plain, plain - answer.detach()))
    assert counters["frames"]["ok"] >= 2 and counters["stats"]["unique_graphs"] >= 2
    for ours, theirs in zip(found[:3], found[3:], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_without_a_compiler_the_training_says_so_and_goes_on(
    tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **kwargs: object) -> object:
        raise RuntimeError("Cannot find a working triton installation.\nmore lines")

    monkeypatch.setattr(torch, "compile", fails)
    start(make_run(tmp_path / "a", tiny_checkpoint, pictures))
    events = start(make_run(tmp_path / "b", tiny_checkpoint, pictures, compile=True))
    said = [e["message"] for e in events if e["type"] == "warning"]
    assert len(said) == 1 and "Cannot find a working triton installation." in said[0] and "more lines" not in said[0]
    assert events[-1]["type"] == "finished"
    assert digest(tmp_path / "a/output/word-02.safetensors") == digest(tmp_path / "b/output/word-02.safetensors")
