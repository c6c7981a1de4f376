"""Names of the same weights in diffusers / transformers and in single-file (LDM, SGM) checkpoints.

Only names and layouts are described here; a checkpoint is read by asking, for each weight of the diffusers module,
what the file calls it. The same paths give kohya's SDXL names (training.md: "SAI names").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."

_OUTER = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def unet_path(path: str, config: Mapping[str, Any]) -> str:
    """LDM path of a diffusers UNet module or weight, e.g. `down_blocks.0.resnets.0.conv1` -> `input_blocks.1.0.in_layers.2`."""
    for ours, theirs in _OUTER.items():
        if path == ours or path.startswith(ours + "."):
            return theirs + path[len(ours) :]
    layers = int(config["layers_per_block"])
    match = re.match(r"(down_blocks|up_blocks)\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.?(.*)$", path)
    if match:
        side, block, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
        if kind == "downsamplers":
            return _join(f"input_blocks.{(block + 1) * (layers + 1)}.0", re.sub(r"^conv\b", "op", rest))
        if kind == "upsamplers":
            has_attention = "Attn" in config["up_block_types"][block]
            return _join(f"output_blocks.{block * (layers + 1) + layers}.{2 if has_attention else 1}", rest)
        number = block * (layers + 1) + index + (1 if side == "down_blocks" else 0)
        head = f"{'input' if side == 'down_blocks' else 'output'}_blocks.{number}.{0 if kind == 'resnets' else 1}"
    else:
        match = re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.?(.*)$", path)
        if not match:
            raise KeyError(path)
        kind, index, rest = match[1], int(match[2]), match[3]
        head = "middle_block.1" if kind == "attentions" else f"middle_block.{2 * index}"
    return _join(head, _replace_first(rest, _RESNET) if kind == "resnets" else rest)


def vae_path(path: str, levels: int) -> str:
    """LDM path of a diffusers AutoencoderKL weight; `levels` = number of resolutions."""
    path = re.sub(r"^encoder\.down_blocks\.(\d+)\.resnets\.(\d+)", r"encoder.down.\1.block.\2", path)
    path = re.sub(r"^encoder\.down_blocks\.(\d+)\.downsamplers\.0", r"encoder.down.\1.downsample", path)
    path = re.sub(
        r"^decoder\.up_blocks\.(\d+)\.resnets\.(\d+)",
        lambda m: f"decoder.up.{levels - 1 - int(m[1])}.block.{m[2]}",
        path,
    )
    path = re.sub(
        r"^decoder\.up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"decoder.up.{levels - 1 - int(m[1])}.upsample", path
    )
    path = re.sub(r"mid_block\.resnets\.(\d+)", lambda m: f"mid.block_{int(m[1]) + 1}", path)
    match = re.match(r"(.*)mid_block\.attentions\.0\.(.*)$", path)
    if match:
        path = f"{match[1]}mid.attn_1.{_replace_first(match[2], _VAE_ATTENTION)}"
    return path.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")


def _join(head: str, rest: str) -> str:
    return f"{head}.{rest}" if rest else head


def _replace_first(path: str, table: Mapping[str, str]) -> str:
    for ours, theirs in table.items():
        if path == ours or path.startswith(ours + "."):
            return theirs + path[len(ours) :]
    return path


Lookup = Callable[[str], Any]


def open_clip_weight(key: str, get: Lookup) -> Any:
    """The weight that transformers calls `key`, out of an OpenCLIP text tower; `get(name)` reads one tensor or raises KeyError.

    OpenCLIP keeps q, k and v in one matrix and the projection transposed.
    """
    match = re.match(r"text_model\.encoder\.layers\.(\d+)\.(.*)\.(weight|bias)$", key)
    if match:
        block, part, kind = f"transformer.resblocks.{match[1]}.", match[2], match[3]
        if part in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
            packed = get(f"{block}attn.in_proj_{kind}")
            size = packed.shape[0] // 3
            start = "qkv".index(part[len("self_attn.")]) * size
            return packed[start : start + size]
        names = {
            "self_attn.out_proj": "attn.out_proj",
            "layer_norm1": "ln_1",
            "layer_norm2": "ln_2",
            "mlp.fc1": "mlp.c_fc",
            "mlp.fc2": "mlp.c_proj",
        }
        return get(f"{block}{names[part]}.{kind}")
    if key == "text_projection.weight":
        try:
            return get("text_projection").T
        except KeyError:
            return get("text_projection.weight")
    names = {
        "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
        "text_model.embeddings.position_embedding.weight": "positional_embedding",
        "text_model.final_layer_norm.weight": "ln_final.weight",
        "text_model.final_layer_norm.bias": "ln_final.bias",
    }
    return get(names[key])
