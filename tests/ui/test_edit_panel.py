"""The edit step in a real browser: what is clicked there is in the caption files, and two windows lose nothing of each other's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_studio.project import Project
from tests.ui.test_page_starts import KINDS, open_tab

pytestmark = pytest.mark.slow

CAPTIONS = {
    "a": "1girl, long hair, smile, smile, red eyes",
    "b 花": "1girl, long hair, red eyes, hat",
    "c": "1girl, long_hair, blonde hair, open mouth",
}


def make_project(data: Path, kind: str = "page", captions: dict[str, str] | None = None) -> Project:
    made = Project.create(data / "projects" if kind == "page" else data / "lora_studio" / "projects", "hana")
    for name, text in (CAPTIONS if captions is None else captions).items():
        Image.new("RGB", (64, 48), (200, 120, 90)).save(made.dataset_dir / f"{name}.png")
        (made.dataset_dir / f"{name}.txt").write_text(text, encoding="utf-8")
    return made


def show(page: Any, kind: str, url: str) -> None:
    open_tab(page, kind, url)
    page.evaluate("async () => { await LoraStudio.openProject('hana'); LoraStudio.open('edit'); }")
    page.wait_for_selector(".ls-edit-card .ls-chip")


def text(project: Project, name: str) -> str:
    return (project.dataset_dir / f"{name}.txt").read_text(encoding="utf-8")


def card(page: Any, name: str) -> Any:
    return page.locator(f'.ls-edit-card[data-name="{name}.png"]')


def chips(page: Any, name: str) -> list[str]:
    return card(page, name).locator(".ls-chip-text").all_text_contents()


def chip(page: Any, name: str, tag: str) -> Any:
    return card(page, name).locator(".ls-chip").filter(has=page.get_by_text(tag, exact=True)).first


def wait_chips(page: Any, name: str, tags: list[str]) -> None:
    found = "[...document.querySelectorAll(`[data-name='${name}'] .ls-chip-text`)].map((x) => x.textContent)"
    script = f"([name, tags]) => JSON.stringify({found}) === JSON.stringify(tags)"
    page.wait_for_function(script, arg=[f"{name}.png", tags])


def names(page: Any) -> list[str]:
    return sorted(page.locator(".ls-edit-card .ls-edit-name").all_text_contents())


@pytest.mark.parametrize("kind", KINDS)
def test_chips_are_removed_added_and_dragged_and_every_step_goes_back(
    studio_page: Callable[..., str], page: Any, tmp_path: Path, kind: str
) -> None:
    project = make_project(tmp_path, kind)
    show(page, kind, studio_page(kind, tmp_path))
    chip(page, "a", "long hair").locator(".ls-chip-x").click()
    wait_chips(page, "a", ["1girl", "smile", "smile", "red eyes"])
    assert text(project, "a") == "1girl, smile, smile, red eyes"
    field = card(page, "a").locator(".ls-tag-input")
    field.fill("HAT")
    page.locator(".ls-tag-option", has_text="hat").first.click()  # completed from the dataset, as it is spelled there
    wait_chips(page, "a", ["1girl", "smile", "smile", "red eyes", "hat"])
    field.fill("blue sky")
    field.press("Enter")
    wait_chips(page, "a", ["1girl", "smile", "smile", "red eyes", "hat", "blue sky"])
    start, end = chip(page, "a", "hat").bounding_box(), chip(page, "a", "1girl").bounding_box()
    page.mouse.move(start["x"] + 8, start["y"] + 8)
    page.mouse.down()
    page.mouse.move(end["x"] + 4, end["y"] + 8, steps=5)
    page.mouse.up()
    wait_chips(page, "a", ["hat", "1girl", "smile", "smile", "red eyes", "blue sky"])
    assert text(project, "a") == "hat, 1girl, smile, smile, red eyes, blue sky"
    page.locator(".ls-edit-count").click()
    while page.get_by_label("Undo (Ctrl + Z)").is_enabled():  # edits that follow each other within a second are one step
        with page.expect_response(lambda r: r.url.endswith("/undo")):
            page.keyboard.press("Control+z")
        page.wait_for_timeout(200)
    wait_chips(page, "a", CAPTIONS["a"].split(", "))
    assert text(project, "a") == CAPTIONS["a"] and page.get_by_label("Undo (Ctrl + Z)").is_disabled()
    page.keyboard.press("Control+Shift+z")
    page.wait_for_function("() => document.querySelectorAll('[data-name=\"a.png\"] .ls-chip').length !== 5")
    assert text(project, "a") == ", ".join(chips(page, "a"))


UNDO = "document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'z', ctrlKey: true, bubbles: true}));"


def test_undo_pressed_faster_than_the_answers_come(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    show(page, "page", studio_page("page", tmp_path))
    # An edit that is still on its way is what is taken back.
    held: list[Any] = []
    page.route("**/captions/ops", lambda route: held.append(route))
    with page.expect_request("**/captions/ops"):
        chip(page, "a", "long hair").locator(".ls-chip-x").click()
    page.evaluate(UNDO)
    with page.expect_response(lambda r: r.url.endswith("/captions/undo") and r.ok):
        held[0].continue_()
    wait_chips(page, "a", CAPTIONS["a"].split(", "))
    assert text(project, "a") == CAPTIONS["a"]
    # Two presses before the first answer are two steps back.
    for tag in ("1girl", "hat"):
        page.locator(f".ls-tag-row[data-tag='{tag}'] .ls-tag-act").nth(2).click()
        page.wait_for_selector(f".ls-tag-row[data-tag='{tag}']", state="detached")
    page.evaluate(UNDO + UNDO)
    wait_chips(page, "a", CAPTIONS["a"].split(", "))
    assert {name: text(project, name) for name in CAPTIONS} == CAPTIONS
    page.wait_for_function("() => document.querySelector('[aria-label=\"Undo (Ctrl + Z)\"]').disabled")


def test_an_answer_that_comes_late_does_not_take_an_edit_back(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    make_project(tmp_path)
    show(page, "page", studio_page("page", tmp_path))
    page.wait_for_load_state("networkidle")
    late: list[Any] = []

    def hold(route: Any) -> None:
        late.append((route, route.fetch()))  # as it was before the edit

    page.route("**/projects/hana/captions?**", hold, times=1)
    with page.expect_request("**/projects/hana/captions?**"):
        page.evaluate("LoraStudio.emit('reload', {})")
    page.wait_for_timeout(300)
    with page.expect_response("**/captions/read"):
        chip(page, "a", "long hair").locator(".ls-chip-x").click()
    wait_chips(page, "a", ["1girl", "smile", "smile", "red eyes"])
    route, answer = late[0]
    with page.expect_response("**/captions/tags**"):  # the answer is taken in, and the tags are counted
        route.fulfill(response=answer)
    assert chips(page, "a") == ["1girl", "smile", "smile", "red eyes"]
    page.wait_for_load_state("networkidle")
    assert chips(page, "a") == ["1girl", "smile", "smile", "red eyes"]


def test_the_list_of_tags_stays_where_it_was_scrolled_to(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    make_project(tmp_path, captions={f"{k:02d}": ", ".join(f"tag {n:03d}" for n in range(k, 100)) for k in range(3)})
    show(page, "page", studio_page("page", tmp_path))
    page.locator(".ls-edit-tags").evaluate("(list) => { list.scrollTop = list.scrollHeight; }")
    page.locator(".ls-tag-row[data-tag='tag 095']").wait_for()
    before = page.locator(".ls-edit-tags").evaluate("(list) => list.scrollTop")
    assert before > 1000
    page.route("**/captions?**", lambda route: None)  # answered when nobody holds it back any more
    plus = page.locator(".ls-tag-row[data-tag='tag 095'] .ls-tag-act").nth(0)
    plus.focus()
    page.keyboard.press("Enter")
    # Before the server has answered: pressed, named above the grid, still in sight and still where the keyboard is.
    page.wait_for_selector(".ls-tag-row[data-tag='tag 095'].ls-on")
    page.wait_for_selector(".ls-edit-asked .ls-chip")
    assert page.evaluate("() => document.activeElement.closest('.ls-tag-row').dataset.tag") == "tag 095"
    page.unroute("**/captions?**")
    page.wait_for_load_state("networkidle")
    assert abs(page.locator(".ls-edit-tags").evaluate("(list) => list.scrollTop") - before) < 100
    page.locator(".ls-edit-asked .ls-chip-x").click()
    page.wait_for_selector(".ls-edit-asked .ls-chip", state="hidden")


def test_the_filter_the_tags_at_the_side_and_what_is_done_to_those_shown(
    studio_page: Callable[..., str], page: Any, console: Any, tmp_path: Path
) -> None:
    project = make_project(tmp_path)
    show(page, "page", studio_page("page", tmp_path))
    page.locator(".ls-tag-row[data-tag='red eyes'] .ls-tag-act").nth(0).click()
    page.wait_for_function("() => document.querySelectorAll('.ls-edit-card').length === 2")
    page.locator(".ls-tag-row[data-tag=hat] .ls-tag-act").nth(1).click()
    page.wait_for_function("() => document.querySelectorAll('.ls-edit-card').length === 1")
    assert names(page) == ["a.png"]
    page.locator(".ls-tag-row[data-tag='long hair'] .ls-tag-act").nth(2).click()  # only from the one that is shown
    page.wait_for_selector(".ls-toast", state="visible")
    assert "long hair" not in text(project, "a") and "long hair" in text(project, "b 花")
    for _ in range(2):
        page.locator(".ls-edit-asked .ls-chip-x").first.click()
    page.wait_for_function("() => document.querySelectorAll('.ls-edit-card').length === 3")
    console.allow("status of 422")
    page.locator(".ls-edit-filter").fill("hat OR colour:red")
    page.wait_for_selector(".ls-edit-trouble:visible")
    assert "There is no filter colour:." in page.locator(".ls-edit-trouble").inner_text()
    assert page.locator(".ls-edit-trouble mark").inner_text() == "colour:red" and len(names(page)) == 3
    page.locator(".ls-edit-filter").fill("hat OR count:>4 NOT tag:blonde*")
    page.wait_for_function("() => document.querySelectorAll('.ls-edit-card').length === 1")
    assert names(page) == ["b 花.png"] and page.locator(".ls-edit-trouble").is_hidden()
    page.locator(".ls-edit-filter").fill("")
    page.wait_for_function("() => document.querySelectorAll('.ls-edit-card').length === 3")
    page.get_by_role("button", name="Remove duplicates (1)").click()
    wait_chips(page, "a", ["1girl", "smile", "red eyes"])
    assert text(project, "a") == "1girl, smile, red eyes" and text(project, "c") == CAPTIONS["c"]


def test_pictures_are_selected_and_only_those_are_changed(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    show(page, "page", studio_page("page", tmp_path))
    card(page, "a").locator(".ls-edit-image").click()
    card(page, "c").locator(".ls-edit-image").click(modifiers=["Control"])
    assert page.locator(".ls-edit-card[aria-selected=true] .ls-edit-name").all_text_contents() == ["a.png", "c.png"]
    page.get_by_role("button", name="Add…").click()
    page.locator(".ls-dialog .ls-tag-input").fill("blue sky, tree")
    page.locator(".ls-dialog select").nth(1).select_option("front")
    page.locator(".ls-dialog ins").first.wait_for()
    assert "2 of 2 captions change." in page.locator(".ls-edit-told").inner_text()
    page.locator(".ls-dialog .ls-end").get_by_role("button", name="Add").click()
    page.wait_for_selector(".ls-dialog", state="detached")
    wait_chips(page, "c", ["blue sky", "tree", "1girl", "long_hair", "blonde hair", "open mouth"])
    assert text(project, "b 花") == CAPTIONS["b 花"] and text(project, "a").startswith("blue sky, tree, 1girl")
    card(page, "b 花").locator(".ls-edit-image").click(modifiers=["Shift"])
    assert page.locator(".ls-edit-count").inner_text() == "3 pictures · 2 selected"


@pytest.mark.parametrize("kind", KINDS)
def test_traits_go_after_a_preview_and_the_trigger_word_comes_first(studio_page: Callable[..., str], page: Any, tmp_path: Path, kind: str) -> None:
    project = make_project(tmp_path, kind)
    show(page, kind, studio_page(kind, tmp_path))
    page.get_by_role("button", name="Remove traits…").click()
    gone = page.locator(".ls-trait-chip[aria-pressed=true]")
    gone.first.wait_for()
    assert sorted(gone.evaluate_all("all => all.map((x) => x.dataset.tag)")) == ["long hair", "red eyes"]
    page.locator(".ls-trait-chip[data-tag='blonde hair']").click()  # on one picture only, but it is to go
    page.wait_for_selector(".ls-trait-chip[data-tag='blonde hair'][aria-pressed=true]")
    page.locator(".ls-trait-chip[data-tag='red eyes']").click()  # and this is to stay
    page.wait_for_selector(".ls-trait-chip[data-tag='red eyes'][aria-pressed=false]")
    page.locator(".ls-dialog input[type=text]").fill("hana1")
    page.wait_for_function("() => [...document.querySelectorAll('.ls-edit-change ins')].some((x) => x.textContent === 'hana1')")
    assert text(project, "a") == CAPTIONS["a"]  # nothing is done yet
    page.locator(".ls-dialog .ls-end .ls-primary:enabled").click()
    wait_chips(page, "c", ["hana1", "1girl", "open mouth"])
    assert text(project, "a") == "hana1, 1girl, smile, red eyes" and text(project, "b 花") == "hana1, 1girl, red eyes, hat"
    saved = Project.open(project.folder)
    assert saved.trigger == "hana1" and saved.traits == ("long hair", "blonde hair")
    page.locator(".ls-toast").get_by_role("button", name="Undo").click()
    wait_chips(page, "a", CAPTIONS["a"].split(", "))
    assert Project.open(project.folder).trigger == "" and text(project, "c") == CAPTIONS["c"]


def test_two_windows_edit_the_same_captions_and_lose_nothing(
    studio_page: Callable[..., str], new_page: Callable[..., Any], console: Any, tmp_path: Path
) -> None:
    project = make_project(tmp_path)
    url = studio_page("page", tmp_path)
    one, other = new_page(), new_page()
    for page in (one, other):
        show(page, "page", url)
    chip(one, "a", "smile").locator(".ls-chip-x").click()
    # The other window is told, and shows it without being asked.
    other.wait_for_selector(".ls-toast:has-text('a.png was edited in another window.')")
    wait_chips(other, "a", ["1girl", "long hair", "smile", "red eyes"])
    # Both edit the same caption, one of them without having heard of the other's edit: both edits are in it.
    other.evaluate("() => LoraStudio.listen(null)")
    chip(one, "a", "long hair").locator(".ls-chip-x").click()
    wait_chips(one, "a", ["1girl", "smile", "red eyes"])
    field = card(other, "a").locator(".ls-tag-input")
    field.fill("tree")
    field.press("Enter")
    wait_chips(other, "a", ["1girl", "smile", "red eyes", "tree"])
    assert text(project, "a") == "1girl, smile, red eyes, tree"
    other.wait_for_selector(".ls-toast:has-text('both changes are in it')")
    wait_chips(one, "a", ["1girl", "smile", "red eyes", "tree"])
    # Undo does not take back what somebody else did unseen.
    console.allow("status of 409")
    with one.expect_response(lambda r: r.url.endswith("/ops")):
        chip(one, "c", "open mouth").locator(".ls-chip-x").click()
    other.locator(".ls-edit-count").click()
    other.keyboard.press("Control+z")
    other.wait_for_selector(".ls-toast.ls-error:has-text('edited elsewhere')")
    assert text(project, "c") == "1girl, long_hair, blonde hair" and text(project, "a").endswith("tree")


def test_the_tags_that_all_have_are_edited_in_their_places(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    show(page, "page", studio_page("page", tmp_path))
    page.get_by_role("button", name="In common…").click()
    fields = page.locator(".ls-edit-common input")
    fields.nth(1).wait_for()
    assert sorted(field.input_value() for field in fields.all()) == ["1girl", "long hair"]
    page.locator('.ls-edit-common input[aria-label="long hair"]').fill("very long hair")
    page.locator(".ls-dialog .ls-edit-fields .ls-tag-input").fill("hanako")
    page.locator(".ls-dialog ins", has_text="hanako").first.wait_for()
    page.locator(".ls-dialog .ls-end .ls-primary:enabled").click()
    wait_chips(page, "c", ["hanako", "1girl", "very long hair", "blonde hair", "open mouth"])
    assert text(project, "a") == "hanako, 1girl, very long hair, smile, smile, red eyes"
    # Of the selected ones: in the order of the first, an emptied one is removed.
    for name in ("a", "b 花"):
        card(page, name).locator("input[type=checkbox]").click()
    page.wait_for_function("() => document.querySelectorAll('.ls-edit-card[aria-selected=true]').length === 2")
    page.get_by_role("button", name="In common…").click()
    fields.nth(3).wait_for()
    assert [field.input_value() for field in fields.all()] == ["hanako", "1girl", "very long hair", "red eyes"]
    page.locator('.ls-edit-common input[aria-label="red eyes"]').fill("")
    page.locator(".ls-dialog del").first.wait_for()
    page.locator(".ls-dialog .ls-end .ls-primary:enabled").click()
    wait_chips(page, "b 花", ["hanako", "1girl", "very long hair", "hat"])
    assert text(project, "a") == "hanako, 1girl, very long hair, smile, smile"
    assert text(project, "c") == "hanako, 1girl, very long hair, blonde hair, open mouth"


def test_a_bulk_edit_upon_a_preview_that_is_no_longer_true_is_shown_anew(
    studio_page: Callable[..., str], new_page: Callable[..., Any], console: Any, tmp_path: Path
) -> None:
    project = make_project(tmp_path)
    url = studio_page("page", tmp_path)
    one, other = new_page(), new_page()
    for page in (one, other):
        show(page, "page", url)
    one.get_by_role("button", name="Replace…").click()
    one.locator(".ls-dialog .ls-tag-input").first.fill("hat")
    one.locator(".ls-dialog .ls-tag-input").nth(1).fill("cap")
    one.locator(".ls-dialog ins").first.wait_for()
    field = card(other, "a").locator(".ls-tag-input")
    field.fill("hat")
    field.press("Enter")
    wait_chips(other, "a", [*CAPTIONS["a"].split(", "), "hat"])
    console.allow("status of 409")
    one.locator(".ls-dialog .ls-end .ls-primary").click()
    one.wait_for_selector(".ls-toast.ls-error")
    one.wait_for_function("() => document.querySelectorAll('.ls-edit-change').length === 2")
    assert "hat" in text(project, "a") and "hat" in text(project, "b 花")
    one.locator(".ls-dialog .ls-end .ls-primary:enabled").click()
    one.wait_for_selector(".ls-dialog", state="detached")
    one.wait_for_selector(".ls-toast.ls-ok")  # the dialog goes at once, the captions are written a moment later
    assert text(project, "a").endswith("cap") and text(project, "b 花").endswith("cap")


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_tags_names_and_captions_are_text(studio_page: Callable[..., str], page: Any, tmp_path: Path, kind: str) -> None:
    tag = "<img src=x onerror=window.hacked=1>"
    project = make_project(tmp_path, kind, {"a": f"1girl, {tag}, smile", "<b onmouseover=alert(1)>x": "javascript:alert(1), {{constructor}}"})
    replace(project, trigger=tag).save()
    show(page, kind, studio_page(kind, tmp_path))
    page.locator(".ls-tag-word", has_text=tag).wait_for()
    assert tag in chips(page, "a") and page.locator(".ls-tag-word", has_text=tag).count() == 1
    card(page, "a").locator(".ls-tag-input").fill("<img")
    page.wait_for_selector(".ls-tag-option")
    card(page, "a").locator(".ls-tag-input").fill("")
    page.get_by_role("button", name="Remove traits…").click()
    page.locator(".ls-edit-change").first.wait_for()
    page.keyboard.press("Escape")
    chip(page, "a", "1girl").locator(".ls-chip-x").click()
    wait_chips(page, "a", [tag, "smile"])
    page.get_by_role("button", name="History").click()
    page.locator(".ls-history-row").first.wait_for()
    assert page.evaluate("() => window.hacked") is None
    assert page.locator("#lora_studio img[src='x'], #lora_studio b[onmouseover]").count() == 0


def test_of_many_pictures_only_those_in_sight_are_in_the_page(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    make_project(tmp_path, captions={f"{k:04d}": f"1girl, tag {k}" for k in range(400)})
    show(page, "page", studio_page("page", tmp_path))
    assert page.locator(".ls-edit-card").count() < 60 and page.locator(".ls-edit-count").inner_text() == "400 pictures"
    page.locator(".ls-edit-grid").evaluate("(grid) => { grid.scrollTop = grid.scrollHeight; }")
    wait_chips(page, "0399", ["1girl", "tag 399"])
    assert page.locator(".ls-edit-card").count() < 60 and page.locator(".ls-tag-row").count() < 80
    page.get_by_role("button", name="Select all shown").click()
    assert page.locator(".ls-edit-count").inner_text() == "400 pictures · 400 selected"


def test_the_history_leads_to_any_point_and_to_the_first_state(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    show(page, "page", studio_page("page", tmp_path))
    for tag in ("1girl", "smile"):
        page.locator(f".ls-tag-row[data-tag='{tag}'] .ls-tag-act").nth(2).click()
        page.wait_for_selector(f".ls-tag-row[data-tag='{tag}']", state="detached")
    page.get_by_role("button", name="History").click()
    rows = page.locator(".ls-history-row")
    rows.first.wait_for()
    assert ["smile" in rows.nth(0).inner_text(), "1girl" in rows.nth(1).inner_text()] == [True, True]
    rows.nth(1).get_by_role("button", name="Back to here").click()
    wait_chips(page, "a", ["long hair", "smile", "smile", "red eyes"])
    page.get_by_role("button", name="Restore the first state").click()
    wait_chips(page, "a", CAPTIONS["a"].split(", "))
    page.wait_for_selector(".ls-history-row:has-text('First state restored')")
    assert {name: text(project, name) for name in CAPTIONS} == CAPTIONS


def test_captions_in_another_encoding_are_shown_and_repaired_and_pictures_go_to_another_project(
    studio_page: Callable[..., str], page: Any, tmp_path: Path
) -> None:
    project, other = make_project(tmp_path), Project.create(tmp_path / "projects", "other")
    (project.dataset_dir / "c.txt").write_bytes("少女, 头发很长".encode("gbk"))
    show(page, "page", studio_page("page", tmp_path))
    wait_chips(page, "c", ["少女", "头发很长"])
    page.get_by_label("More", exact=True).select_option("1")
    page.wait_for_selector(".ls-edit-change:has-text('头发很长')")
    page.locator(".ls-dialog .ls-end .ls-primary").click()
    page.wait_for_selector(".ls-toast:has-text('1 caption changed.')")
    assert text(project, "c") == "少女, 头发很长"
    card(page, "b 花").locator(".ls-edit-image").click()
    page.get_by_label("More", exact=True).select_option("3")
    page.locator(".ls-dialog .ls-end .ls-primary").click()
    page.wait_for_selector(".ls-toast:has-text('1 picture copied with its caption.')")
    assert text(other, "b 花") == CAPTIONS["b 花"] and text(project, "b 花") == CAPTIONS["b 花"]


def test_copied_tags_and_a_word_written_differently(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    project = make_project(tmp_path)
    show(page, "page", studio_page("page", tmp_path))
    card(page, "b 花").locator(".ls-edit-image").click()
    page.keyboard.press("Control+c")
    page.wait_for_selector(".ls-toast:has-text('4 tags of b 花.png copied')")
    card(page, "c").locator(".ls-edit-image").click()
    page.keyboard.press("Control+v")
    wait_chips(page, "c", ["1girl", "long_hair", "blonde hair", "open mouth", "red eyes", "hat"])
    chip(page, "c", "hat").locator(".ls-chip-text").dblclick()
    page.locator(".ls-chip-edit").fill("red cap")
    page.locator(".ls-chip-edit").press("Enter")
    wait_chips(page, "c", ["1girl", "long_hair", "blonde hair", "open mouth", "red eyes", "red cap"])
    assert text(project, "c") == "1girl, long_hair, blonde hair, open mouth, red eyes, red cap"
    # What is typed while an input method composes, or in a field, is no shortcut.
    field = card(page, "a").locator(".ls-tag-input")
    field.fill("x")
    field.press("Control+z")
    assert text(project, "c").endswith("red cap")
