"""Several crops of one picture, padding, tiles, mirrored copies, and captions that stay with their pictures."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lora_studio.crop import CropEntry, CropOptions, CropPlan, apply_plan, boxes_of, draft, edit, plan_project, read_plan, view
from lora_studio.crop.siblings import padded, tiles
from lora_studio.dataset import load_image, read_caption, write_caption
from lora_studio.errors import UserError
from lora_studio.project import Project

SIDE = st.integers(20, 4000)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def pixels(path: Path) -> np.ndarray:
    return np.asarray(load_image(path))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.create(tmp_path, "more")
    noise(300, 200).save(project.raw_dir / "a.png")
    noise(200, 300, 1).save(project.raw_dir / "b.png")
    (project.raw_dir / "a.txt").write_text("1girl, solo", encoding="utf-8")
    return project


def crop(project: Project, **options: object) -> list[str]:
    """Crop with the stored choices; the names now in dataset/."""
    wanted = CropOptions(**{"size": "100", **options})  # type: ignore[arg-type]
    apply_plan(plan_project(project, wanted, draft.load(project).choices), project)
    return there(project)


def there(project: Project) -> list[str]:
    return sorted(p.name for p in project.dataset_dir.iterdir() if p.suffix == ".png")


# -- boxes made by hand ------------------------------------------------------


def test_further_boxes_become_siblings_and_go_again(project: Project) -> None:
    edit.change_boxes(project, [{"source": "a.png", "add": [10, 20, 110, 120]}, {"source": "a.png", "add": [150, 50, 250, 150]}])
    assert crop(project) == ["a.png", "a_2.png", "a_3.png", "b.png"]
    raw = pixels(project.raw_dir / "a.png")
    assert np.array_equal(pixels(project.dataset_dir / "a_2.png"), raw[20:120, 10:110])
    assert np.array_equal(pixels(project.dataset_dir / "a_3.png"), raw[50:150, 150:250])
    assert read_caption(project.dataset_dir / "a_3.txt").tags == ("1girl", "solo")
    write_caption(project.dataset_dir / "a_3.txt", ("edited",))
    # The first goes; the other keeps its name, file and caption.
    edit.change_boxes(project, [{"source": "a.png", "part": "2", "remove": True}, {"source": "a.png", "part": "3", "box": [0, 0, 100, 100]}])
    assert crop(project) == ["a.png", "a_3.png", "b.png"]
    assert np.array_equal(pixels(project.dataset_dir / "a_3.png"), raw[:100, :100])
    assert read_caption(project.dataset_dir / "a_3.txt").tags == ("edited",)
    assert (project.studio_dir / "left_out" / "a_2.png").exists()


def test_the_page_sees_siblings(project: Project) -> None:
    draft.update(project, lambda d: draft.change(d, options=CropOptions(size="100")))
    edit.change_boxes(project, [{"source": "a.png", "add": [10, 20, 110, 120]}, {"source": "a.png", "add": [0, 0, 40, 40]}])
    one = view.show(project, {"a.png"})["entries"][0]
    assert [(m["part"], m["box"], m["by_hand"], m["left_out"]) for m in one["more"]] == [
        ("2", [10, 20, 110, 120], True, ""), ("3", [0, 0, 40, 40], True, "too_small"),
    ]  # fmt: skip
    assert not one["done"]
    crop(project)
    one = view.show(project, {"a.png"})["entries"][0]
    assert one["done"] and one["more"][0]["output"] == "a_2.png" and one["more"][1]["output"] is None
    edit.change_boxes(project, [{"source": "a.png", "part": "2", "box": [11, 20, 111, 120]}])
    assert not view.show(project, {"a.png"})["entries"][0]["done"]


@pytest.mark.parametrize(
    "change",
    [
        {"part": "2", "remove": True},
        {"part": "9", "box": [0, 0, 9, 9]},
        {"add": [1, 2]},
        {"part": 2, "box": [0, 0, 9, 9]},
        {"part": "x/..", "box": [0, 0, 9, 9]},
    ],
)
def test_parts_that_are_not_there(project: Project, change: dict[str, object]) -> None:
    with pytest.raises(UserError):
        edit.change_boxes(project, [{"source": "a.png", **change}])


def test_a_picture_has_so_many_boxes_and_no_more(project: Project) -> None:
    edit.change_boxes(project, [{"source": "a.png", "add": [0, 0, 100, 100]}] * 20)
    with pytest.raises(UserError):
        edit.change_boxes(project, [{"source": "a.png", "add": [0, 0, 100, 100]}])


def test_changing_the_main_box_keeps_the_others_and_a_left_out_picture_has_none(project: Project) -> None:
    edit.change_boxes(project, [{"source": "a.png", "add": [10, 20, 110, 120]}])
    for change in ({"focal": [0.1, 0.1]}, {"box": [0, 0, 150, 150]}, {"method": "center"}, {"method": "reset"}):
        edit.change_boxes(project, [{"source": "a.png", **change}])
        assert draft.load(project).choices["a.png"].more == (("2", (10, 20, 110, 120)),)
    edit.change_boxes(project, [{"source": "a.png", "excluded": True}])
    assert crop(project) == ["b.png"]


# -- padding -----------------------------------------------------------------


@given(SIDE, SIDE, SIDE, SIDE, st.booleans())
def test_a_padded_box_holds_the_whole_picture(width: int, height: int, across: int, down: int, enlarge: bool) -> None:
    left, top, right, bottom = padded((width, height), (across, down), enlarge)
    assert left <= 0 and top <= 0 and right >= width and bottom >= height
    box_width, box_height = right - left, bottom - top
    assert abs(box_width - box_height * across / down) <= max(1.0, across / down)
    if not enlarge:
        assert box_width >= across


def test_padding_only_when_asked_by_edge_or_colour(project: Project) -> None:
    Image.new("RGB", (60, 40), (10, 200, 30)).save(project.raw_dir / "small.png")
    assert "small.png" not in crop(project)
    crop(project, pad="#ff0080")
    small = pixels(project.dataset_dir / "small.png")
    assert small.shape == (100, 100, 3)
    # Not enlarged: as large as it is, in the middle.
    assert (small[30:70, 20:80] == (10, 200, 30)).all() and (small[:30] == (255, 0, 128)).all() and (small[:, :20] == (255, 0, 128)).all()
    crop(project, pad="edge")
    assert (pixels(project.dataset_dir / "small.png") == (10, 200, 30)).all()
    wide = pixels(project.dataset_dir / "a.png")
    assert (wide[0] == wide[10]).all() and not (wide[40] == wide[50]).all()
    crop(project, pad="edge", upscale=True)
    assert pixels(project.dataset_dir / "small.png").shape == (100, 100, 3)


def test_a_box_by_hand_is_not_padded(project: Project) -> None:
    edit.change_boxes(project, [{"source": "a.png", "box": [0, 0, 150, 150]}])
    plan = plan_project(project, CropOptions(size="100", pad="edge"), draft.load(project).choices)
    assert [(e.pad, e.method) for e in plan.entries] == [("", "drawn"), ("edge", "pad")]


# -- tiles -------------------------------------------------------------------


@given(SIDE, SIDE, st.floats(0.3, 3), st.floats(0, 0.8))
def test_tiles_hold_everything_and_overlap(width: int, height: int, aspect: float, overlap: float) -> None:
    found = tiles((width, height), aspect, overlap)
    axis = 0 if found[0][2] - found[0][0] < width else 1
    whole = (width, height)[axis]
    assert all(0 <= box[0] < box[2] <= width and 0 <= box[1] < box[3] <= height for box in found)
    if len(found) > 1:
        assert found[0][axis] == 0 and found[-1][axis + 2] == whole
        side = found[0][axis + 2] - found[0][axis]
        for one, other in itertools.pairwise(found):
            assert one[axis + 2] - other[axis] >= side * overlap - 2


def test_long_pictures_become_tiles_when_asked(project: Project) -> None:
    noise(900, 150, 3).save(project.raw_dir / "long.png")
    assert crop(project) == ["a.png", "b.png", "long.png"]
    assert crop(project, split=0.5) == ["a.png", "b.png", *(f"long{n}.png" for n in ("", *(f"_{k}" for k in range(2, 9))))]
    assert crop(project, split=0.5, split_overlap=0.0) == ["a.png", "b.png", *(f"long{n}.png" for n in ("", *(f"_{k}" for k in range(2, 7))))]
    assert crop(project) == ["a.png", "b.png", "long.png"]


# -- mirrored copies ---------------------------------------------------------


def test_mirrored_copies_take_the_caption_that_is_there(project: Project) -> None:
    crop(project)
    write_caption(project.dataset_dir / "a.txt", ("edited", "looking at viewer"))
    edit.change_boxes(project, [{"source": "a.png", "add": [10, 20, 110, 120]}])
    assert crop(project, flip=True) == ["a.png", "a_2.png", "a_3.png", "a_4.png", "b.png", "b_2.png"]
    stems = {e.key: e.output_stem for e in plan_project(project, CropOptions(size="100", flip=True), draft.load(project).choices).entries}
    for straight, flipped in (("a.png", "a.png/flip"), ("a.png/2", "a.png/2-flip")):
        one, other = (pixels(project.dataset_dir / f"{stems[key]}.png") for key in (straight, flipped))
        assert np.array_equal(one[:, ::-1], other)
    assert read_caption(project.dataset_dir / f"{stems['a.png/flip']}.txt").tags == ("edited", "looking at viewer")


# -- names -------------------------------------------------------------------


def test_renaming_takes_the_captions_along(project: Project) -> None:
    crop(project)
    write_caption(project.dataset_dir / "b.txt", ("mine",))
    assert crop(project, rename="hana_{n:2}") == ["hana_01.png", "hana_02.png"]
    assert sorted(p.name for p in project.dataset_dir.glob("*.txt")) == ["hana_01.txt", "hana_02.txt"]
    assert read_caption(project.dataset_dir / "hana_02.txt").tags == ("mine",)
    # A picture that comes before: the others keep their names.
    noise(150, 150, 5).save(project.raw_dir / "0.png")
    assert crop(project, rename="hana_{n:2}") == ["hana_01.png", "hana_02.png", "hana_03.png"]
    assert read_caption(project.dataset_dir / "hana_02.txt").tags == ("mine",)
    assert crop(project) == ["0.png", "a.png", "b.png"]
    assert read_caption(project.dataset_dir / "b.txt").tags == ("mine",)


def test_names_that_change_places(project: Project) -> None:
    for name, text in (("1.png", "one"), ("2.png", "two")):
        noise(120, 120, len(text)).save(project.raw_dir / name)
        (project.raw_dir / name).with_suffix(".txt").write_text(text, encoding="utf-8")
    (project.raw_dir / "a.png").unlink()
    (project.raw_dir / "b.png").unlink()
    crop(project)
    before = {n: pixels(project.dataset_dir / f"{n}.png") for n in "12"}
    # 1 becomes 2 and 2 becomes 3.
    assert crop(project, rename="{n}", rename_start=2) == ["2.png", "3.png"]
    for old, new, text in (("1", "2", "one"), ("2", "3", "two")):
        assert np.array_equal(pixels(project.dataset_dir / f"{new}.png"), before[old])
        assert read_caption(project.dataset_dir / f"{new}.txt").tags == (text,)
    assert not (project.dataset_dir / "1.txt").exists() and not (project.studio_dir / "replaced").exists()


def test_a_retouched_crop_is_kept_aside_when_its_name_changes(project: Project) -> None:
    crop(project)
    noise(100, 100, 77).save(project.dataset_dir / "a.png")
    crop(project, rename="x{n}")
    assert there(project) == ["x1.png", "x2.png"]
    assert (project.studio_dir / "replaced" / "a.png").exists()


# -- plan files --------------------------------------------------------------


def test_another_person_comes_to_the_same_pictures_by_the_plan_file(project: Project, tmp_path: Path) -> None:
    edit.change_boxes(
        project,
        [{"source": "a.png", "box": [10, 20, 110, 120]}, {"source": "a.png", "add": [50, 50, 170, 170]}, {"source": "b.png", "focal": [0.5, 0.9]}],
    )
    noise(150, 150, 6).save(project.raw_dir / "c.png")
    edit.change_boxes(project, [{"source": "c.png", "excluded": True}])
    options = CropOptions(size="100", flip=True)
    mine = plan_project(project, options, draft.load(project).choices)
    apply_plan(mine, project)
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(mine.to_dict()), encoding="utf-8")
    other = Project.create(tmp_path, "other")
    for name in ("a.png", "b.png", "c.png"):
        (other.raw_dir / name).write_bytes((project.raw_dir / name).read_bytes())
    theirs = plan_project(other, CropOptions.from_dict(read_plan(file).options.to_dict() | {"plan_file": str(file)}))
    apply_plan(theirs, other)
    assert there(other) == there(project) == ["a.png", "a_2.png", "a_3.png", "a_4.png", "b.png", "b_2.png"]
    for name in there(other):
        assert np.array_equal(pixels(other.dataset_dir / name), pixels(project.dataset_dir / name))
    assert boxes_of(mine)["c.png"].excluded


@pytest.mark.parametrize("stem", ["../../evil", "/etc/evil", "C:\\evil", ".hidden", "con", "a/b", "x\0"])
def test_a_plan_file_names_no_file_elsewhere(tmp_path: Path, stem: str) -> None:
    entry = {"source": "a.png", "source_size": [10, 10], "box": [0, 0, 10, 10], "size": [10, 10], "stem": stem}
    file = tmp_path / "plan.json"
    file.write_text(json.dumps({"entries": [entry]}), encoding="utf-8")
    with pytest.raises(UserError, match=r"no file name|not valid text"):
        read_plan(file)


def test_a_padded_entry_round_trips_and_needs_its_padding() -> None:
    entry = CropEntry("a.png", (60, 40), (-20, -30, 80, 70), (100, 100), "pad", flip=True, pad="#112233", part="flip", stem="a_2")
    plan = CropPlan(CropOptions(size="100", pad="#112233", parts=("face",)), (entry,))
    assert CropPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    with pytest.raises(ValueError, match="inside"):
        CropEntry.from_dict({**entry.to_dict(), "pad": ""})
    with pytest.raises(ValueError, match="inside"):
        CropEntry.from_dict({**entry.to_dict(), "box": [100, 100, 200, 200]})


# -- formats -----------------------------------------------------------------


def test_avif_with_quality(project: Project) -> None:
    from lora_studio.crop.cutting import check_format

    try:
        check_format(CropOptions(format="avif"))
    except UserError as error:
        pytest.skip(error.message)
    apply_plan(plan_project(project, CropOptions(size="100", format="avif", quality=60)), project)
    assert load_image(project.dataset_dir / "a.avif").size == (100, 100)


# -- what the page warns of ---------------------------------------------------


def test_a_box_that_holds_little_of_its_picture_is_worth_a_look(project: Project) -> None:
    noise(600, 200, 4).save(project.raw_dir / "wide.png")

    def warned(**options: object) -> list[str]:
        wanted = CropOptions(**{"size": "100", "focal": "center", **options})  # type: ignore[arg-type]
        draft.update(project, lambda d: draft.change(d, options=wanted))
        return [one["source"] for one in view.show(project)["entries"] if "elongated" in one["warnings"]]

    assert warned() == ["wide.png"]
    assert warned(size="300x100") == ["b.png"] and warned(pad="edge") == [] and warned(split=0.5) == []
    assert warned() == ["wide.png"]
    edit.change_boxes(project, [{"source": "wide.png", "box": [0, 0, 100, 100]}])
    assert warned() == []
