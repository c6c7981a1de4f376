"""Short real trainings of a small random model."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lora_studio.errors import UserError
from lora_studio.trainer import loop, merge, network
from lora_studio.trainer.export import free_stem, read_metadata
from lora_studio.trainer.models import load_base
from lora_studio.trainer.text import encode_prompts, predict
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import EventWriter
from tests.trainer.drill import drill
from tests.trainer.runs import digest, make_run, start

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("checkpointing", [False, True])
def test_both_up_matrices_move(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, checkpointing: bool) -> None:
    run = make_run(tmp_path, tiny_checkpoint, pictures, epochs=1, gradient_checkpointing=checkpointing)
    events = start(run)
    assert events[0]["type"] == "started" and events[-1]["type"] == "finished"
    tensors = load_file(tmp_path / "output" / "word-01.safetensors")
    ups = {k: v for k, v in tensors.items() if k.endswith("lora_up.weight")}
    assert all(v.abs().max() > 0 for k, v in ups.items() if k.startswith("lora_unet_"))
    text = [v for k, v in ups.items() if k.startswith("lora_te_")]
    assert len(text) == 18 and all(v.abs().max() > 0 for v in text)


def test_checkpointing_changes_nothing_but_memory(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    for name, flag in (("a", False), ("b", True)):
        start(make_run(tmp_path / name, tiny_checkpoint, pictures, epochs=1, gradient_checkpointing=flag))
    plain, saved = (load_file(tmp_path / n / "output" / "word-01.safetensors") for n in "ab")
    assert all(torch.allclose(plain[k], saved[k], atol=1e-4) for k in plain)


def test_file_metadata_sidecar_and_preview(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    lora_dir = tmp_path / "models" / "Lora" / "词 🙂"
    run = make_run(tmp_path, tiny_checkpoint, pictures, lora_dir=str(lora_dir), sample_prompts=["word"], sample_steps=2)
    events = start(run)
    assert [e["epoch"] for e in events if e["type"] == "sample"] == [0, 1, 2]
    for folder in (tmp_path / "output", lora_dir):
        assert {p.name for p in folder.iterdir()} == {f"word-0{i}.{s}" for i in (1, 2) for s in ("safetensors", "json", "png")}
    path = lora_dir / "word-02.safetensors"
    facts = read_metadata(path)
    assert facts["ss_output_name"] == "word-02" and facts["ss_base_model_version"] == "sd_v1" and facts["ss_v2"] == "False"
    assert facts["ss_network_module"] == "networks.lora" and facts["ss_network_dim"] == "4" and facts["ss_network_alpha"] == "2.0"
    assert json.loads(facts["ss_tag_frequency"])[pictures.name]["word"] == 5
    assert facts["sshs_model_hash"] == digest(path)
    assert facts["ss_new_sd_model_hash"] == hashlib.sha256(tiny_checkpoint.read_bytes()).hexdigest()
    assert facts["modelspec.architecture"] == "stable-diffusion-v1/lora" and facts["modelspec.trigger_phrase"] == "word"
    sidecar = json.loads((lora_dir / "word-02.json").read_text(encoding="utf-8"))
    assert sidecar["activation text"] == "word" and sidecar["sd version"] == "SD1" and sidecar["preferred weight"] > 0


def test_merged_equals_the_trained_adapters_and_restores_exactly(tmp_path: Path, full_checkpoint: Path, pictures: Path) -> None:
    events = EventWriter(tmp_path)
    run = make_run(tmp_path, full_checkpoint, pictures, epochs=1)
    config = TrainingConfig.from_dict(json.loads((run / "config.json").read_text(encoding="utf-8")))
    trainer = loop.TrainingRun(run, config, events)
    trainer.go()
    trainer.board.close()
    x, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([10, 800])

    def answer(model: Any) -> torch.Tensor:
        with torch.no_grad():
            return predict(model, x, t, encode_prompts(model, ["word, smile", "other"]))

    trained = answer(trainer.model)
    base = load_base(full_checkpoint)
    before = {k: v.clone() for k, v in base.unet.state_dict().items()}
    plain = answer(base)
    with merge.merged(base, tmp_path / "output" / "word-01.safetensors", 1.0) as report:
        assert len(report.matched) == 192 + 18 and not report.unmatched
        assert torch.allclose(answer(base), trained, atol=1e-5)
    assert (plain - trained).abs().max() > 1e-4
    assert all(torch.equal(v, before[k]) for k, v in base.unet.state_dict().items())
    with trainer.network.disabled():
        assert torch.equal(answer(trainer.model), plain)


@pytest.mark.parametrize("conv_dim", [0, 6])
def test_summed_layers_equal_pefts_own_forward(full_checkpoint: Path, conv_dim: int) -> None:
    torch.manual_seed(0)
    model = load_base(full_checkpoint)
    net = network.attach(model, network.LoraShape(4, 2.0, conv_dim, 3.0), 0)
    for layer in net.layers:
        layer.up.data.normal_(std=0.1)
    summed = [layer.module for layer in net.layers if "forward" in vars(layer.module)]
    assert summed
    x, t = torch.randn(1, 4, 8, 8), torch.tensor([500])
    with torch.no_grad():
        ours = predict(model, x, t, encode_prompts(model, ["word"]))
        for module in summed:
            del module.forward  # what is left is peft's class
        assert torch.allclose(ours, predict(model, x, t, encode_prompts(model, ["word"])), atol=1e-5)


def test_diffusers_reads_the_file_with_the_same_result(tmp_path: Path, full_checkpoint: Path, pictures: Path) -> None:
    from diffusers import DDIMScheduler, StableDiffusionPipeline
    from transformers import CLIPTokenizer

    start(make_run(tmp_path, full_checkpoint, pictures, epochs=1))
    path = tmp_path / "output" / "word-01.safetensors"
    ours, theirs = load_base(full_checkpoint), load_base(full_checkpoint)
    pipe = StableDiffusionPipeline(
        vae=theirs.vae,
        text_encoder=theirs.text_encoders[0],
        tokenizer=CLIPTokenizer.__new__(CLIPTokenizer),
        unet=theirs.unet,
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.load_lora_weights(str(path.parent), weight_name=path.name)
    generator = torch.Generator().manual_seed(1)
    x, t = torch.randn(1, 4, 8, 8, generator=generator, dtype=torch.float64), torch.tensor([300])
    with torch.no_grad(), merge.merged(ours, path):
        text, same = (encode_prompts(model, ["word"]) for model in (ours, theirs))
        assert torch.allclose(text.hidden, same.hidden, atol=1e-5)
        text.hidden = text.hidden.double()
        # in double precision, so that only a real difference shows: the random model multiplies rounding errors
        mine, other = (predict(dataclasses.replace(model, unet=model.unet.double()), x, t, text) for model in (ours, theirs))
        assert torch.allclose(mine, other, atol=1e-6)
    with torch.no_grad():
        plain = predict(dataclasses.replace(ours, unet=load_base(full_checkpoint).unet.double()), x, t, text)
    assert (mine - plain).abs().max() > 1e-3


@pytest.mark.parametrize(
    "changes",
    [
        {"prior_weight": 1.0},
        {"text_lr": 0, "caption_dropout": 0.5, "flip": True, "noise_offset": 0.05},
        {"unet_lr": 0, "clip_skip": 2},
        {"precision": "bf16", "save_precision": "bf16", "prior_weight": 1.0},
        {"prediction": "v_prediction", "gradient_accumulation": 2, "cache_latents": False},
        {"conv_dim": 2, "conv_alpha": 1.0, "loss_type": "huber", "multires_noise_iterations": 4, "ip_noise_gamma": 0.05, "tag_dropout": 0.5},
        {"max_steps": 2, "max_tokens": 75, "scheduler": "cosine_with_restarts", "warmup": 1},
    ],
)
def test_variants_train(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, changes: dict[str, Any]) -> None:
    events = start(make_run(tmp_path, tiny_checkpoint, pictures, epochs=1, **changes))
    done = events[-1]["step"]
    assert done == (2 if {"max_steps", "gradient_accumulation"} & set(changes) else 3)
    tensors = load_file(tmp_path / "output" / "word-01.safetensors")
    moved = {k.split("_")[1] for k, v in tensors.items() if k.endswith("up.weight") and v.abs().max() > 0}
    expected = {"unet", "te"} - ({"te"} if changes.get("text_lr") == 0 else {"unet"} if changes.get("unet_lr") == 0 else set())
    assert moved == expected


def test_stop_then_resume_equals_an_undisturbed_run(
    tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, halted = (make_run(tmp_path / n, tiny_checkpoint, pictures, prior_weight=0.5, scheduler="cosine") for n in "ab")
    start(straight)
    (halted / "control" / "stop").touch()  # before the first step
    assert start(halted)[-1]["type"] == "stopped"
    original, calls = loop.Objective.loss, []

    def loss(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 4:  # in the middle of a step, the first of the second epoch
            (halted / "control" / "stop").touch()
        return original(self, *args, **kwargs)

    monkeypatch.setattr(loop.Objective, "loss", loss)
    assert start(halted)[-1]["type"] == "stopped"
    assert not (halted / "control" / "stop").exists()
    events = start(halted)
    assert events[-1]["type"] == "finished" and events[-1]["step"] == 6
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert [e["resumed_from"] for e in events if e["type"] == "started"] == [None, None, 4]
    for name in ("word-01.safetensors", "word-02.safetensors"):
        assert digest(tmp_path / "a" / "output" / name) == digest(tmp_path / "b" / "output" / name)


def test_save_and_sample_on_demand(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    run = make_run(tmp_path, tiny_checkpoint, pictures, epochs=1, sample_prompts=["word"], sample_steps=2)
    for name in ("save", "sample"):
        (run / "control" / name).touch()
    events = start(run)
    assert (tmp_path / "output" / "word-step000001.safetensors").is_file()
    assert [e["step"] for e in events if e["type"] == "sample"] == [0, 1, 3]


def test_a_name_of_another_run_is_never_overwritten(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    start(make_run(tmp_path / "a", tiny_checkpoint, pictures, epochs=1, output_dir=str(tmp_path / "o")), "--place", str(tmp_path / "o"))
    first = (tmp_path / "o" / "word-01.safetensors").read_bytes()
    start(make_run(tmp_path / "b", tiny_checkpoint, pictures, epochs=1, output_dir=str(tmp_path / "o")), "--place", str(tmp_path / "o"))
    assert (tmp_path / "o" / "word-01.safetensors").read_bytes() == first
    assert read_metadata(tmp_path / "o" / "word_2-01.safetensors")["ss_output_name"] == "word_2-01"
    assert free_stem("word", [tmp_path / "o"], lambda path: False) == "word_3"


def test_keep_last_drops_older_epochs(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    start(make_run(tmp_path, tiny_checkpoint, pictures, epochs=3, keep_last=2))
    assert sorted(p.name for p in (tmp_path / "output").glob("*.safetensors")) == ["word-02.safetensors", "word-03.safetensors"]


def test_wrong_bases_are_named(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    start(make_run(tmp_path / "a", tiny_checkpoint, pictures, epochs=1))
    lora = tmp_path / "a" / "output" / "word-01.safetensors"
    pickle = tmp_path / "model.ckpt"
    pickle.write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    text, empty, half = tmp_path / "text.safetensors", tmp_path / "empty.safetensors", tmp_path / "half.safetensors"
    text.write_text("not a model", encoding="utf-8")
    empty.touch()
    half.write_bytes(tiny_checkpoint.read_bytes()[:5000])
    cases = {lora: "LoRA", pickle: "pickle", text: "not a readable", empty: "not a readable", half: "not a readable", tmp_path: "diffusers"}
    for path, word in {**cases, tmp_path / "nowhere.safetensors": "does not exist"}.items():
        with pytest.raises(UserError, match=word) as caught:
            load_base(path)
        assert caught.value.hint


def test_a_tiny_model_without_its_yaml_says_what_is_missing(tmp_path: Path, tiny_checkpoint: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(tiny_checkpoint.read_bytes())
    with pytest.raises(UserError, match=r"instead of|missing") as caught:
        load_base(alone)
    assert "yaml" in caught.value.hint


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_the_fault_drill(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    """`benchmarks/faults.py` does the same a hundred times."""
    report = drill(tmp_path, tiny_checkpoint, pictures, kills=12, seed=3)
    assert not report.problems and sum(report.kills.values()) == 12 and report.faults, report
