"""Step 7: one LDM-layout ``.safetensors`` with its ``.yaml``, as the WebUI takes unusual checkpoints."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from .. import ASSETS

UNET_WHOLE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}

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


def unet_key(key: str) -> str:
    """A diffusers UNet key in LDM's naming (three blocks a level, ``layers_per_block`` 2)."""
    for ours, theirs in UNET_WHOLE.items():
        if key.startswith(ours + "."):
            return theirs + key[len(ours) :]
    mid = re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", key)
    if mid:
        kind, index, rest = mid[1], int(mid[2]), mid[3]
        prefix = "middle_block.1." if kind == "attentions" else f"middle_block.{2 * index}."
    else:
        m = re.fullmatch(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.+)", key)
        if m is None:
            raise ValueError(f"unexpected UNet key {key}")
        level, kind, index, rest = int(m[2]), m[3], int(m[4]), m[5]
        if kind == "downsamplers":
            return f"input_blocks.{3 * level + 3}.0.op." + rest.removeprefix("conv.")
        if kind == "upsamplers":
            return f"output_blocks.{3 * level + 2}.{1 if level == 0 else 2}.{rest}"
        block = f"input_blocks.{3 * level + index + 1}" if m[1] == "down" else f"output_blocks.{3 * level + index}"
        prefix = f"{block}.{1 if kind == 'attentions' else 0}."
    if kind == "resnets":
        name, _, tail = rest.partition(".")
        rest = f"{RESNET[name]}.{tail}"
    return prefix + rest


def vae_key(key: str, levels: int = 4) -> str:
    """A diffusers VAE key in LDM's naming; the decoder counts its levels from the other end."""
    m = re.fullmatch(r"(encoder|decoder)\.(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.+)", key)
    if m:
        side, way, level, kind, index, rest = m[1], m[2], int(m[3]), m[4], m[5], m[6]
        level = level if way == "down" else levels - 1 - level
        part = f"block.{index}" if kind == "resnets" else f"{way}sample"
        key = f"{side}.{way}.{level}.{part}.{rest}"
    m = re.fullmatch(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d)\.(.+)", key)
    if m:
        side, kind, index, rest = m[1], m[2], int(m[3]), m[4]
        if kind == "attentions":
            name, _, tail = rest.rpartition(".")
            key = f"{side}.mid.attn_1.{VAE_ATTENTION[name]}.{tail}"
        else:
            key = f"{side}.mid.block_{index + 1}.{rest}"
    return key.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")


def to_ldm(unet: dict[str, torch.Tensor], vae: dict[str, torch.Tensor], text: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Three diffusers state dicts as one SD1.x LDM state dict, fp16."""
    out = {"model.diffusion_model." + unet_key(k): v for k, v in unet.items()}
    for k, v in vae.items():
        name = vae_key(k)
        out["first_stage_model." + name] = v[:, :, None, None] if "attn_1" in name and v.ndim == 2 else v
    out.update({"cond_stage_model.transformer." + k: v for k, v in text.items()})
    return {k: v.to(torch.float16).contiguous() for k, v in out.items()}


def export(work: Path, assets: Path = ASSETS) -> None:
    """Write checkpoint, yaml, text-encoder config and tagger into ``assets``."""
    assets.mkdir(parents=True, exist_ok=True)

    def weights(name: str, file: str = "diffusion_pytorch_model") -> dict[str, torch.Tensor]:
        return load_file(work / name / f"{file}.safetensors")

    state = to_ldm(weights("unet"), weights("vae"), weights("text_encoder", "model"))
    metadata = {"format": "pt", "modelspec.title": "Lora Studio demo world", "modelspec.architecture": "stable-diffusion-v1"}
    save_file(state, assets / "tiny_world.safetensors", metadata=metadata)
    (assets / "tiny_world.yaml").write_text(YAML, encoding="utf-8", newline="\n")
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
