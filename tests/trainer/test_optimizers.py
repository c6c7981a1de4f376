"""Every optimizer learns, and goes on after an interruption as if there had been none."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from lora_studio.errors import UserError
from lora_studio.trainer import optimizers
from lora_studio.trainer.network import _flatten
from lora_studio.trainer.optimizer import Optimizer
from lora_studio.trainer.optimizers import KINDS
from lora_studio.trainer.state import Position, load_state, save_state
from lora_studio.training.config import TrainingConfig
from lora_studio.training.options import CHOICES, FINDS_RATE

pytestmark = pytest.mark.torch
HERE = [name for name in KINDS if name != "adamw8bit"]


class Net:
    """Two parts of two matrices each, as the LoRA keeps them: views into one flat tensor a part."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(1)
        self.parts = {
            part: [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((4, 12), (8, 4))] for part in ("unet", "text")
        }
        self.flat = {part: _flatten(matrices) for part, matrices in self.parts.items()}
        self.groups = {part: (part, 1.0) for part in self.parts}

    def has(self, part: str) -> bool:
        return part in self.parts

    def matrices(self, part: str) -> list[torch.nn.Parameter]:
        return self.parts[part]

    def zero_grad(self) -> None:
        for flat in self.flat.values():
            flat.grad.zero_()

    def loss(self, step: int) -> torch.Tensor:
        x = torch.randn(16, 12, generator=torch.Generator().manual_seed(step))
        total = torch.zeros(())
        for down, up in self.parts.values():
            total = total + (x @ down.T @ up.T - x[:, :8]).square().mean()
        return total


def configured(tmp_path: Path, name: str, **more: Any) -> TrainingConfig:
    rate = 1.0 if name in FINDS_RATE else 0.02
    return TrainingConfig.from_dict(
        {"base": "b", "folders": ["f"], "output_name": "n", "output_dir": str(tmp_path), "optimizer": name, "unet_lr": rate, "text_lr": rate, **more}
    )


def run(net: Net, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        optimizer.backward(net.loss(step))
        optimizer.step(1.0 - step / 400)


def test_the_table_and_the_choices_agree() -> None:
    assert tuple(KINDS) == CHOICES["optimizer"]
    assert {name for name, kind in KINDS.items() if kind.finds_rate} == set(FINDS_RATE)


@pytest.mark.parametrize("name", HERE)
def test_learns(tmp_path: Path, name: str) -> None:
    net = Net()
    before = float(net.loss(999).detach())
    optimizer = Optimizer(net, configured(tmp_path, name))
    run(net, optimizer, range(300))
    assert float(net.loss(999).detach()) < 0.6 * before
    assert all(rate > 0 for rate in optimizer.rates().values())


@pytest.mark.parametrize("name", HERE)
def test_goes_on_to_the_bit(tmp_path: Path, name: str) -> None:
    config = configured(tmp_path, name)
    straight, halted, resumed = Net(), Net(), Net()
    run(straight, Optimizer(straight, config), range(14))
    first = Optimizer(halted, config)
    run(halted, first, range(9))
    second = Optimizer(resumed, config)
    second.load(load(save({k: v.contiguous() for k, v in first.tensors().items()})))
    run(resumed, second, range(9, 14))
    for part in ("unet", "text"):
        assert torch.equal(straight.flat[part], resumed.flat[part])


def test_the_state_of_another_optimizer_or_rank_is_refused(tmp_path: Path) -> None:
    first = Optimizer(Net(), configured(tmp_path, "adamw"))
    tensors = first.tensors()
    with pytest.raises(UserError, match="does not fit"):
        first.load({**tensors, "unet.weights": torch.zeros(3)})
    with pytest.raises(UserError, match="does not fit"):
        first.load({k: v for k, v in tensors.items() if k != "unet.weights"})


def test_arguments_are_passed_and_refused_in_words(tmp_path: Path) -> None:
    made = Optimizer(Net(), configured(tmp_path, "prodigy", optimizer_args=["d_coef=0.5"]))
    assert made._inner.param_groups[0]["d_coef"] == 0.5
    with pytest.raises(UserError, match="refuses its arguments"):
        Optimizer(Net(), configured(tmp_path, "sgd_nesterov", optimizer_args=["bogus=1"]))
    with pytest.raises(UserError, match="not key=value"):
        Optimizer(Net(), configured(tmp_path, "lion", optimizer_args=["bogus"]))


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is there")
def test_a_missing_package_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="bitsandbytes"):
        Optimizer(Net(), configured(tmp_path, "adamw8bit"))


def test_a_rate_finder_is_not_given_a_usual_rate(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="finds the learning rate by itself"):
        configured(tmp_path, "prodigy", unet_lr=5e-4, text_lr=1e-4)


def test_without_a_fused_step_the_plain_one_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch 2.1 accepts fused=True for parameters on the processor and fails at the first step."""
    real = torch.optim.AdamW.step

    def step(self: torch.optim.AdamW, *arguments: object) -> object:
        if self.defaults["fused"]:
            raise NotImplementedError("Could not run 'aten::_fused_adamw_'")
        return real(self, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    optimizers._fused_works.cache_clear()
    try:
        parameter = torch.nn.Parameter(torch.ones(3))
        made = optimizers.make(configured(tmp_path, "adamw"), [{"params": [parameter], "lr": 0.1}])
        parameter.grad = torch.ones(3)
        made.step()
        assert (parameter < 1).all()
    finally:
        optimizers._fused_works.cache_clear()


def test_a_table_that_parameters_share_can_be_saved(tmp_path: Path) -> None:
    """As the 8-bit optimizers' own tables on a processor: safetensors refuses tensors that share memory."""
    table = torch.arange(8.0)
    save_state(tmp_path, Position(step=1), {"a": table, "b": table, "c": table[:4], "d": torch.ones(2)})
    position, tensors = load_state(tmp_path)
    assert position.step == 1 and torch.equal(tensors["a"], table) and torch.equal(tensors["b"], table) and torch.equal(tensors["c"], table[:4])
