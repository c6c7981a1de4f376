"""The embedded models are there, small enough, and really trained."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from lora_studio.demo import ASSETS, checkpoint_path, tagger_dir
from lora_studio.demo.drawer import draw
from lora_studio.demo.install import install_checkpoint
from lora_studio.demo.scene import GROUPS, TAGS, sample_scene, scene_tags
from lora_studio.tagging import load_tagger
from lora_studio.training.basefile import family_of


def test_what_is_embedded_is_small() -> None:
    files = [f for f in ASSETS.rglob("*") if f.is_file()]
    assert {checkpoint_path(), tagger_dir() / "model.onnx", ASSETS / "tiny_world.yaml", ASSETS / "MODEL_CARD.md"} <= set(files)
    assert sum(f.stat().st_size for f in files) < 20_000_000
    assert family_of(checkpoint_path()) == "sd1"


def read(tagger: object, pictures: list, wanted: list[list[str]]) -> float:
    """Share of the wanted tags that the tagger finds: the likeliest of its group, or above one half."""
    labels = [label.name.replace("_", " ") for label in tagger.labels]  # type: ignore[attr-defined]
    hits = []
    for row, tags in zip(tagger.predict(pictures), wanted):  # type: ignore[attr-defined]
        scores = dict(zip(labels, row))
        for tag in tags:
            group = next((g for name, g in GROUPS.items() if tag in g and name != "style"), None)
            hits.append(scores[tag] >= max(scores[t] for t in group) if group else scores[tag] > 0.5)
    return float(np.mean(hits))


def test_the_tagger_reads_drawings() -> None:
    rng = random.Random(11)
    scenes = [sample_scene(rng) for _ in range(40)]
    tagger = load_tagger("demo")
    try:
        names = {label.name.replace("_", " ") for label in tagger.labels if label.category != "rating"}
        assert names == set(TAGS)
        assert read(tagger, [draw(s, rng) for s in scenes], [scene_tags(s) for s in scenes]) > 0.98
    finally:
        tagger.close()


@pytest.mark.slow
@pytest.mark.torch
def test_the_model_draws_what_it_is_told() -> None:
    from lora_studio.trainer.models import load_base
    from lora_studio.trainer.sampling import Prompt, sample

    rng = random.Random(12)
    wanted = [scene_tags(sample_scene(rng)) for _ in range(12)]
    prompts = [Prompt(", ".join(tags), seed=k, width=128, height=128, steps=12) for k, tags in enumerate(wanted)]
    pictures = sample(load_base(checkpoint_path()), prompts, batch_size=12)
    tagger = load_tagger("demo")
    try:
        obeyed, by_chance = read(tagger, pictures, wanted), read(tagger, pictures, wanted[1:] + wanted[:1])
    finally:
        tagger.close()
    assert obeyed > 0.85 and obeyed - by_chance > 0.3


def test_installing_into_a_webui(tmp_path: Path) -> None:
    folder = tmp_path / "my 模型" / "Stable-diffusion"
    target = install_checkpoint(folder)
    assert target.read_bytes() == checkpoint_path().read_bytes()
    import yaml

    params = yaml.safe_load((folder / "tiny_world.yaml").read_text(encoding="utf-8"))["model"]["params"]
    encoder = Path(params["cond_stage_config"]["params"]["version"])
    assert encoder.is_absolute() and {"config.json", "vocab.json", "merges.txt"} <= {p.name for p in encoder.iterdir()}


@pytest.mark.torch
def test_the_written_tokenizer_is_transformers_own(tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    from lora_studio.trainer.clip_tokens import ClipTokenizer, write_tokenizer_files

    write_tokenizer_files(tmp_path)
    theirs, ours = CLIPTokenizer.from_pretrained(str(tmp_path), local_files_only=True), ClipTokenizer.bundled()
    for text in ("1girl, Purple Hair", "mikuzu", "grey background, :d, :3", "o_o, don't"):
        assert theirs(text, add_special_tokens=False).input_ids == ours.encode(text)
