"""New, crop, tag, remove duplicates, remove traits, train, test, send: every click of the whole way, on each page there is."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_studio.demo.install import install_checkpoint
from tests.ui.test_page_starts import KINDS, open_tab
from tests.ui.walk import Walk, character, draw

pytestmark = [pytest.mark.slow, pytest.mark.torch]

WHO = "purple hair, short hair, yellow eyes, cat ears"
# One thread: several wait for each other when tests run side by side.
SHORT = {"epochs": "2", "repeats": "1", "batch_size": "3", "resolution": "128", "sample_steps": "4", "threads": "1"}
FEW = {"trigger_pictures": "2", "flexibility_pictures": "2", "leakage_pictures": "1", "steps": "6", "weights": "0.6, 1"}


@pytest.mark.parametrize("kind", KINDS)
def test_from_pictures_to_a_prompt(
    studio_page: Callable[..., str], page: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    # Inside a WebUI training and tagging are done by a process with packages of its own; here it is the tests' own Python.
    monkeypatch.setenv("LORA_STUDIO_PYTHON", sys.executable)
    data = tmp_path / "data"
    install_checkpoint(data / "models" / "Stable-diffusion")
    files = draw(tmp_path / "mine", character(WHO), 3, 6)
    open_tab(page, kind, studio_page(kind, data))
    walk = Walk(page)
    walk.new(files, "hana 花", 6)
    walk.crop(128)
    walk.tag("demo")
    walk.dedupe()
    walk.remove_traits("hanako")
    walk.train("tiny_world", "quick", SHORT)
    walk.evaluate(FEW)

    project = data / ("projects" if kind == "page" else "lora_studio/projects") / "hana 花"
    captions = [p.read_text(encoding="utf-8").split(", ") for p in sorted((project / "dataset").glob("*.txt"))]
    assert len(captions) == 6 and all(tags[0] == "hanako" for tags in captions)
    traits = set(WHO.split(", "))
    assert not any(traits & set(tags) for tags in captions)
    assert all(len(tags) == len(set(tags)) for tags in captions)
    assert set(json.loads((project / "project.json").read_text(encoding="utf-8"))["traits"]) >= traits
    loras = sorted(p.name for p in (data / "models" / "Lora").rglob("*.safetensors"))
    assert len(loras) == 2, loras
    assert walk.note("test").startswith("Epoch")

    # On to the prompt: into txt2img where there is one, else as a text to copy.
    if kind == "page":
        prompt = str(page.locator(".ls-test-verdict code").text_content())
    else:
        page.locator(".ls-test-verdict").get_by_role("button", name="Send to txt2img").click()
        page.wait_for_function("() => document.querySelector('#txt2img_prompt textarea')?.value.includes('<lora:')")
        prompt = page.locator("#txt2img_prompt textarea").input_value()
    name = prompt.split("<lora:")[1].split(":")[0]
    assert "hanako" in prompt and ":0.8>" in prompt and f"{name}.safetensors" in loras
