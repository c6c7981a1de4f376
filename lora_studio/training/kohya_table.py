"""What kohya's trainer (sd-scripts, train_network.py and its dataset files) calls things: names, defaults, and how they are ours.

Facts of v0.10; ``kohya_take`` reads by this table and ``kohya_export`` writes by it. Keys that need more than a change of name
(optimizer, learning rates, schedule, length, network, folders) are in ``COMBINED`` and handled there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Key:
    """One of kohya's keys that is one of our options. ``default``: what a file means, in our values, that does not name it.

    ``read`` raises ValueError with the reason for a value that cannot be taken over. ``write`` gives None for what need not be written.
    ``level``: where in a dataset file it may stand: "dataset", "subset" (a folder) or nowhere.
    """

    option: str
    default: Any
    read: Callable[[Any], Any] = _same
    write: Callable[[Any], Any] = _same
    level: str = ""


def _or_none(value: Any) -> Any:
    return value or None


def _share_or_steps(value: float) -> Any:
    """kohya's trainer takes a fraction for a share of all steps, even 25.0, and a whole number for steps."""
    return int(value) if value >= 1 else value or None


def size(value: Any) -> Any:
    """``512``, ``"512"``, ``"512,768"`` or ``[512, 768]``."""
    return [int(float(v)) for v in value.split(",")] if isinstance(value, str) else value


def _choice(table: dict[str, str], otherwise: str) -> Callable[[Any], Any]:
    def read(value: Any) -> str:
        found = table.get(str(value).lower())
        if found is None:
            raise ValueError(otherwise)
        return found

    return read


ARGUMENTS: dict[str, Key] = {
    "pretrained_model_name_or_path": Key("base", None),
    "vae": Key("vae", "", write=_or_none),
    "output_name": Key("output_name", None),
    "output_dir": Key("output_dir", None),
    "seed": Key("seed", 42),
    "resolution": Key("resolution", 512, size, level="dataset"),
    "train_batch_size": Key("batch_size", 1, level="dataset"),
    "enable_bucket": Key("buckets", False, level="dataset"),
    "min_bucket_reso": Key("bucket_min", 256, level="dataset"),
    "max_bucket_reso": Key("bucket_max", 1024, level="dataset"),
    "bucket_reso_steps": Key("bucket_step", 64, level="dataset"),
    "bucket_no_upscale": Key("bucket_no_upscale", False, level="dataset"),
    "validation_split": Key("validation_split", 0.0, write=_or_none, level="dataset"),
    "validation_seed": Key("validation_seed", 42, level="dataset"),
    "flip_aug": Key("flip", False, level="subset"),
    "keep_tokens": Key("keep_tokens", 0, level="subset"),
    "shuffle_caption": Key("shuffle_captions", False, level="subset"),
    "caption_dropout_rate": Key("caption_dropout", 0.0, level="subset"),
    "caption_dropout_every_n_epochs": Key("caption_dropout_every_n_epochs", 0, level="subset"),
    "caption_tag_dropout_rate": Key("tag_dropout", 0.0, level="subset"),
    "token_warmup_min": Key("token_warmup_min", 1, level="subset"),
    "token_warmup_step": Key("token_warmup_step", 0.0, level="subset"),
    "masked_loss": Key("masked_loss", False, write=_or_none),
    "save_last_n_epochs": Key("keep_last", 0, write=_or_none),
    "gradient_accumulation_steps": Key("gradient_accumulation", 1),
    "max_grad_norm": Key("max_grad_norm", 1.0),
    "lr_scheduler_num_cycles": Key("scheduler_cycles", 1),
    "lr_scheduler_power": Key("scheduler_power", 1.0),
    "lr_warmup_steps": Key("warmup", 0.0, write=_share_or_steps),
    "network_dim": Key("network_dim", 4),
    "network_alpha": Key("network_alpha", 1.0),
    "network_dropout": Key("network_dropout", 0.0, write=_or_none),
    "network_weights": Key("network_weights", "", write=_or_none),
    "scale_weight_norms": Key("scale_weight_norms", 0.0, write=_or_none),
    "min_snr_gamma": Key("min_snr_gamma", 0.0, write=_or_none),
    "debiased_estimation_loss": Key("debiased_estimation", False, write=_or_none),
    "scale_v_pred_loss_like_noise_pred": Key("scale_v_pred_loss", False, write=_or_none),
    "zero_terminal_snr": Key("zero_terminal_snr", False, write=_or_none),
    "loss_type": Key(
        "loss_type", "l2", _choice({"l2": "l2", "huber": "huber", "smooth_l1": "smooth_l1"}, "Only l2, huber and smooth_l1 are known here.")
    ),
    "huber_schedule": Key("huber_schedule", "snr"),
    "huber_c": Key("huber_c", 0.1),
    "noise_offset": Key("noise_offset", 0.0, write=_or_none),
    "multires_noise_iterations": Key("multires_noise_iterations", 0, write=_or_none),
    "multires_noise_discount": Key("multires_noise_discount", 0.3),
    "ip_noise_gamma": Key("ip_noise_gamma", 0.0, write=_or_none),
    "prior_loss_weight": Key("prior_loss_weight", 1.0),
    "clip_skip": Key("clip_skip", 1, write=lambda v: None if v == 1 else v),
    "max_token_length": Key("max_tokens", 75, write=lambda v: None if v == 75 else v),
    "v_parameterization": Key("prediction", "auto", lambda v: "v_prediction" if v else "auto", lambda v: True if v == "v_prediction" else None),
    "mixed_precision": Key(
        "precision", "fp32", _choice({"no": "fp32", "fp16": "fp16", "bf16": "bf16"}, "Only no, fp16 and bf16 are known here."),
        lambda v: {"fp32": "no", "auto": "fp16"}.get(v, v),
    ),
    "save_precision": Key(
        "save_precision", "fp32", _choice({"float": "fp32", "fp32": "fp32", "fp16": "fp16", "bf16": "bf16"}, "Only float, fp16, bf16 are known."),
        lambda v: {"fp32": "float"}.get(v, v),
    ),
    "gradient_checkpointing": Key("gradient_checkpointing", False),
    "fp8_base": Key("fp8_base", False, write=_or_none),
    "torch_compile": Key(
        "compile", "off", _choice({"true": "blocks", "1": "blocks", "false": "off", "0": "off"}, "Only true and false are known."),
        lambda v: None if v == "off" else True,
    ),
    "cache_latents": Key("cache_latents", False),
    "sample_every_n_epochs": Key("sample_every_epochs", 0, write=_or_none),
    "validate_every_n_epochs": Key("validate_every_n_epochs", 1, write=lambda v: None if v == 1 else v),
}  # fmt: skip

#: names that differ in the dataset file
IN_DATASET = {"train_batch_size": "batch_size", "dataset_repeats": "num_repeats"}
#: what a folder has of its own here: kohya's name in a subset → ours
OF_FOLDER = {"image_dir": "path", "num_repeats": "repeats", "keep_tokens": "keep_tokens", "flip_aug": "flip", "is_reg": "is_reg",
             "class_tokens": "class_tokens", "conditioning_data_dir": "conditioning_data_dir"}  # fmt: skip

#: other spellings that kohya's trainer takes too
SPELLINGS = {"caption_extention": "caption_extension"}

COMBINED = frozenset(
    "learning_rate unet_lr text_encoder_lr network_train_unet_only network_train_text_encoder_only optimizer_type optimizer_args use_8bit_adam "
    "use_lion_optimizer lr_scheduler lr_scheduler_type lr_scheduler_args max_train_epochs max_train_steps save_every_n_epochs network_module "
    "network_args dataset_config train_data_dir reg_data_dir dataset_repeats caption_extension sample_prompts conditioning_data_dir own_options "
    "own_instead alpha_mask cache_text_encoder_outputs save_model_as".split()
)

# Optimizers: kohya's names in lower case → ours; the second table is how they are written.
OPTIMIZERS = {
    "": "adamw", "adamw": "adamw", "adamw8bit": "adamw8bit", "lion": "lion", "adafactor": "adafactor", "prodigy": "prodigy",
    "dadaptation": "dadapt_adam", "dadaptadam": "dadapt_adam", "dadaptadampreprint": "dadapt_adam", "dadaptlion": "dadapt_lion",
    "came": "came", "pytorch_optimizer.came": "came", "loraeasycustomoptimizer.came.came": "came", "sgdnesterov": "sgd_nesterov",
    "torch.optim.adamw": "adamw", "bitsandbytes.optim.adamw8bit": "adamw8bit", "prodigyopt.prodigy": "prodigy",
    "pytorch_optimizer.prodigy": "prodigy", "lion_pytorch.lion": "lion", "transformers.adafactor": "adafactor",
}  # fmt: skip
#: the same methods with their memory in fewer bits, or moved out when the card is full
SAME_OPTIMIZER = {
    "pagedadamw8bit": "adamw8bit", "pagedadamw": "adamw", "pagedadamw32bit": "adamw", "lion8bit": "lion", "pagedlion8bit": "lion",
    "sgdnesterov8bit": "sgd_nesterov",
}  # fmt: skip
OPTIMIZER_NAMES = {
    "adamw": "AdamW", "adamw8bit": "AdamW8bit", "lion": "Lion", "adafactor": "AdaFactor", "prodigy": "Prodigy", "dadapt_adam": "DAdaptAdam",
    "dadapt_lion": "DAdaptLion", "came": "pytorch_optimizer.CAME", "sgd_nesterov": "SGDNesterov",
}  # fmt: skip
#: weight decay where none is given; every other optimizer has 0
DECAY = {"adamw": 0.01, "adamw8bit": 0.01}
#: arguments besides weight_decay and betas: kohya's name → ours, by our optimizers
ARGUMENT_NAMES: dict[str, dict[str, str]] = {
    "adamw": {"eps": "eps", "amsgrad": "amsgrad"},
    "adamw8bit": {"eps": "eps", "percentile_clipping": "percentile_clipping", "block_wise": "block_wise"},
    "adafactor": {n: n for n in ("scale_parameter", "relative_step", "warmup_init", "clip_threshold", "decay_rate")},
    "prodigy": {"decouple": "weight_decouple", "use_bias_correction": "bias_correction", **{n: n for n in (
        "safeguard_warmup", "d0", "d_coef", "growth_rate", "beta3", "eps")}},
    "dadapt_adam": {"decouple": "weight_decouple", "use_bias_correction": "bias_correction", "d0": "d0", "growth_rate": "growth_rate", "eps": "eps"},
    "dadapt_lion": {"decouple": "weight_decouple", "d0": "d0"},
    "came": {"clip_threshold": "clip_threshold"},
    "sgd_nesterov": {"momentum": "momentum", "dampening": "dampening"},
}  # fmt: skip
#: what our optimizers do unless told otherwise, where it is not what kohya's do (below): a file means its own
ARGUMENTS_HERE: dict[str, dict[str, str]] = {
    "prodigy": {"d_coef": "2.0", "safeguard_warmup": "True", "weight_decouple": "True", "bias_correction": "False"},
    "dadapt_adam": {"weight_decouple": "True", "bias_correction": "False"},
    "dadapt_lion": {"weight_decouple": "True"},
    "adafactor": {"scale_parameter": "False", "relative_step": "False", "warmup_init": "False"},
}
ARGUMENTS_THERE: dict[str, dict[str, str]] = {
    "prodigy": {"d_coef": "1.0", "safeguard_warmup": "False"},
    "dadapt_adam": {"weight_decouple": "False"},
    "dadapt_lion": {"weight_decouple": "False"},
    "adafactor": {"scale_parameter": "True", "relative_step": "True"},
}
SCHEDULERS = ("constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial")
REX = ("RexAnnealingWarmRestarts", "Rex")
#: other classes of schedules and other names -> what is nearest here
SCHEDULE_CLASSES = {"CosineAnnealingLR": "cosine", "CosineAnnealingWarmRestarts": "cosine_with_restarts"}
NEAREST_SCHEDULE = {"cosine_with_min_lr": "cosine", "warmup_stable_decay": "constant_with_warmup", "adafactor": "constant"}
NETWORK_ARGS = {
    "conv_dim": "conv_dim", "conv_alpha": "conv_alpha", "rank_dropout": "rank_dropout", "module_dropout": "module_dropout",
    "down_lr_weight": "down_lr_weight", "mid_lr_weight": "mid_lr_weight", "up_lr_weight": "up_lr_weight",
}  # fmt: skip
