"""Reading a base model from disk: single-file SD1, SD2 and SDXL checkpoints, and diffusers folders. Never from a network."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import SafetensorError, safe_open
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lora_studio.errors import UserError
from lora_studio.files import read_json
from lora_studio.trainer import eight_bit, ldm_keys, noise
from lora_studio.trainer.clip_tokens import ClipTokenizer
from lora_studio.trainer.ldm_yaml import YamlFacts, read_yaml

CHECKPOINT_HINT = "Choose a Stable Diffusion 1.x, 2.x or SDXL checkpoint (.safetensors) or a diffusers folder."
#: where the text encoders lie in a single file, per family, in order
TEXT_PREFIXES = {
    "sd1": ("cond_stage_model.transformer.",),
    "sd2": ("cond_stage_model.model.",),
    "sdxl": ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."),
}


@dataclass
class BaseModel:
    """A base model in memory. `family` sd1, sd2 or sdxl; `prediction` epsilon or v_prediction; `alphas_cumprod` (1000,) float32.

    The text encoders are in the order of the family's names (`lora_te` or `lora_te1`, `lora_te2`).
    """

    family: str
    prediction: str
    unet: Any
    vae: Any
    text_encoders: list[Any]
    tokenizers: list[ClipTokenizer]
    alphas_cumprod: torch.Tensor
    path: Path
    device: torch.device
    dtype: torch.dtype
    clip_skip: int = 1
    max_tokens: int = 225
    #: pictures that were drawn at once when memory was short
    most_at_once: int = 1_000_000
    #: its blocks run as recorded CUDA graphs
    graphs: bool = False
    notes: list[str] = field(default_factory=list)


def bundled_config(family: str) -> dict[str, Any]:
    """The diffusers configuration of a family at its published size."""
    text = (resources.files(__package__) / "configs" / f"{family}.json").read_text(encoding="utf-8")
    config: dict[str, Any] = json.loads(text)
    return config


def load_base(
    path: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    *,
    vae: str | Path = "",
    prediction: str = "auto",
    fp8: bool = False,
) -> BaseModel:
    """Load a base model with gradients off, in eval mode; the VAE stays float32 (half precision overflows in some).

    `vae`: another VAE, as a file or diffusers folder. `prediction`: auto, epsilon or v_prediction.
    `fp8`: UNet and text encoders are kept in 8 bits and compute in `dtype`.
    Raises UserError for anything that is not such a model.
    """
    path, device = Path(path), torch.device(device)
    if path.is_dir():
        model = _load_folder(path, device, dtype)
    elif path.is_file():
        model = _load_single_file(path, device, dtype)
    else:
        raise UserError(f"The base model {path} does not exist.", CHECKPOINT_HINT)
    if vae:
        _replace_vae(model, Path(vae))
    if prediction != "auto":
        model.prediction = prediction
    for module in (model.unet, model.vae, *model.text_encoders):
        module.requires_grad_(False).eval()
    model.vae.to(device=device, dtype=torch.float32)
    for module in (model.unet, *model.text_encoders):
        module.to(dtype)
        if fp8:
            eight_bit.store(module, dtype, device)
        module.to(device)
    if model.prediction == "auto":
        model.prediction = _probe_sd2_prediction(model)
    model.alphas_cumprod = model.alphas_cumprod.to(device)
    return model


def open_checkpoint(path: Path) -> Any:
    """A safetensors file opened for reading; pickles and broken files are refused with a UserError."""
    if path.suffix.lower() in (".ckpt", ".pt", ".pth", ".bin"):
        raise UserError(
            f"{path.name} is a pickle file, which can run any program when it is opened; it was not opened.",
            "Use the .safetensors version of this model.",
        )
    try:
        return safe_open(str(path), framework="pt", device="cpu")
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path.name} is not a readable .safetensors file: {error}", CHECKPOINT_HINT) from error


def detect_family(keys: set[str], name: str) -> str:
    """Family of a single-file checkpoint from the names in it; UserError naming what the file is instead."""
    if any(".lora_down." in k or ".lora_A." in k or k.endswith((".hada_w1_a", ".lokr_w1")) for k in keys):
        raise UserError(f"{name} is a LoRA, not a base model.", CHECKPOINT_HINT)
    if not any(k.startswith(ldm_keys.UNET_PREFIX) for k in keys):
        raise UserError(f"{name} is not a Stable Diffusion checkpoint: it holds no UNet.", CHECKPOINT_HINT)
    if any(k.startswith("conditioner.embedders.1.") for k in keys):
        return "sdxl"
    if any(k.startswith("conditioner.embedders.0.model.") for k in keys):
        raise UserError(f"{name} is an SDXL refiner.", "Train on the SDXL base model.")
    if any(k.startswith("cond_stage_model.model.") for k in keys):
        return "sd2"
    if any(k.startswith("cond_stage_model.transformer.") for k in keys):
        return "sd1"
    raise UserError(f"{name} has no text encoder that is known here (SD1, SD2, SDXL).", CHECKPOINT_HINT)


def _load_single_file(path: Path, device: torch.device, dtype: torch.dtype) -> BaseModel:
    with open_checkpoint(path) as file:
        keys = set(file.keys())
        family = detect_family(keys, path.name)
        beside = path.with_suffix(".yaml")
        facts = read_yaml(beside) if beside.is_file() else None
        config = bundled_config(family)
        unet_config = facts.unet if facts else config["unet"]
        vae_config = facts.vae if facts else config["vae"]

        def get(key: str) -> torch.Tensor:
            if key not in keys:
                raise KeyError(key)
            tensor: torch.Tensor = file.get_tensor(key)
            return tensor

        channels = get(ldm_keys.UNET_PREFIX + "input_blocks.0.0.weight").shape[1]
        if channels != 4:
            raise UserError(
                f"{path.name} takes {channels} input channels: it is an inpainting or edit model.",
                "Train on the plain version of this model.",
            )
        with init_empty_weights(include_buffers=False):
            unet = UNet2DConditionModel(**unet_config)
            vae = AutoencoderKL(**vae_config)
        levels = len(vae_config["block_out_channels"])
        _fill(unet, lambda k: get(ldm_keys.UNET_PREFIX + ldm_keys.unet_path(k, unet_config)), path, dtype)
        _fill(vae, lambda k: get(ldm_keys.VAE_PREFIX + ldm_keys.vae_path(k, levels)), path, torch.float32)
        encoders, tokenizers = [], []
        for prefix, spec in zip(TEXT_PREFIXES[family], config["text_encoders"], strict=True):
            encoder = _empty_text_encoder(spec, facts)
            _fill(encoder, _text_lookup(get, prefix, spec["layout"]), path, dtype)
            encoders.append(encoder)
            tokenizers.append(_tokenizer(facts, spec["config"]["pad_token_id"]))
        prediction, alphas = _prediction(family, keys, facts)
    return BaseModel(family, prediction, unet, vae, encoders, tokenizers, alphas, path, device, dtype)


def _prediction(family: str, keys: set[str], facts: YamlFacts | None) -> tuple[str, torch.Tensor]:
    alphas = noise.alphas_cumprod()
    if "ztsnr" in keys:
        alphas = noise.zero_terminal_snr(alphas)
    if "v_pred" in keys:
        return "v_prediction", alphas
    if facts is not None:
        return facts.prediction, alphas
    return ("auto" if family == "sd2" else "epsilon"), alphas


def _tokenizer(facts: YamlFacts | None, pad: int) -> ClipTokenizer:
    if facts is not None and facts.text_encoder_folder is not None:
        return ClipTokenizer.from_folder(facts.text_encoder_folder, pad)
    return ClipTokenizer.bundled(pad)


def _empty_text_encoder(spec: Mapping[str, Any], facts: YamlFacts | None) -> Any:
    values = dict(spec["config"])
    if facts is not None and facts.text_encoder is not None and not spec["projection"]:
        values.update({k: v for k, v in facts.text_encoder.items() if k in values})
    kind = CLIPTextModelWithProjection if spec["projection"] else CLIPTextModel
    with init_empty_weights(include_buffers=False):
        return kind(CLIPTextConfig(**values))


def _text_lookup(get: Callable[[str], torch.Tensor], prefix: str, layout: str) -> Callable[[str], torch.Tensor]:
    if layout == "open_clip":
        return lambda key: ldm_keys.open_clip_weight(key, lambda name: get(prefix + name))

    def lookup(key: str) -> torch.Tensor:
        try:
            return get(prefix + key)
        except KeyError:  # some old merges dropped the `text_model.` level
            return get(prefix + key.removeprefix("text_model."))

    return lookup


def _fill(module: Any, lookup: Callable[[str], torch.Tensor], path: Path, dtype: torch.dtype) -> None:
    """Give an empty module its weights; every one must be there and have the right number of elements."""
    weights: dict[str, torch.Tensor] = {}
    problems: list[str] = []
    for key, empty in module.state_dict().items():
        try:
            tensor = lookup(key)
        except KeyError as error:
            problems.append(f"{error.args[0]} is missing")
            continue
        # 1x1 convolutions and linear layers are the same weights with other trailing dimensions
        if tensor.shape != empty.shape and tensor.numel() == empty.numel() and tensor.squeeze().shape == empty.squeeze().shape:
            tensor = tensor.reshape(empty.shape)
        if tensor.shape != empty.shape:
            problems.append(f"{key} is {tuple(tensor.shape)} instead of {tuple(empty.shape)}")
            continue
        weights[key] = tensor.to(dtype).contiguous()
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise UserError(
            f"{path.name} does not have the weights this kind of model needs: {'; '.join(problems[:3])}{more}.",
            "If the model has an unusual architecture, its .yaml must lie beside it under the same name.",
        )
    module.load_state_dict(weights, assign=True)


def _load_folder(path: Path, device: torch.device, dtype: torch.dtype) -> BaseModel:
    if not (path / "unet" / "config.json").is_file():
        raise UserError(f"{path} is not a diffusers model folder: it has no unet/config.json.", CHECKPOINT_HINT)
    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True}
    try:
        unet = UNet2DConditionModel.from_pretrained(path, subfolder="unet", torch_dtype=dtype, **options)
        vae = AutoencoderKL.from_pretrained(path, subfolder="vae", **options)
        encoders: list[Any] = [
            CLIPTextModel.from_pretrained(path, subfolder="text_encoder", torch_dtype=dtype, **options)
        ]
        if (path / "text_encoder_2").is_dir():
            encoders.append(
                CLIPTextModelWithProjection.from_pretrained(path, subfolder="text_encoder_2", torch_dtype=dtype, **options)
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"The diffusers folder {path} cannot be loaded: {error}", CHECKPOINT_HINT) from error
    if unet.config.in_channels != 4:
        raise UserError(f"{path} is an inpainting or edit model.", "Train on the plain version of this model.")
    family = "sdxl" if len(encoders) == 2 else "sd2" if unet.config.cross_attention_dim == 1024 else "sd1"
    tokenizers = []
    for folder, encoder in zip(("tokenizer", "tokenizer_2"), encoders, strict=False):
        pad = _pad_token(path / folder, default=49407 if encoder is encoders[0] and family != "sd2" else 0)
        tokenizers.append(ClipTokenizer.from_folder(path / folder, pad))
    scheduler_file = path / "scheduler" / "scheduler_config.json"
    scheduler = read_json(scheduler_file) if scheduler_file.is_file() else {}
    prediction = scheduler.get("prediction_type", "epsilon")
    alphas = noise.alphas_cumprod(scheduler.get("beta_start", 0.00085), scheduler.get("beta_end", 0.012))
    if scheduler.get("rescale_betas_zero_snr"):
        alphas = noise.zero_terminal_snr(alphas)
    return BaseModel(family, prediction, unet, vae, encoders, tokenizers, alphas, path, device, dtype)


def _pad_token(folder: Path, default: int) -> int:
    """Padding token of a diffusers tokenizer folder: `!` (0) in OpenCLIP's, the end token in OpenAI's."""
    file = folder / "special_tokens_map.json"
    if not file.is_file():
        return default
    pad = read_json(file).get("pad_token", default)
    if isinstance(pad, dict):
        pad = pad.get("content")
    return {"!": 0, "<|endoftext|>": 49407}.get(pad, default)


def _replace_vae(model: BaseModel, path: Path) -> None:
    if path.is_dir():
        folder = path if (path / "config.json").is_file() else path / "vae"
        try:
            model.vae = AutoencoderKL.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise UserError(f"The VAE folder {path} cannot be loaded: {error}") from error
        return
    if not path.is_file():
        raise UserError(f"The VAE {path} does not exist.")
    with open_checkpoint(path) as file:
        keys = set(file.keys())
        prefix = ldm_keys.VAE_PREFIX if any(k.startswith(ldm_keys.VAE_PREFIX) for k in keys) else ""
        diffusers_names = "encoder.conv_norm_out.weight" in keys
        levels = len(model.vae.config["block_out_channels"])

        def lookup(key: str) -> torch.Tensor:
            name = key if diffusers_names else prefix + ldm_keys.vae_path(key, levels)
            if name not in keys:
                raise KeyError(name)
            tensor: torch.Tensor = file.get_tensor(name)
            return tensor

        _fill(model.vae, lookup, path, torch.float32)


@torch.no_grad()
def _probe_sd2_prediction(model: BaseModel) -> str:
    """SD2 files do not say whether they predict noise or v: ask the UNet for the noise of almost pure noise.

    At the last timestep an epsilon model answers with about its own input; a v model answers with about minus the
    picture, far from it (the WebUI decides in the same way).
    """
    x = torch.full((1, 4, 16, 16), 0.5, device=model.device, dtype=model.dtype)
    context = torch.zeros(1, 2, model.unet.config.cross_attention_dim, device=model.device, dtype=model.dtype)
    out = model.unet(x, torch.tensor([999], device=model.device), encoder_hidden_states=context).sample
    return "v_prediction" if float((out - x).float().mean()) < -1 else "epsilon"
