"""Face detectors that the user drops into a folder: their shapes, what is made of what they find, and models that are none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_studio.crop import CropOptions, apply_plan, draft, edit, plan_project
from lora_studio.crop.detectors import decode_yolo, detector_id, find_detector, load_detector, suppress_doubles
from lora_studio.crop.looks import glance
from lora_studio.errors import UserError
from lora_studio.project import Project
from lora_studio.studio import Studio
from tests.crop.detector_models import WINDOW, yolo, yunet

pytest.importorskip("onnxruntime")

MODELS: dict[str, Callable[[Path], Path]] = {
    "yunet": yunet,
    "yolo v8": lambda path: yolo(path, "v8"),
    "yolo v8 of any size": lambda path: yolo(path, "v8", 640, any_size=True),
    "yolo v5": lambda path: yolo(path, "v5"),
    "yolo that has chosen": lambda path: yolo(path, "chosen", 128),
}


def face_at(x: int, y: int, size: tuple[int, int], side: int = WINDOW) -> Image.Image:
    """A picture with one bright square whose middle is here."""
    image = Image.new("RGB", size)
    image.paste((255, 255, 255), (x - side // 2, y - side // 2, x + side // 2, y + side // 2))
    return image


@pytest.mark.parametrize("name", MODELS)
def test_every_shape_of_model_finds_the_face(tmp_path: Path, name: str) -> None:
    detector = load_detector(MODELS[name](tmp_path / "model.onnx"))
    side = detector.side[0]
    # A picture as large as the model's input needs no scaling; cells begin at 0, so their middles are at 8 k + 4.
    x, y = (132, 92) if side >= 320 else (68, 60)
    (found,) = [face for face in detector.find(face_at(x, y, (side, side * 3 // 4)), (side, side * 3 // 4)) if face[4] > 0.9]
    assert np.abs(np.array(found[:4]) - (x - 32, y - 32, x + 32, y + 32)).max() <= 1
    # The same from a smaller decode of a picture twice and a half the size.
    large = (int(side * 2.5), int(side * 2.5 * 3 / 4))
    best = detector.find(face_at(x, y, (side, side * 3 // 4)), large)[0]
    assert np.abs(np.array(best[:4]) / 2.5 - (x - 32, y - 32, x + 32, y + 32)).max() <= 1.5
    assert detector.find(Image.new("RGB", (side, side)), (side, side)) == ()


def test_a_tall_picture_is_padded_not_squeezed(tmp_path: Path) -> None:
    detector = load_detector(yolo(tmp_path / "model.onnx", "v8"))
    (left, top, right, bottom, _), *_ = detector.find(face_at(60, 520, (200, 640), 128), (200, 640))
    assert abs((left + right) / 2 - 60) <= 16 and abs((top + bottom) / 2 - 520) <= 16


def test_models_that_are_none(tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(b"not a model")
    with pytest.raises(UserError, match=r"other\.onnx does not start"):
        load_detector(other)
    from onnx import helper

    from tests.crop.detector_models import _save

    _save(tmp_path / "tagger.onnx", [helper.make_node("Identity", ["input"], ["out"])], {}, [1, 448, 448, 3], {"out": [1, 448, 448, 3]})
    with pytest.raises(UserError, match="no face detector"):
        load_detector(tmp_path / "tagger.onnx")


def test_without_onnx_runtime_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match="ONNX Runtime"):
        load_detector(yolo(tmp_path / "model.onnx", "v8"))


def test_doubles_are_one_face_and_low_scores_none() -> None:
    rows = np.array([[0, 0, 100, 100, 0.8], [5, 5, 105, 105, 0.9], [200, 0, 300, 100, 0.7]], np.float32)
    assert suppress_doubles(rows)[:, 4].tolist() == pytest.approx([0.9, 0.7])
    assert suppress_doubles(rows[:0]).shape == (0, 5)
    quiet = np.zeros((1, 5, 2100), np.float32)
    assert len(decode_yolo(quiet)) == 0


def test_the_folders_are_looked_into_in_order(tmp_path: Path) -> None:
    studio = Studio(tmp_path / "projects", tmp_path / "models" / "Lora")
    assert studio.face_detector() is None
    mine = tmp_path / "projects" / "_detectors" / "b.onnx"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"1")
    (mine.parent / "a.txt").write_text("no model", encoding="utf-8")
    assert studio.face_detector() == mine
    shared = tmp_path / "models" / "lora_studio" / "detectors" / "z.onnx"
    shared.parent.mkdir(parents=True)
    shared.write_bytes(b"2")
    assert studio.face_detector() == shared
    before = detector_id(shared)
    shared.write_bytes(b"another")
    assert detector_id(shared) not in ("", before)
    assert find_detector([]) is None and detector_id(tmp_path / "none.onnx") == ""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.create(tmp_path, "faces")
    face_at(1100, 300, (1280, 960), 128).save(project.raw_dir / "far.png")
    Image.new("RGB", (900, 600), (40, 40, 40)).save(project.raw_dir / "nobody.png")
    return project


def test_boxes_follow_the_face_and_parts_become_siblings(project: Project, tmp_path: Path) -> None:
    model = yolo(tmp_path / "model.onnx", "v8", 640)
    options = CropOptions(size="256", focal="face", parts=("face", "upper"))
    plan = plan_project(project, options, detector=model)
    entries = {entry.key: entry for entry in plan.entries}
    assert set(entries) == {"far.png", "far.png/upper", "far.png/face", "nobody.png"}
    assert entries["far.png"].method == "face" and entries["far.png"].box == (320, 0, 1280, 960)
    assert entries["nobody.png"].method == "smart"
    for part, most in (("upper", 700), ("face", 420)):
        left, top, right, bottom = entries[f"far.png/{part}"].box
        assert left <= 1040 and right >= 1160 and top <= 240 and bottom >= 360
        assert 256 <= right - left == bottom - top <= most
    assert entries["far.png/upper"].box[2] - entries["far.png/upper"].box[0] > entries["far.png/face"].box[2] - entries["far.png/face"].box[0]
    assert [e.output_stem for e in plan.entries] == ["far", "far_2", "far_3", "nobody"]
    apply_plan(plan, project)
    assert sorted(p.name for p in project.dataset_dir.glob("*.png")) == ["far.png", "far_2.png", "far_3.png", "nobody.png"]
    # What was found is kept: another plan loads no model.
    model_id = detector_id(model)
    assert all(look.faces_by(model_id) is not None for look in glance(project).values())
    # A part that somebody took over is theirs.
    draft.update(project, lambda d: draft.change(d, options=options))
    after, _ = edit.change_boxes(project, [{"source": "far.png", "part": "face", "box": [1000, 200, 1256, 456]}])
    again = {e.key: e for e in plan_project(project, options, after.choices, detector=model).entries}
    assert again["far.png/face"].box == (1000, 200, 1256, 456) and again["far.png/face"].method == "drawn"


def test_without_a_detector_faces_are_not_asked_for(project: Project) -> None:
    plan = plan_project(project, CropOptions(size="256", focal="face", parts=("face",)))
    assert [entry.method for entry in plan.entries] == ["smart", "smart"]
