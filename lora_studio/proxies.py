"""Proxies (Clash, v2ray, a company's) and this machine's own addresses, which no proxy may come between. Standard library only.

urllib, requests and httpx take proxies either from the variables or, where there are none at all, from the system (Windows' and macOS' settings).
NO_PROXY alone already counts as "variables", so it is never set alone: that would take a system's proxy away from downloads.
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from .errors import UserError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EXCEPT = ("NO_PROXY", "no_proxy")


def _names(environ: Mapping[str, str]) -> list[str]:
    return [name for name in environ if name.lower().endswith("_proxy")]


def local_direct(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep requests to this machine off the proxies that ``environ`` names; what is excepted already stays so."""
    if not any(environ[name] for name in _names(environ) if name.lower() != "no_proxy"):
        return {}
    known = [part.strip() for name in EXCEPT for part in environ.get(name, "").split(",") if part.strip()]
    if "*" in known:
        return {}
    return dict.fromkeys(EXCEPT, ",".join(dict.fromkeys([*known, *LOOPBACK])))


@contextmanager
def none_used() -> Iterator[None]:
    """No proxy for whatever asks from inside the block; afterwards all is as it was. For what speaks to this machine alone.

    httpx prepares every proxy as soon as a client is made: it fails over a SOCKS proxy (it needs one more package) and over a kind that it does
    not know, though the request would not use it; and it takes the system's proxy without the system's exceptions.
    """
    kept = {name: os.environ.pop(name) for name in _names(os.environ)}
    os.environ.update(dict.fromkeys(EXCEPT, "*"))
    try:
        yield
    finally:
        for name in EXCEPT:
            os.environ.pop(name, None)
        os.environ.update(kept)


SOCKS_HINT = (
    "Set HTTP_PROXY and HTTPS_PROXY to its HTTP address (http://…; Clash and v2ray have an HTTP or mixed port) before the start, "
    "or switch its TUN mode on. Then try again."
)


def check(url: str) -> None:
    """Raises UserError where a download would go through a proxy that urllib cannot use."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme, "")
    if proxy.lower().startswith("socks") and not urllib.request.proxy_bypass(parts.hostname or ""):
        raise UserError(f"The proxy {_bare(proxy)} is a SOCKS proxy, which downloads cannot use.", SOCKS_HINT)


def _bare(proxy: str) -> str:
    """A proxy's address without name and password."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
