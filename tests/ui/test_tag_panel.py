"""The tag step in a browser: pictures tagged by the demo tagger, a threshold moved and its effect seen before anything is written."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_studio.demo.raw_pictures import raw_picture
from lora_studio.demo.scene import parse_character, sample_scene
from lora_studio.project import Project
from tests.ui.test_page_starts import open_tab

pytestmark = [pytest.mark.slow, pytest.mark.torch]  # tagging is done by a process that needs onnxruntime


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Three pictures of the demo's world, one with a caption of somebody's own."""
    made = Project.create(tmp_path / "projects", "hana")
    rng, who = random.Random(3), parse_character("purple hair, short hair, yellow eyes, glasses")
    for k in range(3):
        raw_picture(sample_scene(rng, who), rng).image.convert("RGB").save(made.dataset_dir / f"{k}.png")
    (made.dataset_dir / "0.txt").write_text("my own words", encoding="utf-8")
    return made


def captions(project: Project) -> list[list[str]]:
    return [(project.dataset_dir / f"{k}.txt").read_text(encoding="utf-8").split(", ") for k in range(3)]


def show(page: Any, url: str) -> None:
    open_tab(page, "page", url)
    page.evaluate("async () => { await LoraStudio.openProject('hana'); LoraStudio.open('tag'); }")
    page.wait_for_selector(".ls-tag-start")


def tag(page: Any) -> str:
    page.wait_for_function("() => document.querySelector('.ls-tag-start')?.disabled === false")
    page.locator(".ls-tag-start").click()
    page.wait_for_selector(".ls-tag-report .ls-ok-text", timeout=120_000)
    return str(page.locator(".ls-tag-report").inner_text())


def summary(page: Any, wanted: str) -> None:
    page.wait_for_function("(wanted) => document.querySelector('.ls-tag-summary')?.textContent.includes(wanted)", arg=wanted)


def test_tagged_then_tuned_without_a_second_run(studio_page: Callable[..., str], page: Any, project: Project) -> None:
    show(page, studio_page("page", project.folder.parent.parent))
    page.locator("select[data-name=model]").select_option("demo")
    summary(page, "captions will be written")
    said = tag(page)
    assert "2 captions written, 1 kept" in said and "pictures a second" in said
    before = captions(project)
    assert before[0] == ["my own words"] and {"purple hair", "glasses"} <= set(before[1]) & set(before[2])
    # Every picture that was read can be written anew at once; nothing is written while a slider moves.
    page.locator("select[data-name=on_existing]").select_option("overwrite")
    page.wait_for_selector(".ls-cloud-tag[data-tag=glasses]")
    distinct = page.locator(".ls-cloud-tag").count()
    slider = page.locator("input[type=range][data-name=general_threshold]")
    slider.fill("1")
    page.wait_for_function("(n) => document.querySelectorAll('.ls-cloud-tag').length < n", arg=distinct)
    assert page.locator(".ls-probability.ls-written").count() < page.locator(".ls-probability").count()
    assert captions(project) == before
    slider.fill("0.35")
    page.wait_for_function("(n) => document.querySelectorAll('.ls-cloud-tag').length === n", arg=distinct)
    # A click leaves a tag out.
    page.locator(".ls-cloud-tag[data-tag=glasses]").click()
    page.wait_for_function("() => !document.querySelector('.ls-cloud-tag[data-tag=glasses]')")
    assert page.locator("input[data-name=exclude]").input_value().startswith("glasses")
    said = tag(page)
    assert "3 captions written, 0 kept" in said
    after = captions(project)
    assert "glasses" not in after[1] and "purple hair" in after[1] and "my own words" not in after[0]
    # What was there comes back: tagging over captions is one step of the history.
    page.locator(".ls-step[data-step=edit]").click()
    page.wait_for_selector(".ls-edit-card")
    page.keyboard.press("Control+z")
    page.locator(".ls-edit-card .ls-chip-text", has_text="my own words").first.wait_for()
    assert captions(project) == before


def test_without_crops_it_says_where_to_go(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    Project.create(tmp_path / "projects", "hana")
    open_tab(page, "page", studio_page("page", tmp_path))
    page.evaluate("async () => { await LoraStudio.openProject('hana'); LoraStudio.open('tag'); }")
    page.locator(".ls-panel[data-step=tag] .ls-empty button").click()
    page.wait_for_selector(".ls-panel[data-step=crop]")


def test_two_taggers_together(studio_page: Callable[..., str], page: Any, project: Project) -> None:
    from lora_studio.demo import tagger_dir

    shutil.copytree(tagger_dir(), project.folder.parent / "_taggers" / "mine")
    show(page, studio_page("page", project.folder.parent.parent))
    page.locator("select[data-name=model]").select_option("demo")
    second = page.locator("select[data-name=second]")
    assert second.locator("option[value=demo]").count() == 0, "not with itself"
    second.select_option("mine")
    summary(page, "captions will be written")
    assert "2 captions written, 1 kept" in tag(page)
    assert {"purple hair", "glasses"} <= set(captions(project)[1])
    assert {p.name for p in project.studio_dir.glob("tags_*.npz")} == {"tags_demo.npz", "tags_mine.npz"}
    page.reload()
    show(page, page.url)
    page.wait_for_function("() => document.querySelector('select[data-name=second]')?.value === 'mine'")
