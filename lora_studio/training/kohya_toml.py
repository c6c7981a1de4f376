"""Settings of kohya's trainer (config TOML, dataset TOML, the GUI's JSON) as ours; what cannot be taken over is listed, never lost.

`read` goes from files to values, `take` from parsed files to values: a file means kohya's defaults where it is silent, not ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import UserError
from .kohya_dataset import take_dataset, take_samples
from .kohya_gui import is_gui, plain
from .kohya_report import Imported, bare, pairs, put, shown_as, sort_out
from .kohya_table import (
    ARGUMENT_NAMES,
    ARGUMENTS,
    ARGUMENTS_HERE,
    ARGUMENTS_THERE,
    DECAY,
    LYCORIS_PLAIN,
    NETWORK_ARGS,
    OPTIMIZERS,
    REX,
    SCHEDULERS,
)
from .options import RANGES

OWN, INSTEAD = "own_options", "own_instead"
STEPS_UNSAID = 1600  # kohya's length when a file names none


def reads_toml() -> bool:
    """Whether this Python has what reads and writes TOML."""
    return find_spec("tomlkit") is not None


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """A TOML text as plain values. Raises UserError naming the line of a mistake."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        return dict(tomlkit.parse(text).unwrap())
    except (TOMLKitError, ValueError) as error:
        raise UserError(f"{name} is not TOML: {error}", "Correct the line, or export the file again.") from error


def read(files: Sequence[Path]) -> Imported:
    """Read config and dataset files; a later one of the same kind goes over an earlier one. What a config names is read too, if it is there.

    Raises:
        UserError: a file is not there, or is neither TOML nor JSON.
    """
    config: dict[str, Any] = {}
    dataset: dict[str, Any] | None = None
    prompts = ""
    for path in map(Path, files):
        if path.suffix.lower() == ".txt" and config:
            prompts = _text(path)
            continue
        values = _parsed(path)
        if isinstance(values.get("datasets"), list) or set(values) <= {"general", "datasets"}:
            dataset = values
            continue
        config.update(plain(values) if is_gui(values) else flat(values))
        if dataset is None and (named := beside(path, config.get("dataset_config"))) is not None:
            dataset = _parsed(named)
        if (named := beside(path, config.get("sample_prompts"))) is not None:
            prompts = _text(named)
        elif is_gui(values) and config.get("sample_prompts"):  # the GUI keeps the prompts themselves
            prompts = str(config["sample_prompts"])
    return take(config, dataset, prompts)


def beside(config: Path, named: Any) -> Path | None:
    """The file that a config names: as it says, or of the same name beside the config."""
    if not isinstance(named, str) or not named:
        return None
    near = config.parent / re.split(r"[\\/]", named)[-1]
    return next((p for p in (Path(named), near) if p.is_file()), None)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.", "Check the path.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}", "Save it as UTF-8 text.") from error


def _parsed(path: Path) -> dict[str, Any]:
    text = _text(path)
    if path.suffix.lower() != ".json":
        return parse_toml(text, path.name)
    try:
        values = json.loads(text)
    except ValueError as error:
        raise UserError(f"{path.name} is not JSON: {error}", "Export the file again.") from error
    if not isinstance(values, dict):
        raise UserError(f"{path.name} holds no settings.", "Give a config of kohya's trainer or of its GUI.")
    return values


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without its sections, as kohya's trainer reads it."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        found.update(value if isinstance(value, dict) else {name: value})
    return found


def take(config: Mapping[str, Any], dataset: Mapping[str, Any] | None = None, prompts: str = "") -> Imported:
    """Flat arguments and a dataset file as our options."""
    out = Imported()
    given = {k: v for k, v in config.items() if v not in (None, "")}
    for name, value in given.items():
        sort_out(out, name, value, name, ARGUMENTS)
    for name, key in ARGUMENTS.items():
        put(out, name, given.get(name), key, name)
    _rates(out, given)
    _optimizer(out, given)
    _schedule(out, given)
    _length(out, given)
    _network(out, given)
    take_dataset(out, given, dataset)
    take_samples(out, given, prompts)
    if "seed" not in given:
        out.notes.append("No seed is given, which means another one each time; 42 is taken.")
    for name in ("base", "output_name", "output_dir"):
        if out.values.get(name) is None:
            out.values.pop(name, None)
    _within(out)
    _own(out, given)
    return out


def _within(out: Imported) -> None:
    """One value beyond what is possible here must not refuse a whole file: it is listed, and the default or the nearest size taken."""
    for name, (low, high) in RANGES.items():
        value = out.values.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not low <= value <= high:
            del out.values[name]
            out.unsupported.append((f"{name} = {shown_as(value)}", f"Possible here: {low} to {high}; the default is taken."))
    size = out.values.get("resolution")
    sides = [side for side in (size if isinstance(size, list) else [size]) if isinstance(side, int)]
    if any(side % 8 for side in sides):
        out.values["resolution"] = nearest = [max(64, side // 8 * 8) for side in sides]
        out.unsupported.append((f"resolution = {shown_as(size)}", f"Sides are multiples of 8; {'x'.join(map(str, nearest))} is taken."))


# -- keys that belong together ---------------------------------------------------


def _rates(out: Imported, given: Mapping[str, Any]) -> None:
    rate = given.get("learning_rate", 2e-6)
    out.values["unet_lr"] = given.get("unet_lr", rate)
    text = given.get("text_encoder_lr", rate)
    if isinstance(text, list):
        if len(set(text)) > 1:
            out.unsupported.append((f"text_encoder_lr = {shown_as(text)}", "Both text encoders have one learning rate here; the first is taken."))
        text = text[0] if text else rate
    out.values["text_lr"] = text
    # The outputs of a text encoder are only cached where it is not trained.
    if given.get("network_train_unet_only") or given.get("cache_text_encoder_outputs"):
        out.values["text_lr"] = 0.0
    if given.get("network_train_text_encoder_only"):
        out.values["unet_lr"] = 0.0


def _optimizer(out: Imported, given: Mapping[str, Any]) -> None:
    said = str(given.get("optimizer_type", ""))
    if not said:
        said = "AdamW8bit" if given.get("use_8bit_adam") else "Lion" if given.get("use_lion_optimizer") else ""
    name = OPTIMIZERS.get(said.lower())
    if name is None:
        out.unsupported.append((f"optimizer_type = {shown_as(said)}", "This optimizer is not here; AdamW is taken, with its own arguments."))
        if given.get("optimizer_args"):
            out.unsupported.append((f"optimizer_args = {shown_as(given['optimizer_args'])}", "They are of an optimizer that is not here."))
        name, arguments = "adamw", {}
    else:
        arguments = pairs(given.get("optimizer_args"))
    out.values["optimizer"] = name
    out.values["weight_decay"] = arguments.pop("weight_decay", DECAY.get(name, 0.0))
    betas = [b.strip() for b in arguments.pop("betas", "0.9,0.999").strip("()[] ").split(",") if b.strip()]
    if len(betas) != 2:
        out.unsupported.append((f"betas = {','.join(betas)}", "Two are expected; the optimizer's own are taken."))
        betas = ["0.9", "0.999"]
    out.values["betas"] = [float(b) for b in betas]
    known = ARGUMENT_NAMES.get(name, {})
    meant = dict(ARGUMENTS_THERE.get(name, {}))
    for argument, value in arguments.items():
        if argument in known:
            meant[known[argument]] = value
        else:
            out.unsupported.append((f"optimizer_args {argument} = {value}", f"{name} has no such argument here."))
    here = ARGUMENTS_HERE.get(name, {})
    out.values["optimizer_args"] = [f"{k}={v}" for k, v in meant.items() if _value(v) != _value(here.get(k, ""))]


def _value(text: str) -> str:
    """A number or a truth value in one spelling."""
    try:
        return repr(float(text))
    except ValueError:
        return text.strip().lower()


def _schedule(out: Imported, given: Mapping[str, Any]) -> None:
    kind = str(given.get("lr_scheduler_type", ""))
    if kind.endswith(REX):
        out.values["scheduler"] = "rex"
        wanted = {"min_lr": "1e-9", "gamma": "0.9", "d": "0.9"}
        for name, value in pairs(given.get("lr_scheduler_args")).items():
            if _value(value) != _value(wanted.get(name, "")):
                out.unsupported.append((f"lr_scheduler_args {name} = {value}", "The rex schedule has d = 0.9 and no restarts here."))
        return
    if kind:
        out.unsupported.append((f"lr_scheduler_type = {shown_as(kind)}", "Foreign schedules are not run; lr_scheduler is taken."))
    if given.get("lr_scheduler_args"):
        out.unsupported.append((f"lr_scheduler_args = {shown_as(given['lr_scheduler_args'])}", "Foreign schedules are not run."))
    name = str(given.get("lr_scheduler", "constant")).lower()
    if name not in SCHEDULERS:
        out.unsupported.append((f"lr_scheduler = {shown_as(name)}", "There is no such schedule here; constant is taken."))
        name = "constant"
    out.values["scheduler"] = name


def _length(out: Imported, given: Mapping[str, Any]) -> None:
    epochs, steps = (_count(given.get(name)) for name in ("max_train_epochs", "max_train_steps"))
    if epochs:
        out.values.update(epochs=epochs, max_steps=0)
        if steps:
            out.notes.append(f"max_train_epochs = {epochs} goes before max_train_steps = {steps}, as in kohya's trainer.")
    else:
        out.values["max_steps"] = steps or STEPS_UNSAID
        if not steps:
            out.notes.append(f"No length is given; kohya's {STEPS_UNSAID} steps are taken.")
    # Without it kohya saves at the end alone.
    out.values["save_every_epochs"] = _count(given.get("save_every_n_epochs")) or epochs or 10_000
    if (kind := given.get("save_model_as", "safetensors")) != "safetensors":
        out.unsupported.append((f"save_model_as = {shown_as(kind)}", "LoRA files are always .safetensors."))


def _count(value: Any) -> int:
    return int(float(value)) if value else 0


def _network(out: Imported, given: Mapping[str, Any]) -> None:
    module = str(given.get("network_module", "networks.lora"))
    arguments = pairs(given.get("network_args"))
    if module == "lycoris.kohya":
        for name, plain_values in LYCORIS_PLAIN.items():
            if name in arguments and (value := arguments.pop(name)).lower() not in plain_values:
                out.unsupported.append((f"network_args {name} = {value}", "Only LoRA and LoCon are trained here; a LoRA of this rank is taken."))
        arguments.pop("factor", None) if arguments.get("factor") == "-1" else None
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


# -- what is ours alone ------------------------------------------------------------


def _own(out: Imported, given: Mapping[str, Any]) -> None:
    """What our own export adds for options that kohya's trainer does not have, or cannot say the same way."""
    out.values.update(given.get(OWN) or {})
    trigger = out.values.get("trigger")
    for folder in out.values.get("folders", ()):
        if trigger and folder.get("class_tokens") == trigger:  # it is the caption of bare pictures here anyway
            del folder["class_tokens"]
    for name, both in (given.get(INSTEAD) or {}).items():
        if bare(out.values.get(name)) == both.get("there"):  # nobody has edited it since
            out.values[name] = both["here"]
