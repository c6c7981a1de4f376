"""What is said of memory and sizes before a training, and that files are read once."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_studio.training import memory, pictures, preflight
from lora_studio.training.config import TrainingConfig
from lora_studio.training.preflight import PARAMETERS_PER_RANK

GB = 1_000_000_000


def config(tmp_path: Path, **more: Any) -> TrainingConfig:
    values = {"base": str(tmp_path / "base.safetensors"), "folders": [str(tmp_path / "d")], "output_name": "x", "output_dir": str(tmp_path)}
    return TrainingConfig.from_dict({**values, **more})


def gigabytes(c: TrainingConfig, family: str) -> float:
    return memory.needed(c, family, PARAMETERS_PER_RANK[family] * c.network_dim) / GB


def test_memory_is_about_what_people_report(tmp_path: Path) -> None:
    small = config(tmp_path, batch_size=1)
    large = config(tmp_path, batch_size=1, resolution=1024, network_dim=8, gradient_checkpointing=True)
    assert 3.5 < gigabytes(small, "sd1") < 6 and 8 < gigabytes(large, "sdxl") < 12
    assert gigabytes(replace(large, gradient_checkpointing=False), "sdxl") > gigabytes(large, "sdxl") + 5


def test_memory_grows_with_what_makes_it_grow(tmp_path: Path) -> None:
    c = config(tmp_path)
    at = gigabytes(c, "sd1")
    for more in ({"batch_size": 4}, {"resolution": (768, 768)}, {"network_dim": 128}, {"precision": "fp32"}):
        assert gigabytes(replace(c, **more), "sd1") > at
    assert gigabytes(replace(c, gradient_checkpointing=True), "sd1") < at
    assert gigabytes(c, "sdxl") - gigabytes(replace(c, fp8_base=True), "sdxl") > 2.5  # half of its weights in 16 bits
    assert memory.needed(replace(c, device="cpu"), "sd1", 1) == memory.needed(replace(c, resolution=(128, 128)), "sd1", 1) == 0
    assert memory.needed(c, "", 1) == 0


def draw(folder: Path, *sizes: tuple[int, int]) -> None:
    folder.mkdir(exist_ok=True)
    for k, size in enumerate(sizes):
        Image.new("RGB", size).save(folder / f"{k}.png")
        (folder / f"{k}.txt").write_text("a, b", encoding="utf-8")


def warnings(c: TrainingConfig, family: str, monkeypatch: pytest.MonkeyPatch) -> tuple[preflight.Preflight, str]:
    monkeypatch.setattr(preflight, "family_of", lambda path: family)
    found = preflight.preflight(c)
    return found, "\n".join(found.warnings)


def test_pictures_that_are_too_small_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "d", (512, 512), (300, 300), (256, 1024), (200, 200))
    found, text = warnings(config(tmp_path), "sd1", monkeypatch)
    assert found.enlarged == 2 and "Much smaller than the resolution: 2 of 4" in text
    assert warnings(config(tmp_path, bucket_no_upscale=True), "sd1", monkeypatch)[0].enlarged == 0


@pytest.mark.parametrize(("family", "resolution", "told"), [("sdxl", 512, True), ("sd1", 1024, True), ("sd1", 768, False), ("sdxl", 1024, False)])
def test_a_resolution_that_does_not_suit_the_base_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, resolution: int, told: bool
) -> None:
    draw(tmp_path / "d", (1024, 1024))
    assert ("This base model was made for" in warnings(config(tmp_path, resolution=resolution), family, monkeypatch)[1]) is told


def test_of_a_tiny_base_nothing_of_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "base.safetensors").write_bytes(b"small")
    draw(tmp_path / "d", (64, 64))
    found, text = warnings(config(tmp_path, resolution=64), "sd1", monkeypatch)
    assert found.vram_needed == 0 and "was made for" not in text


def test_files_are_read_again_only_when_they_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "d", (64, 64), (32, 32))
    (tmp_path / "d" / "broken.png").write_text("no picture", encoding="utf-8")
    opened: list[str] = []
    read = pictures.ImageItem.from_path
    monkeypatch.setattr(pictures.ImageItem, "from_path", lambda path: opened.append(Path(path).name) or read(path))
    found = pictures.scan(tmp_path / "d")
    assert [i.width for i in found.items] == [64, 32] and found.unreadable[0][0].name == "broken.png"
    assert list(pictures.caption_lengths(found.items)) == [3, 3] and len(opened) == 3
    Image.new("RGB", (48, 64)).save(tmp_path / "d" / "1.png")
    os.utime(tmp_path / "d" / "1.png", (1, 1))
    (tmp_path / "d" / "1.txt").write_text("", encoding="utf-8")
    (tmp_path / "d" / "0.txt").unlink()
    again = pictures.scan(tmp_path / "d")
    assert [i.width for i in again.items] == [64, 48] and opened[3:] == ["1.png"]
    assert list(pictures.caption_lengths(again.items)) == [0, 0]
