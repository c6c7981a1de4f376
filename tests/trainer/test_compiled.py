"""Compiled blocks compute what the others do; where there is no compiler, the training goes on without."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lora_studio.trainer import compiled
from lora_studio.trainer.models import load_base
from tests.trainer.runs import digest, make_run, start

pytestmark = pytest.mark.torch


def test_without_a_compiler_the_training_says_so_and_goes_on(
    tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: object, **kwargs: object) -> object:
        raise RuntimeError("Cannot find a working triton installation.\nmore lines")

    monkeypatch.setattr(torch, "compile", fails)
    start(make_run(tmp_path / "a", tiny_checkpoint, pictures))
    events = start(make_run(tmp_path / "b", tiny_checkpoint, pictures, compile="blocks"))
    said = [e["message"] for e in events if e["type"] == "warning"]
    assert len(said) == 1 and "(Cannot find a working triton installation.)" in said[0]
    assert events[-1]["type"] == "finished"
    assert digest(tmp_path / "a/output/word-02.safetensors") == digest(tmp_path / "b/output/word-02.safetensors")


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "cl"))), reason="there is no C++ compiler")
def test_a_compiled_training_learns_the_same(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    from torch._dynamo.utils import counters

    counters.clear()
    options = {"text_lr": 0, "epochs": 1, "prior_weight": 0.5}  # the last takes the adapters out and in again
    plain, quick = (make_run(tmp_path / kind, tiny_checkpoint, pictures, compile=kind, **options) for kind in ("off", "blocks"))
    start(plain)
    assert not counters["frames"]
    events = start(quick)
    assert [e["name"] for e in events if e["type"] == "phase"].count("compiling") == 1
    assert events[-1]["type"] == "finished" and not [e for e in events if e["type"] == "warning"]
    assert counters["frames"]["ok"] >= 2 and counters["stats"]["unique_graphs"] >= 2
    theirs, ours = (load_file(tmp_path / kind / "output" / "word-01.safetensors") for kind in ("off", "blocks"))
    assert theirs.keys() == ours.keys() and all(torch.allclose(theirs[k], ours[k], atol=2e-4) for k in theirs)


def gradients_of(unet: torch.nn.Module, wrong: float = 0.0) -> tuple[list[bool], Callable[[], torch.Tensor]]:
    """A step whose answer is off by `wrong` as soon as the blocks are compiled; and whether they were, each time."""
    seen: list[bool] = []

    def gradients() -> torch.Tensor:
        seen.append(any(b._compiled_call_impl is not None for b in compiled._blocks(unet)))
        return torch.ones(100) * (1.0 + wrong * seen[-1])

    return seen, gradients


@pytest.mark.parametrize(("wrong", "kept"), [(0.0, True), (0.005, True), (0.02, False), (float("nan"), False)])
def test_what_computes_something_else_is_not_used(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, wrong: float, kept: bool) -> None:
    monkeypatch.setattr(compiled, "_trial", lambda device: None)
    unet = load_base(tiny_checkpoint).unet
    seen, gradients = gradients_of(unet, wrong)
    reason = compiled.compile_blocks(unet, "blocks", gradients, torch.float32)
    assert seen == [False, True, True, True]
    assert (reason == "", any(b._compiled_call_impl is not None for b in compiled._blocks(unet))) == (kept, kept)
    assert kept or "something else" in reason


def test_graphs_are_for_graphics_cards_only(tiny_checkpoint: Path) -> None:
    unet = load_base(tiny_checkpoint).unet
    assert "NVIDIA" in compiled.why("graphs", torch.device("cpu"), None) and not compiled.why("blocks", torch.device("cpu"), None)
    asked = []
    unet.mid_block.attentions[0].transformer_blocks[0].compile = lambda **how: asked.append(how)
    compiled._compile(unet, "graphs")
    assert asked == [{"mode": "reduce-overhead", "dynamic": False}]
