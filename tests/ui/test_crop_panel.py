"""The crop step in a real browser: a box dragged there is the region that is written."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lora_studio.dataset import load_image
from lora_studio.project import Project
from tests.ui.test_page_starts import KINDS, open_tab

pytestmark = pytest.mark.slow

SIZE = (300, 200)


def numbered(width: int, height: int) -> Image.Image:
    """A picture whose every pixel says where it is: red = x, green = y, blue = the rest of both."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x % 256, y % 256, x // 256 * 16 + y // 256], -1).astype(np.uint8))


def region(path: Path) -> tuple[int, int, int, int]:
    """Which box of a numbered picture this is, when nothing was scaled."""
    pixels = np.asarray(load_image(path)).astype(int)
    x, y = (pixels[..., 2] // 16 * 256 + pixels[..., 0], pixels[..., 2] % 16 * 256 + pixels[..., 1])
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def make_project(data: Path, kind: str = "page") -> Project:
    """Three pictures that can be cropped, one too small, one broken."""
    made = Project.create(data / "projects" if kind == "page" else data / "lora_studio" / "projects", "hana")
    for name in ("a.png", "b 花.png", "c.png"):
        numbered(*SIZE).save(made.raw_dir / name)
    Image.new("RGB", (40, 40)).save(made.raw_dir / "small.png")
    (made.raw_dir / "broken.png").write_bytes(b"no picture")
    return made


def stored(project: Project) -> dict[str, Any]:
    """What people chose, by picture."""
    path = project.studio_dir / "crop_draft.json"
    return json.loads(path.read_text(encoding="utf-8"))["choices"] if path.exists() else {}


def show(page: Any, kind: str, url: str) -> None:
    open_tab(page, kind, url)
    page.evaluate("async () => { await LoraStudio.openProject('hana'); LoraStudio.open('crop'); }")
    page.wait_for_selector(".ls-crop-open")
    # Until the best places are found, boxes move by themselves.
    page.wait_for_function("() => ![...document.querySelectorAll('.ls-crop-marks')].some((m) => m.textContent.includes('…'))", timeout=60_000)


def choose_size(page: Any, side: int) -> None:
    page.locator(".ls-crop-settings select").first.select_option("other")
    for field, value in zip(page.locator(".ls-crop-two input").all()[:2], (side, side)):
        with page.expect_response(lambda r: r.url.endswith("/crop/options")):
            field.fill(str(value))
            field.press("Tab")


def on_screen(page: Any) -> tuple[float, float, float]:
    """Where the picture of the dialog begins on the screen, and screen pixels for one of it."""
    box = page.locator(".ls-crop-photo").bounding_box()
    return box["x"], box["y"], box["width"] / SIZE[0]


def drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    x, y, scale = on_screen(page)
    page.mouse.move(x + start[0] * scale, y + start[1] * scale)
    page.mouse.down()
    page.mouse.move(x + (start[0] + end[0]) / 2 * scale, y + (start[1] + end[1]) / 2 * scale)
    page.mouse.move(x + end[0] * scale, y + end[1] * scale)
    with page.expect_response(lambda r: r.url.endswith("/crop/boxes") and r.ok):
        page.mouse.up()


def key(page: Any, name: str) -> None:
    with page.expect_response(lambda r: "/crop/" in r.url and r.ok):
        page.keyboard.press(name)


def crop_all(page: Any) -> None:
    page.get_by_role("button", name="Crop all").click()
    page.wait_for_selector(".ls-crop-report", timeout=90_000)


def open_picture(page: Any, name: str) -> None:
    page.locator(f'.ls-crop-open[data-source="{name}"]').click()
    page.wait_for_selector(".ls-crop-box")


@pytest.mark.parametrize("kind", KINDS)
def test_the_dragged_region_is_what_is_written(studio_page: Callable[..., str], page: Any, tmp_path: Path, kind: str) -> None:
    project = make_project(tmp_path, kind)
    show(page, kind, studio_page(kind, tmp_path))
    choose_size(page, 80)
    open_picture(page, "a.png")
    # Draw a box of 80, which needs no scaling, then take hold of it and drag it 70 to the right and 20 down.
    drag(page, (10, 30), (60, 110))
    drag(page, (50, 70), (120, 90))
    left, top, right, bottom = stored(project)["a.png"]["box"]
    assert abs(left - 80) <= 2 and abs(top - 50) <= 2 and right - left == bottom - top == 80
    page.get_by_role("button", name="Done").click()
    crop_all(page)
    assert region(project.dataset_dir / "a.png") == (left, top, right, bottom)
    assert sorted(p.name for p in project.dataset_dir.glob("*.png")) == ["a.png", "b 花.png", "c.png"]
    page.wait_for_function("() => document.querySelectorAll('.ls-crop-cell .ls-badge.ls-ok').length === 3")
    # From the originals again, another way: nothing of the first crop is left.
    open_picture(page, "a.png")
    drag(page, (150, 90), (30, 90))
    page.get_by_role("button", name="Before / after").click()
    assert page.locator(".ls-crop-large").get_attribute("src")
    page.get_by_role("button", name="Done").click()
    assert page.locator(".ls-crop-cell .ls-badge.ls-ok").count() == 2
    crop_all(page)
    again = tuple(stored(project)["a.png"]["box"])
    assert region(project.dataset_dir / "a.png") == again and again[0] <= left - 60
    assert (project.raw_dir / "a.png").exists()


def test_corners_keys_focal_points_and_undo(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    show(page, "page", studio_page("page", tmp_path))
    choose_size(page, 80)
    open_picture(page, "a.png")
    drag(page, (10, 30), (90, 110))
    drag(page, (90, 110), (150, 170))  # its corner: larger, still square, the opposite corner stays
    left, top, right, bottom = stored(project)["a.png"]["box"]
    assert abs(left - 10) <= 2 and abs(top - 30) <= 2 and right - left == bottom - top and abs(right - 150) <= 2
    drag(page, (right, bottom), (20, 40))  # not smaller than what it becomes: that would be enlarged
    assert np.diff(np.reshape(stored(project)["a.png"]["box"], (2, 2)), axis=0).tolist() == [[80, 80]]
    before = stored(project)["a.png"]["box"]
    key(page, "Shift+ArrowRight")
    key(page, "ArrowDown")
    assert stored(project)["a.png"]["box"] == [before[0] + 10, before[1] + 1, before[2] + 10, before[3] + 1]
    key(page, "+")
    assert stored(project)["a.png"]["box"][2] - stored(project)["a.png"]["box"][0] > 80
    key(page, "Control+z")
    assert stored(project)["a.png"]["box"] == [before[0] + 10, before[1] + 1, before[2] + 10, before[3] + 1]
    page.keyboard.press("f")
    x, y, scale = on_screen(page)
    with page.expect_response(lambda r: r.url.endswith("/crop/boxes") and r.ok):
        page.mouse.click(x + 240 * scale, y + 50 * scale)
    focal = stored(project)["a.png"]["focal"]
    assert abs(focal[0] - 0.8) < 0.01 and abs(focal[1] - 0.25) < 0.01
    key(page, "ArrowLeft")
    assert stored(project)["a.png"]["focal"][0] < focal[0]
    key(page, "r")
    assert "a.png" not in stored(project)
    page.keyboard.press("n")
    assert page.locator(".ls-crop-title").inner_text() == "b 花.png"
    key(page, "Delete")
    assert stored(project)["b 花.png"] == {"excluded": True}
    page.keyboard.press("p")
    assert page.locator(".ls-crop-title").inner_text() == "a.png"
    page.keyboard.press("Escape")
    assert page.locator(".ls-crop-editor").count() == 0
    with page.expect_response(lambda r: r.url.endswith("/crop/undo") and r.ok):
        page.keyboard.press("Control+z")
    assert stored(project) == {}
    crop_all(page)
    assert (project.dataset_dir / "b 花.png").exists()


def test_a_second_crop_of_a_picture_and_the_plan_as_a_file(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    show(page, "page", studio_page("page", tmp_path))
    choose_size(page, 80)
    open_picture(page, "a.png")
    with page.expect_response(lambda r: r.url.endswith("/crop/boxes") and r.ok):
        page.get_by_role("button", name="Add a crop").click()
    page.locator(".ls-crop-boxes .ls-toggle[aria-pressed=true]", has_text="Crop 2").wait_for()
    drag(page, (150, 100), (260, 50))
    box = stored(project)["a.png"]["more"]["2"]
    assert box[2] - box[0] == box[3] - box[1] and box[2] == SIZE[0] and "box" not in stored(project)["a.png"]
    drag(page, (box[0], box[1]), (box[0] + 40, box[1] + 40))  # its corner, down to the size that it becomes
    page.keyboard.press("Escape")
    crop_all(page)
    assert sorted(p.name for p in project.dataset_dir.glob("*.png")) == ["a.png", "a_2.png", "b 花.png", "c.png"]
    with page.expect_download() as saved:
        page.get_by_text("Save plan").click()
    plan = json.loads(Path(saved.value.path()).read_text(encoding="utf-8"))
    assert saved.value.suggested_filename == "hana-crop-plan.json"
    assert [e["box"] for e in plan["entries"] if e.get("part") == "2"] == [stored(project)["a.png"]["more"]["2"]]
    # Taken back and forgotten, the plan brings it again.
    open_picture(page, "a.png")
    page.keyboard.press("2")
    key(page, "Delete")
    assert "a.png" not in stored(project)
    page.keyboard.press("Escape")
    with page.expect_response(lambda r: r.url.endswith("/crop/plan-file") and r.ok):
        page.locator(".ls-crop-files input[type=file]").set_input_files(str(saved.value.path()))
    assert stored(project)["a.png"]["more"] == {"2": next(e["box"] for e in plan["entries"] if e.get("part") == "2")}
    with page.expect_download() as packed:
        page.get_by_text("Dataset as ZIP").click()
    assert packed.value.suggested_filename == "hana-dataset.zip"


def test_a_finger_drags_the_box(studio_page: Callable[..., str], new_page: Callable[..., Any], tmp_path: Path) -> None:
    project = make_project(tmp_path)
    page = new_page(viewport={"width": 400, "height": 800}, has_touch=True)
    show(page, "page", studio_page("page", tmp_path, "zh_CN"))
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 400
    choose_size(page, 80)
    page.locator('.ls-crop-open[data-source="c.png"]').tap()
    page.wait_for_selector(".ls-crop-box")
    x, y, scale = on_screen(page)
    touch = page.context.new_cdp_session(page)

    def finger(kind: str, *at: float) -> None:
        points = [{"x": x + at[0] * scale, "y": y + at[1] * scale}] if at else []
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    before = page.locator(".ls-crop-frame").nth(2).evaluate("f => parseFloat(f.style.left)")
    with page.expect_response(lambda r: r.url.endswith("/crop/boxes") and r.ok):
        finger("touchStart", 150, 100)
        for step in range(1, 6):
            finger("touchMove", 150 - 6 * step, 100)
        finger("touchEnd")
    left = stored(project)["c.png"]["box"][0]
    assert abs(left - (before / 100 * SIZE[0] - 30)) <= 2


def test_stopping_keeps_what_is_done_and_going_on_does_the_rest(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "projects", "hana")
    picture = tmp_path / "one.jpg"
    numbered(2400, 1600).save(picture, quality=95)
    for k in range(60):
        (project.raw_dir / f"{k:02d}.jpg").write_bytes(picture.read_bytes())
    show(page, "page", studio_page("page", tmp_path))
    page.get_by_role("button", name="Crop all").click()
    bar = page.locator(".ls-job[data-job=crop]")
    bar.locator(".ls-job-text", has_text="/ 60").wait_for()
    bar.get_by_role("button", name="Stop").click()
    page.locator(".ls-toast", has_text="Stopped").wait_for()
    there = len(list(project.dataset_dir.glob("[0-9]*.png")))
    page.wait_for_function("() => document.querySelector('.ls-crop-counts')?.textContent.startsWith('0 of') === false")
    done = int(page.locator(".ls-crop-counts").inner_text().split(" of ")[0])
    assert there - 16 <= done <= there < 60  # what was ended between writing and noting is made again
    crop_all(page)
    assert len(list(project.dataset_dir.glob("[0-9]*.png"))) == 60
    assert f"{60 - done} pictures cropped" in page.locator(".ls-crop-report").inner_text()
    assert not (project.studio_dir / "replaced").exists()


def test_another_page_s_change_is_not_overwritten(
    studio_page: Callable[..., str], new_page: Callable[..., Any], console: Any, tmp_path: Path
) -> None:
    project = make_project(tmp_path)
    url = studio_page("page", tmp_path)
    first, second = new_page(), new_page()
    show(first, "page", url)
    show(second, "page", url)
    choose_size(first, 80)
    # The second page hears of it by itself, and then changes upon it.
    second.wait_for_function("() => [...document.querySelectorAll('.ls-crop-two input')].slice(0, 2).every((i) => i.value === '80')")
    console.allow("status of 409")
    second.evaluate("() => LoraStudio.listen(null)")  # a page that lost its line does not hear of the next change
    second.wait_for_timeout(1_000)  # what it heard before is loaded after a moment, and must not bring the next change along
    second.wait_for_load_state("networkidle")
    open_picture(first, "a.png")
    key(first, "Delete")
    open_picture(second, "c.png")
    second.keyboard.press("Delete")
    second.wait_for_selector(".ls-toast.ls-error")
    assert stored(project) == {"a.png": {"excluded": True}}
    key(second, "Delete")
    assert set(stored(project)) == {"a.png", "c.png"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")
def test_names_are_text(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    hostile = ["<img src=x onerror=window.hit=1>.png", '"><script>window.hit=1<.png', "x..%2f..%2fa.png", "a?b#c&d=%41.png", "{{7*7}}.png"]
    for name in hostile:
        numbered(*SIZE).save(project.raw_dir / name)
    show(page, "page", studio_page("page", tmp_path))
    shown = page.locator(".ls-crop-name").all_inner_texts()
    assert set(hostile) <= set(shown)
    page.wait_for_function("() => [...document.querySelectorAll('.ls-crop-thumb img')].every((i) => i.complete && i.naturalWidth > 0)")
    choose_size(page, 80)
    page.get_by_text(hostile[0], exact=True).locator("..").locator("button").click()
    key(page, "Delete")
    assert hostile[0] in stored(project)
    page.keyboard.press("Escape")
    crop_all(page)
    assert {p.name for p in project.dataset_dir.glob("*.png")} >= set(hostile[1:])
    assert page.evaluate("() => window.hit") is None
