"""Who may come in. The same on a running gradio 3, 4 and 6: tests/ui/test_login.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.web.catalogue import every_route

HERE = {"Host": "127.0.0.1:7860"}
CHANGE = {**HERE, "X-Lora-Studio": "1"}


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),  # typed into the address bar
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),  # another port of this machine
        ({"Origin": "http://127.0.0.1:7860"}, True),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example"}, False),
        ({"Origin": "http://127.0.0.1:7861"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Origin": "https://studio.example", "Sec-Fetch-Site": "same-origin"}, True),  # behind a proxy that changes Host
        ({"Origin": "http://127.0.0.1:7860", "Sec-Fetch-Site": "cross-site"}, False),
    ],
)
def test_requests_of_other_sites_are_refused(client: Any, headers: dict[str, str], allowed: bool) -> None:
    read = client.get("/lora-studio/api/v1/jobs", headers={**HERE, **headers})
    assert read.status_code == (200 if allowed else 403)
    change = client.post("/lora-studio/api/v1/jobs/none/cancel", headers={**CHANGE, **headers})
    assert change.status_code == (422 if allowed else 403)


def test_every_change_needs_the_header_that_a_form_cannot_send(app: Any, context: Any) -> None:
    from fastapi.testclient import TestClient

    with TestClient(app) as plain:
        for route in every_route():
            answer = plain.request(route.method, route.filled(), headers=HERE) if route.method != "GET" else None
            assert answer is None or answer.status_code == 403, route
            for kind in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"):
                if route.method == "POST":  # what a form of another site can send, file uploads too
                    assert plain.post(route.filled(), content=b"{}", headers={**HERE, "Content-Type": kind}).status_code == 403, route
    assert not context.jobs.list()


def test_reading_changes_nothing(client: Any, context: Any, project: Any) -> None:
    """No GET writes, starts or removes anything, whatever it is asked for."""
    before = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in context.studio.projects_dir.rglob("*")}
    for route in every_route():
        if route.method == "GET" and not route.path.endswith("/events"):
            client.get(route.filled(project="hana"))
    now = {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in context.studio.projects_dir.rglob("*")}
    assert {p for p in now if now[p] != before.get(p)} <= {p for p in now if ".lora_studio" in p.parts}, "only caches may be written"
    assert before.keys() <= now.keys()
    assert not context.jobs.list()


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:7860", True), ("localhost:7860", True), ("localhost", True), ("[::1]:7860", True), ("LOCALHOST:7860", True),
        ("evil.example:7860", False), ("evil.example", False), ("127.0.0.1.evil.example", False), ("localhost.evil.example:7860", False),
        ("", False), ("[::1", False), ("0.0.0.0:7860", False), ("192.168.1.7:7860", False),
    ],
)
def test_a_page_of_this_machine_is_not_asked_for_by_other_names(app: Any, context: Any, host: str, allowed: bool) -> None:
    """DNS rebinding: evil.example first shows its page, then resolves to 127.0.0.1."""
    from fastapi.testclient import TestClient

    from lora_studio.web.gate import LOCAL

    context.names = LOCAL
    with TestClient(app, headers={"X-Lora-Studio": "1"}) as client:
        assert client.get("/lora-studio/api/v1/jobs", headers={"Host": host}).status_code == (200 if allowed else 403)
        context.names = None
        assert client.get("/lora-studio/api/v1/jobs", headers={"Host": host}).status_code == 200


def gradio_like(routes: list[Any], **names: Any) -> Any:
    """An application of a class that says it is gradio's."""
    from fastapi import FastAPI

    kind = type("App", (FastAPI,), {"__module__": "gradio.routes"})
    app = kind()
    for name, value in names.items():
        setattr(app, name, value)
    for path, function in routes:
        function.__module__ = "gradio.routes"
        app.get(path)(function)
    return app


def ask(app: Any, context: Any) -> int:
    from fastapi.testclient import TestClient

    from lora_studio.web.app import install

    install(app, context)
    with TestClient(app) as client:
        return client.get("/lora-studio/api/v1/jobs", cookies={"access-token": "known"}).status_code


def get_current_user(token: str = "") -> Callable[..., Any]:
    from fastapi import Request

    def get_current_user(request: Request) -> Any:
        return {"known": "a"}.get(request.cookies.get("access-token", ""))

    get_current_user.__annotations__ = {"request": Request}
    return get_current_user


@pytest.mark.parametrize(
    ("names", "with_user", "status"),
    [
        ({"auth": None}, True, 200),
        ({"auth": {"a": "b"}}, True, 200),
        ({"auth": {"a": "b"}}, False, 401),  # gradio keeps its users somewhere else now: nobody comes in
        ({}, True, 401),  # gradio's login is called something else now
        ({"auth": None, "auth_dependency": lambda request: "a"}, False, 401),
    ],
)
def test_a_gradio_we_do_not_know_lets_nobody_in(context: Any, names: dict[str, Any], with_user: bool, status: int) -> None:
    routes = [("/user", get_current_user())] if with_user else []
    assert ask(gradio_like(routes, **names), context) == status


def test_who_is_not_logged_in_is_told_so(context: Any) -> None:
    from fastapi.testclient import TestClient

    from lora_studio.web.app import install

    app = gradio_like([("/user", get_current_user())], auth={"a": "b"})
    install(app, context)
    with TestClient(app) as client:
        answer = client.get("/lora-studio/api/v1/jobs")
    assert (answer.status_code, answer.json()) == (401, {"error": "Log in first.", "hint": ""})


def test_a_user_route_of_somebody_else_is_not_asked(context: Any) -> None:
    """Only gradio's own function tells who is logged in."""
    def get_current_user() -> str:
        return "anybody"

    app = gradio_like([], auth={"a": "b"})
    app.get("/user")(get_current_user)
    assert ask(app, context) == 401
