"""In the hosts' own style, light and dark: what lies over something else is opaque, and every text can be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.ui.filled import Texts, filled_project, open_project, walk
from tests.ui.test_page_starts import open_tab

pytestmark = pytest.mark.slow

#: what lies over other things, or has to look like a thing of its own
SURFACES = (
    ".ls-dialog, .ls-dialog:has(.ls-edit-bulk) > .ls-end, .ls-toast, .ls-badge, .ls-card, .ls-step, .ls-stay, .ls-tag-list, .ls-chart-tip, kbd, "
    ".ls-preflight, .ls-project-card, .ls-project-forget, .ls-sheet-cell, .ls-edit-card, .ls-toggle, .ls-choice, .ls-project-name, "
    ".ls-step.ls-done .ls-step-mark"
)
LEAST = 4.5  # WCAG 2.1, 1.4.3 AA
JUDGE = (Path(__file__).parent / "surfaces.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["webui3", "webui4"])
def test_everything_can_be_read(studio_page: Callable[..., str], page: Any, tmp_path: Path, kind: str) -> None:
    filled_project(tmp_path, kind, Texts(project="hana"))
    open_tab(page, kind, studio_page(kind, tmp_path))
    open_project(page, "hana")
    wrong: dict[str, str] = {}  # what is wrong -> where it was seen first
    pictures = os.environ.get("LORA_STUDIO_PICTURES")

    def look(where: str) -> None:
        for theme in ("light", "dark"):
            page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", theme == "dark")
            if pictures:
                name = "".join(c if c.isalnum() else "_" for c in where)
                page.screenshot(path=str(Path(pictures) / f"{kind}-{theme}-{name}.png"))
            for sentence in page.evaluate(JUDGE, {"surfaces": SURFACES, "least": LEAST}):
                wrong.setdefault(f"{theme}: {sentence}", where)

    walk(page, look)
    page.evaluate("LoraStudio.toast('Saved.'); LoraStudio.toast('It cannot be read.', 'error')")
    page.wait_for_selector(".ls-toast")
    look("toasts")
    assert not wrong, "\n".join(f"{where}: {what}" for what, where in wrong.items())
