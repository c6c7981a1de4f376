"""Step 7: one LDM-layout ``.safetensors`` with its ``.yaml``, as the WebUI takes unusual checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from lora_studio.trainer import ldm_keys

from .. import ASSETS
from .unet import prediction_of

YAML = """\
# The WebUI reads this beside the checkpoint: the demo world's Stable Diffusion 1.x, 64 channels wide.
model:
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    linear_start: 0.00085
    linear_end: 0.0120
    num_timesteps_cond: 1
    log_every_t: 200
    timesteps: 1000
    first_stage_key: jpg
    cond_stage_key: txt
    image_size: 16
    channels: 4
    cond_stage_trainable: false
    conditioning_key: crossattn
    monitor: val/loss_simple_ema
    scale_factor: 0.18215
    use_ema: false
    unet_config:
      target: ldm.modules.diffusionmodules.openaimodel.UNetModel
      params:
        image_size: 16
        in_channels: 4
        out_channels: 4
        model_channels: 64
        attention_resolutions: [4, 2, 1]
        num_res_blocks: 2
        channel_mult: [1, 1, 1, 1]
        num_heads: 2
        use_spatial_transformer: true
        transformer_depth: 1
        context_dim: 64
        use_checkpoint: false
        legacy: false
    first_stage_config:
      target: ldm.models.autoencoder.AutoencoderKL
      params:
        embed_dim: 4
        monitor: val/rec_loss
        ddconfig:
          double_z: true
          z_channels: 4
          resolution: 128
          in_channels: 3
          out_ch: 3
          ch: 32
          ch_mult: [1, 1, 2, 2]
          num_res_blocks: 1
          attn_resolutions: []
          dropout: 0.0
        lossconfig:
          target: torch.nn.Identity
    cond_stage_config:
      target: ldm.modules.encoders.modules.FrozenCLIPEmbedder
      params:
        version: tiny_world_text_encoder
"""


UNET_SHAPE = {"layers_per_block": 2, "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3)}


def to_ldm(unet: dict[str, torch.Tensor], vae: dict[str, torch.Tensor], text: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Three diffusers state dicts as one SD1.x LDM state dict, fp16."""
    out = {ldm_keys.UNET_PREFIX + ldm_keys.unet_path(k, UNET_SHAPE): v for k, v in unet.items()}
    for k, v in vae.items():
        name = ldm_keys.vae_path(k, levels=4)
        # LDM writes the VAE's attention as 1 x 1 convolutions.
        out[ldm_keys.VAE_PREFIX + name] = v[:, :, None, None] if "attn_1" in name and v.ndim == 2 else v
    out.update({"cond_stage_model.transformer." + k: v for k, v in text.items()})
    return {k: v.to(torch.float16).contiguous() for k, v in out.items()}


def yaml_for(prediction: str) -> str:
    """The text beside a checkpoint that predicts ``epsilon`` or ``v_prediction``."""
    return YAML.replace("  params:\n", "  params:\n    parameterization: v\n", 1) if prediction == "v_prediction" else YAML


def export(work: Path, assets: Path = ASSETS) -> None:
    """Write checkpoint, yaml, text-encoder config and tagger into ``assets``."""
    assets.mkdir(parents=True, exist_ok=True)

    def weights(name: str, file: str = "diffusion_pytorch_model") -> dict[str, torch.Tensor]:
        return load_file(work / name / f"{file}.safetensors")

    state = to_ldm(weights("unet"), weights("vae"), weights("text_encoder", "model"))
    metadata = {"format": "pt", "modelspec.title": "Lora Studio demo world", "modelspec.architecture": "stable-diffusion-v1"}
    save_file(state, assets / "tiny_world.safetensors", metadata=metadata)
    (assets / "tiny_world.yaml").write_text(yaml_for(prediction_of(work)), encoding="utf-8", newline="\n")
    folder = assets / "tiny_world_text_encoder"
    folder.mkdir(exist_ok=True)
    config = json.loads((work / "text_encoder" / "config.json").read_text(encoding="utf-8"))
    for key in ("transformers_version", "torch_dtype", "dtype", "_name_or_path"):
        config.pop(key, None)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8", newline="\n")
    (assets / "tagger").mkdir(exist_ok=True)
    for name in ("model.onnx", "selected_tags.csv"):
        shutil.copyfile(work / "tagger" / name, assets / "tagger" / name)
    size = sum(f.stat().st_size for f in assets.rglob("*") if f.is_file())
    print(f"{len(state)} tensors; assets {size / 1e6:.1f} MB", flush=True)
