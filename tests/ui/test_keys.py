"""Shortcuts: shown by ?, only while our tab is in sight, never while somebody types or an input method composes; and one global name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ui.filled import filled_project, open_project, settle
from tests.ui.test_page_starts import KINDS, open_tab

pytestmark = pytest.mark.slow

PRESS = """([selector, init]) => {
    const at = selector ? document.querySelector(selector) : document.body;
    const event = new KeyboardEvent('keydown', {bubbles: true, cancelable: true, ...init});
    if (init.keyCode) Object.defineProperty(event, 'keyCode', {value: init.keyCode});
    at.dispatchEvent(event);
    return event.defaultPrevented;
}"""


def press(page: Any, key: str, selector: str = "", **init: Any) -> bool:
    """A key as the browser would send it; whether somebody took it."""
    taken: bool = page.evaluate(PRESS, [selector, {"key": key, **init}])
    return taken


def step(page: Any) -> str:
    return str(page.evaluate("LoraStudio.state.step"))


def shortcuts(page: Any) -> list[str]:
    return [" ".join(row.split()) for row in page.locator(".ls-veil .ls-keys tr").all_inner_texts()]


@pytest.mark.parametrize("kind", KINDS)
def test_shortcuts_are_shown_and_work_only_in_our_tab(studio_page: Callable[..., str], page: Any, tmp_path: Path, kind: str) -> None:
    open_tab(page, kind, studio_page(kind, tmp_path))
    page.keyboard.press("Shift+?")
    page.locator(".ls-veil .ls-keys").wait_for()
    assert any("?" in row and "Show the keyboard shortcuts" in row for row in shortcuts(page))
    # Nothing behind a dialog moves, and Escape closes it.
    assert not press(page, "3", altKey=True) and step(page) == "project"
    page.keyboard.press("Escape")
    page.locator(".ls-veil").wait_for(state="detached")
    assert press(page, "2", altKey=True) and step(page) == "crop"
    page.locator(".ls-top button", has_text="?").click()
    assert "↷" not in shortcuts(page) and any("Redo" in row for row in shortcuts(page))  # those of the step in sight
    page.keyboard.press("Escape")
    if kind == "page":
        return
    # Another tab of the WebUI: its keys are its own.
    page.locator("#tabs button").first.click()
    page.wait_for_function("LoraStudio.visible === false")
    assert not press(page, "3", altKey=True) and not press(page, "?") and step(page) == "crop"
    assert page.locator(".ls-veil").count() == 0
    page.locator("#tabs button", has_text="Lora Studio").first.click()
    page.wait_for_function("LoraStudio.visible === true")
    assert press(page, "3", altKey=True) and step(page) == "tag"


def test_not_while_composing_nor_in_fields(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    project = filled_project(tmp_path)
    open_tab(page, "page", studio_page("page", tmp_path))
    open_project(page, project.name)
    # An input method that is composing: both ways in which browsers say so.
    assert not press(page, "?", isComposing=True) and not press(page, "Process", keyCode=229) and not press(page, "?", keyCode=229)
    assert not press(page, "2", altKey=True, isComposing=True)
    assert step(page) == "project" and page.locator(".ls-veil").count() == 0
    # Fields of every kind, in every step that has some.
    tried = 0
    for name in ("project", "crop", "tag", "edit", "train", "test"):
        page.evaluate("(name) => LoraStudio.open(name)", name)
        settle(page)
        fields = f".ls-panel[data-step={name}] :is(input:not([type=checkbox]):not([type=radio]):not([type=range]):not([type=file]), textarea, select)"
        for k in range(min(3, page.locator(fields).count())):
            page.evaluate("([selector, k]) => { for (const one of document.querySelectorAll('.test-here')) one.classList.remove('test-here'); "
                          "document.querySelectorAll(selector)[k].classList.add('test-here'); }", [fields, k])  # fmt: skip
            for key, init in (("?", {}), ("1", {"altKey": True}), ("Delete", {}), ("z", {"ctrlKey": True}), ("n", {})):
                press(page, key, ".test-here", **init)
            assert step(page) == name and page.locator(".ls-veil").count() == 0
            tried += 1
    assert tried >= 5
    before = {path: path.read_bytes() for path in project.dataset_dir.glob("*.txt")}
    # Words are composed into the field of a new tag; Enter that ends the composition adds nothing, the one after it does.
    page.evaluate("LoraStudio.open('edit')")
    field = page.locator(".ls-edit-card .ls-tag-input").first
    field.wait_for()
    field.fill("weixiao")
    field.dispatch_event("compositionstart")
    field.evaluate("(at) => at.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true, isComposing: true}))")
    page.wait_for_timeout(400)
    assert {path: path.read_bytes() for path in project.dataset_dir.glob("*.txt")} == before
    field.dispatch_event("compositionend")
    field.press("Enter")
    page.wait_for_timeout(1500)
    assert {path: path.read_bytes() for path in project.dataset_dir.glob("*.txt")} != before


def test_one_name_and_no_complaint(studio_page: Callable[..., str], page: Any, console: Any, tmp_path: Path) -> None:
    """All we leave in a window is LoraStudio, after every step was opened too."""
    project = filled_project(tmp_path)
    address = studio_page("page", tmp_path)
    # Our scripts alone on an empty page, against the same page without them.
    page.goto("about:blank")
    before = set(page.evaluate("Object.getOwnPropertyNames(window)"))
    page.set_content('<div id="lora_studio"></div>')
    console.allow("about:blank")
    for script in sorted((Path(__file__).resolve().parents[2] / "javascript").glob("*.js")):
        page.add_script_tag(path=str(script))
    assert set(page.evaluate("Object.getOwnPropertyNames(window)")) - before == {"LoraStudio"}
    open_tab(page, "page", address)
    there = set(page.evaluate("Object.getOwnPropertyNames(window)"))
    open_project(page, project.name)
    for name in ("crop", "tag", "edit", "train", "test", "project"):
        page.evaluate("(name) => LoraStudio.open(name)", name)
        settle(page)
    assert {name for name in page.evaluate("Object.getOwnPropertyNames(window)") if not name.startswith("__")} - there <= {"LoraStudio"}
