"""Our settings as files of kohya's trainer: config.toml, dataset.toml and sample_prompts.txt, which import again as the same settings.

Options that kohya's trainer does not have stand in a section of their own, which it does not look at. What it can only say in other words
is written so, with our value beside it; ours counts for as long as nobody edits the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from .config import OPTIONS, DatasetFolder, TrainingConfig
from .kohya_report import bare
from .kohya_table import ARGUMENT_NAMES, ARGUMENTS, ARGUMENTS_HERE, DECAY, IN_DATASET, NETWORK_ARGS, OPTIMIZER_NAMES
from .kohya_take import INSTEAD, OWN, take

CONFIG, DATASET, PROMPTS = "config.toml", "dataset.toml", "sample_prompts.txt"
PLAIN_BETAS = (0.9, 0.999)
_COMBINED = {
    "unet_lr", "text_lr", "optimizer", "optimizer_args", "weight_decay", "betas", "scheduler", "epochs", "max_steps", "save_every_epochs", "folders",
    "sample_prompts", "sample_steps", "sample_cfg", "sample_seed", *NETWORK_ARGS.values(),
}  # fmt: skip
ONLY_HERE = tuple(o for o in OPTIONS if o not in _COMBINED and o not in {key.option for key in ARGUMENTS.values()})
#: where things are and how they are run, not what is learned
HARMLESS = frozenset({"lora_dir", "trigger", "device", "threads", "memory_plan", "state_every_minutes", "prediction"})
LOST = {
    "prior_weight": "kohya's trainer does not keep the base as it is without the trigger word.",
    "prior_every": "kohya's trainer does not keep the base as it is without the trigger word.",
    "ema_decay": "kohya's trainer keeps no running average.",
    "ema_save": "kohya's trainer keeps no running average.",
    "processes": "Give the number to accelerate launch: --num_processes.",
    "scheduler": "kohya's trainer has no rex schedule; linear is written.",
    "precision": "kohya's trainer does not choose by itself; fp16 is written.",
}


@dataclass(frozen=True)
class Exported:
    """``files``: name → text. ``lost``: (option, reason) of what kohya's trainer will not do."""

    files: dict[str, str]
    lost: tuple[tuple[str, str], ...]


def export(config: TrainingConfig, folder: str = "", family: str = "") -> Exported:
    """The files for a configuration. ``folder``: where they will lie, for the config to name the others; ``family``: of the base, if it is known."""
    sections = _config(config, folder, family)
    dataset = _dataset(config)
    prompts = _prompts(config)
    defaults = {name: field.default for name, field in TrainingConfig.__dataclass_fields__.items()}
    values = config.to_dict()
    own = {o: values[o] for o in ONLY_HERE if getattr(config, o) != defaults[o]}
    raw = take({**_joined(sections), OWN: own}, dataset, prompts).values
    there = TrainingConfig.from_dict(raw).to_dict()
    instead = {o: bare({"there": raw.get(o), "here": values[o]}) for o in OPTIONS if there[o] != values[o]}
    sections["lora_studio"] = {k: v for k, v in ((OWN, bare(own)), (INSTEAD, instead)) if v}
    files = {CONFIG: _text(sections, _command(family)), DATASET: _text(dataset, "")}
    if prompts:
        files[PROMPTS] = prompts
    changed = [o for o in (*own, *(o for o in instead if o in LOST)) if o not in HARMLESS]
    return Exported(files, tuple((o, LOST.get(o, "kohya's trainer has no such option.")) for o in changed))


def _joined(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for section in sections.values() for name, value in section.items()}


def _command(family: str) -> str:
    script = "sdxl_train_network.py" if family == "sdxl" else "train_network.py"
    return f"For kohya's trainer: accelerate launch {script} --config_file {CONFIG}\nFor Lora Studio: config import {CONFIG} --project NAME"


def _config(config: TrainingConfig, folder: str, family: str) -> dict[str, dict[str, Any]]:
    """Sections as the notebooks have them; kohya's trainer looks at the keys alone."""
    values = config.to_dict()
    simple = {name: key.write(values[key.option]) for name, key in ARGUMENTS.items() if not key.level}
    simple = {name: value for name, value in simple.items() if value is not None}

    def some(names: str) -> dict[str, Any]:
        return {name: simple.pop(name) for name in names.split() if name in simple}

    def place(name: str) -> str:
        return f"{folder.rstrip('/')}/{name}" if folder else name

    network = {"network_module": "networks.lora", **some("network_dim network_alpha network_dropout network_weights scale_weight_norms")}
    rates = {"unet_lr": config.unet_lr, "text_encoder_lr": config.text_lr}
    if config.text_lr == 0:
        rates["network_train_unet_only"] = True
    elif config.unet_lr == 0:
        rates["network_train_text_encoder_only"] = True
    optimizer = {
        "learning_rate": config.unet_lr or config.text_lr,
        "optimizer_type": OPTIMIZER_NAMES[config.optimizer],
        "optimizer_args": _optimizer_args(config),
        "lr_scheduler": {"rex": "linear"}.get(config.scheduler, config.scheduler),
        **some("lr_scheduler_num_cycles lr_scheduler_power lr_warmup_steps max_grad_norm"),
    }
    if config.scheduler == "constant":  # kohya's trainer refuses a warm-up there
        optimizer.pop("lr_warmup_steps", None)
    saving = {
        **some("output_dir output_name save_precision save_last_n_epochs"), "save_model_as": "safetensors",
        "save_every_n_epochs": config.save_every_epochs,
    }  # fmt: skip
    model = {**some("pretrained_model_name_or_path vae v_parameterization"), **({"v2": True} if family == "sd2" else {})}
    length = {"max_train_steps": config.max_steps} if config.max_steps else {"max_train_epochs": config.epochs}
    samples = some("sample_every_n_epochs")
    if config.sample_prompts:
        samples["sample_prompts"] = place(PROMPTS)
    arguments = [f"{name}={_number(values[option])}" for name, option in NETWORK_ARGS.items() if _said(config, option)]
    return {
        "model_arguments": model,
        "network_arguments": {**network, **({"network_args": arguments} if arguments else {}), **rates},
        "optimizer_arguments": optimizer,
        "training_arguments": {**length, "train_batch_size": config.batch_size, "sdpa": True, **simple},
        "saving_arguments": saving,
        "sample_arguments": samples,
        "dataset_arguments": {"dataset_config": place(DATASET)},
    }


def _said(config: TrainingConfig, option: str) -> bool:
    return bool(getattr(config, option)) and (option != "conv_alpha" or config.conv_dim > 0)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def _optimizer_args(config: TrainingConfig) -> list[str]:
    arguments = dict(ARGUMENTS_HERE.get(config.optimizer, {}))
    for text in config.optimizer_args:
        name, _, value = text.partition("=")
        arguments[name.strip()] = value.strip()
    if config.weight_decay != DECAY.get(config.optimizer, 0.0) or config.optimizer in DECAY:
        arguments["weight_decay"] = repr(config.weight_decay)
    if config.betas != PLAIN_BETAS:
        arguments["betas"] = ",".join(map(repr, config.betas))
    theirs = {ours: name for name, ours in ARGUMENT_NAMES.get(config.optimizer, {}).items()}
    return [f"{theirs.get(k, k)}={v}" for k, v in arguments.items()]


def _dataset(config: TrainingConfig) -> dict[str, Any]:
    values = config.to_dict()
    general = {IN_DATASET.get(n, n): key.write(values[key.option]) for n, key in ARGUMENTS.items() if key.level}
    general = {name: value for name, value in general.items() if value is not None}
    width, height = config.resolution
    general["resolution"] = width if width == height else [width, height]
    general["caption_extension"] = ".txt"
    # In one dataset of kohya's, all folders have masks or none has.
    groups = groupby(config.folders, key=lambda f: bool(f.conditioning_data_dir))
    return {"general": general, "datasets": [{"subsets": [_subset(f, config, masked) for f in group]} for masked, group in groups]}


def _subset(folder: DatasetFolder, config: TrainingConfig, masked: bool) -> dict[str, Any]:
    words = folder.class_tokens or config.trigger
    subset: dict[str, Any] = {"image_dir": folder.path, "num_repeats": folder.repeats}
    if masked:
        subset["conditioning_data_dir"] = folder.conditioning_data_dir
    else:
        # what kohya's trainer takes for pictures without a caption; it wants one where there are such pictures
        subset.update({k: v for k, v in (("class_tokens", words), ("is_reg", folder.is_reg), ("alpha_mask", config.masked_loss)) if v})
    for name, value in (("keep_tokens", folder.keep_tokens), ("flip_aug", folder.flip)):
        if value is not None:
            subset[name] = value
    return subset


def _prompts(config: TrainingConfig) -> str:
    width, height = config.resolution
    return "".join(
        f"{text} --w {width} --h {height} --s {config.sample_steps} --l {_number(config.sample_cfg)} --d {config.sample_seed + k}\n"
        for k, text in enumerate(config.sample_prompts)
    )


def _text(values: Mapping[str, Any], comment: str) -> str:
    """TOML, with a comment above."""
    import tomlkit

    document = tomlkit.document()
    for line in comment.splitlines():
        document.add(tomlkit.comment(line))
    for name, value in values.items():
        if value:
            document.add(name, tomlkit.item(bare(value)))
    return tomlkit.dumps(document)
