"""The network of kohya's trainer: its own LoRA and LoCon, and those that LyCORIS makes like them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .kohya_report import Imported, pairs, shown_as
from .kohya_table import NETWORK_ARGS

LYCORIS = "lycoris.kohya"
#: LyCORIS' presets as they are here: (with convolutions, with text encoder)
PRESETS = {"full": (True, True), "attn-mlp": (False, True), "unet-only": (True, False), "unet-transformer-only": (False, False)}
#: of LyCORIS: values that make it plain LoRA or LoCon
PLAIN = {
    "algo": ("lora", "locon"), "use_cp": ("false",), "use_conv_cp": ("false",), "disable_conv_cp": ("true",), "use_tucker": ("false",),
    "use_scalar": ("false",), "dora_wd": ("false",), "train_norm": ("false",), "decompose_both": ("false",), "bypass_mode": ("false",),
    "rs_lora": ("false",), "wd_on_output": ("true", "false"), "factor": ("-1",), "rescaled": ("false",), "full_matrix": ("false",),
    "constraint": ("0", "0.0"), "rank_dropout_scale": ("false",),
}  # fmt: skip


def take_network(out: Imported, given: Mapping[str, Any]) -> None:
    """``network_module`` and ``network_args``; the rank and its like are taken already."""
    module = str(given.get("network_module", "networks.lora"))
    arguments = pairs(given.get("network_args"))
    if module == LYCORIS:
        _lycoris(out, arguments)
    elif module != "networks.lora":
        out.unsupported.append((f"network_module = {shown_as(module)}", "Only networks.lora (LoRA and LoCon) is here; a LoRA of this rank is taken."))
    for name, option in NETWORK_ARGS.items():
        if (value := arguments.pop(name, "")) and not (name.endswith("dropout") and value.lower() == "none"):
            out.values[option] = value
    for name, value in arguments.items():
        out.unsupported.append((f"network_args {name} = {value}", "There is no such setting of the network here."))
    if "conv_dim" in out.values:
        out.values.setdefault("conv_alpha", 1.0)
    else:
        out.values.pop("conv_alpha", None)


def _lycoris(out: Imported, arguments: dict[str, str]) -> None:
    """Arguments of LyCORIS as those of kohya's LoCon. It trains convolutions unless its preset says otherwise, by default at the rank of the rest."""
    for name, plain in PLAIN.items():
        if name in arguments and (value := arguments.pop(name)).lower() not in plain:
            out.unsupported.append((f"network_args {name} = {value}", "Only LoRA and LoCon are trained here; a LoRA of this rank is taken."))
    preset = arguments.pop("preset", "") or "full"
    if preset not in PRESETS:
        out.unsupported.append((f"network_args preset = {preset}", "There is no such preset of LyCORIS here; full is taken."))
    convolutions, text = PRESETS.get(preset, PRESETS["full"])
    if "dropout" in arguments:
        out.values["network_dropout"] = arguments.pop("dropout")
    if not text:
        out.values["text_lr"] = 0.0
        out.notes.append(f"The preset {preset} of LyCORIS leaves the text encoder alone.")
    own = {name: arguments.pop(name, "") for name in ("conv_dim", "conv_alpha")}
    if convolutions:
        for name, value in own.items():
            arguments[name] = value if value and float(value) else str(out.values[name.replace("conv", "network")])
        if not own["conv_dim"]:
            out.notes.append(f"LyCORIS trains convolutions too: conv_dim = {arguments['conv_dim']}, as network_dim.")
    elif any(own.values()):
        out.notes.append(f"The preset {preset} of LyCORIS trains no convolutions, so conv_dim is left out.")
