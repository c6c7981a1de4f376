"""Files of other machines: which addresses are asked for, and an answer read so that it can be given up at any time.

Whoever answers may send us on to anywhere. Each hop is looked at: never from https to http, and never further into this machine's own network than
the address that a person gave, for there are programs there that trust whoever reaches them.
"""

from __future__ import annotations

import http.client
import ipaddress
import queue
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from .errors import UserError

BLOCK = 1 << 18
POLL = 0.25  # seconds between two looks whether somebody wants it to stop
AHEAD = 8  # blocks that are read before they are written
PUBLIC, PRIVATE, LINK, LOOPBACK = range(4)
#: addresses that programs like Clash make up for every name, to send its connections through a proxy
MADE_UP = (ipaddress.ip_network("198.18.0.0/15"), ipaddress.ip_network("fc00::/18"))
AT_HOME = (".local", ".lan", ".home", ".internal", ".home.arpa", ".localdomain", ".localhost")


def address(url: str) -> str:
    """The address as it is asked for: http or https, its name in letters that the network knows, spaces and other letters written out.

    Raises UserError for what is no address of a file.
    """
    wrong = UserError(f"{url.strip()[:200] or 'This'} is no address of a file.", "Copy the whole address; it begins with https://")
    try:
        parts = urlsplit(url.strip())
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise wrong from None
    if parts.scheme not in ("http", "https") or not host or port == 0 or any(ord(c) < 32 or c == "\x7f" for c in url.strip()):
        raise wrong
    if parts.username is not None or parts.password is not None:
        raise UserError("The address holds a name and a password.", "Take them out of it: they would be kept in files and shown in messages.")
    if ":" in host:
        if not _number(host):
            raise wrong
        name = f"[{host}]"
    else:
        try:
            name = host.encode("ascii" if host.isascii() else "idna").decode("ascii")
        except UnicodeError:
            raise wrong from None
        if not name.isprintable() or any(c in " <>\"\\^`{|}%" for c in name):
            raise wrong
    path, query = quote(parts.path, safe="/%:@!$&'()*+,;=~-._"), quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return urlunsplit((parts.scheme, name if port is None else f"{name}:{port}", path, query, ""))


def _number(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        return inner or found
    return found


def depth(host: str) -> int | None:
    """How far inside an address in numbers lies: PUBLIC, PRIVATE (this network), LINK (this wire), LOOPBACK (this machine). None for a name."""
    found = _number(host)
    if found is None:
        return None
    if found.is_loopback or found.is_unspecified:
        return LOOPBACK
    if found.is_link_local or found.is_multicast:
        return LINK
    if found.is_global or any(found.version == net.version and found in net for net in MADE_UP):
        return PUBLIC
    return PRIVATE


def depth_of_name(host: str) -> int:
    """The same of a name that somebody else (a proxy) looks up: what it says of itself."""
    found, plain = depth(host), host.lower().rstrip(".")
    if found is not None:
        return found
    if plain == "localhost" or plain.endswith(".localhost"):
        return LOOPBACK
    return PRIVATE if "." not in plain or plain.endswith(AT_HOME) else PUBLIC


class _Bounds:
    """Which hops are gone: the first is the person's own; the next ones lie no further inside than it does."""

    def __init__(self) -> None:
        self.deepest: int | None = None

    def look(self, host: str, found: int) -> None:
        if self.deepest is None:
            self.deepest = found
        elif found > self.deepest:
            raise UserError(
                f"The server sent us on to {host}, which is an address within this network; that was not followed.",
                "If it is meant to be so, give that address itself.",
            )


class _Connecting:
    """Connects to addresses that were looked at, not to what a name means a moment later."""

    def __init__(self, bounds: _Bounds, socks: list[Any]) -> None:
        self.bounds, self.socks = bounds, socks

    def __call__(self, place: tuple[str, int], timeout: Any = None, source: Any = None) -> socket.socket:
        error: OSError | None = None
        first = self.bounds.deepest is None
        found = socket.getaddrinfo(*place, type=socket.SOCK_STREAM)
        depths = [depth(str(where[0])) or PUBLIC for *_, where in found]
        self.bounds.look(place[0], min(depths) if first else max(depths))
        for family, kind, protocol, _, where in found:
            one = socket.socket(family, kind, protocol)
            try:
                one.settimeout(timeout)
                one.connect(where)
            except OSError as failed:
                error = failed
                one.close()
                continue
            self.socks.append(one)
            return one
        raise error or OSError(f"{place[0]} has no address")


class _Handler(urllib.request.HTTPHandler, urllib.request.HTTPSHandler):
    """Both kinds of connections, made by `_Connecting` unless a proxy makes them, who looks up names itself."""

    def __init__(self, bounds: _Bounds) -> None:
        super().__init__()
        self.bounds = bounds
        self.socks: list[Any] = []

    def _own(self, kind: Any, request: Any) -> Callable[..., Any]:
        proxied = request.has_proxy() or getattr(request, "_tunnel_host", None)
        if proxied:
            host = urlsplit(request.full_url).hostname or ""
            self.bounds.look(host, depth_of_name(host))
        socks, connecting = self.socks, _Connecting(self.bounds, self.socks)

        class Connection(kind):
            def __init__(self, *arguments: Any, **named: Any) -> None:
                super().__init__(*arguments, **named)
                if not proxied:
                    self._create_connection = connecting

            def connect(self) -> None:
                super().connect()
                socks.append(self.sock)

        return Connection

    def http_open(self, req: Any) -> Any:
        return self.do_open(self._own(http.client.HTTPConnection, req), req)

    def https_open(self, req: Any) -> Any:
        return self.do_open(self._own(http.client.HTTPSConnection, req), req, context=self._context)  # type: ignore[attr-defined,unused-ignore]

    def give_up(self) -> None:
        """Whoever waits for these connections is woken."""
        for one in self.socks:
            with suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to http and https alone, never from the second to the first. ``seen``: is told what each hop's answer says."""

    def __init__(self, seen: Callable[[Any], None]) -> None:
        self.seen = seen

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        self.seen(headers)
        try:
            target = address(newurl)
            if urlsplit(req.full_url).scheme == "https" and urlsplit(target).scheme != "https":
                what = "The server sent us on from https to an address that is not secure; that was not followed."
                raise UserError(what, "Give the address itself.")
        except UserError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, target)


class Answer:
    """The answer to one request. It is asked for and read in a thread of its own: whoever waits for it can look up four times a second.

    ``waiting`` is called so often, and may raise to give it up. ``seen``: is told the headers of each hop that sent us on.
    """

    def __init__(self, url: str, headers: dict[str, str], timeout: float, waiting: Callable[[], None], seen: Callable[[Any], None]) -> None:
        self._handler = _Handler(_Bounds())
        self._opener = urllib.request.build_opener(_Redirects(seen), self._handler)
        self._request = urllib.request.Request(address(url), headers=headers)
        self._timeout, self._waiting = timeout, waiting
        self._blocks: queue.Queue[Any] = queue.Queue(AHEAD)
        self._stopped = threading.Event()
        threading.Thread(target=self._work, name="lora-studio download", daemon=True).start()
        self.status: int
        self.headers: Any
        self.status, self.headers = self._next()

    def blocks(self) -> Iterator[bytes]:
        """The content, as it comes."""
        while block := self._next():
            yield block

    def close(self) -> None:
        self._stopped.set()
        self._handler.give_up()

    def __enter__(self) -> Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next(self) -> Any:
        while True:
            try:
                found = self._blocks.get(timeout=POLL)
            except queue.Empty:
                self._look()
                continue
            if isinstance(found, BaseException):
                raise found
            return found

    def _look(self) -> None:
        try:
            self._waiting()
        except BaseException:
            self.close()
            raise

    def _put(self, found: Any) -> None:
        while not self._stopped.is_set():
            with suppress(queue.Full):
                return self._blocks.put(found, timeout=POLL)
        return None

    def _work(self) -> None:
        try:
            with self._opener.open(self._request, timeout=self._timeout) as response:
                self._put((response.status, response.headers))
                while block := response.read1(BLOCK):
                    self._put(block)
                    if self._stopped.is_set():
                        return
            self._put(b"")
        except urllib.error.HTTPError as error:
            error.close()
            self._put(error)
        except (OSError, UserError, ValueError) as error:
            self._put(error)
        except http.client.HTTPException as error:
            self._put(OSError(f"the server's answer is none: {type(error).__name__}"))
