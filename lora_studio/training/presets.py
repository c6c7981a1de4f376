"""Good settings for what people train, by model family; and the user's own, kept as JSON files.

The figures are those the discontinued Colab notebooks made popular (reference: hollowstrawberry's
Lora_Trainer and Lora_Trainer_XL), with what experience added: leak protection for characters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write_json, new_name, validate_name
from ..patience import unlink
from ..reading import read_object
from .config import OPTIONS, mistakes

SIZES = {"sd1": 512, "sd2": 768, "sdxl": 1024}

BY_FAMILY: dict[str, dict[str, Any]] = {
    "sd1": {"resolution": 512, "batch_size": 2, "unet_lr": 5e-4, "text_lr": 1e-4, "network_dim": 16, "network_alpha": 8},
    "sd2": {"resolution": 768, "batch_size": 2, "unet_lr": 5e-4, "text_lr": 1e-4, "network_dim": 16, "network_alpha": 8},
    "sdxl": {
        "resolution": 1024,
        "bucket_max": 4096,
        "batch_size": 4,
        "unet_lr": 3e-4,
        "text_lr": 6e-5,
        "network_dim": 8,
        "network_alpha": 4,
        "weight_decay": 0.1,
        "betas": [0.9, 0.99],
        "min_snr_gamma": 8,
        "gradient_checkpointing": True,
    },
}

# The embedded tiny model: 128 pixels, a few minutes on two processor cores.
TINY: dict[str, Any] = {
    "resolution": 128,
    "buckets": False,
    "batch_size": 4,
    "epochs": 5,
    "unet_lr": 2e-3,
    "text_lr": 2e-3,
    "network_dim": 8,
    "network_alpha": 8,
    "scheduler": "cosine",
    "prior_weight": 1.0,
    "prior_every": 4,
    "keep_tokens": 1,
    "tag_dropout": 0.2,
    "sample_steps": 12,
}

PRESETS: dict[str, dict[str, Any]] = {
    "character": {"keep_tokens": 1, "epochs": 10},
    "face": {"keep_tokens": 1, "epochs": 10, "network_dim": 8, "network_alpha": 4},
    "style": {"keep_tokens": 1, "epochs": 10, "network_dim": 32, "network_alpha": 16, "flip": True, "caption_dropout": 0.05},
    "quick": {"keep_tokens": 1, "epochs": 2, "network_dim": 8, "network_alpha": 4, "sample_steps": 12},
    "demo": TINY,
}

#: pictures x repeats that one epoch should come to
PER_EPOCH = {"sd1": 300, "sd2": 300, "sdxl": 100}
PER_EPOCH_OF = {"quick": 60, "demo": 512}
#: under this name a preset of one's own says which of ours it began from
BEGAN_FROM = "preset"
PERSONAL = frozenset({"base", "vae", "folders", "output_name", "output_dir", "lora_dir", "trigger", "sample_prompts", "network_weights"})


def repeats_for(images: int, family: str, preset: str) -> int:
    """Repeats that bring ``images`` pictures near the recommended number per epoch, at least 1."""
    return max(1, round(PER_EPOCH_OF.get(preset, PER_EPOCH.get(family, 300)) / max(1, images)))


def settings(name: str, family: str, own_presets: Path | None = None) -> dict[str, Any]:
    """The options a preset sets for a model family ("tiny": the embedded model); the user's own presets come before ours.

    Raises:
        UserError: no preset has that name, or its file is not one.
    """
    own = _own(own_presets)
    if name in own:
        began, values = _read(own[name])
        return {**_ours(began, family), **values} if began in PRESETS else values
    if name not in PRESETS:
        raise UserError(f"There is no preset named {name}.", "Presets: " + ", ".join([*PRESETS, *own]) + ".")
    return _ours(name, family)


def _ours(name: str, family: str) -> dict[str, Any]:
    return {**(TINY if family == "tiny" else BY_FAMILY.get(family, BY_FAMILY["sd1"])), **PRESETS[name]}


def save(name: str, values: dict[str, Any], own_presets: Path, began_from: str = "") -> Path:
    """Keep ``values`` under ``name``. What belongs to one project only (paths, names) is left out.

    ``began_from``: one of ours whose other values are taken, for whatever family the base is of then.

    Raises:
        UserError: the name is one of ours, or no name for a file; a value that no training takes.
    """
    name = validate_name(name)
    if name in PRESETS:
        raise UserError(f"{name} is the name of a preset that is always there.", "Choose another name.")
    kept = {k: v for k, v in values.items() if k in OPTIONS and k not in PERSONAL}
    if wrong := mistakes(kept):
        raise UserError(f"These settings cannot be kept: {'; '.join(wrong)}.", "Correct them first.")
    path = own_presets / f"{name}.json"
    if not path.exists():
        new_name(name)
    own_presets.mkdir(parents=True, exist_ok=True)
    began = {BEGAN_FROM: began_from} if began_from in PRESETS else {}
    atomic_write_json(path, {**began, **kept})
    return path


def remove(name: str, own_presets: Path) -> None:
    """Delete a preset of one's own. Raises UserError when there is none of that name."""
    own = _own(own_presets)
    if name not in own:
        raise UserError(f"There is no preset named {name}.", "Presets: " + ", ".join(own) + "." if own else "You have saved none.")
    unlink(own[name])


def listing(own_presets: Path | None = None) -> list[dict[str, Any]]:
    """Every preset by name, ours first; of one's own, what it began from and what it changes, or as ``problem`` why it cannot be used."""
    found: list[dict[str, Any]] = [{"name": name, "own": False} for name in PRESETS if name != "demo"]
    for name, path in _own(own_presets).items():
        try:
            began, values = _read(path)
        except UserError as error:  # listed all the same, so that it can be deleted
            found.append({"name": name, "own": True, "preset": "", "settings": {}, "problem": error.message})
        else:
            found.append({"name": name, "own": True, "preset": began, "settings": values})
    return found


def _read(path: Path) -> tuple[str, dict[str, Any]]:
    """Which of ours a preset of one's own began from ("": none), and its settings. Raises UserError naming everything wrong with it."""
    values = read_object(path)
    began = values.pop(BEGAN_FROM, "")
    if personal := sorted(PERSONAL & set(values)):
        raise UserError(f"The preset {path} sets what belongs to one project: {', '.join(personal)}.", "Delete these from the file.")
    if wrong := mistakes(values):
        raise UserError(f"The preset {path.stem} cannot be used: {'; '.join(wrong)}.", "Delete it, or save it again.")
    return began if isinstance(began, str) else "", values


def names(own_presets: Path | None = None) -> list[str]:
    """Every preset there is, ours first."""
    return [*PRESETS, *(n for n in _own(own_presets) if n not in PRESETS)]


def _own(folder: Path | None) -> dict[str, Path]:
    return {p.stem: p for p in sorted(folder.glob("*.json"))} if folder is not None and folder.is_dir() else {}
