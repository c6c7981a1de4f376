"""The page comes up in a real browser on every gradio we support, and complains of nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

KINDS = ("page", "webui3", "webui4")


def open_tab(page: Any, kind: str, url: str) -> None:
    page.goto(url)
    if kind != "page":
        page.locator("#tabs button", has_text="Lora Studio").first.click()
    page.wait_for_selector(".ls-ready", timeout=60_000)


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_shows_six_steps(studio_page: Callable[..., str], page: Any, tmp_path: Path, kind: str) -> None:
    open_tab(page, kind, studio_page(kind, tmp_path))
    assert page.locator(".ls-step").count() == 6
    for step in ("crop", "tag", "edit", "train", "test", "project"):
        page.locator(f".ls-step[data-step={step}]").click()
        page.locator(f".ls-panel[data-step={step}]").wait_for()  # in sight once the server has said what it shows
        assert page.locator(".ls-panel:visible").count() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_speaks_chinese_to_who_chose_it(studio_page: Callable[..., str], page: Any, tmp_path: Path, kind: str) -> None:
    open_tab(page, kind, studio_page(kind, tmp_path, "zh_CN"))
    assert page.locator("#lora_studio").get_attribute("lang") == "zh-CN"


@pytest.mark.parametrize("kind", KINDS)
def test_events_arrive_at_once(studio_page: Callable[..., str], page: Any, tmp_path: Path, kind: str) -> None:
    """The hosts compress what they send, which would hold small events back for minutes."""
    open_tab(page, kind, studio_page(kind, tmp_path))
    page.evaluate("() => { window.LoraStudio.heard = 0; LoraStudio.on('changed', () => { LoraStudio.heard += 1; }); }")
    page.evaluate("async () => { await LoraStudio.openProject((await LoraStudio.api.post('projects', {name: 'hana'})).id); }")
    page.wait_for_timeout(1500)  # until the stream of this project is open
    page.evaluate("async () => { await LoraStudio.api.put('projects/hana', {trigger: 'hanako'}); }")
    page.wait_for_function("() => LoraStudio.heard > 0", timeout=10_000)
