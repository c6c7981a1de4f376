"""The train step in a browser: the form, a training of a few steps on the demo model with its curve, reloaded in the middle, and its history."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_studio.cards import Card
from lora_studio.project import Project
from lora_studio.training import form
from lora_studio.training.events import EventWriter

pytestmark = [pytest.mark.slow, pytest.mark.torch]
# Eight steps on one thread: two threads that wait for each other on a busy machine are many times slower.
STEPS_ONLY = {"batch_size": "2", "repeats": "2", "prior_weight": "0", "sample_prompts": "hanako", "sample_steps": "2", "threads": "1"}
TRAINED = 480_000  # milliseconds: importing the trainer's packages alone takes a while on a busy machine


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Four tiny captioned pictures and a trigger word."""
    made = Project.create(tmp_path / "projects", "hana")
    project = Project(made.folder, "hana", trigger="hanako")
    project.save()
    for k in range(4):
        Image.new("RGB", (128, 128), (40 * k, 90, 200)).save(project.dataset_dir / f"{k}.png")
        (project.dataset_dir / f"{k}.txt").write_text("hanako, 1girl, smile", encoding="utf-8")
    return project


def open_train(page: Any, url: str) -> None:
    """The step Train of ``hana``, as a person who was there before finds it."""
    page.add_init_script("localStorage.setItem('lora_studio.project', 'hana'); localStorage.setItem('lora_studio.step', 'train');")
    page.goto(url)
    page.wait_for_selector(".ls-ready")
    page.wait_for_selector(".ls-start", state="attached")  # out of sight while a training runs


def option(page: Any, name: str) -> Any:
    return page.locator(f".ls-option[data-option={name}]")


def fact(page: Any, name: str) -> str:
    return str(page.locator(".ls-fact", has_text=name).locator("strong").text_content())


def test_without_a_project_it_says_where_to_begin(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    page.goto(studio_page("page", tmp_path))
    page.wait_for_selector(".ls-ready")
    page.click(".ls-step[data-step=train]")
    page.locator(".ls-panel[data-step=train] .ls-empty button").click()
    assert page.locator(".ls-panel[data-step=project]").is_visible()


def test_the_form_shows_defaults_marks_changes_and_tells_mistakes(studio_page: Callable[..., str], page: Any, project: Project) -> None:
    open_train(page, studio_page("page", project.folder.parent.parent))
    page.wait_for_function("document.querySelector('.ls-start')?.disabled === false")
    epochs = option(page, "epochs").locator("input")
    assert epochs.input_value() == "5" and fact(page, "Steps") == "640"
    # A change is marked and counted, and reset.
    epochs.fill("2")
    page.wait_for_function("document.querySelector('.ls-facts')?.textContent.includes('256')")
    assert "ls-changed" in option(page, "epochs").get_attribute("class")
    # A mistake is told at its field and beside the button, which then cannot be pressed.
    epochs.fill("0")
    page.wait_for_selector(".ls-problem")
    assert "must be from 1 to 10000" in option(page, "epochs").locator(".ls-option-trouble").text_content()
    assert page.locator(".ls-start").is_disabled()
    page.locator(".ls-problem .ls-link").click()
    assert page.evaluate("document.activeElement.dataset.name") == "epochs"
    option(page, "epochs").locator(".ls-link").click()
    page.wait_for_function("document.querySelector('.ls-start')?.disabled === false")
    assert epochs.input_value() == "5" and "ls-changed" not in option(page, "epochs").get_attribute("class")
    # Another card, other defaults.
    page.click(".ls-choice[data-preset=style]")
    page.wait_for_function("document.querySelector('[data-option=network_dim] input')?.value === '32'")
    # Search finds by what an option does, in closed groups too.
    page.fill(".ls-options-search input", "blur watermark")
    assert page.locator(".ls-option:visible").count() == 0
    page.fill(".ls-options-search input", "watermarks")
    assert option(page, "loss_type").is_visible() and not option(page, "epochs").is_visible()
    page.fill(".ls-options-search input", "")


def test_nothing_is_written_into_a_field_that_is_being_typed_in(studio_page: Callable[..., str], page: Any, project: Project) -> None:
    """The server's answer comes between emptying a field and typing the new value: "5" and "3" must not become "53"."""
    open_train(page, studio_page("page", project.folder.parent.parent))
    page.wait_for_function("document.querySelector('.ls-start')?.disabled === false")
    epochs = option(page, "epochs").locator("input")
    with page.expect_response(lambda answer: "/training/draft" in answer.url):
        epochs.fill("")
    page.wait_for_timeout(200)
    assert epochs.input_value() == ""
    page.keyboard.type("3")
    assert epochs.input_value() == "3"
    epochs.fill("")
    epochs.blur()
    assert epochs.input_value() == "5"  # left empty, it is the default again
    # A line that was begun is not taken back either.
    page.evaluate("document.querySelectorAll('.ls-options-group').forEach((d) => { d.open = true; })")
    prompts = option(page, "sample_prompts").locator("textarea")
    with page.expect_response(lambda answer: "/training/draft" in answer.url):
        prompts.fill("one\n")
    page.wait_for_timeout(200)
    page.keyboard.type("two")
    assert prompts.input_value() == "one\ntwo"


def test_where_there_are_several_cards_they_are_chosen_by_name(studio_page: Callable[..., str], page: Any, project: Project) -> None:
    cards = (Card(0, "RTX 4090", (8, 9), 24 * 2**30), Card(1, "GTX 1660", (7, 5), 6 * 2**30))
    field = next(f for group in form.schema(cards) for f in group["fields"] if f["name"] == "device")

    def with_cards(route: Any) -> None:
        found = route.fetch().json()
        for group in found["groups"]:
            group["fields"] = [field if f["name"] == "device" else f for f in group["fields"]]
        route.fulfill(json=found)

    page.route("**/training/form", with_cards)
    open_train(page, studio_page("page", project.folder.parent.parent))
    page.wait_for_function("document.querySelector('.ls-start')?.disabled === false")
    page.evaluate("document.querySelectorAll('.ls-options-group').forEach((d) => { d.open = true; })")
    select = option(page, "device").locator("select")
    assert select.input_value() == "auto"
    names = ["automatic", "RTX 4090, 24 GB (cuda:0)", "GTX 1660, 6 GB (cuda:1)", "processor (very slow)"]
    assert select.locator("option").all_text_contents() == names
    with page.expect_request(lambda asked: "/training/draft" in asked.url and '"device":"cuda:1"' in (asked.post_data or "").replace(" ", "")):
        select.select_option(label="GTX 1660, 6 GB (cuda:1)")
    assert "ls-changed" in option(page, "device").get_attribute("class")


def test_presets_are_kept_and_a_reload_keeps_what_was_typed(
    studio_page: Callable[..., str], page: Any, project: Project, console: Any
) -> None:
    console.allow("status of 422")
    open_train(page, studio_page("page", project.folder.parent.parent))
    option(page, "epochs").locator("input").fill("3")
    page.click("text=Save as a preset…")
    page.fill(".ls-dialog input", "<b>我的</b>")
    page.click(".ls-dialog .ls-primary")
    page.wait_for_selector(".ls-toast.ls-error")  # a name that no file can have
    page.click("text=Save as a preset…")
    page.fill(".ls-dialog input", "我的预设")
    page.click(".ls-dialog .ls-primary")
    page.wait_for_selector(".ls-own-presets .ls-toggle[aria-pressed=true]")
    page.wait_for_function("document.querySelector('[data-option=epochs] input')?.value === '3'")
    assert "ls-changed" not in option(page, "epochs").get_attribute("class"), "it is the preset's own value now"
    option(page, "unet_lr").locator("input").fill("1e-3")
    page.wait_for_timeout(600)
    page.reload()
    page.wait_for_selector(".ls-own-presets .ls-toggle[aria-pressed=true]")
    page.wait_for_function("document.querySelector('[data-option=unet_lr] input')?.value === '1e-3'")
    page.wait_for_function("document.querySelector('[data-option=epochs] input')?.value === '3'")
    page.click("text=Delete this preset")
    page.click(".ls-dialog .ls-danger")
    page.wait_for_function("!document.querySelector('.ls-own-presets .ls-toggle')")


def test_a_training_is_started_seen_through_a_reload_and_finished(
    studio_page: Callable[..., str], page: Any, new_page: Callable[..., Any], project: Project
) -> None:
    url = studio_page("page", project.folder.parent.parent)
    open_train(page, url)
    page.click(".ls-choice[data-preset=quick]")
    for name, value in STEPS_ONLY.items():
        page.evaluate("document.querySelectorAll('.ls-options-group').forEach((d) => { d.open = true; })")
        option(page, name).locator("input, textarea").fill(value)
    page.wait_for_function("document.querySelector('.ls-facts')?.textContent.includes('8 an epoch with repeats')")
    page.wait_for_function("document.querySelector('.ls-start')?.disabled === false")
    page.click(".ls-start")
    page.wait_for_selector(".ls-run:not([hidden]) .ls-badge[data-state=running]")
    # The reload changes nothing for the run; another browser sees the same.
    page.reload()
    page.wait_for_selector(".ls-run:not([hidden])")
    other = new_page()
    open_train(other, url)
    for one in (page, other):
        one.wait_for_selector(".ls-run .ls-badge[data-state=finished]", timeout=TRAINED)
        one.wait_for_selector(".ls-run .ls-chart polyline:not(.ls-dim)")
    assert "step 8 of 8" in page.locator(".ls-run-line").text_content()
    # The curve says its numbers under the pointer.
    page.locator(".ls-run .ls-chart-lines").hover()
    assert "smoothed" in page.locator(".ls-run .ls-chart-tip").text_content()
    page.wait_for_selector(".ls-run-samples img")
    page.wait_for_function("[...document.querySelectorAll('.ls-run-samples img')].every((i) => i.complete && i.naturalWidth > 0)")
    history = page.locator(".ls-history tbody tr")
    assert history.count() == 1 and "8 / 8" in history.text_content()
    run = next(project.runs_dir.iterdir())
    assert json.loads((run / "config.json").read_text(encoding="utf-8"))["batch_size"] == 2
    assert [p.suffix for p in project.output_dir.iterdir() if p.suffix == ".safetensors"]
    assert list((project.folder.parent.parent / "models" / "Lora" / "hana").glob("*.safetensors")), "the LoRA is where the WebUI looks"
    # Thrown away and put back.
    history.locator("button", has_text="Delete").click()
    page.click(".ls-dialog .ls-danger")
    for one in (page, other):  # the other page is told, and does not ask for a run that is gone
        one.wait_for_function("document.querySelectorAll('.ls-history tbody tr').length === 0")
    page.click("text=Trash (1)")
    page.click(".ls-dialog .ls-row .ls-button >> nth=0")
    page.wait_for_selector(".ls-history tbody tr")


@pytest.mark.parametrize(("step", "asked"), [("train", ""), ("test", "/evaluation")])
def test_a_run_that_another_window_deletes_while_it_is_asked_for(
    studio_page: Callable[..., str], page: Any, new_page: Callable[..., Any], project: Project, step: str, asked: str
) -> None:
    """The window is on its way to ask for the run while the other one moves it to the trash: no complaint, and the next run is shown."""
    names = ["2026-01-01_00-00-00", "2026-01-02_00-00-00"]
    for name in names:
        run = project.runs_dir / name
        run.mkdir(parents=True)
        (run / "config.json").write_text(json.dumps({"output_name": "hana"}), encoding="utf-8")
        EventWriter(run).write("stopped", step=3, epoch=1)
    url = studio_page("page", project.folder.parent.parent)
    open_train(page, url)
    page.wait_for_selector(f".ls-history tr[data-run='{names[1]}']")
    other = new_page()
    held: list[Any] = []
    other.add_init_script(f"localStorage.setItem('lora_studio.project', 'hana'); localStorage.setItem('lora_studio.step', '{step}');")
    other.route(f"**/runs/{names[1]}{asked}", lambda route: held.append(route))
    with other.expect_request(f"**/runs/{names[1]}{asked}"):
        other.goto(url)
    page.locator(f".ls-history tr[data-run='{names[1]}'] button", has_text="Delete").click()
    page.click(".ls-dialog .ls-danger")
    page.wait_for_selector(f".ls-history tr[data-run='{names[1]}']", state="detached")
    assert held
    for route in held:
        route.continue_()
    shown = ".ls-run:not([hidden]) h3" if step == "train" else ".ls-test-run option:checked"
    text_is = "([where, text]) => (document.querySelector(where) || {textContent: ''}).textContent.includes(text)"
    other.wait_for_function(text_is, arg=[shown, "2026-01-01 00:00:00"])
    assert other.locator(".ls-toast.ls-error").count() == 0


@pytest.mark.parametrize("width", [1440, 400])
def test_a_training_that_was_cut_off_is_offered_on_every_step(studio_page: Callable[..., str], page: Any, project: Project, width: int) -> None:
    """As after a restart: a run whose process is gone without a last word."""
    run = project.runs_dir / "2026-01-02_13-14-15"
    run.mkdir(parents=True)
    config = {"output_name": "hana", "base": "demo", "folders": [str(project.dataset_dir)], "output_dir": str(project.output_dir)}
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (run / "process.json").write_text(json.dumps({"pid": 1, "created": 1.0, "tied": True}), encoding="utf-8")
    events = EventWriter(run)
    events.write("started", device="cpu")
    events.write("step", step=340, total=1200, epoch=3, epochs=10, loss=0.1, loss_average=0.1)
    page.set_viewport_size({"width": width, "height": 900})
    page.add_init_script("localStorage.setItem('lora_studio.project', 'hana'); localStorage['lora_studio.step'] ||= 'edit';")
    url = studio_page("page", project.folder.parent.parent)
    page.goto(url)
    card = page.locator(".ls-cut-off")
    card.wait_for()
    assert "at step 340 of 1,200" in card.inner_text() and "together with the launcher" in card.inner_text()
    box = card.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width and page.evaluate("document.documentElement.scrollWidth") <= width
    page.click(".ls-step[data-step=train]")  # here the run's own card says it, and has the button
    page.wait_for_selector(".ls-run:not([hidden]) .ls-run-trouble")
    assert not card.is_visible() and page.locator(".ls-run .ls-primary", has_text="Resume").is_visible()
    page.click(".ls-step[data-step=crop]")
    card.locator("button", has_text="Not now").click()
    assert not card.is_visible()
    page.reload()
    page.wait_for_selector(".ls-ready")
    assert not card.is_visible(), "put off once, it is not offered again"
    page.evaluate("localStorage.removeItem('lora_studio.cut_off.hana')")
    page.reload()
    card.locator("button", has_text="Resume").click()
    page.wait_for_selector(".ls-panel[data-step=train]:not([hidden])")
    page.wait_for_function("document.querySelector('.ls-run:not([hidden]) [data-state]')?.dataset.state !== 'crashed'")
    page.click(".ls-step[data-step=crop]")
    assert not card.is_visible()


def test_downloads_are_offered_and_say_when_there_is_no_network(
    studio_page: Callable[..., str], page: Any, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    open_train(page, studio_page("page", project.folder.parent.parent))
    page.click("text=Download a base…")
    page.wait_for_selector(".ls-base-line")
    assert page.locator(".ls-base-line").count() == 9
    page.locator(".ls-base-line[data-base=sd15] button").click()
    page.wait_for_selector(".ls-toast.ls-error")
    text = page.locator(".ls-toast.ls-error").text_content()
    assert "could not be downloaded" in text and "v1-5-pruned-emaonly.safetensors" in text


def test_settings_of_kohya_are_taken(studio_page: Callable[..., str], page: Any, project: Project) -> None:
    open_train(page, studio_page("page", project.folder.parent.parent))
    page.wait_for_function("document.querySelector('.ls-start')?.disabled === false")
    with page.expect_file_chooser() as chooser:
        page.click("text=Import from kohya…")
    text = '[training_arguments]\noutput_name = "mine"\nmax_train_epochs = 7\nnonsense_key = "<img src=x onerror=alert(1)>"\n'
    chooser.value.set_files([{"name": "config.toml", "mimeType": "application/toml", "buffer": text.encode()}])
    page.wait_for_selector(".ls-dialog")
    assert "nonsense_key" in page.locator(".ls-dialog").text_content() and page.locator(".ls-dialog img").count() == 0
    page.keyboard.press("Escape")
    page.wait_for_function("document.querySelector('[data-option=epochs] input')?.value === '7'")
    assert page.locator(".ls-own-presets .ls-toggle[aria-pressed=true]").text_content() == "mine"
    page.reload()
    page.wait_for_function("document.querySelector('[data-option=epochs] input')?.value === '7'")
