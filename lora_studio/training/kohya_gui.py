"""Settings of bmaltais' kohya_ss GUI (its JSON presets and configs) in the words of kohya's own trainer."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

RENAMED = {
    "epoch": "max_train_epochs", "max_resolution": "resolution", "optimizer": "optimizer_type", "lora_network_weights": "network_weights",
    "sdxl_cache_text_encoder_outputs": "cache_text_encoder_outputs", "sdxl_no_half_vae": "no_half_vae",
}  # fmt: skip
IN_NETWORK_ARGS = ("down_lr_weight", "mid_lr_weight", "up_lr_weight", "rank_dropout", "module_dropout", "block_dims", "block_alphas",
                   "conv_block_dims", "conv_block_alphas", "block_lr_zero_threshold")  # fmt: skip
NEVER_SAID = ("none", "null")
MODULES = {"Standard": "networks.lora", "Kohya LoCon": "networks.lora"}
#: arguments that the window gives to LyCORIS alone, beside the kind of network
OF_LYCORIS = ("conv_dim", "conv_alpha", "use_cp", "use_tucker", "use_scalar", "train_norm", "bypass_mode", "dora_wd", "rank_dropout_scale",
              "decompose_both", "rescaled", "full_matrix", "constrain", "factor")  # fmt: skip
#: of the window and of network types that are not chosen: they say nothing about the training
OF_THE_WINDOW = frozenset(
    "LoRA_type LyCORIS_preset conv_dim conv_alpha lr_warmup max_resolution optimizer epoch unit train_on_input decompose_both constrain rescaled "
    "factor use_cp use_tucker use_scalar train_norm bypass_mode dora_wd rank_dropout_scale full_matrix noise_offset_type additional_parameters "
    "sdxl main_process_port dynamo_mode dynamo_use_dynamic dynamo_use_fullgraph "
    "extra_accelerate_launch_args model_list conv_alphas conv_dims use_wandb flux1_checkbox sd3_checkbox save_as_bool "
    "sdxl_checkbox learning_rate_te learning_rate_te1 learning_rate_te2 blockwise_fused_optimizers fused_optimizer_groups mem_eff_save".split()
)
#: fields of other model families, which the GUI writes always and uses only for them
OTHER_FAMILIES = re.compile(
    r"(flux|sd3|t5xxl|clip_[lg]|save_(clip|t5xxl)|single_blocks|double_blocks|apply_t5|train_blocks|split_(mode|qkv)|discrete_flow|guidance_scale|"
    r"logit_(mean|std)|mode_scale|model_prediction|timestep_sampling|weighting_scheme|train_(t5|norm|double|single)|loraplus|(img|txt|single)_)"
)


def is_gui(values: Mapping[str, Any]) -> bool:
    """Whether a file is one of the GUI's."""
    return "LoRA_type" in values or "max_resolution" in values


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The GUI's values as arguments of the trainer. Empty fields are left out; numbers may be texts."""
    said = {k: v for k, v in values.items() if v not in ("", None) and str(v).lower() not in NEVER_SAID}
    if not (said.get("flux1_checkbox") or said.get("sd3_checkbox") or str(said.get("LoRA_type")).lower().startswith(("flux", "sd3"))):
        said = {k: v for k, v in said.items() if not OTHER_FAMILIES.match(k)}
    found = {RENAMED.get(k, k): v for k, v in said.items() if k not in OF_THE_WINDOW or k in RENAMED}
    if said.get("max_train_epochs"):  # one field more for the same
        found["max_train_epochs"] = said["max_train_epochs"]
    if not float(found.get("seed") or 0):
        found.pop("seed", None)
    kind = str(said.get("LoRA_type", "Standard"))
    lycoris, _, algorithm = kind.partition("/")
    found["network_module"] = "lycoris.kohya" if lycoris == "LyCORIS" else MODULES.get(kind, kind)
    arguments = [f"{k}={str(found.pop(k)).replace(' ', '')}" for k in IN_NETWORK_ARGS if k in found and found[k] not in (0, "0", 0.0)]
    for name in IN_NETWORK_ARGS:
        found.pop(name, None)
    if kind == "Kohya LoCon":
        arguments += [f"conv_dim={said.get('conv_dim', 1)}", f"conv_alpha={said.get('conv_alpha', 1)}"]
    elif lycoris == "LyCORIS":
        more = {"algo": algorithm.lower(), "preset": said.get("LyCORIS_preset"), **{name: said.get(name) for name in OF_LYCORIS}}
        arguments += [f"{name}={value}" for name, value in more.items() if value not in (None, False, 0, "0")]
    if arguments:
        found["network_args"] = arguments
    if warmup := float(said.get("lr_warmup") or 0):  # in hundredths of all steps
        found.setdefault("lr_warmup_steps", warmup / 100)
    for name in ("optimizer_args", "lr_scheduler_args"):
        if isinstance(found.get(name), str):
            found[name] = found[name].replace('"', "").split()
    if said.get("noise_offset_type") == "Multires":
        found.pop("noise_offset", None)
    elif "noise_offset_type" in said:
        found.pop("multires_noise_iterations", None)
        found.pop("multires_noise_discount", None)
    if not float(found.get("unet_lr") or 0):  # 0 means: like the learning rate
        found.pop("unet_lr", None)
    for name in ("network_alpha", "network_dim"):
        if name in found:
            found[name] = float(found[name]) if name == "network_alpha" else int(float(found[name]))
    found.update(_flags(str(said.get("additional_parameters", ""))))
    return found


def _flags(text: str) -> dict[str, Any]:
    """``--a 1 --b --c x y`` as arguments."""
    found: dict[str, Any] = {}
    name = ""
    try:
        words = shlex.split(text)
    except ValueError:
        return {"additional_parameters": text}
    for word in words:
        if word.startswith("--"):
            name, _, value = word[2:].partition("=")
            found[name] = value or True
        elif name:
            before = found[name]
            found[name] = word if before is True else [*(before if isinstance(before, list) else [before]), word]
    return found
