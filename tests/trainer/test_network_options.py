"""Dropouts, the limit on norms, block weights and going on from a LoRA: against formulas written here once more."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_studio.errors import UserError
from lora_studio.trainer import blocks, network
from lora_studio.trainer.export import lora_tensors
from lora_studio.trainer.models import load_base
from lora_studio.trainer.network import LoraShape, attach
from lora_studio.trainer.optimizer import Optimizer
from lora_studio.trainer.start import start_from
from lora_studio.training.config import TrainingConfig

pytestmark = pytest.mark.torch


def config(**changes: Any) -> TrainingConfig:
    return TrainingConfig.from_dict({"base": "b", "folders": ["f"], "output_name": "n", "output_dir": "o", **changes})


def moved(path: Path, **changes: Any) -> network.Network:
    """A network whose up matrices are not zero any more."""
    net = attach(load_base(path), LoraShape.of(config(network_dim=4, network_alpha=2, **changes)), 1)
    generator = torch.Generator().manual_seed(5)
    for layer in net.layers:
        layer.up.data.copy_(torch.randn(layer.up.shape, generator=generator))
    return net


def layer_of(net: network.Network, end: str) -> network.Layer:
    return next(layer for layer in net.layers if layer.name.endswith(end))


@pytest.mark.parametrize(("end", "shape"), [("attn1_to_q", (3, 7, 64)), ("proj_in", (3, 64, 4, 4)), ("mlp_fc1", (3, 7, 64))])
def test_dropouts_are_kohyas(full_checkpoint: Path, end: str, shape: tuple[int, ...]) -> None:
    net = moved(full_checkpoint, network_dropout=0.3, rank_dropout=0.5)
    layer = layer_of(net, end)
    torch.manual_seed(1)
    x = torch.randn(shape)
    if layer.module.base_layer.weight.ndim == 2 and x.ndim == 4:
        x = x.flatten(2).transpose(1, 2)
    with torch.no_grad():
        base, inner = layer.module.base_layer(x), layer.module.lora_A["default"](x)
        plain = base + 0.5 * layer.module.lora_B["default"](inner)
        assert torch.allclose(layer.module(x), plain, atol=1e-5)  # not while samples are drawn
        net.dropout.active = True
        torch.manual_seed(2)
        answer = layer.module(x)
        torch.manual_seed(2)
        inner = torch.nn.functional.dropout(inner, 0.3)
        mask = torch.rand(3, 4) > 0.5
        mask = mask[:, :, None, None] if inner.ndim == 4 else mask[:, None, :]
        expected = base + 0.5 / (1 - 0.5) * layer.module.lora_B["default"](inner * mask)
    assert torch.allclose(answer, expected, atol=1e-5) and not torch.allclose(answer, plain, atol=1e-2)


def test_module_dropout_leaves_out_whole_layers(full_checkpoint: Path) -> None:
    net = moved(full_checkpoint, module_dropout=0.25)
    module = layer_of(net, "attn1_to_q").module
    net.dropout.active = True
    x = torch.randn(1, 2, 64)
    torch.manual_seed(0)
    with torch.no_grad():
        base = module.base_layer(x)
        skipped = sum(torch.equal(module(x), base) for _ in range(400))
    assert 70 < skipped < 130


def test_the_limit_on_norms_is_kohyas(full_checkpoint: Path) -> None:
    net = moved(full_checkpoint, conv_dim=3, conv_alpha=3)
    before = [(layer.down.detach().clone(), layer.up.detach().clone()) for layer in net.layers]
    norms = []
    for layer, (down, up) in zip(net.layers, before, strict=True):
        change = (up.flatten(1) @ down.flatten(1)) * (layer.alpha / down.shape[0])
        norms.append(float(change.norm()))
    ordered, half = sorted(norms), len(norms) // 2
    limit = (ordered[half] + ordered[half + 1]) / 2  # between two: which are above is beyond rounding
    shrunk, mean, largest = net.limit_norms(limit).tolist()
    assert shrunk == sum(n > limit for n in norms) > 0
    assert largest == pytest.approx(limit, rel=1e-5) and mean == pytest.approx(sum(min(n, limit) for n in norms) / len(norms), rel=1e-4)
    for layer, (down, up), norm in zip(net.layers, before, norms, strict=True):
        factor = math.sqrt(min(1.0, limit / norm))
        assert torch.allclose(layer.down, down * factor, rtol=1e-4, atol=1e-6) and torch.allclose(layer.up, up * factor, rtol=1e-4, atol=1e-6)
    flat = torch.cat([m.detach().flatten() for layer in net.layers if layer.part == "unet" for m in (layer.down, layer.up)])
    assert torch.equal(net.flat["unet"].detach(), flat)  # still views into the flat tensor


NAMES = {
    "sd1": {
        "lora_unet_down_blocks_0_attentions_0_proj_in": ("down", 1),
        "lora_unet_down_blocks_0_downsamplers_0_conv": ("down", 3),
        "lora_unet_down_blocks_3_resnets_1_conv1": ("down", 11),
        "lora_unet_mid_block_attentions_0_proj_in": ("mid", 0),
        "lora_unet_up_blocks_0_upsamplers_0_conv": ("up", 2),
        "lora_unet_up_blocks_3_attentions_2_proj_out": ("up", 11),
        "lora_te_text_model_encoder_layers_0_mlp_fc1": None,
    },
    "sdxl": {
        "lora_unet_input_blocks_4_1_proj_in": ("down", 4),
        "lora_unet_middle_block_1_proj_in": ("mid", 1),
        "lora_unet_output_blocks_8_0_in_layers_2": ("up", 8),
        "lora_te2_text_model_encoder_layers_0_mlp_fc1": None,
    },
}


@pytest.mark.parametrize("family", NAMES)
def test_blocks_are_counted_as_kohya_counts_them(family: str) -> None:
    for name, place in NAMES[family].items():
        assert blocks.block_of(name, family) == place, name


def test_block_weights_are_read_and_miscounts_refused() -> None:
    weights = blocks.weight_of_block(config(down_lr_weight="cosine+.25", up_lr_weight="0,,1,1,1,1,1,1,1,1,1,.5", mid_lr_weight="2"), "sd1")
    assert weights["down", 0] == pytest.approx(1.25) and weights["down", 11] == pytest.approx(0.25)
    assert weights["down", 4] == pytest.approx(math.sin(math.pi * 7 / 11 / 2) + 0.25)
    assert (weights["up", 0], weights["up", 1], weights["up", 11], weights["mid", 0]) == (0.0, 0.0, 0.5, 2.0)
    with pytest.raises(UserError, match=r"3 numbers.*9 down"):
        blocks.weight_of_block(config(down_lr_weight="1,1,1"), "sdxl")
    for wrong in ({"down_lr_weight": "abc"}, {"mid_lr_weight": "sine"}, {"up_lr_weight": "-1,1"}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            config(**wrong)


def test_block_weights_scale_the_rate_and_leave_out_blocks_of_zero(full_checkpoint: Path) -> None:
    plain = {"optimizer": "sgd_nesterov", "weight_decay": 0, "max_grad_norm": 0, "unet_lr": 0.1, "text_lr": 0.01}
    made = config(network_dim=4, network_alpha=2, mid_lr_weight="0.5", up_lr_weight="zeros", **plain)
    net = attach(load_base(full_checkpoint), LoraShape.of(made), 1)
    assert not any("_up_blocks_" in layer.name for layer in net.layers) and any("_down_blocks_" in layer.name for layer in net.layers)
    assert set(net.flat) == {"unet", "unet x0.5", "text"} and net.has("unet") and net.has("text")
    before = {g: flat.detach().clone() for g, flat in net.flat.items()}
    for flat in net.flat.values():
        flat.grad.fill_(1.0)
    optimizer = Optimizer(net, made)
    optimizer.step(1.0)
    steps = {g: float((before[g] - flat.detach()).mean()) for g, flat in net.flat.items()}
    assert steps["unet x0.5"] == pytest.approx(steps["unet"] / 2, rel=1e-3) and steps["text"] == pytest.approx(steps["unet"] / 10, rel=1e-3)
    assert optimizer.rates() == {"unet": 0.1, "text": 0.01}


def test_going_on_from_a_lora_takes_its_strength(tmp_path: Path, full_checkpoint: Path) -> None:
    first = moved(full_checkpoint)
    path = tmp_path / "first.safetensors"
    tensors = {k.replace("lora_te_", "lora_te1_"): v for k, v in lora_tensors(first.layers, torch.float32).items()}
    save_file(tensors, path)  # other programs call the text encoder te1
    second = attach(load_base(full_checkpoint), LoraShape(4, 4.0), 9)
    assert start_from(second, path) == []
    for a, b in zip(first.layers, second.layers, strict=True):
        assert torch.allclose(a.scale * (a.up.flatten(1) @ a.down.flatten(1)), b.scale * (b.up.flatten(1) @ b.down.flatten(1)), atol=1e-5)
    assert torch.equal(second.flat["unet"].detach(), torch.cat([m.detach().flatten() for m in second.matrices("unet")]))


def test_a_lora_that_does_not_fit_is_refused_with_advice(tmp_path: Path, full_checkpoint: Path) -> None:
    path = tmp_path / "first.safetensors"
    save_file(lora_tensors(moved(full_checkpoint, conv_dim=3).layers, torch.float32), path)
    base = load_base(full_checkpoint)
    with pytest.raises(UserError, match="rank 4") as caught:
        start_from(attach(base, LoraShape(8, 4.0, 3), 1), path)
    assert "network_dim to 4" in caught.value.hint
    with pytest.raises(UserError, match="LoCon") as caught:
        start_from(attach(load_base(full_checkpoint), LoraShape(4, 4.0), 1), path)
    assert "conv_dim to 3" in caught.value.hint
    notes = start_from(attach(load_base(full_checkpoint), LoraShape(4, 4.0, 3), 1, text=False), path)
    assert len(notes) == 1 and "text_lr is 0" in notes[0]
    foreign = tmp_path / "foreign.safetensors"
    save_file({k.replace("lora_unet_", "lora_other_"): v for k, v in load_file(path).items() if "unet" in k}, foreign)
    with pytest.raises(UserError, match="none of the layers"):
        start_from(attach(load_base(full_checkpoint), LoraShape(4, 4.0), 1, text=False), foreign)
    with pytest.raises(UserError, match="does not exist"):
        start_from(attach(load_base(full_checkpoint), LoraShape(4, 4.0), 1), tmp_path / "nowhere.safetensors")
