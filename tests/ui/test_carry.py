"""A training packed for another machine in a browser, downloaded, and brought home again."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_studio.project import Project
from tests.ui.test_page_starts import open_tab

pytestmark = pytest.mark.slow


def test_packed_and_brought_home(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "data" / "projects", "hana")
    for k in range(3):
        Image.new("RGB", (128, 128), (k * 80, 60, 120)).save(project.dataset_dir / f"{k}.png")
        (project.dataset_dir / f"{k}.txt").write_text("hana, 1girl", encoding="utf-8")
    open_tab(page, "page", studio_page("page", tmp_path / "data"))
    page.locator(".ls-project-card").click()
    page.locator(".ls-step[data-step=train]").click()
    page.wait_for_selector(".ls-start:not(:disabled)")
    page.locator(".ls-carry summary").click()
    page.get_by_role("button", name="Pack for another machine…").click()
    page.locator(".ls-dialog button.ls-primary").click()
    page.wait_for_selector(".ls-dialog pre", timeout=120_000)
    assert page.locator(".ls-dialog pre").inner_text().startswith("python hana-")
    with page.expect_download() as download:
        page.locator(".ls-dialog button.ls-primary").click()
    file = tmp_path / "back.zip"
    download.value.save_as(file)
    assert "dataset/0.png" in zipfile.ZipFile(file).namelist()
    assert page.locator(".ls-carry-file").count() == 1 and page.locator(".ls-history tbody tr").count() == 1
    page.get_by_role("button", name="Bring home…").click()
    page.locator(".ls-dialog input[type=file]").set_input_files(file)
    page.locator(".ls-dialog button.ls-primary").click()
    page.wait_for_selector(".ls-dialog:has-text('It is home')", timeout=120_000)
    assert "0 LoRAs came along." in page.locator(".ls-dialog").inner_text()
    page.keyboard.press("Escape")
    page.locator(".ls-carry-file").get_by_role("button", name="Delete").click()
    page.locator(".ls-dialog button.ls-danger").click()
    page.wait_for_function("() => !document.querySelector('.ls-carry-file')")
    assert not list((project.folder / "bundles").iterdir())


def test_what_did_not_come_home_is_offered(studio_page: Callable[..., str], page: Any, console: Any, tmp_path: Path) -> None:
    project = Project.create(tmp_path / "data" / "projects", "hana")
    Image.new("RGB", (128, 128)).save(project.dataset_dir / "0.png")
    (tmp_path / "x.zip").write_bytes(b"no bundle")
    open_tab(page, "page", studio_page("page", tmp_path / "data"))
    page.locator(".ls-project-card").click()
    page.locator(".ls-step[data-step=train]").click()
    page.locator(".ls-carry summary").click()
    page.get_by_role("button", name="Bring home…").click()
    page.locator(".ls-dialog input[type=file]").set_input_files(tmp_path / "x.zip")
    page.locator(".ls-dialog button.ls-primary").click()
    page.wait_for_selector(".ls-toast.ls-error", timeout=120_000)
    row = page.locator(".ls-carry-arrived")
    row.wait_for()
    assert "Uploaded and not home yet" in row.text_content() and row.get_by_role("button", name="Bring home").count() == 1
    row.get_by_role("button", name="Throw away").click()
    page.wait_for_function("() => !document.querySelector('.ls-carry-arrived')")
    assert not list((tmp_path / "data" / "projects").rglob("bundle-*.zip"))
