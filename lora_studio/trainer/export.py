"""A trained LoRA as a file: kohya's keys, its metadata and hashes, and the sidecars that the WebUI reads."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from lora_studio.errors import UserError
from lora_studio.files import TEMPORARY_PREFIX, atomic_write_bytes, atomic_write_json
from lora_studio.patience import HeldError, patient, unlink, within
from lora_studio.training.basefile import read_header

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
    """Metadata of a safetensors file; empty for a file that is none. Raises HeldError: whose a file is that is held now, nobody knows."""
    try:
        return read_header(path).metadata
    except HeldError:
        raise
    except UserError:
        return {}


SIDECARS = (".json", ".png")


@dataclass(frozen=True)
class Files:
    """The LoRA files of one run. Nothing but these is ever replaced or deleted.

    `session` is in their metadata; but whoever made the run's folder may have put somebody else's there, so of a run that was not made on
    this machine (`own`) only the files that this process wrote count. `written`: the stems of those, with their folders.
    """

    session: str
    own: bool = False
    written: set[Path] = field(default_factory=set)

    def has(self, path: Path) -> bool:
        """Whether a file (a LoRA, or one beside it) may be replaced or deleted by the run."""
        lora = path.with_suffix(".safetensors")
        return lora in self.written or (self.own and self.names(lora))

    def names(self, path: Path) -> bool:
        """Whether a LoRA says that this run made it."""
        return read_metadata(path).get(RUN_KEY) == self.session


def free_stem(name: str, folders: Sequence[Path], is_ours: Callable[[Path], bool]) -> str:
    """`name`, or `name_2`, `name_3` ...: the first under which no folder holds a file that is not of the run.

    The WebUI keeps the weights it has loaded under a name, and a finished LoRA is never overwritten.
    """
    number = 1
    while True:
        stem = name if number == 1 else f"{name}_{number}"
        if not any(taken(stem, folder, is_ours, beside=True) for folder in folders):
            return stem
        number += 1


def taken(stem: str, folder: Path, is_ours: Callable[[Path], bool], *, beside: bool = False) -> bool:
    """Whether `folder` holds a numbered or plain LoRA of that stem that is not of the run; `beside`: or what lies beside a numbered one."""
    if not folder.is_dir():
        return False
    numbered = r"(-\d+|-step\d+)"
    more = rf"|{numbered}\.(json|png)" if beside else ""
    pattern = re.compile(re.escape(stem.lower()) + rf"({numbered}?\.(safetensors|pt|ckpt){more})$")
    return any(pattern.match(path.name.lower()) and not is_ours(path.with_suffix(".safetensors")) for path in folder.iterdir())


def in_the_way(folders: Sequence[Path], stem: str, files: Files, data: bytes) -> bool:
    """Whether a file is there, under the very name of one to be written, that must stay: not of the run, and not the same LoRA either."""
    for folder in folders:
        lora = folder / f"{stem}.safetensors"
        if same_weights(lora, data):
            continue
        if any(os.path.lexists(path) and not files.has(path) for path in (lora, *(folder / (stem + suffix) for suffix in SIDECARS))):
            return True
    return False


def same_weights(path: Path, data: bytes) -> bool:
    """Whether a LoRA file holds the very tensors of `data`, which is the bytes of one: a step done twice gives the same. Raises HeldError."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 2 * len(data):
            return False
        return _tensors(patient(path.read_bytes, path=path)) == _tensors(data)
    except HeldError:
        raise
    except (OSError, struct.error):
        return False


def _tensors(data: bytes) -> bytes:
    return data[8 + int(struct.unpack("<Q", data[:8])[0]) :]


def write_lora(data: bytes, folders: Sequence[Path], stem: str, sidecar: Mapping[str, Any], preview: Path | None, files: Files) -> list[Path]:
    """Put the file with its `<stem>.json` and `<stem>.png` into each folder; the file itself last, when its sidecars are there.

    What is there already and is the same LoRA, is left as it is: somebody may have written into its `.json`.
    """
    written = []
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        path = folder / f"{stem}.safetensors"
        if not same_weights(path, data):
            files.written.add(path)  # before it is there: on a full disk this is done again, with what is beside it there
            atomic_write_json(folder / f"{stem}.json", dict(sidecar))
            if preview is not None and preview.is_file():
                atomic_write_bytes(folder / f"{stem}.png", preview.read_bytes())
            atomic_write_bytes(path, data)
        written.append(path)
    return written


def _sweep(folder: Path) -> None:
    """Remove what a writer that was killed left, once it is surely nobody's."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*.part"):
        with suppress(OSError), within(0):
            if time.time() - path.stat().st_mtime > ABANDONED:
                unlink(path)


def remove_lora(folders: Sequence[Path], stem: str, files: Files) -> None:
    """Delete an older epoch of the run with its sidecars; the file itself last, for by it the rest is known to be of the run the next time."""
    for folder in folders:
        path = folder / f"{stem}.safetensors"
        if path.is_file() and files.has(path):
            for suffix in (*SIDECARS, ".safetensors"):
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
