"""Base models of the published sizes with random weights: what they compute is noise, how long they take is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lora_studio.trainer import eight_bit, noise
from lora_studio.trainer.clip_tokens import ClipTokenizer
from lora_studio.trainer.models import BaseModel, bundled_config

#: the size each family is trained at
OWN_SIZE = {"sd1": 512, "sd2": 768, "sdxl": 1024}


def random_base(family: str, device: torch.device, dtype: torch.dtype, *, fp8: bool = False) -> BaseModel:
    """A model as `load_base` gives it, made on the device itself."""
    config = bundled_config(family)
    unet = _made(lambda: UNet2DConditionModel(**config["unet"]), device, dtype)
    vae = _made(lambda: AutoencoderKL(**config["vae"]), device, torch.float32)
    encoders, tokenizers = [], []
    for spec in config["text_encoders"]:
        kind = CLIPTextModelWithProjection if spec["projection"] else CLIPTextModel
        encoders.append(_made(lambda kind=kind, spec=spec: kind(CLIPTextConfig(**spec["config"])), device, dtype))
        tokenizers.append(ClipTokenizer.bundled(spec["config"]["pad_token_id"]))
    if fp8:
        for module in (unet, *encoders):
            eight_bit.store(module, dtype, device)
    return BaseModel(family, "epsilon", unet, vae, encoders, tokenizers, noise.alphas_cumprod().to(device), Path(family), device, dtype)


def _made(build: Any, device: torch.device, dtype: torch.dtype) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            module = build()
    finally:
        torch.set_default_dtype(before)
    return module.to(device=device, dtype=dtype).requires_grad_(False).eval()
