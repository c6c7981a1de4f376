"""Randomly initialised models in the demo model's shape, written as LDM files, and small picture folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

YAML = """\
model:
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    linear_start: 0.00085
    linear_end: 0.0120
    timesteps: 1000
    parameterization: {parameterization}
    scale_factor: 0.18215
    unet_config:
      params:
        in_channels: 4
        out_channels: 4
        model_channels: {width}
        attention_resolutions: {attention}
        num_res_blocks: {layers}
        channel_mult: {mult}
        num_heads: 2
        use_spatial_transformer: true
        transformer_depth: 1
        context_dim: 64
        legacy: false
    first_stage_config:
      params:
        ddconfig:
          z_channels: 4
          in_channels: 3
          out_ch: 3
          ch: 32
          ch_mult: [1, 1, 1, 1]
          num_res_blocks: 1
    cond_stage_config:
      params:
        version: tiny_text_encoder
"""


def write_tiny_checkpoint(folder: Path, *, full: bool = False, parameterization: str = "eps") -> Path:
    """A random model as `tiny.safetensors` + `tiny.yaml` + text encoder folder; `full` has SD1's own block layout."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from lora_studio.trainer import ldm_keys
    from lora_studio.trainer.ldm_yaml import read_yaml

    folder.mkdir(parents=True, exist_ok=True)
    shape = (
        {"width": 64, "mult": [1, 1, 1, 1], "attention": [4, 2, 1], "layers": 2}
        if full
        else {"width": 32, "mult": [1, 1], "attention": [1], "layers": 1}
    )
    path = folder / "tiny.safetensors"
    path.with_suffix(".yaml").write_text(YAML.format(parameterization=parameterization, **shape), encoding="utf-8")
    text_folder = folder / "tiny_text_encoder"
    text_folder.mkdir(exist_ok=True)
    text = {
        "vocab_size": 49408,
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
        "bos_token_id": 49406,
        "eos_token_id": 49407,
        "pad_token_id": 49407,
    }
    (text_folder / "config.json").write_text(json.dumps(text), encoding="utf-8")
    facts = read_yaml(path.with_suffix(".yaml"))
    torch.manual_seed(0)
    unet, vae = UNet2DConditionModel(**facts.unet), AutoencoderKL(**facts.vae)
    encoder = CLIPTextModel(CLIPTextConfig(**text))
    tensors = {"model.diffusion_model." + ldm_keys.unet_path(k, facts.unet): v for k, v in unet.state_dict().items()}
    for key, value in vae.state_dict().items():
        name = ldm_keys.vae_path(key, len(facts.vae["block_out_channels"]))
        if ".attn_1." in name and value.ndim == 2:  # LDM keeps these as 1x1 convolutions
            value = value[:, :, None, None]
        tensors["first_stage_model." + name] = value
    tensors.update({"cond_stage_model.transformer." + k: v for k, v in encoder.state_dict().items()})
    save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata={"format": "pt"})
    return path


def write_pictures(folder: Path, count: int = 5, size: int = 64) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for number in range(count):
        pixels = random.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"word, smile, tag {number}, blue background", encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def full_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SD1's block layout at the demo model's widths: 192 UNet modules."""
    return write_tiny_checkpoint(tmp_path_factory.mktemp("full"), full=True)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pictures"))
