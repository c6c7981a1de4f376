"""The `.yaml` beside a checkpoint: the WebUI's way to say what architecture a file has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lora_studio.errors import UserError
from lora_studio.files import read_json


@dataclass(frozen=True)
class YamlFacts:
    """What a yaml says: diffusers configs, and the text encoder's folder where it names a local one."""

    unet: dict[str, Any]
    vae: dict[str, Any]
    text_encoder: dict[str, Any] | None
    text_encoder_folder: Path | None
    prediction: str


def read_yaml(path: Path) -> YamlFacts:
    """Raises UserError for a file that is no model description."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        params = tree["model"]["params"]
        unet = unet_config(params["unet_config"]["params"])
        first_stage = params["first_stage_config"]["params"]["ddconfig"]
        vae = vae_config(first_stage, float(params.get("scale_factor", 0.18215)))
        version = (params.get("cond_stage_config", {}).get("params") or {}).get("version", "")
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        raise UserError(
            f"{path.name} does not describe a Stable Diffusion model: {error!r}",
            "Remove the .yaml beside the checkpoint if it is an ordinary SD1, SD2 or SDXL file.",
        ) from error
    folder = _local_folder(version, path.parent)
    text_encoder = None
    if folder is not None:
        text_encoder = read_json(folder / "config.json")
        text_encoder = text_encoder.get("text_config", text_encoder)
    prediction = "v_prediction" if params.get("parameterization") == "v" else "epsilon"
    return YamlFacts(unet, vae, text_encoder, folder, prediction)


def _local_folder(version: object, beside: Path) -> Path | None:
    """`version` is a folder relative to the yaml or to the working directory, or a hub name, which needs no folder."""
    if not isinstance(version, str) or not version:
        return None
    for folder in (beside / version, Path(version), beside / Path(version).name):
        if (folder / "config.json").is_file():
            return folder
    return None


def unet_config(params: dict[str, Any]) -> dict[str, Any]:
    """diffusers' UNet2DConditionModel arguments for LDM's `unet_config.params`."""
    width = int(params["model_channels"])
    multiples = [int(m) for m in params["channel_mult"]]
    levels = len(multiples)
    attention = {int(a) for a in params["attention_resolutions"]}
    has_attention = [2**level in attention for level in range(levels)]
    depth = params.get("transformer_depth", 1)
    depths = [int(d) for d in depth] if isinstance(depth, (list, tuple)) else [int(depth)] * levels
    widths = [width * m for m in multiples]
    per_head = int(params.get("num_head_channels", -1))
    # diffusers calls the number of heads `attention_head_dim` in this family
    heads: int | list[int] = [w // per_head for w in widths] if per_head > 0 else int(params["num_heads"])
    config: dict[str, Any] = {
        "sample_size": 64,
        "in_channels": int(params["in_channels"]),
        "out_channels": int(params["out_channels"]),
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in has_attention],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(has_attention)],
        "block_out_channels": widths,
        "layers_per_block": int(params["num_res_blocks"]),
        "norm_num_groups": 32,
        "cross_attention_dim": int(params["context_dim"]),
        "attention_head_dim": heads,
        "use_linear_projection": bool(params.get("use_linear_in_transformer", False)),
        "transformer_layers_per_block": [max(1, d) for d in depths],
    }
    if params.get("adm_in_channels"):
        config.update(
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=int(params["adm_in_channels"]),
        )
    return config


def vae_config(ddconfig: dict[str, Any], scale: float) -> dict[str, Any]:
    """diffusers' AutoencoderKL arguments for LDM's `ddconfig`."""
    widths = [int(ddconfig["ch"]) * int(m) for m in ddconfig["ch_mult"]]
    return {
        "in_channels": int(ddconfig.get("in_channels", 3)),
        "out_channels": int(ddconfig.get("out_ch", 3)),
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "block_out_channels": widths,
        "layers_per_block": int(ddconfig["num_res_blocks"]),
        "act_fn": "silu",
        "latent_channels": int(ddconfig["z_channels"]),
        "norm_num_groups": 32,
        "sample_size": int(ddconfig.get("resolution", 256)),
        "scaling_factor": scale,
    }
