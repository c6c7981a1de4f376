"""Token warm-up, captions left out by epoch, several folders, masks, the running average, held-out pictures, long captions."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lora_studio.trainer import data, loop, state, validation
from lora_studio.trainer.export import read_metadata
from lora_studio.trainer.models import load_base
from lora_studio.trainer.text import encode_prompts
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import EventWriter
from tests.trainer.runs import make_run, start

pytestmark = pytest.mark.torch


def config(folder: Path, **changes: Any) -> TrainingConfig:
    values: dict[str, Any] = {"base": "x", "folders": [str(folder)], "output_name": "x", "output_dir": "x", "trigger": "word", "resolution": 64,
                              "bucket_min": 64}  # fmt: skip
    return TrainingConfig.from_dict({**values, **changes})


def picture(folder: Path, name: str, caption: str | None = "word, a, b, c, d", image: Image.Image | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (image or Image.new("RGB", (64, 64), (200, 30, 40))).save(folder / name)
    if caption is not None:
        (folder / name).with_suffix(".txt").write_text(caption, encoding="utf-8")


@pytest.mark.parametrize(("warm", "end"), [(10, 10), (0.25, 10)])
def test_token_warm_up_is_kohyas(tmp_path: Path, warm: float, end: int) -> None:
    tags = ["word", *(f"t{k}" for k in range(9))]
    picture(tmp_path, "1.png", ", ".join(tags))
    made = config(tmp_path, token_warmup_min=2, token_warmup_step=warm, keep_tokens=1, shuffle_captions=False)
    dataset = data.build_dataset(made)
    for step in range(14):
        shown = data.draw_batch(dataset, [0], made, 1, step, step, 40)[0].caption.split(", ")
        free = 9 if step >= end else math.floor(step * ((9 - 2) / end)) + 2
        assert shown == tags[: 1 + free], step


def test_captions_are_left_out_in_every_nth_epoch(tmp_path: Path) -> None:
    picture(tmp_path, "1.png")
    made = config(tmp_path, caption_dropout_every_n_epochs=3)
    dataset = data.build_dataset(made)
    assert [bool(data.draw_batch(dataset, [0], made, epoch, 0)[0].caption) for epoch in range(1, 8)] == [True, True, False, True, True, False, True]


def test_folders_have_repeats_kept_tags_flips_and_captions_of_their_own(tmp_path: Path) -> None:
    picture(tmp_path / "a", "1.png")
    picture(tmp_path / "b", "1.png", None)
    picture(tmp_path / "c", "1.png", None)
    folders = [
        {"path": str(tmp_path / "a"), "repeats": 2, "keep_tokens": 3, "flip": True},
        {"path": str(tmp_path / "b"), "repeats": 5, "class_tokens": "a girl, smile"},
        {"path": str(tmp_path / "c"), "repeats": 1},
    ]
    a, b, c = data.build_dataset(config(tmp_path, folders=folders)).examples
    assert (a.repeats, a.keep_tokens, a.flip) == (2, 3, True) and (b.repeats, b.keep_tokens, b.flip) == (5, 1, False)
    assert b.tags == ("a girl", "smile") and c.tags == ("word",)


def test_regularisation_counts_by_its_own_weight(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    """Two runs that differ only in prior_loss_weight: the loss of a batch of regularisation pictures scales with it."""
    reg = tmp_path / "reg"
    picture(reg, "1.png", "1girl")
    losses = []
    for k, weight in enumerate((1.0, 0.25)):
        folders = [{"path": str(pictures), "repeats": 1}, {"path": str(reg), "repeats": 9, "is_reg": True}]
        run = make_run(tmp_path / str(k), tiny_checkpoint, pictures, folders=folders, prior_loss_weight=weight)
        trainer = loop.TrainingRun(run, TrainingConfig.from_dict(json.loads((run / "config.json").read_text(encoding="utf-8"))), EventWriter(run))
        trainer._prepare()
        examples = trainer.parts.dataset.examples
        regular = next(i for i, e in enumerate(examples) if e.is_reg)
        drawn = [data.Draw(i, False, "word", "") for i in (0, regular)]
        noised = trainer.parts.objective.draw(drawn, 1, 0)
        with torch.no_grad():
            losses.append([float(trainer.parts.objective.loss(noised[slice(i, i + 1)], preserve=False)) for i in (0, 1)])
        trainer.board.close()
    assert losses[0][0] == pytest.approx(losses[1][0]) and losses[1][1] == pytest.approx(0.25 * losses[0][1], rel=1e-5)


def half(mode: str, size: int = 64) -> Image.Image:
    """White left half, black right half."""
    array = np.zeros((size, size), dtype=np.uint8)
    array[:, : size // 2] = 255
    return Image.fromarray(array).convert(mode)


def test_masks_come_from_files_or_from_transparency(tmp_path: Path) -> None:
    rgba = Image.new("RGBA", (64, 64), (10, 20, 30, 255))
    rgba.putalpha(half("L"))
    picture(tmp_path / "own", "alpha.png", image=rgba)
    picture(tmp_path / "own", "file.png", image=rgba)
    picture(tmp_path / "own", "plain.png")
    (tmp_path / "masks").mkdir()
    half("RGB").transpose(Image.Transpose.ROTATE_90).save(tmp_path / "masks" / "file.png")
    folders = [{"path": str(tmp_path / "own"), "repeats": 1, "conditioning_data_dir": str(tmp_path / "masks")}]
    dataset = data.build_dataset(config(tmp_path, folders=folders, masked_loss=True))
    cache = data.LatentCache(lambda pixels: (pixels, pixels), dataset)
    draws = [data.Draw(k, False, "", "") for k in range(3)] + [data.Draw(0, True, "", "")]
    masks = cache.masks(draws, (8, 8))
    assert masks is not None and masks.shape == (4, 1, 8, 8)
    left = torch.cat([torch.ones(8, 4), torch.zeros(8, 4)], dim=1)
    assert torch.equal(masks[0, 0], left) and torch.equal(masks[1, 0], left.T.flip(0)) and torch.equal(masks[2, 0], torch.ones(8, 8))
    assert torch.equal(masks[3, 0], left.flip(-1))
    assert cache.masks(draws[2:3], (8, 8)) is None
    assert all(e.mask is None for e in data.build_dataset(config(tmp_path, folders=folders)).examples)


def test_masked_loss_counts_only_what_is_white(tmp_path: Path, tiny_checkpoint: Path) -> None:
    rgba = Image.new("RGBA", (64, 64), (10, 20, 30, 255))
    rgba.putalpha(half("L"))
    picture(tmp_path / "own", "1.png", image=rgba)
    run = make_run(tmp_path, tiny_checkpoint, tmp_path / "own", masked_loss=True, min_snr_gamma=0, text_lr=0)
    trainer = loop.TrainingRun(run, TrainingConfig.from_dict(json.loads((run / "config.json").read_text(encoding="utf-8"))), EventWriter(run))
    trainer._prepare()
    objective = trainer.parts.objective
    noised = objective.draw([data.Draw(0, False, "word", "")], 1, 0)
    with torch.no_grad():
        masked = float(objective.loss(noised, preserve=False))
        answer = trainer.model.unet(noised.noisy, noised.steps, encoder_hidden_states=encode_prompts(trainer.model, ["word"]).hidden).sample
    trainer.board.close()
    errors = (answer - noised.target).square()
    errors[..., 4:] = 0.0
    assert masked == pytest.approx(float(errors.mean()), rel=1e-5)


def test_the_average_follows_its_formula_and_is_what_is_saved(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    seen: list[torch.Tensor] = []
    original = loop.TrainingRun._step

    def step(self: Any, *args: Any) -> None:
        if not seen:
            seen.append(self.network.flat["unet"].detach().clone())
        original(self, *args)
        seen.append(self.network.flat["unet"].detach().clone())

    monkeypatch.setattr(loop.TrainingRun, "_step", step)
    run = make_run(tmp_path, tiny_checkpoint, pictures, epochs=2, ema_decay=0.4, text_lr=0)
    start(run)
    average = seen[0].clone()
    for number, weights in enumerate(seen[1:], start=1):
        decay = min(0.4, (1 + number) / (10 + number))
        average = decay * average + (1 - decay) * weights
    _, tensors = state.load_state(run / "state")
    assert torch.allclose(tensors["average.unet"], average, atol=1e-6) and torch.equal(tensors["unet.weights"], seen[-1])
    saved = load_file(tmp_path / "output" / "word-02.safetensors")
    flat = torch.cat([saved[k].flatten() for k in sorted(saved) if k.endswith("weight")])
    assert flat.sum() == pytest.approx(float(average.sum()), abs=1e-4) and abs(float(average.sum() - seen[-1].sum())) > 1e-4


def test_a_run_with_an_average_goes_on_to_the_bit(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    more = {"ema_decay": 0.9, "network_dropout": 0.1, "rank_dropout": 0.2, "module_dropout": 0.1, "scale_weight_norms": 0.05, "mid_lr_weight": "0.5"}
    start(make_run(tmp_path / "a", tiny_checkpoint, pictures, **more))
    run = make_run(tmp_path / "b", tiny_checkpoint, pictures, **more)
    trainer = loop.TrainingRun(run, TrainingConfig.from_dict(json.loads((run / "config.json").read_text(encoding="utf-8"))), EventWriter(run))
    trainer._stop_asked = lambda: getattr(trainer, "position", None) is not None and trainer.position.step == 4  # type: ignore[method-assign]
    trainer.go()
    trainer.board.close()
    events = start(run)
    assert [e["resumed_from"] for e in events if e["type"] == "started"] == [None, 4]
    first, second = (state.load_state(tmp_path / n / "run" / "state")[1] for n in "ab")
    assert set(first) == set(second) and all(torch.equal(first[k], second[k]) for k in first)
    step = next(e for e in reversed(events) if e["type"] == "step")
    assert 0 < step["norm_max"] <= 0.05 + 1e-6 and step["norm_shrunk"] >= 0


def test_held_out_pictures_are_never_trained_and_always_the_same(tmp_path: Path) -> None:
    for k in range(10):
        picture(tmp_path / "own", f"{k}.png")
    picture(tmp_path / "reg", "reg.png")
    folders = [{"path": str(tmp_path / "own"), "repeats": 3}, {"path": str(tmp_path / "reg"), "repeats": 3, "is_reg": True}]
    made = config(tmp_path, folders=folders, validation_split=0.3, validation_seed=5)
    dataset = data.build_dataset(made)
    held = {e.path.name for e in dataset.held_out}
    assert len(held) == 3 and not held & {e.path.name for e in dataset.examples} and "reg.png" not in held
    assert held == {e.path.name for e in data.build_dataset(made).held_out}
    assert sum(e.repeats for e in dataset.examples if e.is_reg) == 21
    assert data.hold_out(list(dataset.held_out[:1]), 0.9, 1) == (list(dataset.held_out[:1]), [])


def test_validation_loss_is_the_plain_error_at_fixed_noise(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    made = TrainingConfig.from_dict(json.loads((make_run(tmp_path, tiny_checkpoint, pictures) / "config.json").read_text(encoding="utf-8")))
    model, dataset = load_base(tiny_checkpoint), data.build_dataset(made)
    cache = data.LatentCache(lambda pixels: (pixels[:, :1].repeat(1, 4, 1, 1)[..., ::8, ::8], pixels[:, :1, :8, :8] * 0 + 1), dataset)
    small, large = (validation.validation_loss(model, dataset, cache, model.alphas_cumprod, 3, size) for size in (2, 7))
    other = validation.validation_loss(model, dataset, cache, model.alphas_cumprod, 4, 7)
    assert small == pytest.approx(large, rel=1e-5) and small == validation.validation_loss(model, dataset, cache, model.alphas_cumprod, 3, 2)
    assert other != pytest.approx(small, rel=1e-4) and small > 0


def test_the_best_epoch_by_validation_is_told_and_written(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    losses = iter([0.5, 0.3, 0.4])
    monkeypatch.setattr(loop, "validation_loss", lambda *_: next(losses))
    events = start(make_run(tmp_path, tiny_checkpoint, pictures, epochs=3, validation_split=0.2))
    told = [(e["epoch"], e["loss"], e["best_epoch"]) for e in events if e.get("name") == "validation"]
    assert told == [(1, 0.5, 1), (2, 0.3, 2), (3, 0.4, 2)]
    assert events[-1]["best_epoch"] == 2 and events[-1]["best_loss"] == 0.3
    facts = read_metadata(tmp_path / "output" / "word-03.safetensors")
    assert facts["lora_studio_best_epoch"] == "2" and facts["ss_num_validation_images"] == "1" and facts["ss_validation_split"] == "0.2"


@pytest.mark.parametrize(("limit", "rows"), [(75, 1), (150, 2), (225, 3)])
def test_long_captions_are_cut_at_75_150_and_225_tokens(tiny_checkpoint: Path, limit: int, rows: int) -> None:
    model = load_base(tiny_checkpoint)
    model.max_tokens = limit
    text = ", ".join(f"tag {k}" for k in range(100))
    assert encode_prompts(model, [text]).hidden.shape[1] == 77 * rows
    assert encode_prompts(model, ["short"]).hidden.shape[1] == 77
