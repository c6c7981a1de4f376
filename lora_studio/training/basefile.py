"""What a base-model file is, from the names in its header alone: no torch, no weights read."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError

HINT = "Choose a Stable Diffusion 1.x, 2.x or SDXL checkpoint (.safetensors) or a diffusers folder."
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
HEADER_LIMIT = 100_000_000


@dataclass(frozen=True)
class Header:
    """A safetensors header: ``tensors`` name -> {dtype, shape, data_offsets}; ``start`` = where the data begins, in bytes."""

    tensors: dict[str, dict[str, Any]]
    metadata: dict[str, str]
    start: int


def read_header(path: Path) -> Header:
    """Read the header of a .safetensors file.

    Raises:
        UserError: not there, a pickle (never opened), empty, cut short, or not a safetensors file.
    """
    if path.suffix.lower() in PICKLES:
        raise UserError(
            f"{path.name} is a pickle file, which can run any program when it is opened; it was not opened.",
            "Use the .safetensors version of this file.",
        )
    if not path.is_file():
        raise UserError(f"The file {path} does not exist.", HINT)
    broken = UserError(f"{path.name} is not a whole .safetensors file.", "Download it again; it may have been cut short.")
    size = path.stat().st_size
    with path.open("rb") as f:
        first = f.read(8)
        if len(first) < 8:
            raise broken
        length = struct.unpack("<Q", first)[0]
        if length > min(size - 8, HEADER_LIMIT):
            raise broken
        try:
            table = json.loads(f.read(length).decode("utf-8"))
            metadata = table.pop("__metadata__", {}) or {}
            end = max((int(t["data_offsets"][1]) for t in table.values()), default=0)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise broken from error
    if 8 + length + end > size:
        raise broken
    return Header(table, {str(k): str(v) for k, v in metadata.items()}, 8 + length)


def is_lora(names: set[str]) -> bool:
    """Whether the names are those of a LoRA (kohya, peft or LyCORIS)."""
    return any(".lora_down." in n or ".lora_A." in n or n.endswith((".hada_w1_a", ".lokr_w1", ".dora_scale")) for n in names)


def family_of_names(names: set[str], file: str) -> str:
    """``sd1``, ``sd2`` or ``sdxl``.

    Raises:
        UserError: saying what the file is instead.
    """
    if is_lora(names):
        raise UserError(f"{file} is a LoRA, not a base model.", HINT)
    if not any(n.startswith("model.diffusion_model.") for n in names):
        raise UserError(f"{file} is not a Stable Diffusion checkpoint: it holds no UNet.", HINT)
    for prefix, family in (
        ("conditioner.embedders.1.", "sdxl"),
        ("cond_stage_model.model.", "sd2"),
        ("cond_stage_model.transformer.", "sd1"),
    ):
        if any(n.startswith(prefix) for n in names):
            return family
    raise UserError(f"{file} has no text encoder that is known here (SD1, SD2, SDXL).", HINT)


def family_of(path: Path) -> str:
    """Family of a checkpoint file or diffusers folder; raises UserError for anything else."""
    if path.is_dir():
        unet = path / "unet" / "config.json"
        if not unet.is_file():
            raise UserError(f"{path} is not a diffusers model folder: it has no unet/config.json.", HINT)
        if (path / "text_encoder_2").is_dir():
            return "sdxl"
        width = json.loads(unet.read_text(encoding="utf-8")).get("cross_attention_dim")
        return "sd2" if width == 1024 else "sd1"
    return family_of_names(set(read_header(path).tensors), path.name)


def known_family(path: Path) -> str:
    """Family of a checkpoint, "" where that cannot be told."""
    try:
        return family_of(path)
    except UserError:
        return ""
