"""Nothing English is left on the Chinese page: every text, tooltip, placeholder and label in sight, in every step."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_studio.training.bases import CATALOGUE
from lora_studio.training.options import CHOICES
from lora_studio.web.assets import words
from tests.ui.filled import filled_project, open_project, walk
from tests.ui.test_page_starts import open_tab

pytestmark = pytest.mark.slow

# What people who write Chinese write in Latin letters too.
NAMES = """
    LoRA LoRAs Lora Studio LoCon LyCORIS WD14 WD MCut TensorBoard WebUI Forge Danbooru kohya
    sd-scripts diffusers PyTorch CUDA CPU GPU ONNX YuNet YOLO Pillow
    UNet VAE CLIP SD SDXL XL Stable Diffusion Pony Illustrious NoobAI Animagine Hugging Face Civitai AdamW
    AdamW8bit Prodigy Lion DAdaptation Adafactor
    fp16 bf16 fp32 fp8 bfloat16 PNG JPEG WebP AVIF BMP GIF JSON ZIP SHA TXT Ctrl Shift Alt Enter Escape Esc Delete Tab Home End PageUp PageDown Space
    CFG token tokens alpha dim rank dropout EMA epoch Min-SNR SNR IoU ID OK URL px GB MB KB safetensors ckpt yaml demo
    png jpg webp txt raw dataset zip json
    AND OR NOT Betas gamma huber skip l2 l1 auto DDIM Euler
"""
# What stands in the project of this test.
DATA = "hana mikuzu girl"
# Sizes, paths, addresses, code, keys of options, examples of the filter's language; names of files.
CODE = re.compile(
    r"""[\w.-]+\.(png|jpe?g|webp|txt|safetensors|ckpt|json|html|onnx|csv|zip|toml|yaml)\b | [\w.-]*[/\\][\w./\\<>-]+ | <[^>]*> | \{\w+(:\d)?\}
    | \b[a-z]+(_[a-z0-9]+)+\b | \w+:\S+ | \d+x\d+ | [\w.-]+=[\w.,-]+ | \b[A-Z]\b(?!-) | “[a-z ]+” | `[^`]*` | \b(wd|hana)-[\w.-]+""",
    re.VERBOSE,
)
HAN = re.compile("[\u3400-\u9fff]")
KEYS = {key.lower() for key, text in words("zh_CN").items() if key != text}
ALLOWED = {word.lower() for word in (NAMES + DATA).split()} | {word.lower() for choices in CHOICES.values() for word in map(str, choices)}
ALLOWED |= {word.lower() for base in CATALOGUE.values() for word in re.findall(r"[\w'-]+", base.title)}

COLLECT = """() => {
    const found = [], root = document.querySelector('#lora_studio');
    const seen = (node) => node.getClientRects().length > 0;
    const ours = (node) => !node.closest('[translate=no], code, kbd, pre, script, style, textarea, datalist');
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const parent = node.parentElement, at = parent.closest('option') ? parent.closest('select') : parent;
        if (node.data.trim() && at && seen(at) && ours(parent)) found.push([parent.className || parent.tagName, node.data.trim()]);
    }
    for (const node of root.querySelectorAll('*')) if (seen(node) && ours(node))
        for (const name of ['title', 'placeholder', 'aria-label', 'alt']) {
            const text = node.getAttribute(name);
            if (text && text.trim()) found.push([name + ' of ' + (node.className.baseVal ?? node.className), text.trim()]);
        }
    return found;
}"""


def latin(text: str) -> list[str]:
    """The words of a text that are not Chinese and no name either. Amid Chinese a Latin word is a name, unless it is one of our own texts."""
    words = re.findall(r"[A-Za-z][A-Za-z0-9'-]+", CODE.sub(" ", text))
    foreign = [word for word in words if word.lower() not in ALLOWED]
    return [word for word in foreign if word.lower() in KEYS or re.search(f"{word} [a-z]", text)] if HAN.search(text) else foreign


def untranslated(page: Any, where: str, found: dict[str, str]) -> None:
    for at, text in page.evaluate(COLLECT):
        if latin(text):
            found.setdefault(text, f"{where}: {at}")


@pytest.mark.parametrize("text", ["Train", "选择 Close", "一张 picture of it", "(optional)"])
def test_what_is_english_is_seen(text: str) -> None:
    assert latin(text)


@pytest.mark.parametrize("text", ["训练 LoRA", "512 × 512（SDXL）", "图一.png", "network_dim：秩", "打开 /home/me/x.png", "Ctrl + Z", "tag:smile"])
def test_what_is_a_name_is_let_be(text: str) -> None:
    assert not latin(text)


def test_without_a_project(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    open_tab(page, "page", studio_page("page", tmp_path, "zh_CN"))
    found: dict[str, str] = {}
    walk(page, lambda where: untranslated(page, where, found))
    assert found == {}, "\n".join(f"{text!r}  ({where})" for text, where in found.items())


def test_with_everything_there(studio_page: Callable[..., str], page: Any, tmp_path: Path) -> None:
    project = filled_project(tmp_path)
    open_tab(page, "page", studio_page("page", tmp_path, "zh_CN"))
    open_project(page, project.name)
    found: dict[str, str] = {}
    walk(page, lambda where: untranslated(page, where, found))
    assert found == {}, "\n".join(f"{text!r}  ({where})" for text, where in found.items())
