"""What Lora Studio adds to the WebUI's start: the script, the settings, the tab and the routes, beside gradio's own import; and install.py.

    PYTHON benchmarks/registration.py [--json]      PYTHON: one that has the host's gradio (see tests/environments.py)

The host is the stand-in of tests/fake_host. What the host has loaded by itself is loaded before the clock starts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "diffusers", "transformers", "peft", "accelerate", "onnxruntime", "pandas", "tensorboard", "smartcrop", "safetensors")


def child() -> None:
    """One start in this process; its seconds (of the processor) and what it loaded as JSON."""
    times = {}
    clock = time.process_time  # of the processor: other programs do not count

    def lap(name: str, since: float) -> float:
        times[name] = clock() - since
        return clock()

    start = clock()
    import gradio as gr
    import PIL.Image  # noqa: F401 - the host has both long before extensions are loaded

    lap("gradio", start)
    sys.path[:0] = [str(ROOT / "tests" / "fake_host"), str(ROOT)]
    from modules import options, script_callbacks, scripts, shared  # noqa: F401

    with gr.Blocks(analytics_enabled=False):  # the host has built its own page parts by then
        gr.HTML("")
    script_callbacks.on_ui_tabs(list)  # and registered its own extensions, whose first one pays for the host's look at the call stack
    scripts.extension_dirs = [str(ROOT)]
    before = set(sys.modules)
    start = clock()
    scripts.load_scripts()
    start = lap("script", start)
    script_callbacks.ui_settings_callback()
    start = lap("settings", start)
    with gr.Blocks(analytics_enabled=False) as page:
        start = clock()
        for tab, title, ident in script_callbacks.ui_tabs_callback():
            with gr.TabItem(title, id=ident):
                tab.render()
    lap("tab", start)
    app = gr.routes.App.create_app(page)
    start = clock()
    script_callbacks.app_started_callback(page, app)
    lap("routes", start)
    from lora_studio.ui.webui import context
    from lora_studio.web.app import api

    start = clock()
    found = len(api(context()).routes)
    lap("first request", start)
    total = sum(times[name] for name in ("script", "settings", "tab", "routes"))
    loaded = sorted({name.split(".")[0] for name in set(sys.modules) - before} & set(HEAVY))
    print("RESULT " + json.dumps({"seconds": times, "total": total, "heavy": loaded, "routes": found, "gradio": gr.__version__}))


def start_once(python: str = sys.executable) -> dict[str, object]:
    """One start in a fresh process. Raises RuntimeError with its output when it fails."""
    with tempfile.TemporaryDirectory() as data:
        arguments = [python, str(Path(__file__).resolve()), "--child", "--data-dir", data]
        environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", "PYTHONUTF8": "1"}
        done = subprocess.run(arguments, capture_output=True, text=True, encoding="utf-8", env=environment, cwd=data)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line[7:])
    raise RuntimeError(done.stdout + done.stderr)


def install_once(python: str = sys.executable) -> float:
    """Seconds that install.py takes more than Python itself, with all packages there."""

    def run(*arguments: str) -> float:
        with tempfile.TemporaryDirectory() as data:
            since = time.perf_counter()
            environment = {**os.environ, "LORA_STUDIO_PYTHON": python}
            subprocess.run([python, *arguments], check=True, cwd=data, env=environment, stdout=subprocess.DEVNULL)
            return time.perf_counter() - since

    return run(str(ROOT / "install.py")) - run("-c", "pass")


def median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def main() -> None:
    if "--child" in sys.argv:
        sys.argv.remove("--child")
        return child()
    starts = [start_once() for _ in range(5)]
    parts = {name: median([s["seconds"][name] for s in starts]) for name in starts[0]["seconds"]}
    result = {
        "gradio": starts[0]["gradio"], "seconds": parts, "total": median([s["total"] for s in starts]), "heavy": starts[0]["heavy"],
        "routes": starts[0]["routes"], "install": median([install_once() for _ in range(5)]),
    }  # fmt: skip
    if "--json" in sys.argv:
        print(json.dumps(result))
        return None
    heavy = ", ".join(result["heavy"]) or "none"
    print(f"gradio {result['gradio']}: its import {parts['gradio']:.2f} s; {result['routes']} routes of ours, heavy packages loaded: {heavy}")
    print("  ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in parts.items() if name != "gradio"))
    print("(the first request, when somebody opens the tab, makes the routes)")
    print(f"registration in all {result['total'] * 1000:.0f} ms, {result['total'] / parts['gradio']:.3f} of gradio's own import")
    print(f"install.py with nothing to do {result['install'] * 1000:.0f} ms beyond Python's own start")
    return None


if __name__ == "__main__":
    main()
