"""Tagging folders with the demo tagger, and models made up for what it does not show."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lora_studio import cores
from lora_studio.dataset import read_caption
from lora_studio.demo import tagger_dir
from lora_studio.demo.drawer import draw
from lora_studio.demo.scene import sample_scene, scene_tags
from lora_studio.editing import undo
from lora_studio.errors import UserError
from lora_studio.tagging import Tagger, TagOptions, load_tagger, read_labels, tag_folder, wd14
from lora_studio.tagging import providers as onnx
from lora_studio.tagging.store import Store, floored, store_path

COUNT = 6


@pytest.fixture
def dataset(tmp_path: Path) -> tuple[Path, dict[str, set[str]]]:
    """A folder of drawn pictures with names that are not easy, and what each shows."""
    rng = random.Random(7)
    folder = tmp_path / "数据 set"
    folder.mkdir()
    truth = {}
    for i in range(COUNT):
        scene = sample_scene(rng)
        name = f"猫 {i} 🐈.png"
        draw(scene, rng, size=128 + 100 * i).save(folder / name)
        truth[name] = set(scene_tags(scene))
    return folder, truth


def _caption(folder: Path, name: str) -> tuple[str, ...]:
    return read_caption((folder / name).with_suffix(".txt")).tags


def test_drawn_pictures_get_their_tags(dataset: tuple[Path, dict[str, set[str]]]) -> None:
    folder, truth = dataset
    (folder / "broken.png").write_bytes(b"no picture")
    seen: list[tuple[int, int]] = []
    report = tag_folder(folder, TagOptions(model="demo", batch_size=4), lambda done, total, _: seen.append((done, total)))
    wrong = sum(len(truth[name] ^ set(_caption(folder, name))) for name in truth)
    assert wrong <= 2, "of more than fifty tags"
    assert (report.tagged, report.predicted, report.kept) == (COUNT, COUNT, 0)
    assert report.provider == "CPUExecutionProvider"
    assert [name for name, _ in report.skipped] == ["broken.png"]
    assert sum(report.counts.values()) == sum(len(_caption(folder, name)) for name in truth)
    assert seen[-1] == (COUNT, COUNT)
    assert not [p for p in folder.rglob("*") if p.name.startswith(".tmp-")]


def test_new_thresholds_need_no_inference(dataset: tuple[Path, dict[str, set[str]]], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, truth = dataset
    tag_folder(folder, TagOptions(model="demo"))
    first = {name: _caption(folder, name) for name in truth}

    def impossible(*_: object) -> Any:
        raise AssertionError("inference was asked for")

    monkeypatch.setattr(onnx, "open_session", impossible)
    renamed = next(iter(truth))
    (folder / renamed).rename(folder / "other name.png")  # known by its content
    low = tag_folder(folder, TagOptions(model="demo", general_threshold=0.01, on_existing="overwrite"))
    assert (low.predicted, low.provider, low.tagged) == (0, "", COUNT)
    others = [name for name in truth if name != renamed]
    assert all(set(_caption(folder, name)) >= set(first[name]) for name in others)
    assert low.general_threshold == 0.01
    tag_folder(folder, TagOptions(model="demo", on_existing="overwrite"))
    assert {name: _caption(folder, name) for name in others} == {name: first[name] for name in others}
    Image.new("RGB", (64, 64), "red").save(folder / others[0])
    with pytest.raises(AssertionError, match="inference"):
        tag_folder(folder, TagOptions(model="demo", on_existing="overwrite"))


def test_existing_captions(dataset: tuple[Path, dict[str, set[str]]]) -> None:
    folder, truth = dataset
    name, empty = sorted(truth)[:2]
    mine = (folder / name).with_suffix(".txt")
    mine.write_text("my_tag, 1GIRL", encoding="utf-8")
    (folder / empty).with_suffix(".txt").write_text(" \n", encoding="utf-8")
    report = tag_folder(folder, TagOptions(model="demo"))
    assert (report.kept, report.tagged) == (1, COUNT - 1)
    assert mine.read_text(encoding="utf-8") == "my_tag, 1GIRL"
    assert _caption(folder, empty)
    tag_folder(folder, TagOptions(model="demo", on_existing="merge", add=("1girl",)))
    merged = _caption(folder, name)
    assert merged[:2] == ("my_tag", "1GIRL") and "1girl" not in merged and len(merged) > 5
    tag_folder(folder, TagOptions(model="demo", on_existing="overwrite"))
    assert "my_tag" not in _caption(folder, name)
    assert undo(folder).done and _caption(folder, name) == merged
    undo(folder)
    assert mine.read_bytes() == b"my_tag, 1GIRL", "byte for byte what it was"


def test_one_caption_is_not_written_for_two_pictures(tmp_path: Path) -> None:
    for suffix in (".png", ".jpg"):
        Image.new("RGB", (64, 64)).save(tmp_path / f"a{suffix}")
    report = tag_folder(tmp_path, TagOptions(model="demo", general_threshold=0.0))
    assert report.tagged == 1 and "shares" in report.skipped[0][1]


def test_empty_and_unknown(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no picture"):
        tag_folder(tmp_path, TagOptions(model="demo"))
    with pytest.raises(UserError) as caught:
        load_tagger("wd-swinv-tagger-v3")
    assert "wd-swinv2-tagger-v3" in caught.value.hint
    with pytest.raises(UserError, match=r"has no model\.onnx and no selected_tags\.csv"):
        load_tagger(tmp_path)


@pytest.mark.parametrize("damage", ["pickle", "cut", "text", "foreign"])
def test_a_store_that_cannot_be_trusted_is_made_anew(dataset: tuple[Path, dict[str, set[str]]], damage: str) -> None:
    folder, _ = dataset
    tag_folder(folder, TagOptions(model="demo"))
    path = store_path(folder / ".lora_studio", "demo")
    if damage == "pickle":
        hidden = np.array([{"code": 1}], dtype=object)
        np.savez(path, version=hidden, fingerprint=hidden, width=hidden, hashes=hidden, ends=hidden, columns=hidden, values=hidden)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif damage == "text":
        path.write_text("hello", encoding="utf-8")
    else:
        np.savez(path, something=np.zeros(3))
    report = tag_folder(folder, TagOptions(model="demo", on_existing="overwrite"))
    assert report.predicted == COUNT
    assert any("made anew" in warning for warning in report.warnings)
    assert tag_folder(folder, TagOptions(model="demo", on_existing="overwrite")).predicted == 0


def test_stored_probabilities_come_back_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = {bytes([i]) * 32: (rng.random(50, dtype=np.float32) ** 9) for i in range(5)}
    store = Store(tmp_path / "s.npz", "f", 50)
    for digest, row in rows.items():
        store.put(digest, row)
    store.save()
    again = Store(tmp_path / "s.npz", "f", 50)
    assert len(again) == 5
    for digest, row in rows.items():
        assert np.array_equal(again.get(digest), floored(row))
    assert len(Store(tmp_path / "s.npz", "other model", 50)) == 0


class FakeSession:
    """A model whose output k is the mean of channel k mod 3; batch None for any."""

    def __init__(self, outputs: int, batch: int | None, provider: str = onnx.CPU, fails: bool = False) -> None:
        self.outputs, self.batch, self.provider, self.fails = outputs, batch, provider, fails
        self.batches: list[int] = []

    def get_providers(self) -> list[str]:
        return [self.provider]

    def get_inputs(self) -> list[Any]:
        return [_Port("input_1:0", [self.batch or "N", 32, 32, 3])]

    def get_outputs(self) -> list[Any]:
        return [_Port("predictions_sigmoid", [self.batch or "N", self.outputs])]

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        (batch,) = feed.values()
        assert names == ["predictions_sigmoid"] and list(feed) == ["input_1:0"]
        assert batch.dtype == np.float32 and batch.shape[1:] == (32, 32, 3)
        if self.fails:
            raise RuntimeError("CUDA out of memory\nmore")
        if self.batch:
            assert len(batch) == self.batch
        self.batches.append(len(batch))
        means = batch.mean((1, 2)) / 255
        return [np.stack([means[:, k % 3] for k in range(self.outputs)], 1)]


class _Port:
    def __init__(self, name: str, shape: list[Any]) -> None:
        self.name, self.shape = name, shape


COLOURS = ["red", "lime", "blue", "white", "black"]


@pytest.mark.parametrize("batch", [1, 2, None])
def test_models_with_a_fixed_batch_get_it(monkeypatch: pytest.MonkeyPatch, batch: int | None) -> None:
    width = len(read_labels(tagger_dir() / "selected_tags.csv"))
    session = FakeSession(width, batch)
    monkeypatch.setattr(onnx, "open_session", lambda path, asked=None: (session, []))
    with load_tagger("demo") as tagger:
        got = tagger.predict([Image.new("RGB", (10, 10), colour) for colour in COLOURS])
    assert got.shape == (5, width) and got.dtype == np.float32
    # columns are blue, green, red: the model is given BGR
    expected = [[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0]]
    assert got[:, :3].tolist() == expected
    assert set(session.batches) == {batch} if batch else sum(session.batches) == 5


def test_a_device_that_fails_is_left_for_the_cpu_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    width = len(read_labels(tagger_dir() / "selected_tags.csv"))
    sessions = [FakeSession(width, None, "CUDAExecutionProvider", fails=True), FakeSession(width, None)]
    monkeypatch.setattr(onnx, "open_session", lambda path, asked=None: (sessions.pop(0), []))
    with load_tagger("demo") as tagger:
        assert tagger.provider == "CUDAExecutionProvider"
        assert tagger.predict([Image.new("RGB", (10, 10), "red")]).shape == (1, width)
        assert tagger.provider == onnx.CPU
        assert any("CUDA" in warning and "memory" in warning for warning in tagger.warnings)


def test_tags_and_outputs_must_be_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "open_session", lambda path, asked=None: (FakeSession(10861, 1), []))
    with pytest.raises(UserError, match="10861 outputs"):
        load_tagger("demo")


def test_a_model_that_is_none_is_an_error_not_a_list_of_skipped_pictures(dataset: tuple[Path, dict[str, set[str]]], tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.onnx").write_bytes(b"garbage")
    (model / "selected_tags.csv").write_bytes((tagger_dir() / "selected_tags.csv").read_bytes())
    with pytest.raises(UserError, match="cannot be used as a model"):
        tag_folder(dataset[0], TagOptions(model=str(model)))


def test_providers_in_order_of_preference() -> None:
    available = ["CPUExecutionProvider", "CoreMLExecutionProvider", "DmlExecutionProvider", "CUDAExecutionProvider", "AzureExecutionProvider"]
    chosen, warnings = onnx.choose_providers(available)
    assert [name[:4] for name in chosen] == ["CUDA", "DmlE", "Core", "CPUE"] and not warnings
    chosen, warnings = onnx.choose_providers(["CPUExecutionProvider"], ("cuda",))
    assert chosen == [onnx.CPU] and len(warnings) == 1
    assert onnx.choose_providers(["OpenVINOExecutionProvider", "CPUExecutionProvider"])[0] == [onnx.OPENVINO, onnx.CPU]
    assert "OpenVINO" in onnx.explain(onnx.OPENVINO, [onnx.OPENVINO, onnx.CPU], None, [])
    assert onnx.choose_providers(available, ("directml",))[0] == ["DmlExecutionProvider", onnx.CPU]


def test_threads_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cores.threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "none")
    assert cores.threads() >= 1


def test_predict_equals_what_the_folder_got(dataset: tuple[Path, dict[str, set[str]]]) -> None:
    folder, truth = dataset
    name = sorted(truth)[0]
    with Image.open(folder / name) as image, Tagger(wd14.find_files("demo")) as tagger:
        row = tagger.predict([image])[0]
    tag_folder(folder, TagOptions(model="demo"))
    above = {label.name.replace("_", " ") for label, p in zip(tagger.labels, row, strict=True) if p > 0.35 and label.category == "general"}
    assert set(_caption(folder, name)) == above
