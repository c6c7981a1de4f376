"""What is dropped on the page: folders keep their captions, ZIPs are unpacked, what was not imported is shown and offered."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_studio.project import Project
from tests.ui.test_page_starts import KINDS, open_tab
from tests.ui.test_project_panel import name_it

pytestmark = pytest.mark.slow


def picture(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((96, 96), 40 + number).convert("RGB").save(path)
    return path


def dataset(root: Path) -> dict[bytes, str]:
    """A folder as kohya's trainer wants it: the same names in each; one folder without captions, a ZIP, and files that are none of ours."""
    wanted = {}
    for k, (folder, suffix, captions) in enumerate([("10_mira red", "jpg", True), ("3_mira blue", "png", True), ("1_girl", "png", False)]):
        for number in (1, 2):
            path = picture(root / folder / f"{number}.{suffix}", 10 * k + number)
            wanted[path.read_bytes()] = f"mira, {folder}, {number}" if captions else ""
            if captions:
                path.with_suffix(".txt").write_text(wanted[path.read_bytes()], encoding="utf-8")
    inner = picture(root.parent / "inner.png", 77)
    with zipfile.ZipFile(root / "more.zip", "w") as archive:
        archive.write(inner, "deep/1.png")
        archive.writestr("deep/1.txt", "from the zip")
    wanted[inner.read_bytes()] = "from the zip"
    (root / "notes.json").write_text("{}", encoding="utf-8")
    (root / "Thumbs.db").write_bytes(b"x")
    (root / ".git").mkdir()
    picture(root / ".git" / "hidden.png", 99)
    return wanted


def imported(raw: Path) -> dict[bytes, str]:
    captions = {p.stem: p.read_text(encoding="utf-8") for p in raw.glob("*.txt")}
    return {p.read_bytes(): captions.get(p.stem, "") for p in raw.iterdir() if p.suffix != ".txt"}


def drop(page: Any, folder: Path) -> None:
    """A real drop of a folder, as from a file manager."""
    page.locator(".ls-drop").scroll_into_view_if_needed()
    box = page.locator(".ls-drop").bounding_box()
    session = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
        session.send("Input.dispatchDragEvent", {"type": kind, "x": box["x"] + 20, "y": box["y"] + 12, "data": data})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["dropped", "chosen"])
def test_a_folder_keeps_its_captions(studio_page: Callable[..., str], page: Any, tmp_path: Path, kind: str, how: str) -> None:
    if how == "chosen" and kind != "page":
        pytest.skip("the same in every host")
    wanted = dataset(tmp_path / "mira")
    open_tab(page, kind, studio_page(kind, tmp_path / "data"))
    page.wait_for_selector(".ls-drop")
    if how == "dropped":
        drop(page, tmp_path / "mira")
    else:
        page.locator(".ls-drop input[type=file]").nth(1).set_input_files(tmp_path / "mira")
    page.wait_for_selector(".ls-dialog input")
    name_it(page, "hana 花")
    page.wait_for_selector(".ls-left-out", timeout=120_000)
    assert page.locator(".ls-left-out li").count() == 1 and "mira/notes.json" in page.locator(".ls-left-out").text_content()
    page.keyboard.press("Escape")
    page.wait_for_function("() => document.querySelectorAll('.ls-sheet-cell').length === 7", timeout=120_000)
    projects = tmp_path / "data" / ("projects" if kind == "page" else "lora_studio/projects")
    assert imported(projects / "hana 花" / "raw") == wanted
    assert [p for p in (projects / "_incoming").rglob("*") if p.is_file()] == []


def test_what_was_not_imported_is_offered(studio_page: Callable[..., str], page: Any, console: Any, tmp_path: Path) -> None:
    """An upload that breaks off, a page that was closed: what has arrived waits, and it is asked what becomes of it."""
    console.allow("status of 5")
    project = Project.create(tmp_path / "data" / "projects", "hana")
    files = [picture(tmp_path / "mine" / f"{k}.png", k) for k in range(6)]
    open_tab(page, "page", studio_page("page", tmp_path / "data"))
    page.locator(".ls-project-card").click()
    page.wait_for_selector(".ls-project-top")
    page.route("**/uploads?name=3.png*", lambda route: route.fulfill(status=503, json={"error": "The server is tired.", "hint": ""}))
    page.locator(".ls-drop input[type=file]").first.set_input_files(files)
    page.wait_for_selector(".ls-left-out")
    told = page.locator(".ls-left-out").text_content()
    assert "3.png" in told and "The server is tired." in told
    page.keyboard.press("Escape")
    row = page.locator(".ls-waiting-row")
    row.wait_for()
    assert "uploaded and not imported" in row.text_content() and list(project.raw_dir.iterdir()) == []
    # Still there when the page is opened again: two batches, one is thrown away, one imported.
    page.unroute_all()
    count = len(list((tmp_path / "data" / "projects" / "_incoming" / "hana").rglob("*.png")))
    assert 3 <= count <= 5
    page.evaluate("""async () => {
        const body = new Blob([new Uint8Array(9)]);
        await LoraStudio.api.upload('projects/hana/uploads', body, {name: 'x/other.png', batch: 'o'.repeat(20)});
    }""")
    page.wait_for_timeout(31_000)  # until the server takes them for left
    page.reload()
    page.wait_for_selector(".ls-ready")
    page.wait_for_function("() => document.querySelectorAll('.ls-waiting-row').length === 2")
    other = page.locator(f".ls-waiting-row[data-batch={'o' * 20}]")
    assert "x/other.png" in other.text_content()
    other.get_by_role("button", name="Throw away").click()
    page.wait_for_function("() => document.querySelectorAll('.ls-waiting-row').length === 1")
    page.locator(".ls-waiting-row").get_by_role("button", name="Import").click()
    page.wait_for_function(f"() => document.querySelectorAll('.ls-sheet-cell').length === {count}", timeout=120_000)
    page.wait_for_function("() => document.querySelectorAll('.ls-waiting-row').length === 0")
    assert len(list(project.raw_dir.iterdir())) == count


def test_a_page_outlives_a_restart_of_the_program(studio_server: Callable[..., Any], page: Any, console: Any, tmp_path: Path) -> None:
    """The word in the addresses is another one then: pictures and events come again by themselves."""
    for part in ("status of 403", "net::ERR", "Failed to fetch", "Connection errored"):
        console.allow(part)
    project = Project.create(tmp_path / "projects", "hana")
    picture(project.raw_dir / "a.png", 1)
    first = studio_server("page", tmp_path)
    port = first.url.rstrip("/").rsplit(":", 1)[1]
    open_tab(page, "page", first.url)
    page.locator(".ls-project-card").click()
    page.wait_for_selector(".ls-sheet-cell img")
    word = page.evaluate("LoraStudio.state.session.token")
    assert f"token={word}" in page.locator(".ls-sheet-cell img").get_attribute("src")
    page.evaluate("() => { window.stays = true; LoraStudio.heard = 0; LoraStudio.on('changed', () => { LoraStudio.heard += 1; }); }")
    first.close()
    studio_server("page", tmp_path, "", "", "--port", port)
    page.wait_for_function(f"() => LoraStudio.state.session.token !== '{word}'", timeout=60_000)
    page.wait_for_timeout(1500)
    picture(project.raw_dir / "b.png", 2)
    page.evaluate("async () => { await LoraStudio.api.put('projects/hana', {trigger: 'hanako'}); }")
    page.wait_for_function("() => LoraStudio.heard > 0", timeout=10_000)
    page.wait_for_function(
        """() => { const image = document.querySelector('.ls-sheet-cell[data-name="b.png"] img');
            return image && image.src.includes(LoraStudio.state.session.token) && image.naturalWidth > 0; }"""
    )
    assert page.evaluate("window.stays") is True
