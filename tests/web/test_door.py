"""In front of gradio on the page of our own. The same on a running gradio: tests/ui/test_login.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lora_studio.web.brake import FREE, Brake, is_one_of, pause, source

HERE = {"Host": "127.0.0.1:7860"}


class Clock:
    """Seconds that pass when told."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def passed() -> list[str]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(context: Any, passed: list[str], clock: Clock) -> Iterator[Any]:
    """A client of an application like gradio's, which lets everything in and notes it; the right password is "blossom"."""
    from fastapi import FastAPI, Response
    from fastapi.testclient import TestClient
    from starlette.middleware import Middleware

    from lora_studio.web.app import install
    from lora_studio.web.door import Door
    from lora_studio.web.gate import LOCAL

    context.names, context.brake = LOCAL, Brake(clock)
    app = FastAPI(middleware=[Middleware(Door, context=context)])
    install(app, context)

    async def anything(request: Any) -> Response:
        passed.append(f"{request.method} {request.url.path}")
        wrong = request.url.path.startswith("/login") and request.method == "POST" and b"blossom" not in await request.body()
        return Response("there", 400 if wrong else 200)

    app.router.add_route("/{path:path}", anything, methods=["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])

    with TestClient(app, headers=HERE, follow_redirects=False) as client:
        yield client


NEEDED = (
    "/", "/config", "/theme.css", "/assets/index-abc.js", "/static/img/logo.svg", "/gradio_api/info", "/gradio_api/heartbeat/abc123", "/favicon.ico",
    "/login_check", "/logout", "/gradio_api/startup-events",
)  # fmt: skip
NOT_NEEDED = (
    "/upload", "/gradio_api/upload", "/gradio_api/upload/", "/gradio_api/queue/join", "/queue/join", "/gradio_api/run/predict", "/run/predict",
    "/api/predict", "/gradio_api/call/x", "/gradio_api/component_server", "/gradio_api/process_recording", "/gradio_api/stream/x",
    "/gradio_api/cancel", "/gradio_api/reset", "/gradio_api/vibe-edit", "/gradio_api/mcp/sse", "/gradio_api/file=/etc/passwd",
    "/file=/etc/passwd", "/file/etc/passwd", "/gradio_api/proxy=http://127.0.0.1/", "/proxy=http://x/", "/monitoring", "/gradio_api/queue/data",
    "/gradio_api/upload_progress", "/openapi.json", "/docs", "/gradio_api/token", "/token", "/gradio_api/dev/reload", "/login/../upload",
    "/assets", "/gradio_api/deep_link",
)  # fmt: skip


def test_gradio_is_asked_for_the_page_and_nothing_else(door: Any, passed: list[str]) -> None:
    for path in NEEDED:
        assert door.get(path).status_code == 200, path
    assert len(passed) == len(NEEDED)
    passed.clear()
    for path in NOT_NEEDED:
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            for headers in ({}, {"X-Lora-Studio": "1"}, {"Sec-Fetch-Site": "same-origin"}):
                assert door.request(method, path, headers=headers).status_code == 403, (method, path)
    for path in NEEDED:
        assert door.post(path).status_code == 403
    assert passed == []


def test_an_upload_of_another_site_does_not_reach_gradio(door: Any, passed: list[str]) -> None:
    for path in ("/upload", "/gradio_api/upload"):
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}, {}):
            assert door.post(path, files={"files": ("x.txt", b"x")}, headers=headers).status_code == 403
    assert passed == []


@pytest.mark.parametrize("host", ["evil.example:7860", "192.168.1.7:7860", "127.0.0.1.evil.example", ""])
def test_no_route_of_gradio_is_asked_for_by_another_name(door: Any, passed: list[str], host: str) -> None:
    for path in (*NEEDED, "/lora-studio/static/style.css", "/lora-studio/api/v1/jobs", "/tagger/v1/interrogators"):
        assert door.get(path, headers={"Host": host, "X-Lora-Studio": "1"}).status_code == 403, path
    assert door.post("/login", data={"password": "blossom"}, headers={"Host": host}).status_code == 403
    assert passed == []


def test_other_sites_may_link_to_the_page_and_read_nothing_of_it(door: Any, passed: list[str]) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert door.get("/", headers=link).status_code == 200
    for path in ("/config", "/logout", "/gradio_api/info"):
        assert door.get(path, headers=link).status_code == 403
        assert door.get(path, headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status_code == 403
        assert door.get(path, headers={"Origin": "https://evil.example"}).status_code == 403
    assert door.post("/login", data={"password": "blossom"}, headers={"Origin": "https://evil.example"}).status_code == 403
    assert passed == ["GET /"]


def test_nothing_of_the_page_is_shown_in_a_frame(door: Any) -> None:
    for path in ("/", "/lora-studio/api/v1/jobs", "/upload"):
        headers = door.get(path).headers
        assert headers.get_list("x-frame-options") == ["SAMEORIGIN"] and "frame-ancestors 'self'" in headers["content-security-policy"], path


def test_no_socket_is_opened(door: Any) -> None:
    from starlette.websockets import WebSocketDisconnect

    with pytest.raises(WebSocketDisconnect), door.websocket_connect("/gradio_api/queue/join"):
        pass


# -- passwords -------------------------------------------------------------------


def test_passwords_cannot_be_tried_at_speed(door: Any, passed: list[str], clock: Clock) -> None:
    def attempt(word: str, path: str = "/login") -> Any:
        return door.post(path, data={"username": "hana", "password": word})

    for _ in range(FREE):
        assert attempt("wrong").status_code == 400
    waiting = attempt("wrong")
    assert waiting.status_code == 429 and waiting.headers["retry-after"] == "1" and "too many wrong" in waiting.json()["detail"]
    assert attempt("blossom", "/login/").status_code == 429  # the right one is no way around it
    assert len(passed) == FREE
    tried = 0
    for _ in range(120):
        clock.now += 30
        tried += attempt("wrong").status_code == 400
    assert tried <= 12  # in an hour
    clock.now += 900
    assert attempt("blossom").status_code == 200
    assert attempt("wrong").status_code == 400  # and all is forgotten


def test_a_hundred_at_once_are_no_way_around(context: Any, clock: Clock) -> None:
    brake = Brake(clock)
    assert sum(brake.take("1.2.3.4") == 0 for _ in range(100)) == FREE
    assert brake.take("1.2.3.5") == 0  # another one does not wait for it


def test_many_addresses_together_are_slowed_and_nobody_is_locked_out(clock: Clock) -> None:
    brake = Brake(clock)
    assert brake.take("10.0.0.1") == 0
    brake.right("10.0.0.1")
    tried = 0
    for second in range(600):
        clock.now += 1
        tried += sum(brake.take(f"172.16.{second % 250}.{k}") == 0 for k in range(20))
    assert tried <= 50 + 60 + 10
    assert brake.take("10.0.0.1") == 0  # who was right before does not wait for the others
    clock.now += 10
    assert brake.take("192.168.9.9") == 0  # nor anybody for longer than ten seconds
    assert len(brake._tries) <= 10_000


def test_whom_an_address_belongs_to() -> None:
    assert source("2001:db8::1") == source("2001:db8::ffff:1") != source("2001:db8:0:1::1")
    assert source("::ffff:1.2.3.4") == source("1.2.3.4") and source("fe80::1%eth0") == source("fe80::2%eth1") and source("testclient") == "testclient"
    assert [pause(n, 5, 900.0) for n in (0, 4, 5, 6, 7, 100)] == [0.0, 0.0, 1.0, 2.0, 4.0, 900.0]
    assert is_one_of(b"b", [b"a", b"b"]) and not is_one_of(b"c", [b"a", b"b"]) and not is_one_of(b"", [])


def test_programs_cannot_guess_either(app: Any, context: Any, clock: Clock) -> None:
    """The password of /tagger/v1: the same brake."""
    import base64

    from fastapi.testclient import TestClient

    context.host.logins, context.brake = (("me", "word"),), Brake(clock)

    def ask(word: str) -> Any:
        return client.get("/tagger/v1/interrogators", headers={"Authorization": "Basic " + base64.b64encode(word.encode()).decode()})

    with TestClient(app) as client:
        for _ in range(20):
            assert ask("me:word").status_code == 200  # right ones are not counted
        assert [ask(f"me:{k}").status_code for k in range(FREE)] == [401] * FREE
        assert ask("me:word").status_code == 429
        clock.now += 2
        assert ask("me:word").status_code == 200
