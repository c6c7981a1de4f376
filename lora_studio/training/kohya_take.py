"""Arguments and a dataset file of kohya's trainer as our options; what cannot be taken over is listed, never lost.

A file means kohya's defaults where it is silent, not ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .kohya_dataset import take_dataset
from .kohya_kinds import sound
from .kohya_network import take_network
from .kohya_report import Imported, bare, pairs, put, shown_as, sort_out
from .kohya_samples import take_samples
from .kohya_table import (
    ARGUMENT_NAMES,
    ARGUMENTS,
    ARGUMENTS_HERE,
    ARGUMENTS_THERE,
    DECAY,
    NEAREST_SCHEDULE,
    OPTIMIZERS,
    REX,
    SAME_OPTIMIZER,
    SCHEDULE_CLASSES,
    SCHEDULERS,
    SPELLINGS,
)
from .options import FINDS_RATE, LEAST_SCALE, RANGES

OWN, INSTEAD = "own_options", "own_instead"
STEPS_UNSAID = 1600  # kohya's length when a file names none


def take(config: Mapping[str, Any], dataset: Mapping[str, Any] | None = None, prompts: str = "") -> Imported:
    """Flat arguments and a dataset file as our options."""
    out = Imported()
    given = {SPELLINGS.get(k, k): v for k, v in config.items() if v not in (None, "")}
    given = sound(out, given)
    for name, value in given.items():
        sort_out(out, name, value, name, ARGUMENTS)
    for name, key in ARGUMENTS.items():
        put(out, name, given.get(name), key, name)
    _rates(out, given)
    _optimizer(out, given)
    _schedule(out, given)
    _length(out, given)
    take_network(out, given)
    take_dataset(out, given, dataset)
    take_samples(out, given, prompts)
    if "seed" not in given:
        out.notes.append("No seed is given, which means another one each time; 42 is taken.")
    for name in ("base", "output_name", "output_dir"):
        if out.values.get(name) is None:
            out.values.pop(name, None)
    _within(out)
    _found_rates(out)
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


def _found_rates(out: Imported) -> None:
    """An optimizer that finds the learning rate hardly learns at the rates of the others, which such files name all the same."""
    rates = {name: float(out.values[name]) for name in ("unet_lr", "text_lr") if name in out.values}
    if out.values["optimizer"] not in FINDS_RATE or max(rates.values(), default=1.0) >= LEAST_SCALE:
        return
    for name, rate in rates.items():
        if rate:
            out.values[name] = 1.0
            out.unsupported.append((f"{name} = {rate}", "This optimizer finds the learning rate by itself and only scales it with this; 1 is taken."))


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
    if name is None and (name := SAME_OPTIMIZER.get(said.lower())):
        out.notes.append(f"{given['optimizer_type']} is taken as {name}: the same method, with other memory.")
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
    kind = str(given.get("lr_scheduler_type", "")).rsplit(".", 1)[-1]
    arguments = pairs(given.get("lr_scheduler_args"))
    name = str(given.get("lr_scheduler", "constant")).lower()
    if kind in REX:
        name = "rex"
        wanted = {"min_lr": "1e-9", "d": "0.9"}
        if (cycles := _count(given.get("lr_scheduler_num_cycles"))) > 1:
            arguments["lr_scheduler_num_cycles"] = str(cycles)
        else:
            arguments.pop("gamma", None)  # what the second cycle begins with
        for argument, value in arguments.items():
            if _value(value) != _value(wanted.get(argument, "")):
                out.unsupported.append((f"lr_scheduler_args {argument} = {value}", "The rex schedule has d = 0.9, no restarts and an end at 0 here."))
        out.values["scheduler"] = name
        return
    if kind:
        name = SCHEDULE_CLASSES.get(kind, name)
        out.unsupported.append((f"lr_scheduler_type = {shown_as(given['lr_scheduler_type'])}", f"Foreign schedules are not run; {name} is taken."))
    for argument, value in arguments.items():
        out.unsupported.append((f"lr_scheduler_args {argument} = {value}", "Foreign schedules are not run."))
    if name not in SCHEDULERS:
        nearest = NEAREST_SCHEDULE.get(name, "constant")
        out.unsupported.append((f"lr_scheduler = {shown_as(name)}", f"There is no such schedule here; {nearest} is taken."))
        name = nearest
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
