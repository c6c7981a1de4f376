"""Reading SD1, SD2 and SDXL files: names against diffusers' own converter, and small random models end to end."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lora_studio.trainer import ldm_keys, models
from lora_studio.trainer.__main__ import main
from lora_studio.trainer.models import bundled_config, load_base
from lora_studio.trainer.sampling import Prompt, decode, sample, start_noise
from lora_studio.trainer.text import encode_prompts, predict

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_every_name_is_what_diffusers_converter_expects(family: str) -> None:
    config = bundled_config(family)
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**config["unet"]), AutoencoderKL(**config["vae"])
    # each weight is stood for by its own number
    unet_keys, vae_keys = list(unet.state_dict()), list(vae.state_dict())
    file = {ldm_keys.UNET_PREFIX + ldm_keys.unet_path(k, config["unet"]): torch.tensor(i) for i, k in enumerate(unet_keys)}
    back = convert_ldm_unet_checkpoint(file, dict(unet.config) | {"class_embed_type": None})
    assert {k: int(v) for k, v in back.items()} == {k: i for i, k in enumerate(unet_keys)}
    file = {ldm_keys.VAE_PREFIX + ldm_keys.vae_path(k, 4): torch.full((1, 1, 1, 1), i) for i, k in enumerate(vae_keys)}
    back = convert_ldm_vae_checkpoint(file, dict(vae.config))
    assert {k: int(v.flatten()[0]) for k, v in back.items()} == {k: i for i, k in enumerate(vae_keys)}


def small(family: str) -> dict[str, Any]:
    """The family's configuration with few and narrow layers."""
    config = copy.deepcopy(bundled_config(family))
    blocks = len(config["unet"]["block_out_channels"])
    config["unet"].update(block_out_channels=[32] * blocks, attention_head_dim=[2] * blocks, layers_per_block=1)
    config["vae"].update(block_out_channels=[32] * 4, layers_per_block=1)
    for spec in config["text_encoders"]:
        spec["config"].update(hidden_size=64, intermediate_size=128, num_hidden_layers=3, num_attention_heads=2, projection_dim=48)
    width = 64 * len(config["text_encoders"])
    config["unet"]["cross_attention_dim"] = width
    if family == "sdxl":
        config["unet"].update(transformer_layers_per_block=[1, 1, 2], projection_class_embeddings_input_dim=6 * 256 + 48)
    return config


def open_clip_tensors(encoder: Any) -> dict[str, torch.Tensor]:
    """An OpenCLIP text tower's tensors from transformers' layers."""
    text, out = encoder.text_model, {}
    out["token_embedding.weight"] = text.embeddings.token_embedding.weight
    out["positional_embedding"] = text.embeddings.position_embedding.weight
    out["ln_final.weight"], out["ln_final.bias"] = text.final_layer_norm.weight, text.final_layer_norm.bias
    for number, layer in enumerate(text.encoder.layers):
        head, attention = f"transformer.resblocks.{number}.", layer.self_attn
        for kind in ("weight", "bias"):
            out[f"{head}attn.in_proj_{kind}"] = torch.cat([getattr(getattr(attention, f"{p}_proj"), kind) for p in "qkv"])
            out[f"{head}attn.out_proj.{kind}"] = getattr(attention.out_proj, kind)
            out[f"{head}ln_1.{kind}"], out[f"{head}ln_2.{kind}"] = getattr(layer.layer_norm1, kind), getattr(layer.layer_norm2, kind)
            out[f"{head}mlp.c_fc.{kind}"], out[f"{head}mlp.c_proj.{kind}"] = getattr(layer.mlp.fc1, kind), getattr(layer.mlp.fc2, kind)
    if hasattr(encoder, "text_projection"):
        out["text_projection"] = encoder.text_projection.weight.T
    return out


def write_family(path: Path, family: str, config: dict[str, Any], extra: tuple[str, ...] = ()) -> dict[str, Any]:
    """A random single-file checkpoint; returns the modules it was made from."""
    torch.manual_seed(1)
    unet, vae = UNet2DConditionModel(**config["unet"]).eval(), AutoencoderKL(**config["vae"]).eval()
    file = {ldm_keys.UNET_PREFIX + ldm_keys.unet_path(k, config["unet"]): v for k, v in unet.state_dict().items()}
    file |= {ldm_keys.VAE_PREFIX + ldm_keys.vae_path(k, 4): v for k, v in vae.state_dict().items()}
    encoders = []
    for prefix, spec in zip(models.TEXT_PREFIXES[family], config["text_encoders"], strict=True):
        kind = CLIPTextModelWithProjection if spec["projection"] else CLIPTextModel
        encoder = kind(CLIPTextConfig(**spec["config"])).eval()
        tensors = open_clip_tensors(encoder) if spec["layout"] == "open_clip" else encoder.state_dict()
        file |= {prefix + k: v for k, v in tensors.items()}
        encoders.append(encoder)
    file |= {name: torch.zeros(1) for name in extra}
    save_file({k: v.detach().contiguous().clone() for k, v in file.items()}, path)
    return {"unet": unet, "vae": vae, "encoders": encoders, "file": file}


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_weights_arrive_where_they_belong(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small(family)
    monkeypatch.setattr(models, "bundled_config", lambda name: config)
    made = write_family(tmp_path / "m.safetensors", family, config)
    model = load_base(tmp_path / "m.safetensors")
    assert model.family == family and model.prediction == "epsilon" and model.tokenizers[-1].pad == 0
    pairs = [(made["unet"], model.unet), (made["vae"], model.vae), *zip(made["encoders"], model.text_encoders, strict=True)]
    for theirs, ours in pairs:
        loaded = ours.state_dict()
        assert all(torch.equal(v, loaded[k]) for k, v in theirs.state_dict().items())
    prefix = models.TEXT_PREFIXES[family][-1]
    converted = convert_open_clip_checkpoint(model.text_encoders[-1], made["file"], prefix)
    if family == "sd2":  # diffusers' converter takes the width from the projection, which SD2 files need not have
        assert all(torch.equal(converted[k], v) for k, v in model.text_encoders[-1].state_dict().items())


def test_v_prediction_is_read_from_the_file_or_the_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Path) -> None:
    config = small("sdxl")
    monkeypatch.setattr(models, "bundled_config", lambda name: config)
    write_family(tmp_path / "v.safetensors", "sdxl", config, extra=("v_pred", "ztsnr"))
    model = load_base(tmp_path / "v.safetensors")
    assert model.prediction == "v_prediction" and float(model.alphas_cumprod[-1]) == 0.0
    assert load_base(tmp_path / "v.safetensors", prediction="epsilon").prediction == "epsilon"
    monkeypatch.undo()
    text = tiny_checkpoint.with_suffix(".yaml").read_text(encoding="utf-8").replace("parameterization: eps", "parameterization: v")
    (tmp_path / "t.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "t.safetensors").write_bytes(tiny_checkpoint.read_bytes())
    folder = tiny_checkpoint.parent / "tiny_text_encoder"
    (tmp_path / folder.name).mkdir()
    (tmp_path / folder.name / "config.json").write_bytes((folder / "config.json").read_bytes())
    assert load_base(tmp_path / "t.safetensors").prediction == "v_prediction"


def test_sd2_models_are_asked_what_they_predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small("sd2")
    monkeypatch.setattr(models, "bundled_config", lambda name: config)
    made = write_family(tmp_path / "m.safetensors", "sd2", config)
    bias = ldm_keys.UNET_PREFIX + "out.2.bias"
    changed = {k: v.detach().clone().contiguous() for k, v in made["file"].items()}
    changed[bias] = torch.full_like(changed[bias], -3.0)  # answers far below its input, as a v model does
    save_file(changed, tmp_path / "v.safetensors")
    assert load_base(tmp_path / "m.safetensors").prediction == "epsilon"
    assert load_base(tmp_path / "v.safetensors").prediction == "v_prediction"


def test_a_small_sdxl_trains_samples_and_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: Path) -> None:
    config = small("sdxl")
    monkeypatch.setattr(models, "bundled_config", lambda name: config)
    write_family(tmp_path / "xl.safetensors", "sdxl", config)
    run = tmp_path / "run"
    run.mkdir()
    values = {
        "base": str(tmp_path / "xl.safetensors"),
        "folders": [{"path": str(pictures), "repeats": 1}],
        "output_name": "xl",
        "output_dir": str(tmp_path / "output"),
        "trigger": "word",
        "resolution": 64,
        "bucket_min": 64,
        "epochs": 1,
        "network_dim": 2,
        "scheduler": "constant",
        "prior_weight": 1.0,
        "gradient_checkpointing": True,
        "sample_prompts": ["word"],
        "sample_steps": 2,
        "threads": 1,
        "device": "cpu",
    }
    (run / "config.json").write_text(json.dumps(values), encoding="utf-8")
    assert main([str(run)]) == 0, (run / "events.jsonl").read_text(encoding="utf-8")
    tensors = load_file(tmp_path / "output" / "xl-01.safetensors")
    ups = {k.split(".")[0]: v for k, v in tensors.items() if k.endswith("up.weight")}
    assert {k.split("_")[1] for k in ups} == {"unet", "te1", "te2"}
    unused = "layers_2_"  # SDXL takes the second last layer: the last one learns nothing
    moved = {k for k, v in ups.items() if v.abs().max() > 0}
    assert {k for k in ups if "unet" in k} <= moved and {k for k in ups if "te1" in k and unused not in k} <= moved
    assert {k for k in ups if "te2" in k} <= moved  # the pooled output comes from the last layer
    assert not any("te1" in k and unused in k for k in moved)
    from lora_studio.trainer.merge import merged

    model = load_base(tmp_path / "xl.safetensors")
    with merged(model, tmp_path / "output" / "xl-01.safetensors") as report:
        assert not report.unmatched and len(report.matched) == len(ups)


def test_pictures_equal_diffusers_ddim(full_checkpoint: Path) -> None:
    """Up to the lowest timestep, which the WebUI leaves out."""
    model = load_base(full_checkpoint)
    prompts = [Prompt("red hair, smile", seed=3, width=64, height=64, steps=10), Prompt("word", "sad", seed=4, width=64, height=64, steps=10)]
    ours = sample(model, prompts)
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
    )
    scheduler.set_timesteps(10)
    with torch.no_grad():
        x = torch.cat([start_noise(p) for p in prompts])
        text = encode_prompts(model, [p.text for p in prompts] + [p.negative for p in prompts])
        for t in scheduler.timesteps[:-1]:
            with_text, without = predict(model, torch.cat([x, x]), t, text).chunk(2)
            x = scheduler.step(without + 4.0 * (with_text - without), t, x).prev_sample
    for a, b in zip(ours, decode(model, x), strict=True):
        assert np.abs(np.asarray(a, dtype=int) - np.asarray(b, dtype=int)).max() <= 1


def test_long_prompts_and_batches_do_not_change_a_picture(tiny_checkpoint: Path) -> None:
    model = load_base(tiny_checkpoint)
    long = ", ".join(f"tag {i}" for i in range(60))
    prompts = [Prompt(text, seed=i, width=64, height=64, steps=3) for i, text in enumerate(("a", long, "b"))]
    together, alone = sample(model, prompts, batch_size=2), [sample(model, [p])[0] for p in prompts]
    assert np.abs(np.asarray(together[2], dtype=int) - np.asarray(alone[2], dtype=int)).max() <= 1
    assert encode_prompts(model, [long]).hidden.shape[1] == 77 * 3


def test_a_diffusers_folder_gives_the_same_model(tmp_path: Path, tiny_checkpoint: Path) -> None:
    single = load_base(tiny_checkpoint)
    single.unet.save_pretrained(tmp_path / "unet")
    single.vae.save_pretrained(tmp_path / "vae")
    single.text_encoders[0].save_pretrained(tmp_path / "text_encoder")
    folder = load_base(tmp_path)
    assert (folder.family, folder.prediction) == ("sd1", "epsilon")
    assert torch.equal(folder.alphas_cumprod, single.alphas_cumprod)
    prompt = [Prompt("1girl", seed=1, width=64, height=64, steps=2)]
    assert np.array_equal(np.asarray(sample(folder, prompt)[0]), np.asarray(sample(single, prompt)[0]))


def test_another_vae_replaces_the_models_own(tmp_path: Path, tiny_checkpoint: Path) -> None:
    own = load_base(tiny_checkpoint)
    changed = {k: v + 1 for k, v in load_file(tiny_checkpoint).items() if k.startswith("first_stage_model.")}
    save_file({k.removeprefix("first_stage_model."): v for k, v in changed.items()}, tmp_path / "plain.safetensors")
    save_file(changed, tmp_path / "prefixed.safetensors")
    for name in ("plain", "prefixed"):
        other = load_base(tiny_checkpoint, vae=tmp_path / f"{name}.safetensors")
        key = "decoder.conv_out.bias"
        assert torch.equal(other.vae.state_dict()[key], own.vae.state_dict()[key] + 1)
