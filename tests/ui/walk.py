"""The whole way through the page as a person clicks it: used by the test of it and by the script that takes the README's pictures."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lora_studio.demo.raw_pictures import raw_picture
from lora_studio.demo.scene import Character, parse_character, sample_scene

LONG = 600_000  # milliseconds: a training and its packages on a busy machine


def draw(folder: Path, who: Character, seed: int, count: int) -> list[Path]:
    """Pictures as a person has them, and with one of them a caption that says a tag twice."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    paths = []
    for k in range(count):
        path = folder / f"{k + 1:02d}.png"
        raw_picture(sample_scene(rng, who), rng).image.save(path)
        paths.append(path)
    caption = folder / "01.txt"
    caption.write_text(", ".join(("1girl", *who.traits, "smile", "smile")), encoding="utf-8")
    return [*paths, caption]


class Walk:
    """One person at one page. ``seen(name)`` is called when there is something worth a picture."""

    def __init__(self, page: Any, seen: Callable[[str], None] = lambda name: None) -> None:
        self.page = page
        self.seen = seen

    def step(self, name: str) -> None:
        self.page.locator(f".ls-step[data-step={name}]").click()

    def note(self, step: str) -> str:
        return str(self.page.locator(f".ls-step[data-step={step}] .ls-step-note").text_content())

    def done(self, *steps: str) -> None:
        """Wait until these steps are marked as done."""
        for step in steps:
            self.page.wait_for_selector(f".ls-step.ls-done[data-step={step}]")

    def new(self, files: Sequence[Path], name: str, pictures: int) -> None:
        page = self.page
        self.step("project")
        page.locator(".ls-drop input[type=file]").first.set_input_files(files)
        page.locator(".ls-dialog input").fill(name)
        page.locator(".ls-dialog button.ls-primary").click()
        page.wait_for_function("(n) => document.querySelectorAll('.ls-sheet-cell').length === n", arg=pictures, timeout=LONG)
        page.wait_for_selector(".ls-advice-row, .ls-ok-text")
        page.wait_for_function("() => !document.querySelector('.ls-job[data-job=check]:not([hidden])')")
        self.done("project")
        self.seen("1-project")

    def crop(self, side: int) -> None:
        page = self.page
        self.step("crop")
        page.wait_for_selector(".ls-crop-open")
        page.locator(".ls-crop-settings select").first.select_option("other")
        for field in page.locator(".ls-crop-two input").all()[:2]:
            with page.expect_response(lambda r: r.url.endswith("/crop/options")):
                field.fill(str(side))
                field.press("Tab")
        page.wait_for_function("() => ![...document.querySelectorAll('.ls-crop-marks')].some((m) => m.textContent.includes('…'))", timeout=LONG)
        self.seen("2-crop")
        page.locator(".ls-panel[data-step=crop] button.ls-primary").first.click()
        page.wait_for_selector(".ls-crop-report", timeout=LONG)
        self.done("crop")

    def tag(self, model: str) -> None:
        page = self.page
        self.step("tag")
        page.wait_for_selector(".ls-tag-start")
        page.locator("select[data-name=model]").select_option(model)
        page.wait_for_function("() => document.querySelector('.ls-tag-start')?.disabled === false")
        page.locator(".ls-tag-start").click()
        page.wait_for_selector(".ls-tag-report .ls-ok-text", timeout=LONG)
        page.wait_for_selector(".ls-cloud-tag")
        self.done("tag")
        self.seen("3-tag")

    def dedupe(self) -> None:
        page = self.page
        self.step("edit")
        page.wait_for_selector(".ls-edit-card .ls-chip")
        button = page.locator(".ls-edit-bar button").first
        page.wait_for_function("() => document.querySelector('.ls-edit-bar button')?.disabled === false")
        button.click()
        page.wait_for_function("() => document.querySelector('.ls-edit-bar button')?.disabled")

    def remove_traits(self, trigger: str, others: Sequence[str] = ()) -> None:
        """others: tags that no group takes out by itself (glasses can be put on and off), chosen by a click."""
        page = self.page
        self.seen("4-edit")
        page.locator(".ls-edit-bar button.ls-primary").click()
        page.wait_for_selector(".ls-trait-chip.ls-gone")
        page.locator(".ls-dialog .ls-edit-fields input[type=text]").fill(trigger)
        for tag in others:
            chip = page.locator(f'.ls-trait-chip[data-tag="{tag}"]')
            if not chip.count():
                page.locator(".ls-trait-group", has=page.locator(".ls-hint", has_text="")).last.locator("input[type=checkbox]").check()
                chip.wait_for()
            if "ls-gone" not in (chip.get_attribute("class") or ""):
                chip.click()
        page.wait_for_timeout(800)  # the preview follows what was clicked
        self.seen("4-edit-traits")
        page.locator(".ls-dialog button.ls-primary").click()
        page.wait_for_selector(".ls-dialog", state="detached", timeout=LONG)
        self.done("edit")

    def train(self, base: str, preset: str, settings: dict[str, str]) -> None:
        page = self.page
        self.step("train")
        page.wait_for_selector(".ls-start")
        options = page.locator(".ls-base select option")
        value = next(o.get_attribute("value") for o in options.all() if base in (o.get_attribute("value") or "") or base in (o.text_content() or ""))
        page.locator(".ls-base select").select_option(value)
        page.locator(f".ls-choice[data-preset={preset}]").click()
        page.evaluate("document.querySelectorAll('.ls-options-group').forEach((d) => { d.open = true; })")
        for name, text in settings.items():
            page.locator(f".ls-option[data-option={name}]").locator("input, textarea").first.fill(text)
        page.evaluate("document.querySelectorAll('.ls-options-group').forEach((d, k) => { d.open = k === 0; })")
        page.wait_for_timeout(600)
        page.wait_for_function("() => document.querySelector('.ls-start')?.disabled === false")
        page.evaluate("document.querySelector('.ls-new-training').scrollIntoView({block: 'start'})")
        self.seen("5-train-options")
        page.locator(".ls-start").click()
        page.wait_for_selector(".ls-run .ls-badge[data-state=finished]", timeout=LONG)
        page.wait_for_function("[...document.querySelectorAll('.ls-run-samples img')].every((i) => i.complete && i.naturalWidth > 0)")
        self.done("train")
        page.evaluate("document.querySelector('.ls-run').scrollIntoView({block: 'start'})")
        self.seen("5-train")

    def evaluate(self, settings: dict[str, str]) -> None:
        page = self.page
        self.step("test")
        form = page.locator(".ls-test-form")
        form.wait_for()
        page.evaluate("document.querySelectorAll('.ls-test-form details').forEach((d) => { d.open = true; })")
        for name, text in settings.items():
            form.locator(f"input[data-name={name}]").fill(text)
        form.locator("button.ls-primary").click()
        page.wait_for_selector(".ls-test-verdict", timeout=LONG)
        page.wait_for_function("[...document.querySelectorAll('.ls-panel[data-step=test] img')].some((i) => i.complete && i.naturalWidth > 0)")
        self.done("test")
        self.seen("6-test")


def character(text: str) -> Character:
    return parse_character(text)
