"""A project in which every step has something to show, without a training: for tests of what the page shows.

    project = filled_project(tmp_path, "page")
    walk(page, lambda step: …)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lora_studio.evaluation import EvaluateOptions
from lora_studio.project import Project
from tests.loras import RUN, trained_project

#: what opens one picture in a dialog
OPENS = {"crop": ".ls-crop-open", "edit": ".ls-edit-open", "test": ".ls-shot"}
STEPS = ("project", "crop", "tag", "edit", "train", "test")


@dataclass(frozen=True)
class Texts:
    """What a person may have written."""

    project: str = "花子"
    pictures: Sequence[str] = ("图一", "图二", "图三")
    tags: Sequence[str] = ("女孩", "微笑", "红发", "帽子", "微笑")
    trigger: str = "花花"
    preset: str = "我的"


def data_of(data: Path, kind: str) -> Path:
    """Where the page of this kind has its projects/."""
    return data if kind == "page" else data / "lora_studio"


def filled_project(data: Path, kind: str = "page", texts: Texts = Texts()) -> Project:
    projects = data_of(data, kind) / "projects"
    projects.mkdir(parents=True, exist_ok=True)
    folder = trained_project(projects, data / "models" / "Lora", name=texts.project, stem="hana")
    rng = np.random.default_rng(0)
    for k, name in enumerate(texts.pictures):
        noise = Image.fromarray(rng.integers(0, 256, (96, 128, 3), dtype=np.uint8))
        noise.resize((600, 800 if k else 300)).save(folder / "raw" / f"{name}.png")
        noise.resize((512, 512)).save(folder / "dataset" / f"{name}.png")
        (folder / "dataset" / f"{name}.txt").write_text(", ".join([texts.trigger, *texts.tags[k:]]), encoding="utf-8")
    (folder / "dataset" / "a.png").unlink()
    (folder / "dataset" / "a.txt").unlink()
    (folder / "raw" / "坏.png").write_bytes(b"no picture")
    project = replace(Project.open(folder), trigger=texts.trigger, traits=(texts.tags[2],))
    project.save()
    run = folder / "runs" / RUN
    for file in (run / "config.json", run / "events.jsonl"):
        facts = file.read_text(encoding="utf-8").replace("mikuzu", json.dumps(texts.trigger)[1:-1]).replace("1girl", json.dumps(texts.tags[0])[1:-1])
        file.write_text(facts, encoding="utf-8")
    _evaluated(run / "evaluation", texts)
    return project


def _evaluated(out: Path, texts: Texts) -> None:
    text = f"{texts.trigger}, {texts.tags[0]}"
    prompts = [{"kind": k, "text": text, "seed": 1, "looked_for": [texts.tags[2]]} for k in ("trigger", "flexibility", "leakage")]
    scores = {"likeness": 0.5, "flexibility": 1.0, "leakage": 0.0, "score": 0.7}
    report = {
        "recommended": 2, "reason": "Epoch 2 has the best balance: likeness 0.50.", "reason_zh": "第 2 轮最均衡。", "base": scores,
        "epochs": [{"epoch": n, **scores} for n in (1, 2, 3)], "prompts": prompts, "options": EvaluateOptions(weights=(0.5, 1.0)).to_dict(),
        "seconds": 60.0, "by_tag": {}, "notes": [], "base_model": "demo",
    }  # fmt: skip
    for place in ("base", "epoch-01", "epoch-02", "epoch-03"):
        (out / "pictures" / place).mkdir(parents=True)
        for prompt in prompts:
            Image.new("RGB", (64, 64), "red").save(out / "pictures" / place / f"{prompt['kind']}-01.webp")
    (out / "report.json").write_text(json.dumps(report), encoding="utf-8")
    (out / "report.html").write_text("<p>", encoding="utf-8")


def open_project(page: Any, name: str) -> None:
    page.evaluate("(name) => LoraStudio.openProject(name)", name)


def settle(page: Any) -> None:
    """Until nothing is fetched and nothing is changed any more (job bars may go on)."""
    page.wait_for_function(
        """() => {
            const now = document.querySelector('#lora_studio').textContent.length + ':' + performance.getEntriesByType('resource').length;
            const same = window.__ls_seen === now; window.__ls_seen = now; return same;
        }""",
        polling=500, timeout=20_000,
    )  # fmt: skip
    page.evaluate("delete window.__ls_seen")


def walk(page: Any, look: Callable[[str], None], dialogs: bool = True) -> None:
    """Open every step, every <details> in it, and every dialog behind a button that ends with "…"; ``look`` at each."""
    for step in STEPS:
        page.locator(f".ls-step[data-step={step}]").click()
        settle(page)
        panel = page.locator(f".ls-panel[data-step={step}]")
        look(step)
        page.evaluate("(step) => { for (const one of document.querySelectorAll(`.ls-panel[data-step=${step}] details`)) one.open = true; }", step)
        settle(page)
        look(step + ", unfolded")
        if not dialogs:
            continue
        inner = panel.locator(OPENS.get(step, ".ls-none"))
        if inner.count() and inner.first.is_visible():
            inner.first.click()
            settle(page)
            look(step + ", one picture")
            page.keyboard.press("Escape")
        for k in range(panel.locator("button").count()):
            button = panel.locator("button").nth(k)
            text = (button.text_content() or "").strip()
            if not text.endswith("…") or not button.is_visible() or not button.is_enabled():
                continue
            button.click()
            page.wait_for_timeout(300)
            settle(page)
            look(f"{step}, {text}")
            for _ in range(3):
                if page.locator(".ls-veil").count():
                    page.keyboard.press("Escape")
                    page.wait_for_timeout(100)
    page.locator(f".ls-step[data-step={STEPS[0]}]").click()
    page.keyboard.press("Shift+?")
    page.locator(".ls-veil .ls-keys").wait_for()
    look("shortcuts")
    page.keyboard.press("Escape")
