"""The project step in a browser: a project made from dropped pictures, what is said of them, pictures taken out and brought back."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFilter

from lora_studio.demo.raw_pictures import raw_picture
from lora_studio.demo.scene import parse_character, sample_scene
from lora_studio.project import Project
from tests.ui.test_page_starts import KINDS, open_tab

pytestmark = pytest.mark.slow


def draw(folder: Path, count: int = 4) -> Path:
    """Pictures as a person has them: one of them blurred, one twice, one broken, a caption."""
    rng, who = random.Random(3), parse_character("purple hair, short hair, yellow eyes")
    folder.mkdir(parents=True)
    pictures: list[Image.Image] = [raw_picture(sample_scene(rng, who), rng).image for _ in range(count)]
    for k, picture in enumerate(pictures):
        picture.save(folder / f"花 {k}.png")
    pictures[0].resize((pictures[0].width // 2, pictures[0].height // 2)).save(folder / "again.jpg", quality=80)
    pictures[1].filter(ImageFilter.GaussianBlur(12)).save(folder / "soft.png")
    (folder / "花 0.txt").write_text("1girl, smile", encoding="utf-8")
    (folder / "broken.png").write_bytes(b"no picture at all")
    return folder


def name_it(page: Any, name: str) -> None:
    page.locator(".ls-dialog input").fill(name)
    page.locator(".ls-dialog button.ls-primary").click()


def badges(page: Any, name: str) -> list[str]:
    return page.locator(f'.ls-sheet-cell[data-name="{name}"] .ls-badge').all_text_contents()


@pytest.mark.parametrize("kind", KINDS)
def test_a_project_from_chosen_pictures(studio_page: Callable[..., str], page: Any, console: Any, tmp_path: Path, kind: str) -> None:
    console.allow("status of 422")  # a name that is none
    files = sorted(draw(tmp_path / "mine").iterdir())
    open_tab(page, kind, studio_page(kind, tmp_path / "data"))
    page.locator(".ls-drop input[type=file]").first.set_input_files(files)
    page.wait_for_selector(".ls-dialog")
    name_it(page, "a/b")  # not a name: said, and asked again
    page.wait_for_selector(".ls-toast.ls-error")
    page.wait_for_selector(".ls-dialog")
    name_it(page, "hana 花")
    page.wait_for_selector(".ls-left-out", timeout=120_000)
    assert "broken.png" in page.locator(".ls-left-out").text_content()
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.querySelectorAll('.ls-sheet-cell').length === 6")
    projects = tmp_path / "data" / ("projects" if kind == "page" else "lora_studio/projects")
    raw = projects / "hana 花" / "raw"
    assert {p.name for p in raw.iterdir()} == {"again.jpg", "soft.png", "花 0.png", "花 0.txt", "花 1.png", "花 2.png", "花 3.png"}
    assert not list(projects.glob("_incoming/*/*"))
    # What there is to say of them comes by itself.
    page.wait_for_selector(".ls-advice-row[data-kind=blurred]", timeout=120_000)
    assert "blurred" in badges(page, "soft.png") and "twice" in badges(page, "again.jpg") and "twice" not in badges(page, "花 0.png")
    assert page.locator(".ls-step[data-step=project]").text_content().startswith("✓")
    page.locator(".ls-advice-row[data-kind=double] .ls-link").click()
    page.get_by_role("button", name="Take out of the project").click()
    page.wait_for_function("() => document.querySelectorAll('.ls-sheet-cell').length === 4")  # a blurred copy is a copy too
    assert not (raw / "again.jpg").exists()
    page.get_by_role("button", name="Bring back").click()
    page.wait_for_function("() => document.querySelectorAll('.ls-sheet-cell').length === 6")
    assert (raw / "again.jpg").exists()


def test_by_path_then_opened_again(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    folder = draw(tmp_path / "her pictures")
    url = studio_page("page", tmp_path / "data")
    open_tab(page, "page", url)
    page.locator(".ls-path-row input").fill(f'"{folder}"')
    page.get_by_role("button", name="Bring in").click()
    assert page.locator(".ls-dialog input").input_value() == "her pictures"
    name_it(page, "hana")
    page.wait_for_selector(".ls-left-out", timeout=120_000)
    page.keyboard.press("Escape")
    page.wait_for_selector(".ls-sheet-cell")
    page.get_by_label("Trigger word").fill("hanako")
    page.get_by_label("Trigger word").press("Tab")
    page.wait_for_function("() => LoraStudio.state.project.trigger === 'hanako'")
    page.get_by_role("button", name="All projects").click()
    page.wait_for_selector(".ls-project-card")
    card = page.locator(".ls-project-card")
    assert card.count() == 1 and "hanako" in card.text_content()
    card.click()
    page.wait_for_selector(".ls-sheet-cell")
    # A Loras/<name> folder of somebody else's notebooks, opened by its path and taken off the list again.
    other = tmp_path / "Loras" / "yuki"
    (other / "dataset").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(other / "dataset" / "a.png")
    page.get_by_role("button", name="All projects").click()
    page.get_by_role("button", name="Open another folder").click()
    name_it(page, str(other))
    page.wait_for_function("() => document.querySelectorAll('.ls-sheet-cell').length === 1")
    page.get_by_role("button", name="All projects").click()
    page.wait_for_function("() => document.querySelectorAll('.ls-project-card').length === 2")
    page.locator(".ls-project-forget").click()
    page.wait_for_function("() => document.querySelectorAll('.ls-project-card').length === 1")
    assert (other / "dataset" / "a.png").exists()


def test_a_thousand_pictures(studio_page: Callable[..., str], page: Any, console: Any, tmp_path: Path) -> None:
    """Only what is in sight is in the page; choosing, the keyboard and taking out reach all of them."""
    console.allow("status of 404")  # thumbnails on their way when their picture went
    project = Project.create(tmp_path / "data" / "projects", "many")
    for k in range(1205):
        Image.new("RGB", (24, 24), (k % 256, k // 256 * 40, 80)).save(project.raw_dir / f"{k:04}.png")
    for k in range(3):
        Image.new("RGB", (16, 16)).save(project.dataset_dir / f"{k}.png")
    open_tab(page, "page", studio_page("page", tmp_path / "data"))
    page.locator(".ls-project-card").click()
    hint = page.locator(".ls-sheet-tools .ls-hint")
    page.wait_for_function("() => document.querySelector('.ls-sheet-tools .ls-hint')?.textContent.startsWith('1205 ')")
    assert page.locator(".ls-sheet-cell").count() < 200
    page.locator(".ls-advice-row[data-kind=small] .ls-link").click()
    page.wait_for_function("() => document.querySelector('.ls-sheet-tools .ls-hint')?.textContent.startsWith('1205 of 1205')")
    page.get_by_role("button", name="Select none").click()
    page.locator('.ls-sheet-cell[data-name="0000.png"]').focus()
    page.keyboard.press("End")
    page.wait_for_selector('.ls-sheet-cell[data-name="1204.png"]:focus')
    page.keyboard.press(" ")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press(" ")
    assert hint.text_content() == "2 of 1205 selected"
    page.get_by_role("button", name="Take out of the project").click()
    page.wait_for_function("() => document.querySelector('.ls-sheet-tools .ls-hint')?.textContent.startsWith('1203 ')")
    assert not (project.raw_dir / "1204.png").exists() and not (project.raw_dir / "1203.png").exists()
    # The trash is still there when the page is loaded again.
    page.reload()
    page.locator(".ls-sheet-trash summary").click()
    page.locator(".ls-sheet-trash").get_by_role("button", name="Bring back").click()
    page.wait_for_function("() => document.querySelector('.ls-sheet-tools .ls-hint')?.textContent.startsWith('1205 ')")
    page.wait_for_function("() => !document.querySelector('.ls-sheet-trash')")
    assert (project.raw_dir / "1204.png").exists()
    page.get_by_role("button", name="Cropped: 3").click()
    page.wait_for_function("() => document.querySelectorAll('.ls-sheet-cell').length === 3")
    assert page.locator(".ls-sheet-cell .ls-badge").count() == 0  # what is said is said of the originals


def test_the_lesser_copies_with_one_click(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "data" / "projects", "hana")
    draw(project.raw_dir.parent / "drawn")
    for path in (project.folder / "drawn").iterdir():
        path.rename(project.raw_dir / path.name)
    open_tab(page, "page", studio_page("page", tmp_path / "data"))
    page.locator(".ls-project-card").click()
    page.get_by_role("button", name="Take the lesser ones out").click(timeout=120_000)
    page.wait_for_selector(".ls-sheet-trash")
    page.wait_for_function("() => !document.querySelector('.ls-advice-row[data-kind=double]')")
    assert {p.name for p in project.raw_dir.iterdir()} == {"花 0.png", "花 0.txt", "花 1.png", "花 2.png", "花 3.png", "broken.png"}


def test_many_are_taken_out_only_after_a_question(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "data" / "projects", "hana")
    for k in range(8):
        Image.new("RGB", (96, 96), (40, 90, 160)).save(project.raw_dir / f"{k}.png")
    open_tab(page, "page", studio_page("page", tmp_path / "data"))
    page.locator(".ls-project-card").click()
    page.get_by_role("button", name="Take the lesser ones out").click(timeout=120_000)
    page.wait_for_selector(".ls-dialog")
    assert page.locator(".ls-dialog li").count() == 7
    page.get_by_role("button", name="Cancel").click()
    assert len(list(project.raw_dir.iterdir())) == 8
    page.get_by_role("button", name="Take the lesser ones out").click()
    page.get_by_role("button", name="Take them out").click()
    page.wait_for_selector(".ls-sheet-trash")
    assert len(list(project.raw_dir.iterdir())) == 1


def test_another_name_for_the_project(studio_page: Callable[..., str], page: Any, console: Any, tmp_path: Path) -> None:
    console.allow("status of 422")  # a name that is none, a project that is gone
    project = Project.create(tmp_path / "data" / "projects", "hana")
    Image.new("RGB", (64, 64)).save(project.raw_dir / "a.png")
    open_tab(page, "page", studio_page("page", tmp_path / "data"))
    page.locator(".ls-project-card").click()
    page.wait_for_selector(".ls-advice-row", timeout=120_000)
    page.wait_for_function("() => !document.querySelector('.ls-job[data-job=check]:not([hidden])')")  # not while something runs
    page.get_by_role("button", name="Rename…").click()
    name_it(page, "a/b")
    page.wait_for_selector(".ls-toast.ls-error")
    name_it(page, "雪 yuki")
    page.wait_for_function("() => document.querySelector('.ls-project-name')?.textContent === '雪 yuki'")
    page.wait_for_function("() => document.querySelector('.ls-project-path')?.textContent.endsWith('雪 yuki')")
    page.wait_for_selector(".ls-sheet-cell img")
    assert (tmp_path / "data" / "projects" / "雪 yuki" / "raw" / "a.png").exists() and not project.folder.exists()
    page.reload()  # the browser remembers the new one
    page.wait_for_selector(".ls-sheet-cell")
    assert page.locator(".ls-project-name").inner_text() == "雪 yuki"
