"""What a base-model file is, from the names in its header alone: no torch, no weights read."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..patience import HeldError
from ..reading import parse_json, plain, read_object

HINT = "Choose a Stable Diffusion 1.x, 2.x or SDXL checkpoint (.safetensors) or a diffusers folder."
PICKLES = (".ckpt", ".pt", ".pth", ".bin")
HEADER_LIMIT = 50_000_000  # bytes; SDXL's has 300,000
LONGEST_NAME, MOST_AXES = 1000, 32
BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8, "U8": 8, "BOOL": 8}


@dataclass(frozen=True)
class Header:
    """A safetensors header: ``tensors`` name -> {dtype, shape, data_offsets}; ``start`` = where the data begins, in bytes."""

    tensors: dict[str, dict[str, Any]]
    metadata: dict[str, str]
    start: int


def read_header(path: Path) -> Header:
    """Read the header of a .safetensors file: names, shapes and places that are what they say, texts for metadata.

    Raises:
        UserError: not there, a pickle (never opened), empty, cut short, or not a safetensors file.
    """
    if path.suffix.lower() in PICKLES:
        raise UserError(
            f"{path.name} is a pickle file, which can run any program when it is opened; it was not opened.",
            "Use the .safetensors version of this file.",
        )
    if not os.path.isfile(path):
        raise UserError(f"The file {path} does not exist.", HINT)
    try:
        with plain(path) as f:
            size = os.fstat(f.fileno()).st_size
            length = int.from_bytes(f.read(8), "little")
            if size < 8 or length > min(size - 8, HEADER_LIMIT):
                raise ValueError
            table = parse_json(f.read(length))
        metadata = table.pop("__metadata__", None) or {}
        for name, tensor in table.items():
            _check(name, tensor, size - 8 - length)
        return Header(table, {str(k): v if isinstance(v, str) else json.dumps(v) for k, v in metadata.items()}, 8 + length)
    except HeldError:
        raise
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {error.strerror}.", "Check the file's permissions.") from error
    except (ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
        raise UserError(f"{path.name} is not a whole .safetensors file.", "Download it again; it may have been cut short.") from error


def _check(name: str, tensor: dict[str, Any], room: int) -> None:
    """Raises ValueError, KeyError or TypeError for a tensor that is not what it says, or lies outside of the file's `room` bytes."""
    begin, end = tensor["data_offsets"]
    shape, dtype = tensor["shape"], tensor["dtype"]
    numbers = [begin, end, *shape]
    if len(name) > LONGEST_NAME or not isinstance(dtype, str) or not isinstance(shape, list) or len(shape) > MOST_AXES:
        raise ValueError
    if any(type(n) is not int or n < 0 for n in numbers) or not begin <= end <= room:
        raise ValueError
    if dtype in BITS and math.prod(shape) * BITS[dtype] != (end - begin) * 8:
        raise ValueError


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
    if os.path.isdir(path):
        unet = path / "unet" / "config.json"
        if not os.path.isfile(unet):
            raise UserError(f"{path} is not a diffusers model folder: it has no unet/config.json.", HINT)
        if (path / "text_encoder_2").is_dir():
            return "sdxl"
        width = read_object(unet).get("cross_attention_dim")
        return "sd2" if width == 1024 else "sd1"
    return family_of_names(set(read_header(path).tensors), path.name)


def known_family(path: Path) -> str:
    """Family of a checkpoint, "" where that cannot be told."""
    try:
        return family_of(path)
    except UserError:
        return ""
