"""Shares of a dataset, each asked for by itself, make the captions that one process makes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_studio.errors import UserError
from lora_studio.studio import Studio
from lora_studio.tagging import TagOptions, tag_folder
from lora_studio.tagging.shards import card_of, parse_shard, predict_shard
from lora_studio.tagging.store import Store, shards_of, store_path

pytest.importorskip("onnxruntime")
OPTIONS = TagOptions(model="demo")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "p" / "dataset"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for k in range(7):
        Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def captions(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text(encoding="utf-8") for p in sorted(folder.glob("*.txt"))}


def test_shares_make_the_captions_of_one_process(dataset: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(dataset, alone)
    tag_folder(alone, OPTIONS)
    asked = [predict_shard(dataset, OPTIONS, number, 3) for number in (1, 2, 3)]
    assert sum(asked) == 7 and max(asked) <= 3 and captions(dataset) == {}
    assert predict_shard(dataset, OPTIONS, 2, 3) == 0  # broken off and begun again: nothing is asked for twice
    base = store_path(dataset / ".lora_studio", "demo")
    assert len(shards_of(base)) == 3
    report = tag_folder(dataset, OPTIONS)
    assert report.predicted == 0 and report.tagged == 7
    assert captions(dataset) == captions(alone)
    assert shards_of(base) == [] and base.is_file()


def test_a_share_of_another_model_is_not_taken_in(dataset: Path) -> None:
    predict_shard(dataset, OPTIONS, 1, 1)
    base = store_path(dataset / ".lora_studio", "demo")
    other = Store(base, "another model", 5)
    from lora_studio.tagging.store import take_shards

    take_shards(other)
    assert len(other) == 0


@pytest.mark.slow
def test_processes_started_by_the_studio(dataset: Path, tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    told: list[tuple[int, int]] = []
    studio.tag_shares(studio.open("p"), OPTIONS, 2, lambda done, total, message: told.append((done, total)))
    assert told[-1] == (7, 7)
    assert tag_folder(dataset, OPTIONS).predicted == 0
    with pytest.raises(UserError, match="nowhere"):
        studio.tag_shares(studio.open("p"), TagOptions(model="nowhere"), 2)


def test_what_a_share_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_shard("2/3") == (2, 3)
    for wrong in ("0/2", "3/2", "2", "a/b", "1/2/3"):
        with pytest.raises(UserError, match="is no share"):
            parse_shard(wrong)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert card_of(3, 2) == {"CUDA_VISIBLE_DEVICES": "1"} and card_of(3, 1) == {}
