"""Preparation of pictures, against the contract written down a second time in plain numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_studio.tagging.preprocess import prepare, read_picture


def _reference(image: Image.Image, size: int) -> np.ndarray:
    """RGBA over white, padded to a white square, bicubic, BGR float32: as the models' publisher does it."""
    rgba = np.asarray(image.convert("RGBA"), dtype=np.float64)
    alpha = rgba[..., 3:] / 255
    rgb = np.rint(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    height, width = rgb.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 255, dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = rgb
    resized = Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(resized, dtype=np.float32)[:, :, [2, 1, 0]]


def _noise(width: int, height: int, channels: int = 3) -> Image.Image:
    """Smooth colours with some grain, as photographs have."""
    rng = np.random.default_rng(width * 1000 + height)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 7, channels), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int64)
    return Image.fromarray(np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8))


@pytest.mark.parametrize(("width", "height"), [(448, 448), (300, 400), (401, 300), (128, 128), (832, 1216), (31, 500)])
def test_equals_the_reference_exactly(width: int, height: int) -> None:
    image = _noise(width, height)
    assert np.array_equal(prepare(image, 448).astype(np.float32), _reference(image, 448))


@pytest.mark.parametrize(("width", "height"), [(301, 200), (512, 512)])
def test_transparent_pixels_show_white(width: int, height: int) -> None:
    image = _noise(width, height, 4)
    assert np.abs(prepare(image, 448).astype(np.float32) - _reference(image, 448)).max() <= 1
    clear = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    assert (prepare(clear, 16) == 255).all()


def test_channels_are_blue_green_red_and_padding_is_white_and_centred() -> None:
    prepared = prepare(Image.new("RGB", (64, 32), (10, 20, 30)), 64)
    assert prepared.shape == (64, 64, 3) and prepared.dtype == np.uint8
    assert prepared[32, 32].tolist() == [30, 20, 10]
    assert (prepared[:14] == 255).all() and (prepared[50:] == 255).all()


@pytest.mark.parametrize("mode", ["L", "P", "LA", "1", "CMYK", "I;16"])
def test_every_mode_of_pillow_is_taken(mode: str) -> None:
    image = Image.new(mode, (40, 30))
    assert prepare(image, 32).shape == (32, 32, 3)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_fast_way_for_large_pictures_is_close_to_the_slow_one(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"large{suffix}"
    _noise(2003, 2801).save(path)
    with Image.open(path) as image:
        slow = _reference(image, 448)
    difference = np.abs(read_picture(path, 448).astype(np.float32) - slow)
    assert difference.mean() < 2.0
    assert difference[:, 224].mean() < 2.0, "the picture must not be shifted"
