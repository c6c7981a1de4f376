"""The check before the start: exact steps, and everything that would go wrong."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lora_studio.errors import UserError
from lora_studio.training import presets
from lora_studio.training.basefile import family_of, read_header
from lora_studio.training.config import TrainingConfig
from lora_studio.training.preflight import count_batches, preflight


def fake_checkpoint(path: Path, *names: str) -> Path:
    """A whole .safetensors file with one number under each name."""
    table = {n: {"dtype": "F32", "shape": [1], "data_offsets": [4 * k, 4 * k + 4]} for k, n in enumerate(names)}
    header = json.dumps(table).encode("utf-8")
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * len(names)))
    return path


SD1 = ("model.diffusion_model.out.2.weight", "cond_stage_model.transformer.text_model.final_layer_norm.weight")


def make(folder: Path, sizes: list[tuple[int, int]], captions: str = "a, b") -> Path:
    folder.mkdir()
    for k, size in enumerate(sizes):
        Image.new("RGB", size).save(folder / f"{k}.png")
        (folder / f"{k}.txt").write_text(captions, encoding="utf-8")
    return folder


def config(tmp_path: Path, **more: Any) -> TrainingConfig:
    base = fake_checkpoint(tmp_path / "base.safetensors", *SD1)
    values = {"base": str(base), "folders": [{"path": str(tmp_path / "d"), "repeats": 3}], "output_name": "x", "output_dir": str(tmp_path / "out")}
    return TrainingConfig.from_dict({**values, **more})


def test_steps_count_partial_batches_of_each_bucket(tmp_path: Path) -> None:
    make(tmp_path / "d", [(512, 512)] * 3 + [(512, 768)] * 2)
    check = preflight(config(tmp_path, batch_size=4, epochs=5))
    # 9 squares in 3 batches, 6 tall ones in 2
    assert (check.batches_per_epoch, check.steps, check.images, check.images_with_repeats) == (5, 25, 5, 15)
    assert not check.problems and check.family == "sd1"
    assert preflight(config(tmp_path, batch_size=4, epochs=5, gradient_accumulation=2)).steps == 15
    assert preflight(config(tmp_path, batch_size=4, max_steps=7)).steps == 7


@given(st.lists(st.tuples(st.sampled_from([(512, 512), (448, 576), (576, 448)]), st.integers(1, 7)), min_size=1, max_size=12), st.integers(1, 5))
def test_batches_by_another_way_of_counting(pictures: list[tuple[tuple[int, int], int]], batch_size: int) -> None:
    full = rest = 0
    for bucket in {b for b, _ in pictures}:
        n = sum(r for b, r in pictures if b == bucket)
        full, rest = full + n // batch_size, rest + bool(n % batch_size)
    assert count_batches(pictures, batch_size) == full + rest


@pytest.mark.torch
def test_the_trainer_counts_the_same(tmp_path: Path) -> None:
    from lora_studio.trainer.data import batches_of_epoch, build_dataset

    make(tmp_path / "d", [(512, 512), (640, 480), (300, 900), (1000, 1000), (511, 770), (768, 512)])
    for more in ({}, {"buckets": False}, {"bucket_no_upscale": True}, {"resolution": "768x512"}, {"validation_split": 0.4}, {"processes": 3}):
        c = config(tmp_path, batch_size=2, epochs=1, **more)
        check = preflight(c)
        assert check.steps == math.ceil(len(batches_of_epoch(build_dataset(c), c.batch_size * c.processes, c.seed, 1)))


def test_problems_are_all_named(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    Image.new("RGB", (64, 64)).save(tmp_path / "d" / "same.png")
    Image.new("RGB", (64, 64)).save(tmp_path / "d" / "same.jpg")
    (tmp_path / "d" / "text.png").write_text("no picture", encoding="utf-8")
    c = config(tmp_path, base=str(tmp_path / "absent.safetensors"), folders=[str(tmp_path / "d"), str(tmp_path / "nowhere")])
    check = preflight(c)
    text = "\n".join(check.problems)
    assert "absent.safetensors does not exist" in text and "nowhere does not exist" in text and "share one caption file: same" in text
    assert any("text.png is left out" in w for w in check.warnings)
    assert check.captions_missing == 2
    with pytest.raises(UserError, match="cannot start"):
        check.raise_problems()


def test_long_captions_and_too_many_steps_are_warned_of(tmp_path: Path) -> None:
    make(tmp_path / "d", [(512, 512)], captions=", ".join(["extraordinarily long tag"] * 120))
    check = preflight(config(tmp_path, folders=[{"path": str(tmp_path / "d"), "repeats": 9000}], batch_size=1))
    assert check.long_captions == 1 and any("90000 steps is a lot" in w for w in check.warnings)


def test_masked_loss_without_a_mask_is_told(tmp_path: Path) -> None:
    folder = make(tmp_path / "d", [(512, 512)] * 2)
    said = "Masked loss is on"
    assert any(said in warning for warning in preflight(config(tmp_path, masked_loss=True)).warnings)
    assert not any(said in warning for warning in preflight(config(tmp_path)).warnings)
    masks = tmp_path / "masks"
    masks.mkdir()
    Image.new("L", (8, 8)).save(masks / "1.png")
    own = [{"path": str(folder), "repeats": 1, "conditioning_data_dir": str(masks)}]
    assert not any(said in warning for warning in preflight(config(tmp_path, masked_loss=True, folders=own)).warnings)
    Image.new("RGBA", (512, 512)).save(folder / "0.png")
    assert not any(said in warning for warning in preflight(config(tmp_path, masked_loss=True)).warnings)


@pytest.mark.parametrize(
    ("optimizer", "unet", "text", "told"),
    [
        ("prodigy", 1, 1, False), ("dadapt_adam", 0.5, 0.1, False), ("prodigy", 0.05, 1, True), ("dadapt_lion", 0, 5, True),
        ("adamw", 5e-4, 1e-4, False),
    ],
)  # fmt: skip
def test_a_found_rate_scaled_far_up_or_down_is_told(tmp_path: Path, optimizer: str, unet: float, text: float, told: bool) -> None:
    make(tmp_path / "d", [(512, 512)])
    check = preflight(config(tmp_path, optimizer=optimizer, unet_lr=unet, text_lr=text))
    assert any("finds the learning rate by itself" in warning for warning in check.warnings) is told


def test_a_full_disk_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "d", [(512, 512)])
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("usage", (), {"free": 1000})())
    assert any("The disk needs" in p for p in preflight(config(tmp_path)).problems)


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (SD1, "sd1"),
        ((SD1[0], "cond_stage_model.model.ln_final.weight"), "sd2"),
        ((SD1[0], "conditioner.embedders.0.transformer.x", "conditioner.embedders.1.model.ln_final.weight"), "sdxl"),
    ],
)
def test_families(tmp_path: Path, names: tuple[str, ...], family: str) -> None:
    assert family_of(fake_checkpoint(tmp_path / "模型 🎨.safetensors", *names)) == family


def test_what_is_no_base_model_is_named(tmp_path: Path) -> None:
    lora = fake_checkpoint(tmp_path / "lora.safetensors", "lora_unet_x.lora_down.weight", "lora_unet_x.lora_up.weight")
    pickle = tmp_path / "evil.ckpt"
    pickle.write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    cut = fake_checkpoint(tmp_path / "cut.safetensors", *SD1)
    cut.write_bytes(cut.read_bytes()[:-2])
    empty, text = tmp_path / "empty.safetensors", tmp_path / "text.safetensors"
    empty.write_bytes(b"")
    text.write_text("this is not a model at all", encoding="utf-8")
    for path, words in ((lora, "is a LoRA"), (pickle, "pickle"), (cut, "not a whole"), (empty, "not a whole"), (text, "not a whole")):
        with pytest.raises(UserError, match=words):
            family_of(path)
    with pytest.raises(UserError, match="does not exist"):
        read_header(tmp_path / "absent.safetensors")


def test_presets_are_valid_for_every_family(tmp_path: Path) -> None:
    for family in presets.BY_FAMILY:
        for name in presets.PRESETS:
            values = presets.settings(name, family)
            built = TrainingConfig.from_dict({"base": "b", "folders": ["d"], "output_name": "n", "output_dir": "o", "trigger": "t", **values})
            assert built.resolution[0] in (128, presets.SIZES[family])
    assert presets.repeats_for(20, "sd1", "character") == 15 and presets.repeats_for(5000, "sdxl", "style") == 1


def test_own_presets_are_kept(tmp_path: Path) -> None:
    presets.save("我的 preset", {"epochs": 3, "base": "private", "unknown": 1}, tmp_path)
    assert presets.settings("我的 preset", "sd1", tmp_path) == {"epochs": 3}
    assert presets.names(tmp_path)[-1] == "我的 preset"
    with pytest.raises(UserError, match="no preset named"):
        presets.settings("none", "sd1", tmp_path)
