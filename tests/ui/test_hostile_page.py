"""Names, tags and texts that are made of HTML and code are shown as they are, in every step, and never run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.loras import RUN
from tests.ui.filled import Texts, data_of, filled_project, open_project, walk
from tests.ui.test_page_starts import open_tab

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")]

HACK = '<img src=x onerror="window.__hacked=1">'
# A folder's name has no < here, as on Windows; everything else may have anything.
EVIL = Texts(
    project="'onerror='window.__hacked=1' {n} &lt;b&gt; ${x} 花",
    pictures=(HACK, "\"'><svg onload=window.__hacked=1>", "javascript:window.__hacked=1"),
    tags=(
        HACK, "javascript:window.__hacked=1", "<script>window.__hacked=1</script>", "{n} {name} $1 $& \\u003cb\\u003e", "constructor", "__proto__",
        "&lt;i&gt; ' \" `",
    ),
    trigger="</textarea><script>window.__hacked=1</script>",
)


FOUND = """() => {
    const root = document.querySelector('#lora_studio');
    const bad = 'script, svg [onload], [onerror], [onclick], a[href^=javascript], img[src=x], iframe';
    const told = [...root.querySelectorAll('[title], [value], [alt]')].map((x) => x.title + x.value + x.alt);
    return {hacked: window.__hacked, bad: root.querySelectorAll(bad).length, text: [root.textContent, ...told].join('\\n')};
}"""


@pytest.mark.parametrize("kind", ["page", "webui3"])
def test_texts_are_texts(studio_page: Callable[..., str], page: Any, console: Any, tmp_path: Path, kind: str) -> None:
    project = filled_project(tmp_path, kind, EVIL)
    shown = project.folder / "runs" / RUN
    shown.rename(shown.with_name("<b onclick=window.__hacked=1>run"))
    address = studio_page(kind, tmp_path, "zh_CN")
    open_tab(page, kind, address)
    assert data_of(tmp_path, kind).joinpath("projects", EVIL.project).is_dir()
    page.evaluate(
        """async ([names, settings]) => {
            for (const name of names) await LoraStudio.api.put('training/presets', {name, preset: 'character', settings});
        }""",
        [["'onerror='window.__hacked=1' &lt;b&gt; ${x}", "constructor", "__proto__"], {"trigger": EVIL.trigger}],
    )
    open_project(page, EVIL.project)
    assert page.locator(".ls-project-name").text_content() == EVIL.project
    seen: dict[str, str] = {}

    def look(where: str) -> None:
        found = page.evaluate(FOUND)
        assert found["hacked"] is None and found["bad"] == 0, where
        seen[where] = found["text"]

    walk(page, look)
    everything = "\n".join(seen.values())
    for text in (EVIL.project, *EVIL.pictures, *EVIL.tags, EVIL.trigger):
        assert text in everything, text
    assert HACK in seen["edit"] and f"{HACK}.png" in seen["crop"]


def test_messages_are_texts(studio_page: Callable[..., str], page: Any, console: Any, tmp_path: Path) -> None:
    """What the server says about a hostile name, and what a dialog or a message is given."""
    console.allow("status of 4")
    open_tab(page, "page", studio_page("page", tmp_path))
    page.evaluate("""async (hack) => {
        await LoraStudio.attempt(() => LoraStudio.openProject(hack));
        await LoraStudio.attempt(() => LoraStudio.api.post('projects', {name: hack}));
        LoraStudio.toast(hack, 'error', hack);
        LoraStudio.confirm({title: hack, body: hack, ok: hack});
        LoraStudio.root.append(LoraStudio.h('div.hack', {title: hack, 'data-x': hack}, hack, [hack, [hack]]));
        LoraStudio.setWords('zh_CN', {'Saved {}.': '<b>已保存</b> {}。'});
        LoraStudio.toast(LoraStudio.ts('Saved ' + hack + '.'), 'error');
    }""", HACK)
    page.wait_for_timeout(500)
    assert page.evaluate("window.__hacked") is None
    assert page.locator("#lora_studio img[src=x], #lora_studio [onerror]").count() == 0
    assert page.locator(".ls-toast", has_text=HACK).count() == 4
    assert page.locator(".ls-dialog h3").text_content() == HACK
    assert page.locator(".hack").text_content() == HACK * 3
    assert page.locator(".ls-toast").last.locator("div").first.text_content() == f"<b>已保存</b> {HACK}。"
