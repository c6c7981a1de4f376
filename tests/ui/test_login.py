"""The login of the host guards our routes too, on a running gradio 3.41.2, 4.40.0 and 6.17.3."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest

from tests.web.catalogue import Route, every_route

pytestmark = pytest.mark.slow
KINDS = ("page", "webui3", "webui4")


class Visitor:
    """A person with a browser's cookies and no browser."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.cookies = CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies), urllib.request.ProxyHandler({}))

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        request = urllib.request.Request(self.url + path, data=body, method=method, headers={k.replace("_", "-"): v for k, v in headers.items()})
        try:
            with self.opener.open(request, timeout=30) as answer:
                # A stream of events has no end; its first line is enough.
                return answer.status, answer.readline() if "event-stream" in answer.headers.get("Content-Type", "") else answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def log_in(self, name: str, password: str) -> int:
        form = urllib.parse.urlencode({"username": name, "password": password}).encode()
        return self.ask("POST", "/login", form, Content_Type="application/x-www-form-urlencoded")[0]

    def call(self, route: Route, **more: str) -> tuple[int, bytes]:
        return self.ask(route.method, route.filled(), None if route.method == "GET" else b"[]", X_Lora_Studio="1", **more)


def cookie_names(visitor: Visitor) -> list[str]:
    return sorted(c.name for c in visitor.cookies)


@pytest.mark.parametrize("kind", KINDS)
def test_every_route_is_behind_the_login(studio_page: Callable[..., str], tmp_path: Path, kind: str) -> None:
    url = studio_page(kind, tmp_path, auth="hana:blossom")
    routes = every_route()
    assert len(routes) > 5

    stranger = Visitor(url)
    assert {route: status for route in routes if (status := stranger.call(route)[0]) != 401} == {}
    assert json.loads(stranger.call(routes[0])[1])["error"] == "Log in first."
    assert stranger.log_in("hana", "wrong") in (400, 401)
    assert stranger.call(routes[0])[0] == 401

    programs = [("GET", "/tagger/v1/interrogators"), ("POST", "/tagger/v1/interrogate"), ("POST", "/tagger/v1/unload-interrogators")]
    assert [stranger.ask(method, path, b"{}" if method == "POST" else None)[0] for method, path in programs] == [401, 401, 401]

    forger = Visitor(url)
    for name in ("access-token", "access-token-unsecure", "access-token-x", "access-token-unsecure-x"):
        for value in ("", "None", "hana", "x" * 22):
            assert forger.call(routes[0], Cookie=f"{name}={value}")[0] == 401

    person = Visitor(url)
    assert person.log_in("hana", "blossom") == 200
    assert any(name.startswith("access-token") for name in cookie_names(person))
    for route in routes:
        # Without a body that makes sense nothing is started; what the route says of it is not asked here.
        if route.method == "GET" or "project" in route.parameters:
            status, answer = person.call(route)
            assert status not in (401, 403) and status < 500, (route, status, answer[:300])
    status, answer = person.ask("GET", "/lora-studio/api/v1/session", X_Lora_Studio="1")
    assert status == 200 and json.loads(answer)["host"] == ("standalone" if kind == "page" else json.loads(answer)["host"])
    # Without our header only with the word that the page was told, and of this person.
    word = json.loads(answer)["token"]
    assert person.ask("GET", f"/lora-studio/api/v1/events?token={word}")[1].startswith(b"event: hello")
    assert person.ask("GET", "/lora-studio/api/v1/events")[0] == 403
    assert person.ask("GET", "/lora-studio/api/v1/session")[0] == 403
    assert stranger.ask("GET", f"/lora-studio/api/v1/events?token={word}")[0] == 401

    status, answer = person.ask("GET", "/tagger/v1/interrogators")
    assert status == 200 and "demo" in json.loads(answer)["models"]

    # Of another site, with the cookie: refused, whatever the method.
    assert [person.ask(method, path, Sec_Fetch_Site="cross-site")[0] for method, path in programs] == [403, 403, 403]
    for route in routes:
        assert person.call(route, Sec_Fetch_Site="cross-site")[0] == 403, route
        assert person.call(route, Origin="https://evil.example")[0] == 403, route

    if kind == "page":  # where a visitor can leave again
        person.ask("GET", "/logout")
        assert person.call(routes[0])[0] == 401


def test_the_page_s_own_files_are_two_folders_and_no_more(studio_page: Callable[..., str], tmp_path: Path) -> None:
    visitor = Visitor(studio_page("page", tmp_path, auth="hana:blossom"))
    status, style = visitor.ask("GET", "/lora-studio/static/style.css")
    assert status == 200 and b".ls-root" in style  # the page that asks for the login loads it too
    climbing = ("../launch.py", "..%2flaunch.py", "%2e%2e%2flaunch.py", "..%5claunch.py", "%252e%252e%252flaunch.py", ".", "..")
    absolute = ("/etc/passwd", "%2fetc%2fpasswd", "C:%5cWindows%5cwin.ini")
    for name in (*climbing, *absolute, "style.css%00.js", "localizations", "zh_CN.json", "", "STYLE.CSS.", "x" * 5000):
        status, answer = visitor.ask("GET", "/lora-studio/static/" + name)
        assert status in (401, 404) or (status == 200 and b"Lora Studio" not in answer and b"root:" not in answer), (name, status)


def test_a_page_of_this_machine_only_knows_its_own_names(studio_page: Callable[..., str], tmp_path: Path) -> None:
    visitor: Any = Visitor(studio_page("page", tmp_path))
    assert visitor.ask("GET", "/lora-studio/api/v1/session", X_Lora_Studio="1")[0] == 200
    assert visitor.ask("GET", "/lora-studio/api/v1/session", X_Lora_Studio="1", Host="evil.example")[0] == 403
    assert visitor.ask("GET", "/")[0] == 200
    for path in ("/", "/config", "/gradio_api/info", "/lora-studio/static/style.css"):
        assert visitor.ask("GET", path, Host="evil.example")[0] == 403, path


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_that_others_may_reach_knows_its_own_names(studio_server: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    """--listen without a login, on our own page and in the WebUI."""
    url = studio_server(kind, tmp_path, "", "", "--listen").url
    visitor: Any = Visitor(url)
    port = url.rstrip("/").rsplit(":", 1)[1]

    def ask(host: str, **more: str) -> int:
        return visitor.ask("GET", "/lora-studio/api/v1/session", X_Lora_Studio="1", Host=f"{host}:{port}", **more)[0]

    assert [ask(host) for host in ("127.0.0.1", "192.168.1.7", "localhost", socket.gethostname(), "[::1]")] == [200] * 5
    assert [ask(host) for host in ("evil.example", "127.0.0.1.nip.io", "otherbox")] == [403] * 3
    assert ask("studio.example", Sec_Fetch_Site="same-origin") == 200  # a proxy with https
    assert json.loads(visitor.ask("GET", "/lora-studio/api/v1/jobs", X_Lora_Studio="1", Host="evil.example")[1])["hint"]


def test_gradio_takes_nothing_from_anybody(studio_page: Callable[..., str], tmp_path: Path) -> None:
    """Our own page needs no upload and no call of gradio's: no other site, and no program, writes a file by them."""
    visitor = Visitor(studio_page("page", tmp_path))
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="evil.txt"\r\n\r\nevil\r\n--x--\r\n'
    for path in ("/upload", "/gradio_api/upload", "/gradio_api/upload?upload_id=x", "/gradio_api/upload/"):
        for more in ({}, {"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"X_Lora_Studio": "1"}):
            assert visitor.ask("POST", path, form, Content_Type="multipart/form-data; boundary=x", **more)[0] == 403, (path, more)
    for path in ("/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/call/x", "/gradio_api/component_server", "/gradio_api/reset"):
        assert visitor.ask("POST", path, b"{}", Content_Type="application/json")[0] == 403, path
    for path in ("/gradio_api/file=/etc/passwd", "/gradio_api/proxy=http://127.0.0.1/", "/file=/etc/passwd", "/gradio_api/openapi.json"):
        assert visitor.ask("GET", path)[0] == 403, path


def test_passwords_cannot_be_tried_at_speed(studio_page: Callable[..., str], tmp_path: Path) -> None:
    visitor = Visitor(studio_page("page", tmp_path, auth="hana:blossom"))
    seen = [visitor.log_in("hana", f"wrong {k}") for k in range(12)]
    assert seen[:5] == [400] * 5 and 429 in seen[5:]
    assert visitor.log_in("hana", "blossom") == 429
