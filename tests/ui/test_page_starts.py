"""The page comes up in a real browser on every gradio we support, and complains of nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def test_the_page_shows_six_steps(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    page.goto(studio_page("page", tmp_path))
    page.wait_for_selector(".ls-ready")
    assert page.locator(".ls-step").count() == 6


def test_the_page_speaks_chinese_to_who_chose_it(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    page.goto(studio_page("page", tmp_path, "zh_CN"))
    page.wait_for_selector(".ls-ready")
    assert page.locator("#lora_studio").get_attribute("lang") == "zh-CN"
