"""Who may come in. The same on a running gradio 3, 4 and 6: tests/ui/test_login.py."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from tests.web.catalogue import every_route
from tests.web.test_hostile import Asker

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
        ({"Origin": "http://["}, False),
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


# -- reading needs our word too ----------------------------------------------------


def test_reading_needs_the_header_or_the_page_s_word(app: Any, context: Any, client: Any, project: Any) -> None:
    """A page of another site can have a picture or a script loaded from here, but it can send no header of ours and does not know the word."""
    from fastapi.testclient import TestClient

    word = client.get("/lora-studio/api/v1/session").json()["token"]
    assert len(word) == 40 and word == client.get("/lora-studio/api/v1/session").json()["token"]
    with TestClient(app) as plain:
        for route in every_route():
            if route.method == "GET" and not route.path.endswith("/events"):
                path = route.filled(project="hana")
                assert plain.get(path, headers=HERE).status_code == 403, route
                for wrong in ("", "x" * 40, word[:-1], word.upper(), "ä"):
                    assert plain.get(path, headers=HERE, params={"token": wrong}).status_code == 403, route
                assert plain.get(path, headers=HERE, params={"token": word}).status_code != 403, route
                assert plain.get(path, headers={**HERE, "Sec-Fetch-Site": "cross-site"}, params={"token": word}).status_code == 403, route
        # It is no substitute for the header of a change.
        assert plain.post("/lora-studio/api/v1/jobs/none/cancel", headers=HERE, params={"token": word}).status_code == 403


def test_the_word_is_of_one_program_and_one_visitor(context: Any) -> None:
    from starlette.requests import Request

    from lora_studio.web.gate import VISITOR, token

    words = {token(secret, Request({"type": "http", VISITOR: who})) for secret in (b"a", b"b") for who in (None, "hana", "yuki")}
    assert len(words) == 6


def test_the_events_too(app: Any, context: Any) -> None:
    from fastapi.testclient import TestClient

    with TestClient(app) as plain:
        assert plain.get("/lora-studio/api/v1/events", headers=HERE).status_code == 403


def test_no_answer_of_ours_is_shown_in_a_frame(client: Any, context: Any, project: Any) -> None:
    for path in ("/lora-studio/api/v1/jobs", "/lora-studio/api/v1/projects/none", "/tagger/v1/interrogators"):
        headers = client.get(path, headers=HERE).headers
        assert headers["x-frame-options"] == "SAMEORIGIN" and "frame-ancestors 'self'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff", path


# -- names ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:7860", True), ("192.168.1.7:7860", True), ("[fe80::1]:7860", True), ("[::1]", True), ("localhost:1", True), ("100.64.0.7", True),
        ("mybox:7860", True), ("MyBox.local:7860", True), ("mybox.lan", True), ("mybox.", True), ("studio.example:7860", True),
        ("evil.example:7860", False), ("mybox.evil.example", False), ("192.168.1.7.evil.example", False), ("192.168.1.7.nip.io", False), ("", False),
        ("otherbox:7860", False), ("evil.local", False), ("[::1", False), ("0x7f.1", False), ("2130706433", False),
        ("studio.example.evil.example", False),
    ],
)
def test_a_page_that_others_may_reach_has_its_own_names(app: Any, context: Any, monkeypatch: pytest.MonkeyPatch, host: str, allowed: bool) -> None:
    """--listen without a login: a name of somebody else's has been led here."""
    from fastapi.testclient import TestClient

    from lora_studio.web import names

    monkeypatch.setattr(names, "own_names", lambda: frozenset({"mybox", "mybox.local", "mybox.lan"}))
    context.names = names.Reachable(lambda: ["https://studio.example:7860/"])
    with TestClient(app, headers={"X-Lora-Studio": "1"}) as client:
        for method, path, good in (("GET", "jobs", 200), ("POST", "jobs/none/cancel", 422)):
            answer = client.request(method, "/lora-studio/api/v1/" + path, headers={"Host": host})
            assert answer.status_code == (good if allowed else 403)
        assert client.get("/tagger/v1/interrogators", headers={"Host": host}).status_code == (200 if allowed else 403)
    if not allowed and host:
        assert "not known by the name" in answer.json()["error"] and "--allow-host" in answer.json()["hint"]


def test_a_proxy_with_https_may_have_any_name(app: Any, context: Any) -> None:
    """Browsers name the site of a request only to https and to this machine: https fails where a name is not its owner's."""
    from fastapi.testclient import TestClient

    from lora_studio.web.gate import LOCAL
    from lora_studio.web.names import Reachable

    with TestClient(app, headers={"X-Lora-Studio": "1", "Host": "studio.example"}) as client:
        context.names = Reachable()
        assert client.get("/lora-studio/api/v1/jobs", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
        assert client.get("/lora-studio/api/v1/jobs", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
        assert client.get("/lora-studio/api/v1/jobs", headers={"X-Forwarded-Proto": "https", "X-Forwarded-Host": "127.0.0.1"}).status_code == 403
        context.names = LOCAL  # nobody else reaches this page: no proxy either
        assert client.get("/lora-studio/api/v1/jobs", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 403


def test_names_from_the_environment_and_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from lora_studio.web import names

    monkeypatch.setenv(names.VARIABLE, "a.example, https://b.example:7860/x  c.example")
    monkeypatch.setattr(socket, "gethostname", lambda: "Box.corp.example")
    names.own_names.cache_clear()
    try:
        good = ("a.example", "B.example", "c.example", "box", "box.local", "box.corp.example", "box.home.arpa", "::1", "fe80::1%eth0")
        assert all(name in names.Reachable() for name in good)
        assert not any(name in names.Reachable() for name in ("d.example", "corp.example", "", None, 3, "box.example"))
    finally:
        names.own_names.cache_clear()


def test_with_a_login_any_name_is_taken(context: Any) -> None:
    """A browser gives the cookie to no other name."""
    from lora_studio.web.names import Reachable

    context.names = Reachable()
    app = gradio_like([("/user", get_current_user())], auth={"a": "b"})
    assert ask(app, context) == 200  # the client's name is testserver
    assert ask(gradio_like([], auth=None), context) == 403


@pytest.mark.parametrize("names", ["anything", "local", "reachable"])
def test_every_combination_of_host_origin_and_site(app: Any, context: Any, names: str) -> None:
    """What may come in comes from the page by a name it has; everything else is refused, whatever it is combined with."""
    from fastapi.testclient import TestClient

    from lora_studio.web.gate import LOCAL
    from lora_studio.web.names import Reachable, is_address

    context.names = {"anything": None, "local": LOCAL, "reachable": Reachable()}[names]
    hosts = ("127.0.0.1:7860", "localhost:7860", "192.168.1.7:7860", "evil.example:7860", "127.0.0.1.evil.example")
    origins = (None, "same", "https://evil.example", "null", "http://127.0.0.1:1")
    sites = (None, "same-origin", "none", "same-site", "cross-site", "nonsense")
    word = TestClient(app, headers={"X-Lora-Studio": "1"}).get("/lora-studio/api/v1/session", headers={"Host": "127.0.0.1"}).json()["token"]
    every = list(itertools.product(hosts, origins, sites, (None, "0", "1"), (None, "x" * 40, word), ("GET", "POST")))
    assert len(every) == 2700
    asker = Asker(app)
    # All where others may reach the page; the two others answer alike for most of them.
    for host, origin, site, header, given, method in every if names == "reachable" else every[::7]:
        sent = {"host": host, "origin": f"http://{host}" if origin == "same" else origin, "sec-fetch-site": site, "x-lora-studio": header}
        path = "/lora-studio/api/v1/" + ("jobs" if method == "GET" else "jobs/none/cancel")
        status, _ = asker.ask(method, path, query=f"token={given}".encode() if given else b"", headers=sent)
        plain = host.split(":")[0]
        known = names == "anything" or plain in LOCAL or (names == "reachable" and (is_address(plain) or site in ("same-origin", "none")))
        ours = site not in ("same-site", "cross-site") and (origin in (None, "same") or site == "same-origin")
        said = header == "1" or (method == "GET" and given == word)
        assert (status != 403) == (known and ours and said), (sent, given, method, status)
    asker.loop.close()


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
        return client.get("/lora-studio/api/v1/jobs", cookies={"access-token": "known"}, headers={"X-Lora-Studio": "1"}).status_code


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
