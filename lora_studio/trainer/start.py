"""Going on from a LoRA that is there already (kohya's `network_weights`): its matrices become the new LoRA's first ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from lora_studio.errors import UserError
from lora_studio.trainer.merge import read_lora
from lora_studio.trainer.network import Layer, Network

Parts = Mapping[str, torch.Tensor]


def start_from(network: Network, path: str | Path) -> list[str]:
    """Copy a file's matrices into a fresh network; returns what a person should know, in sentences.

    A file made with another alpha is taken with the strength it has. Raises UserError where the ranks differ, or where the file
    holds something that this network has no place for.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"The LoRA {path} to go on from does not exist.", "Choose another file, or leave network_weights empty.")
    found = read_lora(path)
    if _one_encoder(network):
        found = {name.replace("lora_te1_", "lora_te_"): parts for name, parts in found.items()}
    anew = 0
    for layer in network.layers:
        parts = found.pop(layer.name, None)
        if parts is None:
            anew += 1
            continue
        _check(layer, parts, path.name)
        rank = layer.down.shape[0]
        strength = float(parts.get("alpha", torch.tensor(float(rank)))) / rank / layer.scale
        with torch.no_grad():
            layer.down.copy_(parts["lora_down.weight"].reshape(layer.down.shape))
            layer.up.copy_(parts["lora_up.weight"].reshape(layer.up.shape) * strength)
    if anew == len(network.layers):
        raise UserError(f"{path.name} fits none of the layers that are trained here.", "It was made for another kind of base model.")
    notes = [f"{anew} layers are not in {path.name}: they begin anew."] if anew else []
    return notes + _left_over(found, network, path.name)


def _one_encoder(network: Network) -> bool:
    return not any(layer.name.startswith("lora_te2_") for layer in network.layers)


def _check(layer: Layer, parts: Parts, name: str) -> None:
    down, up = parts.get("lora_down.weight"), parts.get("lora_up.weight")
    if down is None or up is None or set(parts) - {"lora_down.weight", "lora_up.weight", "alpha"}:
        raise UserError(f"{name} is no plain LoRA: {layer.name} has {', '.join(sorted(parts))}.", "Choose a LoRA or LoCon.")
    rank, wanted = down.shape[0], layer.down.shape[0]
    if rank != wanted:
        option = "network_dim" if layer.down.ndim == 2 or layer.down.shape[-1] == 1 else "conv_dim"
        raise UserError(f"{name} has rank {rank} at {layer.name}, this run has {wanted}.", f"Set {option} to {rank}.")
    if down.numel() != layer.down.numel() or up.numel() != layer.up.numel():
        raise UserError(f"{name} does not fit {layer.name}.", "It was made for another kind of base model.")


def _left_over(found: Mapping[str, Parts], network: Network, name: str) -> list[str]:
    """What of the file has no place; convolutions are an error, an untrained part or block is a sentence."""
    text = [n for n in found if n.startswith("lora_te")]
    unet = [n for n in found if n.startswith("lora_unet_")]
    foreign = [n for n in found if not n.startswith(("lora_te", "lora_unet_"))]
    convolutions = [n for n in unet if found[n]["lora_down.weight"].ndim == 4 and found[n]["lora_down.weight"].shape[-1] > 1] if unet else []
    if convolutions and not any(layer.down.ndim == 4 and layer.down.shape[-1] > 1 for layer in network.layers):
        rank = found[convolutions[0]]["lora_down.weight"].shape[0]
        raise UserError(f"{name} is a LoCon: it has convolutions too.", f"Set conv_dim to {rank}.")
    if foreign:
        words = f"{name} holds {len(foreign)} layers that are not known here, such as {foreign[0]}."
        raise UserError(words, "It was made for another kind of base model.")
    notes = []
    if text:
        notes.append(f"The text encoder's part of {name} is left out: text_lr is 0.")
    if unet:
        notes.append(f"{len(unet)} UNet layers of {name} are left out: they are not trained here.")
    return notes
