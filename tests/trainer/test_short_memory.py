"""Drawing and encoding pictures where memory is short: fewer at once, then in tiles, then in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from lora_studio.trainer import sampling, tiles
from lora_studio.trainer.models import BaseModel, bundled_config, load_base
from lora_studio.trainer.sampling import Prompt, sample
from tests.trainer.runs import make_run, start

pytestmark = pytest.mark.torch
PROMPTS = [Prompt(f"word {k}", seed=k, width=64, height=64, steps=2) for k in range(5)]


def no_room() -> Exception:
    return torch.cuda.OutOfMemoryError("CUDA out of memory.")


@pytest.fixture
def model(tiny_checkpoint: Path) -> BaseModel:
    return load_base(tiny_checkpoint)


def test_fewer_pictures_are_drawn_at_once(model: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = sample(model, PROMPTS)
    draw, sizes = sampling._sample_batch, []

    def short(model: BaseModel, prompts: list[Prompt], each_step: Any) -> Any:
        sizes.append(len(prompts))
        if len(prompts) > 2:
            raise no_room()
        return draw(model, prompts, each_step)

    monkeypatch.setattr(sampling, "_sample_batch", short)
    told: list[int] = []
    pictures = sample(model, PROMPTS, progress=lambda done, total, message: told.append(done))
    assert sizes == [5, 2, 2, 1] and told == [2, 4, 5]
    # a batch of another size may round the last bit elsewhere
    assert all(np.abs(np.asarray(a, int) - np.asarray(b, int)).max() <= 1 for a, b in zip(plain, pictures, strict=True))
    sizes.clear()
    sample(model, PROMPTS)
    assert sizes == [2, 2, 1]  # it is not tried again


def test_one_that_does_not_fit_is_the_device_s_error(model: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def short(*_: Any) -> Any:
        raise no_room()

    monkeypatch.setattr(sampling, "_sample_batch", short)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        sample(model, PROMPTS)


def test_other_errors_are_not_taken_for_it(model: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def broken(*_: Any) -> Any:
        calls.append(1)
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(sampling, "_sample_batch", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        sample(model, PROMPTS)
    assert len(calls) == 1


def test_a_picture_too_large_for_the_decoder_goes_in_tiles(model: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "SIDE", 32)
    decode, sides = model.vae._decode, []

    def short(latent: torch.Tensor, **how: Any) -> Any:
        if latent.shape[-1] > 4 and not model.vae.use_tiling:
            raise no_room()
        return decode(latent, **how)

    inner = model.vae.decoder.forward

    def seen(latent: torch.Tensor, *rest: Any) -> Any:
        sides.append(latent.shape[-1])
        return inner(latent, *rest)

    monkeypatch.setattr(model.vae, "_decode", short)
    monkeypatch.setattr(model.vae.decoder, "forward", seen)
    pictures = sample(model, PROMPTS[:2])
    assert [p.size for p in pictures] == [(64, 64)] * 2 and tiles.in_tiles(model.vae)
    assert max(sides) == 4 and len(sides) > 2


def test_a_picture_of_sdxl_is_more_than_one_tile() -> None:
    with torch.device("meta"):
        vae = AutoencoderKL(**bundled_config("sdxl")["vae"])
    assert vae.tile_latent_min_size == 128  # diffusers' own: a whole picture of 1024 pixels
    tiles.use_tiles(vae)
    assert (vae.use_tiling, vae.tile_sample_min_size, vae.tile_latent_min_size) == (True, 512, 64)


def test_samples_that_fit_nowhere_are_left_out_with_a_word(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    def short(*_: Any) -> Any:
        raise no_room()

    monkeypatch.setattr(sampling, "_sample_batch", short)
    events = start(make_run(tmp_path, tiny_checkpoint, pictures, epochs=1, sample_prompts=["word"], sample_steps=2))
    assert events[-1]["type"] == "finished"
    assert [e["message"] for e in events if e["type"] == "warning"] == ["There is not enough memory for samples; training goes on without them."] * 2
