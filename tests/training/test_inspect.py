"""What a LoRA file holds, against files made to be known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from lora_studio.errors import UserError
from lora_studio.training.inspect import change_norm, diffusers_path, inspect


def lora(path: Path, modules: dict[str, tuple[int, int]], rank: int = 4, alpha: float = 2.0, **extra: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = dict(extra)
    for name, (out, into) in modules.items():
        tensors[f"{name}.lora_down.weight"] = rng.normal(size=(rank, into)).astype(np.float16)
        tensors[f"{name}.lora_up.weight"] = rng.normal(size=(out, rank)).astype(np.float16)
        tensors[f"{name}.alpha"] = np.array(alpha, np.float16)
    save_file(tensors, path, {"ss_output_name": path.stem})
    return path


@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.floats(0.1, 20))
def test_the_norm_is_that_of_the_product(rank: int, out: int, into: int, alpha: float) -> None:
    rng = np.random.default_rng(rank * 100 + out)
    up, down = rng.normal(size=(out, rank)), rng.normal(size=(rank, into))
    assert change_norm(up, down, alpha) == pytest.approx(np.linalg.norm(alpha / rank * up @ down), rel=1e-6)


def test_a_small_lora(tmp_path: Path) -> None:
    unet = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    te = "lora_te_text_model_encoder_layers_3_mlp_fc1"
    found = inspect(lora(tmp_path / "a b 猫.safetensors", {unet: (320, 768), te: (64, 16)}))
    assert (found.family, found.modules, found.ranks, found.alphas) == ("sd1", {"te": 1, "unet": 1}, (4,), (2.0,))
    assert list(found.norms) == ["te layers_3", "unet down_blocks_0"] and not found.silent and not found.unknown
    assert found.metadata["ss_output_name"] == "a b 猫"


def test_family_by_names_and_widths(tmp_path: Path) -> None:
    name = "lora_unet_up_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    assert inspect(lora(tmp_path / "2.safetensors", {name: (320, 1024)})).family == "sd2"
    xl = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k"
    assert inspect(lora(tmp_path / "x.safetensors", {xl: (640, 2048)})).family == "sdxl"


def test_what_changes_nothing_or_is_not_known_is_named(tmp_path: Path) -> None:
    dead = "lora_unet_mid_block_attentions_0_proj_in"
    path = tmp_path / "dead.safetensors"
    save_file(
        {
            f"{dead}.lora_down.weight": np.ones((2, 8), np.float32),
            f"{dead}.lora_up.weight": np.zeros((8, 2), np.float32),
            f"{dead}.dora_scale": np.ones((8, 1), np.float32),
            "lora_unet_half.lora_down.weight": np.ones((2, 8), np.float32),
        },
        path,
    )
    found = inspect(path)
    assert found.silent == (dead,) and found.alphas == (2.0,)  # no alpha stored: scale 1
    assert f"{dead}.dora_scale" in found.unknown and "lora_unet_half (half of it)" in found.unknown
    assert len(found.warnings) == 2


def test_base_models_and_other_files_are_refused(tmp_path: Path) -> None:
    save_file({"model.diffusion_model.out.2.weight": np.ones(1, np.float32)}, tmp_path / "base.safetensors")
    with pytest.raises(UserError, match="a base model"):
        inspect(tmp_path / "base.safetensors")
    save_file({"x": np.ones(1, np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="no LoRA"):
        inspect(tmp_path / "other.safetensors")


def test_matching_against_the_demo_checkpoint(tmp_path: Path) -> None:
    from lora_studio.demo import checkpoint_path

    good = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    text = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    conv = "lora_unet_up_blocks_0_upsamplers_0_conv"
    narrow = "lora_unet_down_blocks_1_attentions_1_transformer_blocks_0_attn1_to_q"
    path = lora(tmp_path / "l.safetensors", {good: (64, 64), text: (64, 64), conv: (64, 64), narrow: (32, 64), "lora_unet_nowhere": (4, 4)})
    found = inspect(path, checkpoint_path())
    assert found.matched == 3 and set(found.unmatched) == {narrow, "lora_unet_nowhere"}


@pytest.mark.torch
def test_names_agree_with_the_trainers_own_table() -> None:
    from diffusers import UNet2DConditionModel

    from lora_studio.trainer import ldm_keys
    from lora_studio.trainer.models import bundled_config

    config = bundled_config("sd1")["unet"]
    import torch

    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
    names = [n for n, m in unet.named_modules() if not list(m.children()) and hasattr(m, "weight")]
    linear = [n for n in names if "norm" not in n and not n.startswith(("time_embedding", "conv_"))]
    assert len(linear) > 250
    assert [diffusers_path(ldm_keys.unet_path(n, config)) for n in linear] == linear
