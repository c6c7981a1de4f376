"""Where a download goes when a server sends it on, how much of it is taken, and that it can be stopped while the server is silent."""

from __future__ import annotations

import http.client
import io
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_studio import remote
from lora_studio.errors import UserError
from lora_studio.fetching import fetch
from lora_studio.jobs import CancelledError
from lora_studio.remote import LINK, LOOPBACK, PRIVATE, PUBLIC, address, depth, depth_of_name

PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


# -- addresses --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        (" https://example.org/a.safetensors ", "https://example.org/a.safetensors"),
        ("https://example.org/a b/花.safetensors?x=ä&y=%20#part", "https://example.org/a%20b/%E8%8A%B1.safetensors?x=%C3%A4&y=%20"),
        ("https://bücher.example/x", "https://xn--bcher-kva.example/x"),
        ("HTTPS://例子.example:8443/x", "https://xn--fsqu00a.example:8443/x"),
        ("http://[::1]:80/x", "http://[::1]:80/x"),
        ("http://192.168.1.7/mirror", "http://192.168.1.7/mirror"),
    ],
)
def test_addresses_as_they_are_asked_for(given: str, asked: str) -> None:
    assert address(given) == asked == address(asked)


@pytest.mark.parametrize(
    "given",
    [
        "", " ", "http://[", "https://[::1", "ftp://example.org/x", "file:///etc/passwd", "data:,x", "javascript:alert(1)", "https://", "https:///x",
        "https://example.org:99999/x", "https://example.org:0/x", "https://example.org:-1/x", "https://example.org:port/x", "//example.org/x",
        "https://a b.example/x", "https://user:word@example.org/x", "https://user@example.org/x", "https://example.org/a\nb", "https://exa\0mple.org/",
        "https://" + "ü" * 300 + ".example/", "https://[example.org]/x", "https://exa%6dple.org/x", "https://a\\b/x", "example.org/x",
    ],
)  # fmt: skip
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(UserError) as caught:
        address(given)
    assert caught.value.hint


@settings(max_examples=60)
@given(st.text(max_size=60).map(lambda text: "https://" + text) | st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    try:
        found = address(text)
    except UserError:
        return
    assert found.isascii() and urlsplit(found).scheme in ("http", "https") and address(found) == found


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("93.184.216.34", PUBLIC), ("2606:2800:220:1::1", PUBLIC), ("198.18.0.7", PUBLIC), ("fc00::7", PUBLIC), ("10.0.0.1", PRIVATE),
        ("172.16.0.1", PRIVATE), ("192.168.1.1", PRIVATE), ("100.64.0.1", PRIVATE), ("fd12::1", PRIVATE), ("240.0.0.1", PRIVATE),
        ("169.254.169.254", LINK), ("fe80::1", LINK), ("fe80::1%eth0", LINK), ("224.0.0.1", LINK), ("127.0.0.1", LOOPBACK), ("127.9.9.9", LOOPBACK),
        ("::1", LOOPBACK), ("0.0.0.0", LOOPBACK), ("::", LOOPBACK), ("::ffff:127.0.0.1", LOOPBACK), ("::ffff:10.0.0.1", PRIVATE),
        ("64:ff9b::7f00:1", LOOPBACK), ("64:ff9b::a00:1", PRIVATE), ("2002:7f00:1::", LOOPBACK), ("example.org", None),
    ],
)  # fmt: skip
def test_how_far_inside_an_address_lies(host: str, found: int | None) -> None:
    assert depth(host) == found


def test_what_a_name_says_of_itself() -> None:
    assert [depth_of_name(name) for name in ("example.org", "router", "nas.local", "x.localhost", "localhost.", "10.0.0.1", "x.home.arpa")] == [
        PUBLIC, PRIVATE, PRIVATE, LOOPBACK, LOOPBACK, PRIVATE, PRIVATE,
    ]  # fmt: skip


# -- a network of our own: names and numbers that all lead to servers of this test ------------


class Server(BaseHTTPRequestHandler):
    """Sends on what `to` names, holds back what `silent` names, and sends CONTENT else."""

    protocol_version = "HTTP/1.1"
    to: dict[str, str]
    asked: list[str]
    announce = True
    sent = 0
    content = bytes(range(256)) * 2000

    def do_GET(self) -> None:
        parts = urlsplit(self.path)  # a proxy is asked for whole addresses
        self.asked.append(f"{parts.hostname or self.headers['Host'].split(':')[0]}{parts.path}")
        if (target := self.to.get(parts.path)) is not None:
            self.send_response(302)
            self.send_header("Location", target)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if parts.path == "/silent":
            self.connection.recv(1)  # until the other side hangs up
            return
        self.send_response(200)
        if self.announce and parts.path != "/endless":
            self.send_header("Content-Length", str(len(self.content)))
        self.send_header("Connection", "close")
        self.end_headers()
        if parts.path == "/trickle":
            self.wfile.write(b"x")
            self.wfile.flush()
            self.connection.recv(1)
            return
        with suppress(OSError):  # given up
            for _ in range(100 if parts.path == "/endless" else 1):
                self.wfile.write(self.content)
                type(self).sent += len(self.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    kind = type("Own", (Server,), {"to": {}, "asked": []})
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as http:
        http.daemon_threads = True
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        kind.port = http.server_port  # type: ignore[attr-defined]
        yield kind
        http.shutdown()
        thread.join()


@pytest.fixture
def network(server: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names and what they mean. Whatever is connected to, our server answers."""
    names: dict[str, list[str]] = {"public.example": ["93.184.216.34"], "other.example": ["93.184.216.35"], "nas.example": ["192.168.1.9"]}

    def found(host: str, port: int, **_: Any) -> list[Any]:
        numbers = names.get(host, [host] if depth(host) is not None else [])
        if not numbers:
            raise socket.gaierror(8, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (number, port)) for number in numbers]

    class Socket(socket.socket):
        def connect(self, place: Any) -> None:
            super().connect(("127.0.0.1", server.port))

    monkeypatch.setattr(remote.socket, "getaddrinfo", found)
    monkeypatch.setattr(remote.socket, "socket", Socket)
    return names


@pytest.mark.parametrize(
    ("first", "target"),
    [
        ("public.example", "http://127.0.0.1/x"), ("public.example", "http://169.254.169.254/latest/meta-data"), ("public.example", "http://10.0.0.1/x"),
        ("public.example", "http://[::1]/x"), ("public.example", "http://nas.example/x"), ("public.example", "http://mixed.example/x"),
        ("public.example", "http://0.0.0.0/x"), ("public.example", "http://[::ffff:127.0.0.1]/x"), ("nas.example", "http://127.0.0.1/x"),
        ("192.168.1.9", "http://169.254.169.254/x"), ("mixed.example", "http://127.0.0.1/x"), ("mixed.example", "http://192.168.1.9/x"),
        ("public.example", "ftp://public.example/x"), ("public.example", "file:///etc/passwd"), ("public.example", "http://u:p@other.example/x"),
    ],
)  # fmt: skip
def test_nobody_sends_us_further_in(server: Any, network: Any, tmp_path: Path, first: str, target: str) -> None:
    network["mixed.example"] = ["93.184.216.36", "127.0.0.1"]
    server.to["/a"] = target
    with pytest.raises((UserError, OSError)) as caught:
        fetch(f"http://{first}/a", tmp_path / "x.bin")
    assert isinstance(caught.value, UserError) or "redirect" in str(caught.value).lower()
    assert [one.partition("/")[2] for one in server.asked] == ["a"] and not (tmp_path / "x.bin").exists()


@pytest.mark.parametrize(
    ("first", "target"),
    [
        ("public.example", "http://other.example/x"), ("public.example", "/x"), ("nas.example", "http://192.168.1.9/x"), ("10.0.0.1", "http://nas.example/x"),
        ("nas.example", "http://public.example/x"), ("127.0.0.1", "http://127.0.0.1/x"), ("127.0.0.1", "http://public.example/x"),
        ("public.example", "http://made-up.example/x"),
    ],
)  # fmt: skip
def test_mirrors_and_made_up_addresses_work(server: Any, network: Any, tmp_path: Path, first: str, target: str) -> None:
    network["made-up.example"] = ["198.18.0.9"]  # as Clash answers for every name
    server.to["/a"] = target
    fetch(f"http://{first}/a", tmp_path / "x.bin")
    assert (tmp_path / "x.bin").read_bytes() == server.content


def test_a_name_is_looked_up_once(server: Any, network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may mean something else a moment later (DNS rebinding): what was looked at is what is connected to."""
    times: list[str] = []
    real = remote.socket.getaddrinfo

    def turning(host: str, port: int, **more: Any) -> Any:
        times.append(host)
        network["turning.example"] = ["93.184.216.40"] if times.count(host) == 1 else ["127.0.0.1"]
        return real(host, port, **more)

    monkeypatch.setattr(remote.socket, "getaddrinfo", turning)
    server.to["/a"] = "http://turning.example/x"
    fetch("http://public.example/a", tmp_path / "x.bin")
    assert times == ["public.example", "turning.example"]


def test_from_https_to_http_is_refused() -> None:
    import urllib.request

    follow = remote._Redirects(lambda headers: None)
    headers = http.client.HTTPMessage()
    request = urllib.request.Request("https://public.example/a")
    with pytest.raises(UserError, match="not secure"):
        follow.redirect_request(request, io.BytesIO(), 302, "Found", headers, "http://public.example/a")
    assert follow.redirect_request(request, io.BytesIO(), 302, "Found", headers, "https://other.example/b c").full_url == "https://other.example/b%20c"
    plain = urllib.request.Request("http://public.example/a")
    assert follow.redirect_request(plain, io.BytesIO(), 302, "Found", headers, "https://public.example/a").full_url.startswith("https")


def test_through_a_proxy(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy stands on this machine and looks up the names: only numbers and names at home can be told apart here."""
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"http": f"http://127.0.0.1:{server.port}"})
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda host: False)
    server.to["/a"] = "http://other.example/x"
    fetch("http://public.example/a", tmp_path / "x.bin")
    assert server.asked == ["public.example/a", "other.example/x"]
    for target in ("http://127.0.0.1/x", "http://192.168.1.1/x", "http://router/x", "http://localhost:8080/x", "http://nas.local/x"):
        server.asked.clear()
        server.to["/a"] = target
        with pytest.raises(UserError, match="within this network"):
            fetch("http://public.example/a", tmp_path / "y.bin")
        assert server.asked == ["public.example/a"]


# -- how much ------------------------------------------------------------------------


@pytest.mark.parametrize("announce", [True, False], ids=["announced", "not announced"])
def test_more_than_is_wanted_is_not_taken(server: Any, tmp_path: Path, announce: bool) -> None:
    server.announce = announce
    size = len(server.content)
    with pytest.raises(UserError, match="is larger than"):
        fetch(f"http://127.0.0.1:{server.port}/x", tmp_path / "x.bin", largest=size - 1)
    assert list(tmp_path.iterdir()) == []
    fetch(f"http://127.0.0.1:{server.port}/x", tmp_path / "x.bin", largest=size)
    assert (tmp_path / "x.bin").stat().st_size == size


def test_what_has_no_end_is_given_up(server: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is larger than"):
        fetch(f"http://127.0.0.1:{server.port}/endless", tmp_path / "x.bin", largest=1_000_000)
    assert server.sent < 60 * len(server.content) and list(tmp_path.iterdir()) == []


def test_more_than_the_disk_has_room_for_is_not_begun(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="has room for"):
        fetch(f"http://127.0.0.1:{server.port}/x", tmp_path / "x.bin")
    assert list(tmp_path.iterdir()) == []


# -- stopped ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["silent", "trickle"])
def test_it_is_stopped_while_the_server_says_nothing(server: Any, tmp_path: Path, path: str) -> None:
    """The server would never say another byte; it notices that we hung up."""
    calls: list[int] = []

    def stop(done: int, total: int, message: str) -> None:
        calls.append(done)
        if len(calls) >= 2:
            raise CancelledError

    with pytest.raises(CancelledError):
        fetch(f"http://127.0.0.1:{server.port}/{path}", tmp_path / "x.bin", stop, timeout=5.0)
    assert len(calls) == 2 and not (tmp_path / "x.bin").exists()
    readers = [one for one in threading.enumerate() if one.name == "lora-studio download"]
    for one in readers:
        one.join(4.0)
    assert not any(one.is_alive() for one in readers)


def test_it_is_stopped_while_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is looked up for ever, an address that swallows everything."""
    free = threading.Event()
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(remote.socket, "getaddrinfo", lambda *_, **__: free.wait(20) and [])

    def stop(done: int, total: int, message: str) -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        fetch("http://public.example/x", tmp_path / "x.bin", stop)
    free.set()


FOUND = b"HTTP/1.1 302 Found\r\nLocation: "


@pytest.mark.parametrize(
    "answer",
    [b"no http at all\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", b"", FOUND + b"http://[\r\n\r\n", FOUND + b"\xff\r\n\r\n"],
)
def test_answers_that_are_none(tmp_path: Path, answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.getproxies", dict)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def once() -> None:
            one, _ = listening.accept()
            with one:
                one.recv(10_000)
                one.sendall(answer)

        threading.Thread(target=once, daemon=True).start()
        with pytest.raises((OSError, ValueError, UserError)):
            fetch(f"http://127.0.0.1:{listening.getsockname()[1]}/x", tmp_path / "x.bin")
    assert list(tmp_path.iterdir()) == []
