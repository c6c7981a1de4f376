"""The TOML that LoRA Easy Training Scripts saves, in the words of kohya's own trainer, which it runs.

Each of its sections holds arguments (``[x_args.args]``) and options of the dataset (``[x_args.dataset_args]``); folders are ``[[subsets]]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PARTS = {"args", "dataset_args"}
TABLES = ("network_args", "optimizer_args", "lr_scheduler_args")


def is_easy(values: Mapping[str, Any]) -> bool:
    """Whether a file is one of this program's."""
    sections = [v for name, v in values.items() if name.endswith("_args") and isinstance(v, dict)]
    return any(sections) and all(set(section) <= PARTS for section in sections)


def plain(values: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Arguments of the trainer, and the dataset file if there are folders or options for them."""
    config: dict[str, Any] = {}
    general: dict[str, Any] = {}
    for name, section in values.items():
        if isinstance(section, dict) and set(section) <= PARTS:
            config.update(section.get("args") or {})
            general.update(section.get("dataset_args") or {})
        elif name != "subsets":
            config[name] = section
    network = config.get("network_args")
    if isinstance(network, dict) and "algo" in network:
        config["network_module"] = "lycoris.kohya"
    elif isinstance(network, dict) and "unit" in network:
        config["network_module"] = "networks.dylora"
    if config.pop("fa", False):
        config["network_module"] = "networks.lora_fa"
    for name in TABLES:
        if isinstance(config.get(name), dict):
            config[name] = [f"{key}={_word(value)}" for key, value in config[name].items() if value != ""]
    if "warmup_ratio" in config:
        config["lr_warmup_steps"] = config.pop("warmup_ratio")
    # The name of a folder is what the window calls it.
    folders = [{key: value for key, value in folder.items() if key != "name"} for folder in values.get("subsets") or ()]
    dataset = {"general": general, "datasets": [{"subsets": folders}]}
    return config, dataset if general or folders else None


def _word(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
