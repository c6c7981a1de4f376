"""Browser tests: the page served by the gradio that is wanted, and a Chromium that must not complain.

    def test_something(studio_page, page):
        url = studio_page("page", tmp_path)        # or "webui3" (gradio 3.41.2), "webui4" (4.40.0): see KINDS
        page.goto(url)
        page.wait_for_selector(".ls-ready")
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")
START = 180.0  # seconds: gradio's import alone takes eight on a slow machine

# kind of page -> (what serve.py is told, the environment variable naming the interpreter, the folder it is looked for in)
KINDS = {
    "page": ("page", "LORA_STUDIO_PAGE_PYTHON", ".venv"),
    "webui3": ("webui", "LORA_STUDIO_GRADIO3_PYTHON", ".venv-gradio3"),
    "webui4": ("webui", "LORA_STUDIO_GRADIO4_PYTHON", ".venv-gradio4"),
}


def missing(what: str) -> None:
    """Leaves the test out on a machine that lacks something; in CI it fails, so nothing goes untested unnoticed."""
    if IN_CI:
        pytest.fail(what)
    pytest.skip(what)


def interpreter(kind: str) -> str:
    """The Python that serves this kind of page. A page of our own may be served by the Python of the tests."""
    _, variable, folder = KINDS[kind]
    named = os.environ.get(variable)
    inside = ROOT / folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if named or inside.exists():
        return named or str(inside)
    if kind == "page":
        return sys.executable
    missing(f"{folder} is not there: run `python launch.py setup --tests`, or set {variable}")
    raise AssertionError


class Server:
    """One running page; ``log`` is what it printed."""

    def __init__(self, kind: str, data: Path, *more: str) -> None:
        told = KINDS[kind][0]
        data.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [interpreter(kind), str(HERE / "serve.py"), told, str(data), *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT,
            env={**os.environ, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"},
        )
        self.lines: list[str] = []
        self.ready = threading.Event()
        self.url = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.ready.wait(START)
        if not self.url:
            self.close()
            raise AssertionError(f"the {kind} page did not start:\n{self.log}")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            text = line.decode("utf-8", "replace").rstrip()
            self.lines.append(text)
            if text.startswith("Running on http") and not self.url:
                self.url = text.removeprefix("Running on ").strip().replace("0.0.0.0", "127.0.0.1")
                self.ready.set()
        self.ready.set()

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def close(self) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.reader.join(10)
        self.process.stdout.close()


@pytest.fixture
def studio_server() -> Iterator[Callable[..., Server]]:
    """studio_server(kind, data_dir, locale="", auth="name:password") -> Server, ended with the test."""
    running: list[Server] = []

    def start(kind: str, data_dir: Path, locale: str = "", auth: str = "", *more: str) -> Server:
        flags = [*(["--locale", locale] if locale else []), *(["--auth", auth] if auth else []), *more]
        running.append(Server(kind, data_dir, *flags))
        return running[-1]

    yield start
    for server in running:
        server.close()


@pytest.fixture
def studio_page(studio_server: Callable[..., Server]) -> Callable[..., str]:
    """studio_page(kind, data_dir, locale="") -> the page's address. Projects are in data_dir/projects, models in data_dir/models."""
    return lambda kind, data_dir, locale="", **more: studio_server(kind, data_dir, locale, **more).url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium. One a module: Playwright's loop must not stay in the way of other tests' own loops."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed: run `python launch.py setup --tests`")
    named = os.environ.get("LORA_STUDIO_CHROMIUM")
    found = [named] if named else [p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome") if Path(p).exists()]
    with sync_playwright() as driver:
        try:
            chromium = driver.chromium.launch(executable_path=found[0] if found else None, args=["--no-sandbox"])
        except Exception as error:
            missing(f"there is no Chromium: install it, or name it in LORA_STUDIO_CHROMIUM ({str(error)[:200]})")
            raise
        yield chromium
        chromium.close()


def answer_nothing(route: Any) -> None:
    route.fulfill(status=200, body="", content_type="text/css" if "css" in route.request.url else "text/javascript")


class Console:
    """What the page complained of: console errors, exceptions nobody caught, answers of our own routes that are not there.

    A test that provokes an error on purpose says so: ``console.allow("status of 409")``.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.allowed: list[str] = []

    def allow(self, part: str) -> None:
        self.allowed.append(part)

    def watch(self, page: Any) -> None:
        page.on("pageerror", lambda error: self.errors.append(f"exception: {error}"))
        page.on("console", lambda message: message.type == "error" and self._note(message.text, message.location.get("url", "")))

    def _note(self, text: str, url: str) -> None:
        # The hosts' own pages ask for files that they do not have.
        if "Failed to load resource" in text and "lora" not in url:
            return
        self.errors.append(f"{text} ({url})")

    def unexpected(self) -> list[str]:
        return [e for e in self.errors if not any(part in e for part in self.allowed)]


@pytest.fixture
def console() -> Console:
    return Console()


@pytest.fixture
def new_page(browser: Any, console: Console) -> Iterator[Callable[..., Any]]:
    """new_page(**context options) -> another page, a browser of its own (cookies, storage). Complaints of any of them fail the test."""
    contexts = []

    def make(**options: Any) -> Any:
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "locale": "en-US", **options}))
        contexts[-1].set_default_timeout(90_000)
        # No test reaches the network: what a host's page wants from there (fonts, an iframe helper) is answered with nothing.
        contexts[-1].route(lambda url: not url.startswith(("http://127.0.0.1", "http://localhost", "blob:", "data:")), answer_nothing)
        page = contexts[-1].new_page()
        console.watch(page)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not console.unexpected()


@pytest.fixture
def page(new_page: Callable[..., Any]) -> Any:
    """A page of 1280 × 900 in English that fails the test when its console shows an error."""
    return new_page()
