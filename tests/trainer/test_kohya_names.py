"""The names a LoRA file has, on models of the published sizes (no weights: the meta device)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lora_studio.trainer import export, noise
from lora_studio.trainer.models import BaseModel, bundled_config
from lora_studio.trainer.network import LoraShape, attach

pytestmark = pytest.mark.torch


def full_size(family: str) -> BaseModel:
    config = bundled_config(family)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config["unet"])
        vae = AutoencoderKL(**config["vae"])
        encoders = [
            (CLIPTextModelWithProjection if spec["projection"] else CLIPTextModel)(CLIPTextConfig(**spec["config"]))
            for spec in config["text_encoders"]
        ]
    for module in (unet, *encoders):
        module.requires_grad_(False)
    return BaseModel(
        family, "epsilon", unet, vae, encoders, [], noise.alphas_cumprod(), Path(), torch.device("meta"), torch.float32
    )


def names_by_prefix(family: str, conv_dim: int = 0) -> dict[str, set[str]]:
    network = attach(full_size(family), LoraShape(1, 1.0, conv_dim), 0)
    found: dict[str, set[str]] = {}
    for layer in network.layers:
        prefix = next(p for p in ("lora_unet_", "lora_te1_", "lora_te2_", "lora_te_") if layer.name.startswith(p))
        found.setdefault(prefix, set()).add(layer.name)
    return found


def test_sd1_has_192_and_72_modules() -> None:
    names = names_by_prefix("sd1")
    assert {k: len(v) for k, v in names.items()} == {"lora_unet_": 192, "lora_te_": 72}
    assert "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q" in names["lora_unet_"]
    assert "lora_unet_mid_block_attentions_0_proj_in" in names["lora_unet_"]
    assert "lora_unet_up_blocks_3_attentions_2_transformer_blocks_0_ff_net_0_proj" in names["lora_unet_"]
    assert "lora_te_text_model_encoder_layers_11_mlp_fc2" in names["lora_te_"]
    assert "lora_te_text_model_encoder_layers_0_self_attn_out_proj" in names["lora_te_"]


def test_sdxl_has_722_72_and_192_modules_with_original_names() -> None:
    names = names_by_prefix("sdxl")
    assert {k: len(v) for k, v in names.items()} == {"lora_unet_": 722, "lora_te1_": 72, "lora_te2_": 192}
    assert "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q" in names["lora_unet_"]
    assert "lora_unet_middle_block_1_transformer_blocks_9_ff_net_2" in names["lora_unet_"]
    assert "lora_unet_output_blocks_0_1_proj_in" in names["lora_unet_"]
    assert "lora_unet_output_blocks_5_1_transformer_blocks_1_attn2_to_out_0" in names["lora_unet_"]
    assert "lora_te2_text_model_encoder_layers_31_self_attn_q_proj" in names["lora_te2_"]


def test_locon_adds_residual_blocks_and_samplers() -> None:
    sd1, sdxl = names_by_prefix("sd1", 2)["lora_unet_"], names_by_prefix("sdxl", 2)["lora_unet_"]
    assert (len(sd1), len(sdxl)) == (278, 788)
    head = "lora_unet_down_blocks_0_"
    assert {head + n for n in ("resnets_0_conv1", "resnets_0_conv2", "resnets_0_time_emb_proj", "downsamplers_0_conv")} <= sd1
    assert "lora_unet_up_blocks_0_upsamplers_0_conv" in sd1 and "lora_unet_down_blocks_1_resnets_0_conv_shortcut" in sd1
    for name in ("input_blocks_1_0_in_layers_2", "input_blocks_1_0_emb_layers_1", "input_blocks_1_0_out_layers_3", "input_blocks_3_0_op",
                 "input_blocks_4_0_skip_connection", "output_blocks_2_2_conv"):  # fmt: skip
        assert f"lora_unet_{name}" in sdxl


def test_only_3x3_convolutions_take_the_convolutions_rank() -> None:
    layers = {layer.name: layer for layer in attach(full_size("sd1"), LoraShape(8, 4.0, 2, 1.0), 0).layers}
    block = "lora_unet_down_blocks_1_resnets_0_"
    conv, shortcut, time = layers[block + "conv1"], layers[block + "conv_shortcut"], layers[block + "time_emb_proj"]
    assert conv.down.shape == (2, 320, 3, 3) and conv.up.shape == (640, 2, 1, 1) and conv.alpha == 1.0
    assert shortcut.down.shape == (8, 320, 1, 1) and time.down.shape == (8, 1280) and {shortcut.alpha, time.alpha} == {4.0}
    assert conv.module.scaling["default"] == 0.5 and time.module.scaling["default"] == 0.5


def test_sd2_trains_the_23_layers_it_uses() -> None:
    names = names_by_prefix("sd2")
    assert {k: len(v) for k, v in names.items()} == {"lora_unet_": 192, "lora_te_": 138}


def test_sdxl_upsampler_is_where_the_original_has_it() -> None:
    from lora_studio.trainer.ldm_keys import unet_path

    config = bundled_config("sdxl")["unet"]
    assert unet_path("up_blocks.0.upsamplers.0.conv", config) == "output_blocks.2.2.conv"
    assert unet_path("down_blocks.0.downsamplers.0.conv", config) == "input_blocks.3.0.op"
    assert unet_path("up_blocks.2.resnets.1.conv_shortcut", config) == "output_blocks.7.0.skip_connection"


def test_shapes_and_alpha_in_the_file() -> None:
    model = full_size("sd1")
    network = attach(model, LoraShape(4, 2.0), 0)

    class OnCpu:
        def __init__(self, layer: object) -> None:
            self.name, self.alpha = layer.name, layer.alpha
            self.down, self.up = torch.zeros(layer.down.shape), torch.zeros(layer.up.shape)

    tensors = export.lora_tensors([OnCpu(layer) for layer in network.layers], torch.float16)
    assert len(tensors) == 3 * 264
    query = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    assert tensors[f"{query}.lora_down.weight"].shape == (4, 768) and tensors[f"{query}.lora_up.weight"].shape == (320, 4)
    entry = "lora_unet_down_blocks_0_attentions_0_proj_in"
    assert tensors[f"{entry}.lora_down.weight"].shape == (4, 320, 1, 1)
    assert tensors[f"{entry}.alpha"].shape == () and float(tensors[f"{entry}.alpha"]) == 2.0
    assert {t.dtype for t in tensors.values()} == {torch.float16}
