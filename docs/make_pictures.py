"""Takes the README's pictures of every step from the running page, in both languages: python docs/make_pictures.py [OUT]

It clicks the whole way on the demo's pictures, as tests/ui/test_whole_way.py does, trains a real LoRA on the embedded model meanwhile (some
minutes), and keeps what the page shows. Needs what the browser tests need: python launch.py setup --tests.
"""

from __future__ import annotations

import os
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from PIL import Image  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

from tests.ui.conftest import Server  # noqa: E402
from tests.ui.walk import LONG, Walk, character, draw  # noqa: E402

LANGUAGES = {"en": "en", "zh_CN": "zh"}
WHO = "purple hair, short hair, yellow eyes, cat ears"
TRAINING = {"epochs": "3", "steps": "", "threads": "1"}
EVALUATION = {"trigger_pictures": "6", "flexibility_pictures": "4", "leakage_pictures": "4", "steps": "16", "weights": "0.6, 0.8, 1"}
SIZE = {"width": 1280, "height": 860}


def take(page: Any, path: Path) -> None:
    """A screenshot as WebP: a quarter of PNG's size."""
    page.wait_for_timeout(700)
    page.evaluate("document.querySelectorAll('.ls-toast').forEach((note) => note.remove())")
    # Where this run keeps its project says nothing to a reader.
    page.evaluate("document.querySelectorAll('.ls-project-path').forEach((path) => { path.textContent = 'projects/hanako'; })")
    picture = Image.open(BytesIO(page.screenshot()))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.convert("RGB").save(path, "WEBP", quality=82, method=6)
    print(path, flush=True)


def walk(chromium: Any, locale: str, out: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        files = draw(data / "mine", character(WHO), 3, 16)
        server = Server("page", data / "data", "--locale", locale)
        try:
            page = chromium.new_page(viewport=SIZE, device_scale_factor=1)
            page.set_default_timeout(LONG)
            page.goto(server.url)
            page.wait_for_selector(".ls-ready")
            way = Walk(page, lambda name: take(page, out / LANGUAGES[locale] / f"{name}.webp"))
            way.new(files, "hanako", 16)
            way.crop(128)
            way.tag("demo")
            way.dedupe()
            way.remove_traits("hanako")
            way.train("demo", "character", {name: text for name, text in TRAINING.items() if text})
            way.evaluate(EVALUATION)
        finally:
            server.close()


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures"
    named = os.environ.get("LORA_STUDIO_CHROMIUM")
    found = [p for p in (named, "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome") if p and Path(p).exists()]
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found[0] if found else None, args=["--no-sandbox"])
        for locale in LANGUAGES:
            walk(chromium, locale, out)
        chromium.close()


if __name__ == "__main__":
    main()
