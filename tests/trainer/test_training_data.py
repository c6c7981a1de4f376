"""Batches, captions, crops and the latent cache."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lora_studio.errors import UserError
from lora_studio.trainer import data
from lora_studio.trainer.data import Dataset, Example
from lora_studio.training.config import TrainingConfig

pytestmark = pytest.mark.torch


def config(folder: Path, **changes: Any) -> TrainingConfig:
    values: dict[str, Any] = {
        "base": "x",
        "folders": [{"path": str(folder), "repeats": 3}],
        "output_name": "x",
        "output_dir": "x",
        "resolution": 128,
        "bucket_min": 64,
        "bucket_max": 256,
        "trigger": "word",
    }
    return TrainingConfig.from_dict({**values, **changes})


def picture(folder: Path, name: str, size: tuple[int, int], caption: str | None = "word, a, b, c, d") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (200, 30, 40)).save(folder / name)
    if caption is not None:
        (folder / name).with_suffix(".txt").write_text(caption, encoding="utf-8")
    return folder / name


def test_batches_hold_one_bucket_every_repeat_and_keep_the_rest(tmp_path: Path) -> None:
    for i in range(3):
        picture(tmp_path, f"square {i}.png", (128, 128))
    picture(tmp_path, "wide.png", (256, 64))
    dataset = data.build_dataset(config(tmp_path))
    batches = data.batches_of_epoch(dataset, 4, 42, 1)
    assert sorted(map(len, batches)) == [1, 3, 4, 4]  # 9 squares and 3 wide ones
    assert Counter(i for b in batches for i in b) == dict.fromkeys(range(4), 3)
    assert all(len({dataset.examples[i].bucket for i in b}) == 1 for b in batches)


def test_every_epoch_is_shuffled_anew_and_the_same_again(tmp_path: Path) -> None:
    for i in range(6):
        picture(tmp_path, f"{i}.png", (128, 128))
    dataset = data.build_dataset(config(tmp_path))
    first, second = (data.batches_of_epoch(dataset, 2, 42, e) for e in (1, 2))
    assert first != second and first == data.batches_of_epoch(dataset, 2, 42, 1)
    assert first != data.batches_of_epoch(dataset, 2, 43, 1)


def test_captions_keep_the_first_tags_and_shuffle_the_rest(tmp_path: Path) -> None:
    picture(tmp_path, "1.png", (128, 128), "word, 1girl, c, d, e, f")
    made = config(tmp_path, keep_tokens=2)
    dataset = data.build_dataset(made)
    captions = {data.draw_batch(dataset, [0], made, 1, n)[0].caption for n in range(40)}
    assert len(captions) > 10 and all(c.startswith("word, 1girl, ") for c in captions)
    assert {tuple(sorted(c.split(", "))) for c in captions} == {("1girl", "c", "d", "e", "f", "word")}
    draw = data.draw_batch(dataset, [0], made, 1, 0)[0]
    assert draw.plain_caption == draw.caption.removeprefix("word, ")
    still = config(tmp_path, shuffle_captions=False)
    assert data.draw_batch(dataset, [0], still, 1, 0)[0].caption == "word, 1girl, c, d, e, f"


def test_dropout_flip_and_a_missing_caption(tmp_path: Path) -> None:
    picture(tmp_path, "1.png", (128, 128), None)
    made = config(tmp_path, caption_dropout=0.5, flip=True)
    dataset = data.build_dataset(made)
    draws = [data.draw_batch(dataset, [0], made, 1, n)[0] for n in range(200)]
    assert {d.caption for d in draws} == {"word", ""}
    assert 60 < sum(d.caption == "" for d in draws) < 140 and 60 < sum(d.flipped for d in draws) < 140


def test_regularisation_pictures_are_as_many_as_training_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "own", "1.png", (128, 128))
    for i in range(5):
        picture(tmp_path / "reg", f"{i}.png", (128, 128), "1girl")
    folders = [{"path": str(tmp_path / "own"), "repeats": 7}, {"path": str(tmp_path / "reg"), "repeats": 1, "is_reg": True}]
    dataset = data.build_dataset(config(tmp_path, folders=folders))
    assert sum(e.repeats for e in dataset.examples if e.is_reg) == 7
    folders[0]["repeats"] = 2
    dataset = data.build_dataset(config(tmp_path, folders=folders))
    assert sum(e.repeats for e in dataset.examples if e.is_reg) == 2


def test_unreadable_pictures_are_left_out_and_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no readable picture"):
        data.build_dataset(config(tmp_path))
    (tmp_path / "text.png").write_text("not a picture", encoding="utf-8")
    with pytest.raises(UserError, match="no readable picture"):
        data.build_dataset(config(tmp_path))
    picture(tmp_path, "好 🙂.png", (128, 128))
    dataset = data.build_dataset(config(tmp_path))
    assert len(dataset.examples) == 1 and [p.name for p, _ in dataset.skipped] == ["text.png"]


@pytest.mark.parametrize(("buckets", "no_upscale"), [(True, False), (True, True), (False, False)])
@pytest.mark.parametrize("size", [(100, 100), (37, 90), (500, 130), (128, 128), (20, 700)])
def test_pixels_fill_the_bucket_without_borders(tmp_path: Path, size: tuple[int, int], buckets: bool, no_upscale: bool) -> None:
    picture(tmp_path, "1.png", size)
    (example,) = data.build_dataset(config(tmp_path, buckets=buckets, bucket_no_upscale=no_upscale)).examples
    assert example.resized[0] >= example.bucket[0] and example.resized[1] >= example.bucket[1]
    pixels = data.load_pixels(example)
    assert pixels.shape == (3, example.bucket[1], example.bucket[0])
    assert np.allclose(pixels[0].numpy(), 200 / 127.5 - 1, atol=0.02)


def test_latents_are_drawn_from_the_cached_distribution() -> None:
    calls = []

    def encode(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(pixels)
        return torch.full((1, 4, 2, 2), 3.0), torch.full((1, 4, 2, 2), 0.5)

    cache = data.LatentCache(encode, Dataset(()))
    cache._compute = lambda index, flipped: tuple(t[0] for t in encode(torch.zeros(1)))  # type: ignore[method-assign]
    draws = [data.Draw(0, False, "", "")] * 500
    values = cache.batch(draws, torch.Generator().manual_seed(0))
    assert values.shape == (500, 4, 2, 2)
    assert abs(float(values.mean()) - 3.0) < 0.02 and abs(float(values.std()) - 0.5) < 0.02


def test_a_latent_that_is_not_a_number_names_the_picture(tmp_path: Path) -> None:
    path = picture(tmp_path, "bad.png", (128, 128))
    example = Example(path, (), 128, 128, (128, 128), (128, 128), 1, 0, False, False)
    nan = torch.full((1, 4, 16, 16), float("nan"))
    cache = data.LatentCache(lambda pixels: (nan, nan), Dataset((example,)))
    with pytest.raises(UserError, match=r"bad\.png"):
        list(cache.fill())


def test_shuffling_needs_no_global_state() -> None:
    random.seed(1)
    before = random.getstate()
    data.caption_tags(("a", "b", "c"), 1, random.Random(0), shuffle=True)
    assert random.getstate() == before
