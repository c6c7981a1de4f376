"""A proxy (Clash, v2ray) set in the environment or in the system stands between nobody and this machine's own addresses."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_studio import proxies
from lora_studio.environment import Environment
from lora_studio.errors import UserError
from lora_studio.fetching import fetch

ROOT = Path(__file__).resolve().parents[1]


def closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


DEAD = f"http://127.0.0.1:{closed_port()}"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def here() -> Iterator[str]:
    """The address of a server on this machine that answers everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(b"ok")

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """In silence."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize(
    ("environ", "excepted"),
    [
        ({}, None),
        ({"NO_PROXY": "example.org"}, None),  # no proxy is named: alone it would hide the system's
        ({"HTTP_PROXY": ""}, None),
        ({"HTTP_PROXY": DEAD}, "127.0.0.1,localhost,::1"),
        ({"ALL_PROXY": "socks5://127.0.0.1:7890"}, "127.0.0.1,localhost,::1"),
        ({"https_proxy": DEAD, "NO_PROXY": "example.org, localhost"}, "example.org,localhost,127.0.0.1,::1"),
        ({"https_proxy": DEAD, "NO_PROXY": "a.org", "no_proxy": "b.org"}, "a.org,b.org,127.0.0.1,localhost,::1"),
        ({"https_proxy": DEAD, "no_proxy": "*"}, None),
    ],
)
def test_what_is_excepted_stays_so(environ: dict[str, str], excepted: str | None) -> None:
    assert proxies.local_direct(environ) == ({"NO_PROXY": excepted, "no_proxy": excepted} if excepted else {})


@pytest.mark.parametrize("library", ["urllib.request", "requests", "httpx"])
def test_children_reach_this_machine(here: str, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    pytest.importorskip(library)
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, DEAD)
    ask = "urlopen" if library == "urllib.request" else "get"
    code = f"import {library} as library; library.{ask}({here!r}, timeout=20); print('reached')"
    without = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "reached" not in without.stdout  # so the proxy is in the way indeed
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=Environment().variables(), check=False)
    assert "reached" in done.stdout, done.stderr[-500:]


def system_proxy(monkeypatch: pytest.MonkeyPatch, found: dict[str, str]) -> None:
    """As Windows: what its settings say counts while no variable ends in _PROXY."""

    def getproxies() -> dict[str, str]:
        return urllib.request.getproxies_environment() or found

    monkeypatch.setattr(urllib.request, "getproxies", getproxies)
    for name in ("httpx._utils", "requests.utils", "requests.compat"):
        if name in sys.modules:
            monkeypatch.setattr(sys.modules[name], "getproxies", getproxies)


@pytest.mark.parametrize(
    "environ",
    [
        {"HTTP_PROXY": DEAD, "HTTPS_PROXY": DEAD},
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
        {"ALL_PROXY": "socks://127.0.0.1:9"},
        {"http_proxy": DEAD, "NO_PROXY": "x.org"},
        {},
    ],
)
def test_where_none_is_used_httpx_reaches_this_machine(here: str, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    """Also where httpx would fail to make a client at all, and through a system's proxy, whose exceptions it does not read."""
    httpx = pytest.importorskip("httpx")
    system_proxy(monkeypatch, {"http": DEAD})
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with pytest.raises((httpx.HTTPError, ImportError, ValueError)):
        httpx.head(here)
    with proxies.none_used():
        assert httpx.head(here).status_code == 200
    assert dict(os.environ) == before
    with pytest.raises(KeyError), proxies.none_used():
        raise KeyError
    assert dict(os.environ) == before


def test_a_system_proxy_stays_for_downloads(monkeypatch: pytest.MonkeyPatch) -> None:
    system_proxy(monkeypatch, {"http": DEAD, "https": DEAD})
    monkeypatch.setattr(os, "environ", {**os.environ, **Environment().variables()})
    assert urllib.request.getproxies()["https"] == DEAD


def test_a_socks_proxy_is_named_before_a_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:secret@127.0.0.1:7890")
    with pytest.raises(UserError, match=r"socks5://127\.0\.0\.1:7890 is a SOCKS proxy") as caught:
        fetch("https://example.org/model.safetensors", tmp_path / "model.safetensors")
    assert "secret" not in caught.value.message and "HTTPS_PROXY" in caught.value.hint
    proxies.check("http://example.org")  # goes straight
    monkeypatch.setenv("NO_PROXY", "example.org")
    proxies.check("https://example.org/model.safetensors")


@pytest.mark.slow
def test_the_page_of_its_own_starts(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    port = closed_port()
    named = {"HTTP_PROXY": DEAD, "HTTPS_PROXY": DEAD, "ALL_PROXY": "socks5://127.0.0.1:9"}
    variables = {**os.environ, **named, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "lora_studio", "ui", "--projects", str(tmp_path), "--port", str(port), "--no-browser"]
    process = subprocess.Popen(command, env=variables, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Lora Studio: http"):
                break
        else:
            pytest.fail("".join(said)[-2000:])
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://127.0.0.1:{port}/", timeout=60) as answer:
            assert answer.status == 200
    finally:
        process.kill()
        process.communicate()
