"""A trained LoRA as a file: kohya's keys, its metadata and hashes, and the sidecars that the WebUI reads."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from lora_studio.files import TEMPORARY_PREFIX, atomic_write_bytes, atomic_write_json
from lora_studio.patience import unlink, within

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32, "float": torch.float32}
BASE_VERSIONS = {"sd1": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0"}
SIDECAR_VERSIONS = {"sd1": "SD1", "sd2": "SD2", "sdxl": "SDXL"}
ARCHITECTURES = {
    ("sd1", "epsilon"): "stable-diffusion-v1",
    ("sd1", "v_prediction"): "stable-diffusion-v1",
    ("sd2", "epsilon"): "stable-diffusion-v2-512",
    ("sd2", "v_prediction"): "stable-diffusion-v2-768-v",
    ("sdxl", "epsilon"): "stable-diffusion-xl-v1-base",
    ("sdxl", "v_prediction"): "stable-diffusion-xl-v1-base",
}
RUN_KEY = "ss_session_id"
#: seconds after which an unfinished file has no writer any more
ABANDONED = 600.0


def lora_tensors(layers: Sequence[Any], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Three tensors a module: `<name>.alpha` (0-d), `.lora_down.weight`, `.lora_up.weight`."""
    tensors: dict[str, torch.Tensor] = {}
    for layer in layers:
        tensors[f"{layer.name}.alpha"] = torch.tensor(layer.alpha, dtype=dtype)
        tensors[f"{layer.name}.lora_down.weight"] = layer.down.detach().to("cpu", dtype).contiguous()
        tensors[f"{layer.name}.lora_up.weight"] = layer.up.detach().to("cpu", dtype).contiguous()
    return tensors


def serialise(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bytes:
    """The file's bytes, with the hashes that sd-scripts writes among the metadata.

    `sshs_model_hash` covers the tensors' bytes only; `sshs_legacy_hash` a window of the file with the ss_ keys alone.
    """
    training = {k: v for k, v in metadata.items() if k.startswith("ss_")}
    plain = save(dict(tensors), metadata=training)
    (header,) = struct.unpack("<Q", plain[:8])
    hashes = {
        "sshs_model_hash": hashlib.sha256(plain[8 + header :]).hexdigest(),
        "sshs_legacy_hash": hashlib.sha256(plain[0x100000 : 0x100000 + 0x10000]).hexdigest()[:8],
    }
    return save(dict(tensors), metadata={**metadata, **hashes})


def read_metadata(path: Path) -> dict[str, str]:
    """Metadata of a safetensors file; empty for a file that is none."""
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > 100_000_000:
                return {}
            header = json.loads(file.read(length))
    except (OSError, ValueError, struct.error):
        return {}
    found: dict[str, str] = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    return found


def free_stem(name: str, folders: Sequence[Path], session: str) -> str:
    """`name`, or `name_2`, `name_3` ...: the first under which no folder holds a file of another run.

    The WebUI keeps the weights it has loaded under a name, and a finished LoRA is never overwritten.
    """
    number = 1
    while True:
        stem = name if number == 1 else f"{name}_{number}"
        if not any(taken(stem, folder, session) for folder in folders):
            return stem
        number += 1


def taken(stem: str, folder: Path, session: str) -> bool:
    """Whether `folder` holds a numbered or plain file of that stem that is not of this session."""
    if not folder.is_dir():
        return False
    pattern = re.compile(re.escape(stem.lower()) + r"(-\d+|-step\d+)?\.(safetensors|pt|ckpt)$")
    return any(
        pattern.match(path.name.lower()) and read_metadata(path).get(RUN_KEY) != session for path in folder.iterdir()
    )


def write_lora(data: bytes, folders: Sequence[Path], stem: str, sidecar: Mapping[str, Any], preview: Path | None) -> list[Path]:
    """Put the file with its `<stem>.json` and `<stem>.png` into each folder; the file itself last, when its sidecars are there."""
    written = []
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        atomic_write_json(folder / f"{stem}.json", dict(sidecar))
        if preview is not None and preview.is_file():
            atomic_write_bytes(folder / f"{stem}.png", preview.read_bytes())
        path = folder / f"{stem}.safetensors"
        atomic_write_bytes(path, data)
        written.append(path)
    return written


def _sweep(folder: Path) -> None:
    """Remove what a writer that was killed left, once it is surely nobody's."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*.part"):
        with suppress(OSError), within(0):
            if time.time() - path.stat().st_mtime > ABANDONED:
                unlink(path)


def remove_lora(folders: Sequence[Path], stem: str, session: str) -> None:
    """Delete an older epoch of this run with its sidecars."""
    for folder in folders:
        path = folder / f"{stem}.safetensors"
        if path.is_file() and read_metadata(path).get(RUN_KEY) == session:
            for suffix in (".safetensors", ".json", ".png"):
                unlink(path.with_suffix(suffix), missing_ok=True)


def file_hashes(path: Path) -> tuple[str, str]:
    """(legacy 8-digit hash, sha256) of a base model file; empty for a folder."""
    if not path.is_file():
        return "", ""
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            whole.update(block)
        file.seek(0x100000)
        legacy = hashlib.sha256(file.read(0x10000)).hexdigest()[:8]
    return legacy, whole.hexdigest()
