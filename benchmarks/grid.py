"""The edit step in Chromium with 1,000 and 10,000 pictures: first paint, scrolling, filter, a tag removed everywhere, undo.

    python benchmarks/grid.py [--sizes 1000 10000] [--rounds 5] [--chromium FILE] [--json]

Times are from the click (or the jump) to the cards with their tags being drawn, in milliseconds, medians. "frames": the longest and
the usual time between two frames while the grid is scrolled through. "nodes": elements in the page.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from dataset import make

ROOT = Path(__file__).resolve().parent.parent

HELPERS = """() => {
    window.inSight = () => {
        const grid = document.querySelector(".ls-edit-grid").getBoundingClientRect();
        const seen = (card) => { const at = card.getBoundingClientRect(); return at.bottom > grid.top && at.top < grid.bottom; };
        return [...document.querySelectorAll(".ls-edit-card")].filter(seen);
    };
    window.filled = () => { const cards = inSight(); return cards.length > 2 && cards.every((card) => card.querySelector(".ls-chip")); };
    window.timed = async (work, holds) => {
        const fits = new Function("return (" + holds + ")"), begin = performance.now();
        await work();
        while (!fits()) { await new Promise(requestAnimationFrame); if (performance.now() - begin > 60000) throw new Error("not drawn: " + holds); }
        await new Promise(requestAnimationFrame);
        return performance.now() - begin;
    };
    window.counted = (tag) => {
        const row = [...document.querySelectorAll(".ls-tag-row")].find((one) => one.dataset.tag === tag);
        return row ? parseInt(row.querySelector(".ls-tag-n").textContent) : 0;
    };
    window.shows = (tag) => inSight().some((card) => [...card.querySelectorAll(".ls-chip-text")].some((x) => x.textContent === tag));
    window.write = (text) => {
        const field = document.querySelector(".ls-edit-filter");
        field.value = text;
        field.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true}));
    };
}"""


def measure(page: Any, url: str, project: str, rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {}

    def time(name: str, work: str, holds: str) -> None:
        times.setdefault(name, []).append(page.evaluate(f"async () => timed(async () => {{ {work} }}, {json.dumps(holds)})"))

    page.goto(url)
    page.wait_for_selector(".ls-ready", timeout=120_000)
    page.evaluate(HELPERS)
    page.evaluate("async (id) => { await LoraStudio.openProject(id); LoraStudio.open('project'); }", project)
    total = page.evaluate("async (id) => (await LoraStudio.api.get(`projects/${id}/captions`)).total", project)
    for k in range(rounds):
        time("first paint" if not k else "paint again", "LoraStudio.open('edit')", "document.querySelector('.ls-edit-grid') && filled()")
        page.evaluate("() => LoraStudio.open('project')")
    page.evaluate("() => LoraStudio.open('edit')")
    page.wait_for_selector(".ls-edit-card .ls-chip")
    for k in range(rounds):
        place = (k * 0.37 + 0.21) % 1
        jump = f"const grid = document.querySelector('.ls-edit-grid'); grid.scrollTop = grid.scrollHeight * {place};"
        time("jump", jump + " await new Promise(requestAnimationFrame);", "filled()")
    frames = page.evaluate("""async () => {
        const grid = document.querySelector(".ls-edit-grid"), found = [];
        grid.scrollTop = 0;
        let last = await new Promise(requestAnimationFrame);
        for (let k = 0; k < 120; k++) {
            grid.scrollTop += 90;
            const now = await new Promise(requestAnimationFrame);
            found.push(now - last);
            last = now;
        }
        return found.sort((a, b) => a - b);
    }""")
    for k in range(rounds):
        time("filter", f"write('tag:\"red word{k}\" -tag:hat')", "filled() && document.querySelector('.ls-edit-count').textContent.includes(' of ')")
        time("filter off", "write('')", "filled() && !document.querySelector('.ls-edit-count').textContent.includes(' of ')")
    undo = "document.querySelector('.ls-edit-bar [aria-label^=Undo]').click()"
    for _ in range(rounds):
        page.wait_for_function("() => counted('smile') > 0")
        click = "document.querySelector('.ls-tag-row[data-tag=smile] .ls-tag-act:last-child').click()"
        time("remove a tag everywhere", click, "filled() && !counted('smile') && !shows('smile')")
        time("undo", undo, "filled() && counted('smile') > 0")
    found = {name: statistics.median(some) for name, some in times.items()}
    nodes = page.evaluate("document.querySelectorAll('*').length")
    return {"pictures": total, **found, "frames: usual": frames[len(frames) // 2], "frames: longest": frames[-1], "nodes": nodes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary)
        for size in options.sizes:
            make(data / "projects" / f"of{size}" / "dataset", size)
        server = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "ui" / "serve.py"), "page", str(data)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        try:
            assert server.stdout is not None and server.stdin is not None
            url = next(line.split()[-1] for line in server.stdout if line.startswith("Running on http"))
            with sync_playwright() as driver:
                browser = driver.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
                results = {}
                for size in options.sizes:
                    page = browser.new_page(viewport={"width": 1280, "height": 900})
                    page.set_default_timeout(180_000)
                    results[size] = measure(page, url, f"of{size}", options.rounds)
                    page.close()
                browser.close()
        finally:
            server.stdin.close()
            server.wait(20)
    if options.json:
        print(json.dumps(results))
        return
    for name in results[options.sizes[0]]:
        print(f"{name:26}" + "".join(f"{results[size][name]:12.1f}" for size in options.sizes))


if __name__ == "__main__":
    main()
