"""Pictures far longer than wide: what is decoded smaller must not shrink to nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_studio.tagging.preprocess import prepare, read_picture


@pytest.mark.parametrize("size", [(1, 3000), (3000, 1), (2, 20000)])
def test_a_narrow_jpeg_is_read(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (10, 200, 90)).save(tmp_path / "narrow.jpg", quality=95)
    pixels = read_picture(tmp_path / "narrow.jpg", 64)
    assert pixels.shape == (64, 64, 3)
    assert pixels[0, 0].tolist() == [255, 255, 255]  # white around it


def test_reading_a_file_and_preparing_the_picture_agree(tmp_path: Path) -> None:
    gradient = np.linspace(0, 255, 1500 * 500, dtype=np.float32).reshape(1500, 500).astype(np.uint8)
    image = Image.fromarray(np.dstack([gradient, gradient[::-1], 255 - gradient]))
    image.save(tmp_path / "a.jpg", quality=98, subsampling=0)
    with Image.open(tmp_path / "a.jpg") as decoded:
        expected = prepare(decoded, 64).astype(int)
    assert abs(read_picture(tmp_path / "a.jpg", 64).astype(int) - expected).mean() < 1.5
