"""Several taggers as one: what they store, and what is made of it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.dataset import read_caption
from lora_studio.demo import tagger_dir
from lora_studio.demo.drawer import draw
from lora_studio.demo.scene import sample_scene
from lora_studio.errors import UserError
from lora_studio.tagging import TagOptions, load_tagger, tag_folder, wd14
from lora_studio.tagging import providers as onnx
from lora_studio.tagging.ensemble import EnsembleStore, members, stretched, union
from lora_studio.tagging.labels import Label
from lora_studio.tagging.preview import is_instant, known_of, preview
from lora_studio.tagging.shards import predict_shard
from lora_studio.tagging.store import Store
from lora_studio.tagging.taggers import model_of, name_of
from lora_studio.tagging.wd14 import TaggerFiles

SHARE = st.floats(0.0, 1.0)


@given(SHARE, SHARE, st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_stretching_moves_the_threshold_and_keeps_the_order(p: float, q: float, own: float, common: float) -> None:
    low, high, at, zero, one = stretched(np.array([min(p, q), max(p, q), own, 0.0, 1.0]), np.full(5, own), np.full(5, common)).tolist()
    assert low <= high + 1e-12 and low >= 0 and high <= 1 + 1e-12
    assert (zero, one) == (0.0, 1.0) and abs(at - common) < 1e-12
    assert (min(p, q) > own) <= (low >= common), "what one model would write alone, it votes for"


def files(name: str, labels: list[tuple[str, str]]) -> TaggerFiles:
    return TaggerFiles(name, Path(name), tuple(Label(tag, category) for tag, category in labels))


def test_tags_are_joined_by_name_and_averaged_over_those_that_know_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TaggerFiles, "fingerprint", lambda self: self.name)
    first = files("wd-eva02-large-tagger-v3", [("general", "rating"), ("long_hair", "general"), ("smile", "general")])
    second = files("wd-vit-tagger-v3", [("general", "rating"), ("smile", "general"), ("hat", "general"), ("long_hair", "general")])
    both = TaggerFiles("both", Path(), union([first, second]), (first, second))
    assert [label.name for label in both.labels] == ["general", "long_hair", "smile", "hat"]
    assert both.thresholds == (pytest.approx((0.5296 + 0.2614) / 2), 0.85)
    stores = [Store(None, "x", 3), Store(None, "x", 4)]
    stores[0].put(b"a", np.array([0.9, 0.5296, 0.0], np.float32))
    stores[1].put(b"a", np.array([0.5, 0.2614, 0.8, 0.2614], np.float32))
    stores[0].put(b"b", np.array([0.9, 0.5, 0.0], np.float32))
    store = EnsembleStore(both, stores)
    assert b"a" in store and b"b" not in store and b"c" not in store
    common = both.thresholds[0]
    hat = common + (0.8 - 0.2614) / (1 - 0.2614) * (1 - common)
    assert store.get(b"a").tolist() == pytest.approx([0.7, common, common / 2, hat], abs=1e-6)
    columns, values = store.sparse(b"a")
    assert columns.tolist() == [0, 1, 2, 3] and values.dtype == np.float32
    with pytest.raises(KeyError):
        store.get(b"b")


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The demo's model under another name, one of its tags called otherwise."""
    folder = tmp_path / "_taggers" / "mine"
    shutil.copytree(tagger_dir(), folder)
    labels = folder / "selected_tags.csv"
    labels.write_text(labels.read_text(encoding="utf-8").replace(",smile,", ",grin,"), encoding="utf-8")
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    folder.mkdir()
    rng = random.Random(5)
    for k in range(6):
        draw(sample_scene(rng), rng).save(folder / f"{k}.png")
    return folder


def captions(folder: Path) -> dict[str, tuple[str, ...]]:
    return {p.stem: read_caption(p).tags for p in sorted(folder.glob("*.txt"))}


def test_both_read_every_picture_once(dataset: Path, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tag_folder(dataset, TagOptions(model="demo"))
    alone = captions(dataset)
    assert any("smile" in tags for tags in alone.values())
    options = TagOptions(model=f"demo+{mine}", on_existing="overwrite")
    seen: list[tuple[int, int]] = []
    report = tag_folder(dataset, options, lambda done, total, _: seen.append((done, total)))
    assert (report.tagged, report.predicted, report.provider, report.model) == (6, 6, onnx.CPU, "demo+mine")
    assert report.explanation and (6, 12) in seen and (12, 12) in seen
    for name, tags in captions(dataset).items():
        assert set(tags) - {"grin"} == set(alone[name]), "the same model twice decides as it does alone"
        assert ("grin" in tags) == ("smile" in tags)

    def impossible(*_: object) -> None:
        raise AssertionError("inference was asked for")

    monkeypatch.setattr(onnx, "open_session", impossible)
    again = tag_folder(dataset, TagOptions(model=f"{mine}+demo", general_threshold=0.02, on_existing="overwrite"))
    assert (again.tagged, again.predicted, again.provider) == (6, 0, "")
    assert all(len(tags) >= len(alone[name]) for name, tags in captions(dataset).items())


def test_the_preview_shows_what_will_be_written(dataset: Path, mine: Path) -> None:
    options = TagOptions(model=f"demo+{mine}")
    found = wd14.files_here(options.model)
    assert found is not None
    tag_folder(dataset, TagOptions(model="demo"))
    for caption in dataset.glob("*.txt"):
        caption.unlink()
    assert preview(dataset, found, options)["stored"] == 0 and not is_instant(dataset, found, options)
    predict_shard(dataset, TagOptions(model=str(mine)), 1, 1)
    report = tag_folder(dataset, options)
    assert report.predicted == 0, "a share that was read elsewhere is taken in"
    shown = preview(dataset, found, TagOptions(model=options.model, on_existing="overwrite"))
    assert (shown["stored"], shown["instant"]) == (6, True)
    assert {tag: n for tag, n, *_ in shown["tags"]} == report.counts
    assert all(list(captions(dataset)[s["name"][:-4]]) == s["after"] for s in shown["samples"])
    assert known_of(dataset).store(found) is known_of(dataset).store(found), "made once"


def test_what_cannot_be_read_says_why(dataset: Path, mine: Path) -> None:
    whole = (dataset / "0.png").read_bytes()
    (dataset / "0.png").write_bytes(whole[: len(whole) // 2])
    report = tag_folder(dataset, TagOptions(model=f"demo+{mine}"))
    assert report.tagged == 5
    assert [name for name, _ in report.skipped] == ["0.png"] and "cannot be read" in report.skipped[0][1]


def test_names(tmp_path: Path, mine: Path) -> None:
    assert members("demo + wd-vit-tagger-v3+demo") == ("demo", "wd-vit-tagger-v3")
    plus = tmp_path / "a+b"
    shutil.copytree(mine, plus)
    assert members(str(plus)) == (str(plus),)
    assert model_of(tmp_path, "demo+mine") == f"demo+{mine}" and name_of(tmp_path, f"demo+{mine}") == "demo+mine"
    assert name_of(tmp_path, f"demo+{plus}") == "" and wd14.files_here("demo+wd-vit-tagger-v3") is None
    for name in ("demo+nothing", "demo+../x"):
        with pytest.raises(UserError):
            model_of(tmp_path, name)
    with pytest.raises(UserError, match="Several taggers"):
        load_tagger(f"demo+{mine}")
