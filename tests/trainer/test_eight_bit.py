"""A base model kept in 8 bits: how exact it is, what it keeps in memory, and that a LoRA learns on it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lora_studio.trainer import eight_bit
from lora_studio.trainer.__main__ import main
from lora_studio.trainer.models import load_base
from lora_studio.trainer.network import LoraShape, attach
from tests.trainer.runs import diary, digest, make_run, start

pytestmark = pytest.mark.torch
CPU = torch.device("cpu")


class Stack(nn.Module):
    """One layer at the place where a UNet has its blocks."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.mid_block = nn.Sequential(layer)
        self.requires_grad_(False)


LAYERS = {
    "linear": (lambda: nn.Linear(24, 40), (3, 7, 24)),
    "linear without bias": (lambda: nn.Linear(24, 40, bias=False), (5, 24)),
    "1x1": (lambda: nn.Conv2d(8, 12, 1), (2, 8, 6, 5)),
    "3x3": (lambda: nn.Conv2d(8, 12, 3, padding=1), (2, 8, 6, 5)),
    "down": (lambda: nn.Conv2d(8, 12, 3, stride=2, padding=1), (2, 8, 7, 9)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_computes_with_its_rounded_weight(name: str, dtype: torch.dtype) -> None:
    make, shape = LAYERS[name]
    torch.manual_seed(1)
    layer = make()
    layer.weight.data[0] *= 1000  # one row far larger than the others must not cost them their precision
    before = layer.weight.detach().clone()
    model = Stack(layer).to(dtype)
    assert eight_bit.store(model, dtype, CPU) == 1
    assert layer.weight.dtype == torch.float8_e4m3fn and layer.weight.element_size() == 1

    whole = layer.weight.float() * getattr(layer, eight_bit.SCALE).float()
    largest = before.flatten(1).abs().amax(dim=1).view(-1, *[1] * (before.ndim - 1))
    assert ((whole - before).abs() <= before.abs() / 16 + largest / 448 / 512 + before.abs() / 100).all()

    plain = copy.deepcopy(make()).to(dtype).requires_grad_(False)
    plain.weight = nn.Parameter((layer.weight.to(dtype) * getattr(layer, eight_bit.SCALE)), requires_grad=False)
    plain.bias = layer.bias
    x, y = (torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(dtype).requires_grad_() for _ in range(2))
    ours, theirs = model.mid_block(x), plain(y)
    close = {"rtol": 2e-2, "atol": 2e-1} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-4}
    torch.testing.assert_close(ours, theirs, **close)
    pull = torch.randn(ours.shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    ours.backward(pull)
    theirs.backward(pull)
    torch.testing.assert_close(x.grad, y.grad, **close)


def test_the_whole_weights_are_not_kept_for_the_backward_pass() -> None:
    kept: dict[bool, int] = {}
    for stored in (False, True):
        model = Stack(nn.Linear(512, 512)).to(torch.bfloat16)
        if stored:
            eight_bit.store(model, torch.bfloat16, CPU)
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel() * tensor.element_size())
            return tensor

        x = torch.randn(2, 512, dtype=torch.bfloat16, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model.mid_block(x)
        kept[stored] = sum(sizes)
    assert 512 * 512 <= kept[True] < 512 * 512 + 10_000 < kept[False]


def test_a_model_takes_little_more_than_a_byte_a_weight(full_checkpoint: Path) -> None:
    plain, stored = load_base(full_checkpoint), load_base(full_checkpoint, fp8=True)
    for before, after in zip((plain.unet, *plain.text_encoders), (stored.unet, *stored.text_encoders), strict=True):
        eighths = [m for m in after.modules() if eight_bit.is_stored(m)]
        assert eighths and all(m.weight.dtype == torch.float8_e4m3fn for m in eighths)
        inside = sum(m.weight.numel() for m in eighths)
        assert sum(p.numel() * p.element_size() for p in after.parameters()) == sum(4 * p.numel() for p in before.parameters()) - 3 * inside
    # nearly all of a UNet lies in its blocks
    assert sum(m.weight.numel() for m in stored.unet.modules() if eight_bit.is_stored(m)) > 0.95 * sum(p.numel() for p in plain.unet.parameters())
    x, text = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.zeros(1, 77, 64)
    exact, rounded = (m.unet(x, torch.tensor([500]), encoder_hidden_states=text).sample for m in (plain, stored))
    assert 0 < (rounded - exact).norm() / exact.norm() < 0.1


def test_the_lora_stays_whole(full_checkpoint: Path) -> None:
    model = load_base(full_checkpoint, fp8=True)
    network = attach(model, LoraShape(4, 4.0, 2), 1)
    assert all(flat.dtype == torch.float32 for flat in network.flat.values())
    assert all(layer.down.dtype == layer.up.dtype == torch.float32 for layer in network.layers)
    assert all(bool(layer.down.any()) for layer in network.layers)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_training_learns_on_it(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, checkpointing: bool) -> None:
    options: dict[str, Any] = {
        "fp8_base": True, "gradient_checkpointing": checkpointing, "conv_dim": 2, "sample_prompts": ["word"], "sample_steps": 2, "prior_weight": 0.5,
    }  # fmt: skip
    run = make_run(tmp_path / "a", tiny_checkpoint, pictures, **options)
    events = start(run)
    assert events[-1]["type"] == "finished" and list((run / "samples").glob("*.png"))
    start(make_run(tmp_path / "b", tiny_checkpoint, pictures, **options))
    start(make_run(tmp_path / "c", tiny_checkpoint, pictures, **{**options, "fp8_base": False}))
    files = [tmp_path / name / "output" / "word-02.safetensors" for name in "abc"]
    assert digest(files[0]) == digest(files[1]) != digest(files[2])


def test_a_device_without_such_numbers_is_told(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eight_bit, "allowed", lambda device: False)
    run = make_run(tmp_path, tiny_checkpoint, pictures, fp8_base=True)
    assert main([str(run)]) == 1
    last = diary(run)[-1]
    assert last["type"] == "failed" and "8 bits" in last["message"] and "fp8_base" in last["hint"]
