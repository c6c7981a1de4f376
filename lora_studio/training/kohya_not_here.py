"""What kohya's trainer knows and this one does not: each key with the reason, by whether it changes what is learned."""

from __future__ import annotations

from typing import Any

#: nothing of the sort is wanted, whatever the key
NEUTRAL: tuple[Any, ...] = (None, False, "", [], {})

_STATE = "Our own state is kept every few minutes and after each epoch."
_BY_EPOCH = "Here this goes by epochs."
_CAPTIONS = "Captions are taken as they stand in the files here, separators too; change them in the Edit step, and set keep_tokens."
_AUGMENT = "No such change of the pictures is made here."
_OTHER_MODELS = "This belongs to other model families."

# Known to kohya, changes what is learned, and not done here: (other values that mean "no", reason).
UNSUPPORTED: dict[str, tuple[tuple[Any, ...], str]] = {
    **dict.fromkeys(("color_aug", "random_crop", "face_crop_aug_range"), ((), _AUGMENT)),
    **dict.fromkeys(("caption_prefix", "caption_suffix", "keep_tokens_separator", "secondary_separator", "enable_wildcard"), ((), _CAPTIONS)),
    "caption_separator": ((",",), "Tags are separated by commas here."),
    "weighted_captions": ((), "Brackets and weights in captions are plain text here."),
    "resize_interpolation": ((), "Pictures are averaged when they shrink and enlarged by Lanczos, which is kohya's default too."),
    "custom_attributes": ((), "Folders have no such attributes here."),
    "network_multiplier": ((1.0,), "The LoRA is trained at full strength here."),
    "metadata_file": ((), "Captions are read from .txt files; fine-tuning metadata is not."),
    "in_json": ((), "Captions are read from .txt files; fine-tuning metadata is not."),
    "dataset_class": ((), "Foreign dataset classes are not run."),
    "noise_offset_random_strength": ((), "The offset has one strength here."),
    "ip_noise_gamma_random_strength": ((), "The perturbation has one strength here."),
    "perlin_noise": ((), "There is no Perlin noise here."),
    "adaptive_noise_scale": ((0,), "The offset does not follow the latents here."),
    "min_timestep": ((0,), "All timesteps are trained here."),
    "max_timestep": ((1000, 0), "All timesteps are trained here."),
    "v_pred_like_loss": ((0,), "There is no such loss here."),
    "huber_scale": ((1.0,), "The Huber loss has no such scale here."),
    "full_fp16": ((), "Weights of the LoRA stay in fp32 here, which learns better and costs little."),
    "full_bf16": ((), "Weights of the LoRA stay in fp32 here, which learns better and costs little."),
    "save_every_n_steps": ((0,), f"{_BY_EPOCH} `runs` can save at any moment."),
    "save_n_epoch_ratio": ((0,), f"{_BY_EPOCH} Set save_every_epochs."),
    "save_last_n_steps": ((0,), _BY_EPOCH),
    "sample_every_n_steps": ((0,), _BY_EPOCH),
    "validate_every_n_steps": ((0,), _BY_EPOCH),
    "stop_text_encoder_training": ((0,), "The text encoder is trained to the end here; set text_lr to 0 to leave it out."),
    "stop_text_encoder_training_pct": ((0,), "The text encoder is trained to the end here; set text_lr to 0 to leave it out."),
    "lr_decay_steps": ((0,), "There is no such schedule here."),
    "lr_scheduler_timescale": ((0,), "There is no such schedule here."),
    "lr_scheduler_min_lr_ratio": ((0,), "Schedules end at 0 here."),
    "optimizer_schedulefree_wrapper": ((), "Schedule-free optimizers are not here."),
    "schedulefree_wrapper_args": ((), "Schedule-free optimizers are not here."),
    "dim_from_weights": ((), "Set network_dim to the rank of the LoRA to go on from."),
    "base_weights": ((), "No LoRA is merged into the base first; network_weights goes on from one."),
    "base_weights_multiplier": ((), "No LoRA is merged into the base first."),
    "initial_epoch": ((0, 1), "A run goes on from its own state here."),
    "initial_step": ((0,), "A run goes on from its own state here."),
    "skip_until_initial_step": ((), "A run goes on from its own state here."),
    "resume": ((), "The state of another trainer cannot be resumed; network_weights goes on from a LoRA."),
    "resume_from_huggingface": ((), "The state of another trainer cannot be resumed."),
    "no_token_padding": ((), "Captions are always padded to whole chunks here."),
    **dict.fromkeys(
        ("weighting_scheme", "logit_mean", "logit_std", "mode_scale", "blocks_to_swap", "t5xxl", "clip_l", "clip_g", "ae", "guidance_scale",
         "timestep_sampling", "discrete_flow_shift", "model_prediction_type", "split_mode", "model_type", "t5xxl_max_token_length",
         "apply_t5_attn_mask", "train_blocks", "qwen3"), ((), _OTHER_MODELS),
    ),
}  # fmt: skip

_SPEED = "How memory and time are spent is chosen here by measuring."
_LOGS = "Every run keeps its own log here (TensorBoard in its folder)."
_UPLOAD = "Nothing is sent anywhere."
_OTHER_WINDOW = "It belongs to the other program's window."
#: never shown, not even to the one who wrote them down
SECRETS = ("wandb_api_key", "huggingface_token")

# Known to kohya, does not change what is learned, and not needed here.
UNNEEDED: dict[str, tuple[tuple[Any, ...], str]] = {
    **dict.fromkeys(
        "xformers sdpa mem_eff_attn lowram lowvram highvram max_data_loader_n_workers persistent_data_loader_workers vae_batch_size "
        "cache_latents_to_disk cache_text_encoder_outputs_to_disk skip_cache_check cache_info dynamo_backend dynamo_mode fp8_base_unet "
        "cpu_offload_checkpointing text_encoder_batch_size disable_mmap_load_safetensors fused_backward_pass "
        "fp16_master_weights_and_gradients num_cpu_threads_per_process".split(),
        ((0,), _SPEED),
    ),
    **dict.fromkeys(
        "deepspeed zero_stage offload_optimizer_device offload_optimizer_nvme_path offload_param_device offload_param_nvme_path zero3_init_flag "
        "zero3_save_16bit_model ddp_timeout ddp_gradient_as_bucket_view ddp_static_graph".split(),
        ((), "Several cards are used by `processes`."),
    ),
    **dict.fromkeys("multi_gpu num_processes num_machines gpu_ids".split(), ((1, 0), "Several cards are used by `processes`.")),
    "no_half_vae": ((), "The VAE is run in fp32 where fp16 fails."),
    **dict.fromkeys(
        "logging_dir log_with log_prefix log_tracker_name log_tracker_config log_config wandb_run_name wandb_api_key debug_dataset".split(),
        ((), _LOGS),
    ),
    **dict.fromkeys(
        "huggingface_repo_id huggingface_repo_type huggingface_path_in_repo huggingface_token huggingface_repo_visibility save_state_to_huggingface "
        "async_upload".split(),
        ((), _UPLOAD),
    ),
    **dict.fromkeys("save_state save_state_on_train_end save_last_n_epochs_state save_last_n_steps_state".split(), ((0,), _STATE)),
    "sample_at_first": ((), "Samples are drawn before the first step whenever there are any."),
    "sample_sampler": ((), "Samples are drawn with one sampler here."),
    "max_validation_steps": ((0,), "All held-out pictures are measured."),
    "no_metadata": ((), "Files carry kohya's metadata."),
    "use_safetensors": ((), "Files are always .safetensors."),
    "training_comment": ((), "Runs have no comment here."),
    **dict.fromkeys(
        "metadata_author metadata_description metadata_license metadata_tags metadata_title metadata_is_negative_embedding metadata_merged_from "
        "metadata_preprocessor metadata_thumbnail metadata_trigger_phrase metadata_usage_hint".split(),
        ((), "Files carry the trigger word, the tags and a preview; other words about them are not written."),
    ),
    **dict.fromkeys(
        "easy_name save_toml save_toml_location tag_occurrence tag_file_location log_prefix_mode run_name_mode run_name".split(), ((), _OTHER_WINDOW)
    ),
    **dict.fromkeys("sdxl v2".split(), ((), "The kind of base is seen in its file.")),
    **dict.fromkeys("config_file output_config tokenizer_cache_dir".split(), ((), "There is nothing to set here.")),
}
