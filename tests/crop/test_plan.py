from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from lora_studio.crop import CropEntry, CropOptions, CropPlan, focal_point, make_plan, plan_project, read_plan
from lora_studio.crop.plan import fit_box, place_box, target_size
from lora_studio.dataset import bucket_sizes
from lora_studio.demo.raw_pictures import raw_picture
from lora_studio.demo.scene import sample_scene
from lora_studio.errors import UserError
from lora_studio.project import Project

SIDE = st.integers(1, 5000)
UNIT = st.floats(0, 1)


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(UserError) as caught:
        CropOptions(size="big", base=3, focal="nose", format="bmp", quality=0)
    for word in ("big", "base 3", "nose", "bmp", "quality 0"):
        assert word in caught.value.message


def test_settings_as_people_write_them() -> None:
    options = CropOptions(size="768×1024", focal="centre", format=".JPEG")
    assert (options.fixed_size, options.focal, options.suffix) == ((768, 1024), "center", ".jpg")
    assert CropOptions(size="512").fixed_size == (512, 512)
    assert CropOptions(size="bucket").fixed_size is None
    assert CropOptions.from_dict(options.to_dict() | {"of a later version": 1}) == options


@pytest.mark.parametrize("size", ["0", "7", "99999", "512x", "x512", "-5", "512x0", "512.5", ""])
def test_sizes_that_are_none(size: str) -> None:
    with pytest.raises(UserError, match="size"):
        CropOptions(size=size)


@given(SIDE, SIDE, st.floats(0.1, 10), UNIT, UNIT)
def test_a_placed_box_is_the_largest_inside(width: int, height: int, aspect: float, x: float, y: float) -> None:
    left, top, right, bottom = place_box(width, height, aspect, (x, y))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert right - left == width or bottom - top == height
    box_width, box_height = right - left, bottom - top
    assert abs(box_width - box_height * aspect) <= max(1, aspect) or abs(box_height - box_width / aspect) <= max(1, 1 / aspect)


def test_a_placed_box_follows_the_focal_point() -> None:
    assert place_box(300, 100, 1.0, (0.5, 0.5)) == (100, 0, 200, 100)
    assert place_box(300, 100, 1.0, (0.0, 0.5)) == (0, 0, 100, 100)
    assert place_box(300, 100, 1.0, (0.6, 0.9)) == (130, 0, 230, 100)


@given(SIDE, SIDE, UNIT, UNIT, UNIT, UNIT, st.floats(0.2, 5))
def test_a_box_by_hand_stays_inside(width: int, height: int, a: float, b: float, c: float, d: float, aspect: float) -> None:
    left, right = sorted((round(a * (width - 1)), round(b * (width - 1))))
    top, bottom = sorted((round(c * (height - 1)), round(d * (height - 1))))
    fitted = fit_box((left, top, right + 1, bottom + 1), (width, height), aspect)
    assert 0 <= fitted[0] < fitted[2] <= width
    assert 0 <= fitted[1] < fitted[3] <= height


def test_a_box_by_hand_grows_to_the_ratio_around_its_centre() -> None:
    assert fit_box((40, 40, 60, 60), (100, 100), 1.0) == (40, 40, 60, 60)
    assert fit_box((40, 45, 60, 55), (100, 100), 1.0) == (40, 40, 60, 60)
    assert fit_box((0, 0, 100, 10), (100, 50), 1.0) == (25, 0, 75, 50)


def test_small_pictures_are_enlarged_only_when_told() -> None:
    buckets = bucket_sizes()
    assert target_size(511, 900, CropOptions(size="512"), buckets) is None
    assert target_size(511, 900, CropOptions(size="512", upscale=True), buckets) == (512, 512)
    assert target_size(512, 512, CropOptions(size="512"), buckets) == (512, 512)
    assert target_size(400, 300, CropOptions(size="bucket"), buckets) == (384, 256)
    assert target_size(400, 300, CropOptions(size="bucket", upscale=True), buckets) == (576, 448)
    assert target_size(4000, 3000, CropOptions(size="bucket"), buckets) == (576, 448)
    assert target_size(60, 3000, CropOptions(size="bucket"), buckets) is None


def circle(at: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", size, (230, 230, 230))
    ImageDraw.Draw(image).ellipse((at[0] - 60, at[1] - 60, at[0] + 60, at[1] + 60), fill=(224, 172, 140), outline=(20, 20, 20), width=6)
    return image


@pytest.mark.parametrize("x", [70, 300, 530, 730])
def test_the_focal_point_finds_what_stands_out(x: int) -> None:
    fx, fy = focal_point(circle((x, 100), (800, 200)), 1.0)
    assert abs(min(max(fx * 800, 100), 700) - min(max(x, 100), 700)) <= 40
    assert fy == 0.5
    fx, fy = focal_point(circle((100, x), (200, 800)), 1.0)
    assert abs(min(max(fy * 800, 100), 700) - min(max(x, 100), 700)) <= 40
    assert fx == 0.5


def test_where_there_is_nothing_to_choose_the_centre() -> None:
    assert focal_point(Image.new("RGB", (600, 200), "grey"), 1.0) == (0.5, 0.5)
    assert focal_point(circle((50, 50), (200, 200)), 1.0) == (0.5, 0.5)
    assert focal_point(Image.new("RGB", (1, 900)), 1.0) == (0.5, 0.5)


def test_figures_among_clutter_are_found() -> None:
    """At least 95 % of the crops have their centre within 15 % of the figure's; the picture's centre does far worse."""
    rng = random.Random(11)
    smart = centre = count = 0
    while count < 40:
        picture = raw_picture(sample_scene(rng), rng)
        width, height = picture.image.size
        if width == height:
            continue
        count += 1
        x0, y0, x1, y1 = picture.box
        for name, focal in (("smart", focal_point(picture.image, 1.0)), ("center", (0.5, 0.5))):
            box = place_box(width, height, 1.0, focal)
            off = max(abs((box[0] + box[2]) / 2 - (x0 + x1) / 2), abs((box[1] + box[3]) / 2 - (y0 + y1) / 2)) / (x1 - x0)
            smart += name == "smart" and off <= 0.15
            centre += name == "center" and off <= 0.15
    assert smart >= 38
    assert centre <= 34


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path, "plans")


def test_a_plan_round_trips_and_leaves_out_what_cannot_be(project: Project) -> None:
    circle((500, 100), (800, 200)).save(project.raw_dir / "big.png")
    Image.new("RGB", (99, 300)).save(project.raw_dir / "small.png")
    broken = project.raw_dir / "cut.png"
    Image.effect_noise((300, 200), 90).convert("RGB").save(broken)
    broken.write_bytes(broken.read_bytes()[:-9000])
    (project.raw_dir / "none.jpg").write_text("no picture", encoding="utf-8")
    plan = plan_project(project, CropOptions(size="100"))
    assert [e.source for e in plan.entries] == ["big.png"]
    assert {name: reason.split(":")[0] for name, reason in plan.skipped}["small.png"] == "too small"
    assert [name for name, _ in plan.skipped] == ["cut.png", "none.jpg", "small.png"]
    assert CropPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    with pytest.raises(UserError, match="no pictures"):
        make_plan({}, CropOptions())


def test_boxes_from_a_plan_file_win(project: Project, tmp_path: Path) -> None:
    for name in "ab":
        circle((500, 100), (800, 200)).save(project.raw_dir / f"{name}.png")
    file = tmp_path / "plan.json"
    mine = CropEntry("a.png", (800, 200), (10, 20, 110, 120), (64, 64), "smart")
    file.write_text(json.dumps(CropPlan(CropOptions(), (mine,)).to_dict()), encoding="utf-8")
    options = CropOptions(size="100", focal="center", plan_file=str(file))
    plan = plan_project(project, options)
    assert plan.entries[0] == CropEntry("a.png", (800, 200), (10, 20, 110, 120), (100, 100), "plan")
    assert plan.entries[1].box == (300, 0, 500, 200)
    Image.new("RGB", (400, 300)).save(project.raw_dir / "a.png")
    assert "another picture" in plan_project(project, options).skipped[0][1]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        '{"entries": [{"source": "a"}]}',
        '{"entries": [{"source": "a", "source_size": [10, 10], "box": [5, 5, 20, 8], "size": [8, 8]}]}',
        '{"entries": [{"source": "a", "source_size": [10, 10], "box": [5, 5, 5, 8], "size": [8, 8]}]}',
    ],
)
def test_a_plan_file_that_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "plan.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"plan\.json"):
        read_plan(file)
