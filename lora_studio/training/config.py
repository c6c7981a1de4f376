"""What a training run is told: one typed object, checked once, with every mistake named at once."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from lora_studio.errors import UserError

SCHEDULERS = (
    "constant",
    "constant_with_warmup",
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "rex",
)
#: key -> allowed words
CHOICES: dict[str, tuple[str, ...]] = {
    "optimizer": ("adamw",),
    "scheduler": SCHEDULERS,
    "prediction": ("auto", "epsilon", "v_prediction"),
    "precision": ("auto", "fp32", "fp16", "bf16"),
    "save_precision": ("fp16", "bf16", "fp32"),
}
#: key -> (lowest, highest) allowed number
RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "bucket_min": (8, 8192),
    "bucket_max": (8, 8192),
    "bucket_step": (8, 512),
    "keep_tokens": (0, 225),
    "caption_dropout": (0, 1),
    "epochs": (1, 10_000),
    "max_steps": (0, 10_000_000),
    "save_every_epochs": (1, 10_000),
    "keep_last": (0, 10_000),
    "batch_size": (1, 1024),
    "gradient_accumulation": (1, 1024),
    "unet_lr": (0, 10),
    "text_lr": (0, 10),
    "weight_decay": (0, 10),
    "max_grad_norm": (0, math.inf),
    "scheduler_cycles": (1, 1000),
    "scheduler_power": (0, 100),
    "warmup": (0, 1_000_000),
    "network_dim": (1, 1024),
    "network_alpha": (0.001, 1024),
    "min_snr_gamma": (0, 100),
    "noise_offset": (0, 1),
    "prior_weight": (0, 100),
    "prior_every": (1, 1000),
    "clip_skip": (1, 11),
    "max_tokens": (75, 225),
    "threads": (0, 1024),
    "sample_every_epochs": (0, 10_000),
    "sample_steps": (1, 500),
    "sample_cfg": (0, 100),
    "sample_seed": (0, 2**32 - 1),
    "state_every_minutes": (0, 100_000),
}
WHOLE = {
    *("seed", "bucket_min", "bucket_max", "bucket_step", "keep_tokens", "epochs", "max_steps", "save_every_epochs"),
    *("keep_last", "batch_size", "gradient_accumulation", "scheduler_cycles", "network_dim", "prior_every", "clip_skip"),
    *("max_tokens", "threads", "sample_every_epochs", "sample_steps", "sample_seed"),
}
SWITCHES = {"buckets", "bucket_no_upscale", "flip", "shuffle_captions", "gradient_checkpointing", "cache_latents"}
REQUIRED = ("base", "folders", "output_name", "output_dir")


@dataclass(frozen=True)
class DatasetFolder:
    """A folder of pictures with captions; None takes the run's value."""

    path: str
    repeats: int = 10
    keep_tokens: int | None = None
    flip: bool | None = None
    is_reg: bool = False


@dataclass(frozen=True)
class TrainingConfig:
    """Everything a run depends on. `from_dict` checks it; `to_dict` gives plain JSON."""

    base: str
    folders: tuple[DatasetFolder, ...]
    output_name: str
    output_dir: str
    vae: str = ""
    lora_dir: str = ""
    trigger: str = ""
    seed: int = 42
    resolution: tuple[int, int] = (512, 512)
    buckets: bool = True
    bucket_min: int = 256
    bucket_max: int = 1024
    bucket_step: int = 64
    bucket_no_upscale: bool = False
    flip: bool = False
    shuffle_captions: bool = True
    keep_tokens: int = 1
    caption_dropout: float = 0.0
    epochs: int = 10
    max_steps: int = 0
    save_every_epochs: int = 1
    keep_last: int = 0
    batch_size: int = 2
    gradient_accumulation: int = 1
    unet_lr: float = 5e-4
    text_lr: float = 1e-4
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = 1.0
    scheduler: str = "cosine_with_restarts"
    scheduler_cycles: int = 3
    scheduler_power: float = 1.0
    warmup: float = 0.05
    network_dim: int = 16
    network_alpha: float = 8.0
    min_snr_gamma: float = 5.0
    noise_offset: float = 0.0
    prior_weight: float = 0.0
    prior_every: int = 1
    clip_skip: int = 1
    max_tokens: int = 225
    prediction: str = "auto"
    precision: str = "auto"
    save_precision: str = "fp16"
    gradient_checkpointing: bool = False
    cache_latents: bool = True
    threads: int = 0
    sample_prompts: tuple[str, ...] = ()
    sample_every_epochs: int = 1
    sample_steps: int = 20
    sample_cfg: float = 4.0
    sample_seed: int = 1
    state_every_minutes: float = 10.0
    device: str = "auto"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Check and convert; one UserError names every mistake, unknown keys with the nearest known one."""
        problems: list[str] = []
        known = {field.name for field in fields(cls)}
        problems += [_unknown(key, known) for key in values if key not in known]
        problems += [f"{key} is missing" for key in REQUIRED if not values.get(key)]
        checked: dict[str, Any] = {}
        for key in known & set(values):
            try:
                checked[key] = _check(key, values[key])
            except ValueError as error:
                problems.append(f"{key}: {error}")
        low, high = checked.get("bucket_min", cls.bucket_min), checked.get("bucket_max", cls.bucket_max)
        if low > high:
            problems.append(f"bucket_min: {low} is more than bucket_max, {high}")
        if checked.get("unet_lr", cls.unet_lr) == 0 and checked.get("text_lr", cls.text_lr) == 0:
            problems.append("unet_lr and text_lr are both 0: nothing would be trained")
        if problems:
            raise UserError("The training settings have mistakes:\n- " + "\n- ".join(sorted(problems)), "Correct them and start again.")
        return cls(**checked)


def _unknown(key: str, known: set[str]) -> str:
    close = difflib.get_close_matches(key, sorted(known), 1)
    return f"{key} is not a setting" + (f"; is {close[0]} meant?" if close else "")


def _check(key: str, value: Any) -> Any:
    """The value in its proper type; ValueError with words for a person."""
    if key in CHOICES:
        if value not in CHOICES[key]:
            raise ValueError(f"{value!r} is none of {', '.join(CHOICES[key])}")
        return value
    if key in SWITCHES:
        return _switch(value)
    if key in RANGES:
        return _number(value, *RANGES[key], whole=key in WHOLE)
    if key == "resolution":
        return _resolution(value)
    if key == "betas":
        return _betas(value)
    if key == "folders":
        return _folders(value)
    if key == "sample_prompts":
        if isinstance(value, str):
            return (value,) if value else ()
        if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
            raise ValueError("a list of texts is wanted")
        return tuple(value)
    if not isinstance(value, str):
        raise ValueError(f"a text is wanted, not {value!r}")
    if key == "output_name" and (re.search(r'[<>:"/\\|?*\x00-\x1f]', value) or value.strip(". ") != value):
        raise ValueError(f"{value!r} cannot be a file name on every system")
    return value


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if str(value).strip().lower() in words:
        return words[str(value).strip().lower()]
    raise ValueError(f"true or false is wanted, not {value!r}")


def _number(value: Any, low: float, high: float, *, whole: bool) -> float:
    if isinstance(value, bool):
        raise ValueError(f"a number is wanted, not {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"a number is wanted, not {value!r}") from None
    if math.isnan(number) or not low <= number <= high:
        raise ValueError(f"{value} is not between {low:g} and {high:g}")
    if not whole:
        return number
    if number != int(number):
        raise ValueError(f"a whole number is wanted, not {value}")
    return int(value) if isinstance(value, (int, str)) and str(value).lstrip("+-").isdigit() else int(number)


def _resolution(value: Any) -> tuple[int, int]:
    if isinstance(value, str):
        value = re.split(r"[x×,]", value.strip().lower())
    sides = [value, value] if isinstance(value, (int, float)) and not isinstance(value, bool) else list(value)
    if len(sides) == 1:
        sides *= 2
    if len(sides) != 2:
        raise ValueError("a number or WIDTHxHEIGHT is wanted")
    width, height = (int(_number(side, 64, 8192, whole=True)) for side in sides)
    if width % 8 or height % 8:
        raise ValueError(f"{width}x{height} is not made of multiples of 8")
    return width, height


def _betas(value: Any) -> tuple[float, float]:
    if isinstance(value, str):
        value = value.strip("()[] ").split(",")
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError("two numbers are wanted")
    first, second = (_number(v, 0, 0.999999999, whole=False) for v in value)
    return first, second


def _folders(value: Any) -> tuple[DatasetFolder, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("a list of folders is wanted")
    found = []
    for entry in value:
        if isinstance(entry, DatasetFolder):
            entry = asdict(entry)
        if isinstance(entry, str):
            entry = {"path": entry}
        if not isinstance(entry, Mapping) or not isinstance(entry.get("path"), str) or not entry["path"]:
            raise ValueError(f"{entry!r} has no path")
        known = {field.name for field in fields(DatasetFolder)}
        for key in entry:
            if key not in known:
                raise ValueError(_unknown(str(key), known))
        keep, flip = entry.get("keep_tokens"), entry.get("flip")
        found.append(
            DatasetFolder(
                path=entry["path"],
                repeats=int(_number(entry.get("repeats", 10), 1, 100_000, whole=True)),
                keep_tokens=None if keep is None else int(_number(keep, 0, 225, whole=True)),
                flip=None if flip is None else _switch(flip),
                is_reg=_switch(entry.get("is_reg", False)),
            )
        )
    return tuple(found)
