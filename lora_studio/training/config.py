"""Every option of a training run: one frozen object, checked whole, all mistakes named at once."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from ..errors import UserError
from ..files import validate_name
from .options import CHOICES, FINDS_RATE, LEAST_SCALE, RANGES

Parse = Callable[[Any], Any]


@dataclass(frozen=True)
class DatasetFolder:
    """Pictures and captions of one folder. ``None`` takes the run's own value.

    ``class_tokens``: the caption of pictures without one (the trigger word if empty). ``conditioning_data_dir``: masks for
    ``masked_loss``, one picture under the same name for each.
    """

    path: str
    repeats: int = 10
    keep_tokens: int | None = None
    flip: bool | None = None
    is_reg: bool = False
    class_tokens: str = ""
    conditioning_data_dir: str = ""


@dataclass(frozen=True)
class TrainingConfig:
    """What a run trains on what, and how. ``options.HELP`` says of each field what it does.

    ``resolution`` is (width, height) in pixels; learning rates are peaks; ``warmup``
    below 1 is a share of all steps; ``max_steps`` 0 means by epochs.
    """

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
    tag_dropout: float = 0.0
    caption_dropout_every_n_epochs: int = 0
    token_warmup_min: int = 1
    token_warmup_step: float = 0.0
    epochs: int = 10
    max_steps: int = 0
    save_every_epochs: int = 1
    keep_last: int = 0
    batch_size: int = 2
    gradient_accumulation: int = 1
    unet_lr: float = 5e-4
    text_lr: float = 1e-4
    optimizer: str = "adamw"
    optimizer_args: tuple[str, ...] = ()
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = 1.0
    scheduler: str = "cosine_with_restarts"
    scheduler_cycles: int = 3
    scheduler_power: float = 1.0
    warmup: float = 0.05
    network_dim: int = 16
    network_alpha: float = 8.0
    conv_dim: int = 0
    conv_alpha: float = 1.0
    network_weights: str = ""
    network_dropout: float = 0.0
    rank_dropout: float = 0.0
    module_dropout: float = 0.0
    scale_weight_norms: float = 0.0
    down_lr_weight: str = ""
    mid_lr_weight: str = ""
    up_lr_weight: str = ""
    ema_decay: float = 0.0
    ema_save: bool = True
    min_snr_gamma: float = 5.0
    debiased_estimation: bool = False
    scale_v_pred_loss: bool = False
    zero_terminal_snr: bool = False
    loss_type: str = "l2"
    huber_schedule: str = "snr"
    huber_c: float = 0.1
    noise_offset: float = 0.0
    multires_noise_iterations: int = 0
    multires_noise_discount: float = 0.3
    ip_noise_gamma: float = 0.0
    masked_loss: bool = False
    prior_loss_weight: float = 1.0
    prior_weight: float = 0.0
    prior_every: int = 1
    clip_skip: int = 1
    max_tokens: int = 225
    prediction: str = "auto"
    precision: str = "auto"
    fp8_base: bool = False
    save_precision: str = "fp16"
    gradient_checkpointing: bool = False
    compile: str = "off"
    cache_latents: bool = True
    threads: int = 0
    device: str = "auto"
    processes: int = 1
    memory_plan: bool = True
    validation_split: float = 0.0
    validation_seed: int = 42
    validate_every_n_epochs: int = 1
    sample_prompts: tuple[str, ...] = field(default_factory=tuple)
    sample_every_epochs: int = 1
    sample_steps: int = 20
    sample_cfg: float = 4.0
    sample_seed: int = 1
    state_every_minutes: float = 10.0

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """Build and check.

        Raises:
            UserError: naming every unknown key, missing key and bad value at once.
        """
        config, problems = _build(cls, values, "")
        if config is not None:
            problems += _together(config)
        if problems:
            raise UserError(
                "The training settings have " + ("a mistake" if len(problems) == 1 else f"{len(problems)} mistakes") + ":\n  "
                + "\n  ".join(problems),
                "Correct them and start again; `train --help-keys` lists every option.",
            )
        assert config is not None
        return config

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; ``from_dict(to_dict())`` gives an equal object."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values


BLOCK_WEIGHTS = ("down_lr_weight", "mid_lr_weight", "up_lr_weight")
SHORTHANDS = ("repeats",)  # of every folder; the one who makes the configuration puts them there
OPTIONS: tuple[str, ...] = tuple(f.name for f in dataclasses.fields(TrainingConfig))


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """``["epochs=5", "unet_lr=1e-3"]`` as a dict of still unchecked values.

    Unknown keys go through: ``from_dict`` names them together with the bad values.

    Raises:
        UserError: naming every pair that is not ``key=value``, and unknown keys beside it.
    """
    values: dict[str, Any] = {}
    malformed = []
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if equals:
            values[key.strip()] = text.strip()
        else:
            malformed.append(f"\"{pair}\" is not key=value")
    if malformed:
        problems = malformed + [_unknown(key, OPTIONS) for key in values if key not in (*OPTIONS, *SHORTHANDS)]
        raise UserError("These settings cannot be read:\n  " + "\n  ".join(problems), "`train --help-keys` lists every option.")
    return values


#: options of other trainers that are refused on purpose
REFUSED = {
    "dora_wd": "DoRA is not trained here: sd-scripts' own LoRA ignores its scale, and the file that trainers write by default loads silently wrong "
    "in the WebUI 1.10 (it normalises the other axis); a rank twice as high does as much and works everywhere",
}


def _unknown(key: str, known: Iterable[str]) -> str:
    if key in REFUSED:
        return f"{key}: {REFUSED[key]}"
    close = difflib.get_close_matches(key, list(known), 1)
    return f"{key}: there is no such option" + (f"; do you mean {close[0]}?" if close else "")


def _build(cls: type, values: Mapping[str, Any], prefix: str) -> tuple[Any, list[str]]:
    """An instance of ``cls`` (or None) and the mistakes found."""
    if not isinstance(values, Mapping):
        return None, [f"{prefix.rstrip('.') or 'config'}: expected an object, got {values!r}"]
    hints = get_type_hints(cls)
    problems = [_unknown(prefix + key, [prefix + h for h in hints]) for key in values if key not in hints]
    parsed: dict[str, Any] = {}
    for f in dataclasses.fields(cls):
        if f.name not in values:
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
                problems.append(f"{prefix}{f.name}: is missing")
            continue
        if f.name == "folders":
            folders, mistakes = _folders(values[f.name])
            parsed[f.name] = folders
            problems += mistakes
            continue
        try:
            parsed[f.name] = _PARSERS[str(hints[f.name])](values[f.name])
        except ValueError as error:
            problems.append(f"{prefix}{f.name}: {error}, got {values[f.name]!r}")
            continue
        mistake = _out_of_bounds(f.name, parsed[f.name])
        if f.name == "output_name" and not mistake:
            parsed[f.name] = validate_name(parsed[f.name])
        if mistake:
            problems.append(f"{prefix}{f.name}: {mistake}, got {values[f.name]!r}")
    return (None if problems else cls(**parsed)), problems


def mistakes(values: Mapping[str, Any]) -> list[str]:
    """What is wrong with some options' values, each by itself."""
    return [m for m in _build(TrainingConfig, values, "")[1] if not m.endswith(": is missing")]


def _folders(value: Any) -> tuple[tuple[DatasetFolder, ...], list[str]]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, (list, tuple)) or not value:
        return (), ["folders: expected at least one folder"]
    built, problems = [], []
    for k, entry in enumerate(value):
        if isinstance(entry, str):
            entry = {"path": entry}
        folder, mistakes = _build(DatasetFolder, entry, f"folders[{k}].")
        built.append(folder)
        problems += mistakes
    return tuple(built), problems


def _out_of_bounds(name: str, value: Any) -> str:
    if name == "output_name":
        return _name_mistake(value)
    if name in CHOICES and value not in CHOICES[name]:
        return "must be one of " + ", ".join(CHOICES[name])
    low, high = RANGES.get(name, (-math.inf, math.inf))
    numbers = value if isinstance(value, tuple) else (value,)
    if any(isinstance(v, (int, float)) and not isinstance(v, bool) and not low <= v <= high for v in numbers):
        return f"must be at least {low:g}" if math.isinf(high) else f"must be from {low:g} to {high:g}"
    return ""


def _name_mistake(name: str) -> str:
    """What keeps a name from being that of LoRA files on every system: it is joined to folders, so it is one plain name or nothing."""
    try:
        validate_name(name)
    except UserError as error:
        return error.message.rpartition(": ")[2].rstrip(".")
    return ""


def _together(config: TrainingConfig) -> list[str]:
    """Mistakes that only show when two options are seen together."""
    problems = []
    if config.bucket_min > config.bucket_max:
        problems.append(f"bucket_min: {config.bucket_min} is above bucket_max {config.bucket_max}")
    if any(side % 8 for side in config.resolution):
        problems.append(f"resolution: both sides must be multiples of 8, got {config.resolution[0]}x{config.resolution[1]}")
    if config.unet_lr == 0 and config.text_lr == 0:
        problems.append("unet_lr, text_lr: both are 0, so nothing would be trained")
    if config.optimizer in FINDS_RATE and max(config.unet_lr, config.text_lr) < LEAST_SCALE:
        problems.append(f"unet_lr: {config.optimizer} finds the learning rate by itself and only scales it with this; set it to 1")
    if config.prior_weight and not config.trigger:
        problems.append("prior_weight: needs a trigger word, since it trains what happens without it")
    for name in BLOCK_WEIGHTS:
        if mistake := _block_weights_mistake(getattr(config, name), curves=name != "mid_lr_weight"):
            problems.append(f"{name}: {mistake}")
    if any(getattr(config, name) for name in BLOCK_WEIGHTS) and config.unet_lr == 0:
        problems.append("unet_lr: is 0, so block weights have nothing to weigh")
    if config.token_warmup_step and not config.token_warmup_min:
        problems.append("token_warmup_min: at least 1 tag")
    return problems


def _block_weights_mistake(text: str, *, curves: bool) -> str:
    """What is wrong with kohya's block weights: numbers with commas, or a named curve with a base ("cosine+.25")."""
    if curves and re.fullmatch(r"(cosine|sine|linear|reverse_linear|zeros)(\+(\d+|\d*\.\d+))?", text.strip()):
        return ""
    try:
        numbers = [float(part or 0) for part in text.split(",")]
    except ValueError:
        other = ", or cosine, sine, linear, reverse_linear, zeros" if curves else ""
        return f"expected numbers with commas between{other}, got {text!r}"
    return "" if all(0 <= n <= 100 for n in numbers) else f"weights must be from 0 to 100, got {text!r}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected text")
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value):
        raise ValueError("expected text, not halves of characters")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("expected a whole number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError("expected a whole number") from None
    if not number.is_integer():
        raise ValueError("expected a whole number")
    return int(number)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("expected a number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError("expected a number") from None
    if not math.isfinite(number):
        raise ValueError("expected a finite number")
    return number


def _yes_no(value: Any) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if isinstance(value, bool):
        return value
    if isinstance(value, (str, int)) and str(value).lower() in words:
        return words[str(value).lower()]
    raise ValueError("expected true or false")


def _size(value: Any) -> tuple[int, int]:
    parts = [part.strip() for part in re.split("[x×,]", value.lower())] if isinstance(value, str) else value
    if isinstance(parts, (int, float)):
        parts = [parts]
    if not isinstance(parts, (list, tuple)) or len(parts) not in (1, 2):
        raise ValueError("expected a size like 512 or 512x768")
    sides = [_whole(p) for p in parts]
    return sides[0], sides[-1]


def _pair(value: Any) -> tuple[float, float]:
    parts = value.strip("()[] ").split(",") if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)) or len(parts) != 2:
        raise ValueError("expected two numbers")
    return _number(parts[0]), _number(parts[1])


def _lines(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [line for line in value.splitlines() if line.strip()]
    if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) for v in value):
        raise ValueError("expected a list of texts")
    return tuple(map(_text, value))


def _optional(parse: Parse) -> Parse:
    return lambda value: None if value is None else parse(value)


_PARSERS: dict[str, Parse] = {
    str(kind): parse
    for kind, parse in (
        (str, _text),
        (int, _whole),
        (float, _number),
        (bool, _yes_no),
        (int | None, _optional(_whole)),
        (bool | None, _optional(_yes_no)),
        (tuple[int, int], _size),
        (tuple[float, float], _pair),
        (tuple[str, ...], _lines),
    )
}
