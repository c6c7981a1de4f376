"""What a LoRA file holds: family, modules, rank, strength of the change, keys that fit and keys that do not."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..reading import read_bytes
from .basefile import Header, family_of_names, is_lora, read_header

LARGEST = 16 * 2**30  # bytes
DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16}
PARTS = {"lora_unet_": "unet", "lora_te1_": "te1", "lora_te2_": "te2", "lora_te_": "te"}
MATRICES = ("lora_down.weight", "lora_up.weight", "alpha")


@dataclass(frozen=True)
class Inspection:
    """Facts of one file. ``norms`` = block -> Frobenius norm of scale x up x down over the block's modules."""

    file: str
    family: str
    modules: dict[str, int]
    ranks: tuple[int, ...]
    alphas: tuple[float, ...]
    norms: dict[str, float]
    silent: tuple[str, ...]
    matched: int | None
    unmatched: tuple[str, ...]
    unknown: tuple[str, ...]
    metadata: dict[str, str]
    autov2: str
    autov3: str
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def inspect(path: Path, base: Path | None = None) -> Inspection:
    """Read a LoRA file; with ``base``, say which of its modules the checkpoint has, with the right shapes.

    Raises:
        UserError: no LoRA, a pickle, or a broken file.
    """
    path = Path(path)
    header = read_header(path)
    names = set(header.tensors)
    if not is_lora(names):
        what = "a base model" if any(n.startswith("model.diffusion_model.") for n in names) else "no LoRA"
        raise UserError(f"{path.name} is {what}.", "Choose a LoRA file (.safetensors) as kohya's trainers write it.")
    modules: dict[str, dict[str, np.ndarray]] = {}
    unknown = []
    for name, tensor in _tensors(path, header):
        module, _, part = name.partition(".")
        if part not in MATRICES or not module.startswith(tuple(PARTS)):
            unknown.append(name)
            continue
        modules.setdefault(module, {})[part] = tensor
    whole = {m: t for m, t in modules.items() if {"lora_down.weight", "lora_up.weight"} <= set(t)}
    unknown += [f"{m} (half of it)" for m in modules if m not in whole]
    unknown += [f"{m} (its matrices do not fit each other)" for m, t in whole.items() if not _fits(t)]
    whole = {m: t for m, t in whole.items() if _fits(t)}
    norms = {m: change_norm(t["lora_up.weight"], t["lora_down.weight"], _alpha(t)) for m, t in whole.items()}
    family = _family(set(whole), header.metadata, whole)
    matched, unmatched = (None, ()) if base is None else compare(whole, Path(base))
    silent = tuple(sorted(m for m, n in norms.items() if n == 0))
    warnings = []
    if silent:
        warnings.append(f"{len(silent)} modules change nothing.")
    if any(not np.isfinite(n) for n in (*norms.values(), *map(_alpha, whole.values()))):
        warnings.append("Some weights are not numbers: the file is damaged.")
    if unmatched:
        warnings.append(f"{len(unmatched)} modules do not fit {base.name if base else ''}: the WebUI leaves them out without a word.")
    if any(n.endswith("dora_scale") for n in unknown):
        warnings.append("It holds DoRA vectors, which the WebUI 1.10 reads along the wrong axis.")
    data = read_bytes(path, LARGEST)
    return Inspection(
        file=str(path),
        family=family,
        modules=dict(sorted(Counter(next(v for k, v in PARTS.items() if m.startswith(k)) for m in whole).items())),
        ranks=tuple(sorted({int(t["lora_down.weight"].shape[0]) for t in whole.values()})),
        alphas=tuple(sorted({round(_alpha(t), 4) for t in whole.values()})),
        norms=by_block(norms),
        silent=silent,
        matched=matched,
        unmatched=unmatched,
        unknown=tuple(sorted(unknown)),
        metadata=header.metadata,
        autov2=hashlib.sha256(data).hexdigest()[:10],
        autov3=hashlib.sha256(data[header.start :]).hexdigest()[:12],
        warnings=tuple(warnings),
    )


def _tensors(path: Path, header: Header) -> list[tuple[str, np.ndarray]]:
    """Every float tensor as float32."""
    out = []
    with path.open("rb") as f:
        for name, facts in header.tensors.items():
            kind = DTYPES.get(facts["dtype"])
            if kind is None:
                continue
            begin, end = facts["data_offsets"]
            f.seek(header.start + begin)
            values = np.frombuffer(f.read(end - begin), dtype=kind)
            if facts["dtype"] == "BF16":  # the upper half of a float32
                values = (values.astype(np.uint32) << 16).view(np.float32)
            out.append((name, values.astype(np.float32).reshape(facts["shape"])))
    return out


def _fits(tensors: dict[str, np.ndarray]) -> bool:
    """Whether the two matrices can be multiplied, and alpha is one number."""
    down, up, alpha = tensors["lora_down.weight"], tensors["lora_up.weight"], tensors.get("alpha")
    if down.ndim < 2 or up.ndim < 2 or not down.size or not up.size or (alpha is not None and alpha.size != 1):
        return False
    return bool(up.size == up.shape[0] * down.shape[0])


def _alpha(tensors: dict[str, np.ndarray]) -> float:
    """Alpha, or the rank where none is stored (then the scale is 1)."""
    if "alpha" in tensors:
        return float(tensors["alpha"].reshape(-1)[0])
    return float(tensors["lora_down.weight"].shape[0])


def change_norm(up: np.ndarray, down: np.ndarray, alpha: float) -> float:
    """Frobenius norm of (alpha / rank) x up x down, from two rank x rank Gram matrices: the product is never formed.

    ``down`` (rank, in, …), ``up`` (out, rank, …): ||UD||^2 = trace(U'U DD').
    """
    rank = down.shape[0]
    d = down.reshape(rank, -1).astype(np.float64)
    u = up.reshape(up.shape[0], rank).astype(np.float64)
    return float(alpha / rank * np.sqrt(max(0.0, np.sum((u.T @ u) * (d @ d.T)))))


def block_of(module: str) -> str:
    """The block a module lies in: ``unet down_blocks_1``, ``unet input_blocks_4``, ``te layers_3`` …"""
    part = next(v for k, v in PARTS.items() if module.startswith(k))
    found = re.search(r"(down_blocks_\d+|up_blocks_\d+|mid_block|input_blocks_\d+|output_blocks_\d+|middle_block|layers_\d+)", module)
    return f"{part} {found[1] if found else 'other'}"


def by_block(norms: dict[str, float]) -> dict[str, float]:
    """Root of the summed squares over each block, in the order of the network."""
    squares: dict[str, float] = {}
    for module, norm in norms.items():
        squares[block_of(module)] = squares.get(block_of(module), 0.0) + norm**2

    def natural(text: str) -> list[Any]:
        return [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", text)]

    return {b: round(float(np.sqrt(s)), 6) for b, s in sorted(squares.items(), key=lambda i: natural(i[0]))}


def _family(modules: set[str], metadata: dict[str, str], tensors: dict[str, dict[str, np.ndarray]]) -> str:
    """From the names and widths; the metadata only settles what they leave open."""
    if any(m.startswith(("lora_te1_", "lora_te2_")) or "_input_blocks_" in m or "_output_blocks_" in m for m in modules):
        return "sdxl"
    for module, t in tensors.items():
        if "attn2_to_k" in module:
            width = t["lora_down.weight"].shape[1]
            return {768: "sd1", 1024: "sd2", 2048: "sdxl"}.get(width, _said(metadata))
    return _said(metadata)


def _said(metadata: dict[str, str]) -> str:
    version = metadata.get("ss_base_model_version", "")
    return "sdxl" if version.startswith("sdxl") else "sd2" if metadata.get("ss_v2") == "True" else "sd1"


def compare(modules: dict[str, dict[str, np.ndarray]], base: Path) -> tuple[int, tuple[str, ...]]:
    """How many modules a checkpoint has with fitting shapes, and the names of the others.

    Works on single files; kohya's names are matched through the checkpoint's own.
    """
    header = read_header(base)
    names = set(header.tensors)
    family = family_of_names(names, base.name)
    shapes = {kohya_name(n.removesuffix(".weight"), family): t["shape"] for n, t in header.tensors.items() if n.endswith(".weight")}
    shapes = {n: shape for n, shape in shapes.items() if len(shape) > 1}
    for n, t in header.tensors.items():  # OpenCLIP keeps q, k and v in one matrix
        if n.endswith("attn.in_proj_weight") and len(t["shape"]) == 2:
            stem = kohya_name(n.removesuffix(".in_proj_weight"), family)
            for part in "qkv":
                shapes[f"{stem}_{part}_proj"] = [t["shape"][0] // 3, t["shape"][1]]
    unmatched = []
    for module, t in modules.items():
        shape = shapes.get(module)
        fits = shape is not None and t["lora_up.weight"].shape[0] == shape[0] and t["lora_down.weight"].shape[1] == shape[1]
        if not fits:
            unmatched.append(module)
    return len(modules) - len(unmatched), tuple(sorted(unmatched))


_RESNET = {"in_layers.2": "conv1", "out_layers.3": "conv2", "emb_layers.1": "time_emb_proj", "skip_connection": "conv_shortcut"}
_OPEN_CLIP = {"attn": "self_attn", "attn.out_proj": "self_attn_out_proj", "mlp.c_fc": "mlp_fc1", "mlp.c_proj": "mlp_fc2"}


def kohya_name(name: str, family: str) -> str:
    """Kohya's module name for a weight of a single-file checkpoint; names that LoRAs never touch come out unused."""
    if name.startswith("model.diffusion_model."):
        path = name.removeprefix("model.diffusion_model.")
        return "lora_unet_" + (path if family == "sdxl" else diffusers_path(path)).replace(".", "_")
    for prefix, part in (
        ("cond_stage_model.transformer.", "lora_te_"),
        ("conditioner.embedders.0.transformer.", "lora_te1_"),
        ("conditioner.embedders.1.model.", "lora_te2_"),
        ("cond_stage_model.model.", "lora_te_"),
    ):
        if name.startswith(prefix):
            path = name.removeprefix(prefix)
            block = re.match(r"transformer\.resblocks\.(\d+)\.(.+)$", path)
            if block:
                rest = _OPEN_CLIP.get(block[2], block[2].replace(".", "_"))
                return f"{part}text_model_encoder_layers_{block[1]}_{rest}"
            return part + (path if path.startswith("text_model.") else "text_model." + path).replace(".", "_")
    return name


def diffusers_path(path: str) -> str:
    """diffusers' name of an LDM UNet module (two resnets a level, as SD1 and SD2 have)."""
    match = re.match(r"(input|output)_blocks\.(\d+)\.(\d+)(?:\.(.+))?$", path)
    if match:
        side, number, place, rest = match[1], int(match[2]), int(match[3]), match[4] or ""
        if side == "input":
            if number == 0:
                return "conv_in"
            block, index = divmod(number - 1, 3)
            if index == 2:
                return f"down_blocks.{block}.downsamplers.0.conv"
            head = f"down_blocks.{block}"
        else:
            block, index = divmod(number, 3)
            head = f"up_blocks.{block}"
            if rest == "conv":
                return f"{head}.upsamplers.0.conv"
        if place == 0:
            return f"{head}.resnets.{index}.{_RESNET.get(rest, rest)}"
        return f"{head}.attentions.{index}.{rest}"
    match = re.match(r"middle_block\.(\d)\.(.+)$", path)
    if match:
        if match[1] == "1":
            return f"mid_block.attentions.0.{match[2]}"
        return f"mid_block.resnets.{int(match[1]) // 2}.{_RESNET.get(match[2], match[2])}"
    return path
