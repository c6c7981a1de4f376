"""The metadata of a LoRA file: what sd-scripts writes (ss_*), and Stability's model spec (modelspec.*)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lora_studio.trainer.data import Dataset
from lora_studio.trainer.export import ARCHITECTURES, BASE_VERSIONS
from lora_studio.training.config import TrainingConfig


def dataset_facts(dataset: Dataset) -> dict[str, Any]:
    """ss_dataset_dirs, ss_reg_dataset_dirs, ss_tag_frequency, ss_bucket_info and counts, as sd-scripts writes them."""
    directories: dict[str, dict[str, int]] = {}
    regular: dict[str, dict[str, int]] = {}
    frequency: dict[str, Counter[str]] = {}
    buckets: Counter[tuple[int, int]] = Counter()
    ratio_errors = []
    for example in dataset.examples:
        name = example.path.parent.name
        place = regular if example.is_reg else directories
        entry = place.setdefault(name, {"n_repeats": example.repeats, "img_count": 0})
        entry["img_count"] += 1
        frequency.setdefault(name, Counter()).update(example.tags)
        buckets[example.bucket] += example.repeats
        ratio_errors.append(abs(example.bucket[0] / example.bucket[1] - example.width / example.height))
    return {
        "dirs": directories,
        "reg_dirs": regular,
        "frequency": {name: dict(counts) for name, counts in frequency.items()},
        "buckets": {
            "buckets": {str(i): {"resolution": list(size), "count": n} for i, (size, n) in enumerate(sorted(buckets.items()))},
            "mean_img_ar_error": sum(ratio_errors) / max(1, len(ratio_errors)),
        },
        "images": sum(e.repeats for e in dataset.examples if not e.is_reg),
        "reg_images": sum(e.repeats for e in dataset.examples if e.is_reg),
        "held_out": len(dataset.held_out),
    }


def run_metadata(
    config: TrainingConfig,
    facts: Mapping[str, Any],
    *,
    family: str,
    prediction: str,
    session: str,
    started: float,
    batches_per_epoch: int,
    total_steps: int,
    warmup: int,
    precision: str,
    base_hashes: tuple[str, str],
    processes: int = 1,
) -> dict[str, str]:
    """Everything that is the same for all files of a run; every value is a string."""
    width, height = config.resolution
    version = BASE_VERSIONS[family] + ("_v" if family == "sd2" and prediction == "v_prediction" else "")
    values: dict[str, Any] = {
        "session_id": session,
        "training_started_at": started,
        "learning_rate": config.unet_lr,
        "text_encoder_lr": config.text_lr,
        "unet_lr": config.unet_lr,
        "num_train_images": facts["images"],
        "num_validation_images": facts["held_out"],
        "num_reg_images": facts["reg_images"],
        "num_batches_per_epoch": batches_per_epoch,
        "num_epochs": config.epochs,
        "gradient_checkpointing": config.gradient_checkpointing,
        "gradient_accumulation_steps": config.gradient_accumulation,
        "max_train_steps": total_steps,
        "lr_warmup_steps": warmup,
        "lr_scheduler": config.scheduler,
        "network_module": "networks.lora",
        "network_dim": config.network_dim,
        "network_alpha": config.network_alpha,
        "network_dropout": config.network_dropout or None,
        "mixed_precision": {"fp32": "no"}.get(precision, precision),
        "full_fp16": False,
        "v2": family == "sd2",
        "base_model_version": version,
        "clip_skip": config.clip_skip,
        "max_token_length": config.max_tokens,
        "cache_latents": config.cache_latents,
        "seed": config.seed,
        "lowram": False,
        "noise_offset": config.noise_offset or None,
        "multires_noise_iterations": config.multires_noise_iterations or None,
        "multires_noise_discount": config.multires_noise_discount if config.multires_noise_iterations else None,
        "adaptive_noise_scale": None,
        "zero_terminal_snr": config.zero_terminal_snr,
        "training_comment": None,
        "sd_scripts_commit_hash": None,
        "optimizer": f"{config.optimizer}({','.join((f'weight_decay={config.weight_decay}', f'betas={config.betas}', *config.optimizer_args))})",
        "max_grad_norm": config.max_grad_norm,
        "caption_dropout_rate": config.caption_dropout,
        "caption_dropout_every_n_epochs": config.caption_dropout_every_n_epochs,
        "caption_tag_dropout_rate": config.tag_dropout,
        "face_crop_aug_range": None,
        "prior_loss_weight": config.prior_loss_weight,
        "min_snr_gamma": config.min_snr_gamma or None,
        "scale_weight_norms": config.scale_weight_norms or None,
        "ip_noise_gamma": config.ip_noise_gamma or None,
        "debiased_estimation": config.debiased_estimation,
        "noise_offset_random_strength": False,
        "ip_noise_gamma_random_strength": False,
        "loss_type": config.loss_type,
        "huber_schedule": None if config.loss_type == "l2" else config.huber_schedule,
        "huber_scale": None,
        "huber_c": None if config.loss_type == "l2" else config.huber_c,
        "fp8_base": config.fp8_base,
        "fp8_base_unet": False,
        "batch_size_per_device": config.batch_size,
        "total_batch_size": config.batch_size * config.gradient_accumulation * processes,
        "resolution": f"({width}, {height})",
        "color_aug": False,
        "flip_aug": config.flip,
        "random_crop": False,
        "shuffle_caption": config.shuffle_captions,
        "enable_bucket": config.buckets,
        "bucket_no_upscale": config.bucket_no_upscale,
        "min_bucket_reso": config.bucket_min,
        "max_bucket_reso": config.bucket_max,
        "keep_tokens": config.keep_tokens,
        "dataset_dirs": json.dumps(facts["dirs"], ensure_ascii=False),
        "reg_dataset_dirs": json.dumps(facts["reg_dirs"], ensure_ascii=False),
        "tag_frequency": json.dumps(facts["frequency"], ensure_ascii=False),
        "bucket_info": json.dumps(facts["buckets"]),
        "sd_model_name": Path(config.base).name,
    }
    if config.validation_split:
        values["validation_split"], values["validation_seed"] = config.validation_split, config.validation_seed
        values["validate_every_n_epochs"] = config.validate_every_n_epochs
    if arguments := network_arguments(config):
        values["network_args"] = json.dumps(arguments)
    if base_hashes[1]:
        values["sd_model_hash"], values["new_sd_model_hash"] = base_hashes
    if config.vae:
        values["vae_name"] = Path(config.vae).name
    metadata = {f"ss_{key}": str(value) for key, value in values.items()}
    metadata.update(
        {
            "modelspec.sai_model_spec": "1.0.0",
            "modelspec.architecture": ARCHITECTURES[family, prediction] + "/lora",
            "modelspec.implementation": "https://github.com/Stability-AI/generative-models" if family == "sdxl" else "diffusers",
            "modelspec.resolution": f"{width}x{height}",
            "modelspec.prediction_type": "v" if prediction == "v_prediction" else "epsilon",
            "modelspec.encoder_layer": str(config.clip_skip),
        }
    )
    if config.trigger:
        metadata["modelspec.trigger_phrase"] = config.trigger
    return metadata


def network_arguments(config: TrainingConfig) -> dict[str, str]:
    """What sd-scripts takes as `network_args`, with its names."""
    values: dict[str, Any] = {"conv_dim": config.conv_dim, "conv_alpha": config.conv_alpha} if config.conv_dim else {}
    names = ("rank_dropout", "module_dropout", "down_lr_weight", "mid_lr_weight", "up_lr_weight")
    values |= {name: value for name in names if (value := getattr(config, name))}
    return {name: str(value) for name, value in values.items()}


def file_metadata(run: Mapping[str, str], *, stem: str, step: int, epoch: int, finished: float) -> dict[str, str]:
    """The run's metadata with what differs from file to file. `ss_output_name` is the file's own stem: the WebUI uses it as an alias."""
    return {
        **run,
        "ss_output_name": stem,
        "ss_training_finished_at": str(finished),
        "ss_steps": str(step),
        "ss_epoch": str(epoch),
        "modelspec.title": stem,
        "modelspec.date": datetime.fromtimestamp(finished, timezone.utc).isoformat(timespec="seconds"),
    }
