"""Whether a value of kohya's settings is of the kind that its key takes: files are written by hand too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .kohya_report import Imported, shown_as
from .kohya_table import ARGUMENTS, IN_DATASET

NUMBERS = frozenset("learning_rate unet_lr max_train_epochs max_train_steps save_every_n_epochs dataset_repeats num_repeats".split())
LISTS = frozenset("optimizer_args lr_scheduler_args network_args".split())
TEXTS = frozenset(
    "optimizer_type lr_scheduler lr_scheduler_type network_module dataset_config train_data_dir reg_data_dir caption_extension conditioning_data_dir "
    "save_model_as image_dir class_tokens".split()
)
FLAGS = frozenset(
    "network_train_unet_only network_train_text_encoder_only cache_text_encoder_outputs use_8bit_adam use_lion_optimizer alpha_mask "
    "is_reg torch_compile".split()
)
TABLES = frozenset(("own_options", "own_instead"))
_OF_DATASET = {IN_DATASET.get(name, name): name for name, key in ARGUMENTS.items() if key.level}


def sound(out: Imported, values: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """The values that can be read; the others are listed."""
    found = {}
    for name, value in values.items():
        if fits(name, value):
            found[name] = value
        else:
            out.unsupported.append((f"{where}{name} = {shown_as(value)}", "A value of another kind is expected."))
    return found


def fits(name: str, value: Any) -> bool:
    key = ARGUMENTS.get(_OF_DATASET.get(name, name))
    if value is None:
        return True
    if name == "resolution":
        parts = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else [value]
        return 0 < len(parts) <= 2 and all(_number(part) for part in parts)
    if name == "text_encoder_lr":
        return all(_number(part) for part in value) if isinstance(value, list) else _number(value)
    if name in LISTS:
        return isinstance(value, str) or (isinstance(value, list) and all(isinstance(part, str) for part in value))
    if name in TABLES:
        return isinstance(value, dict)
    if name in NUMBERS or (key and isinstance(key.default, (int, float)) and not isinstance(key.default, bool)):
        return _number(value)
    if name in FLAGS or (key and isinstance(key.default, bool)):
        return isinstance(value, bool) or str(value).lower() in ("true", "false", "0", "1")
    return isinstance(value, str) if name in TEXTS or (key and key.option != "prediction") else True


def _number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
