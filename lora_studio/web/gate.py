"""Who may come in: only who the host has let in, and only from the page itself. Anything unclear is refused."""

from __future__ import annotations

import hashlib
import hmac
import inspect
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from .names import LOCAL, Reachable, asked_name

__all__ = ["LOCAL", "gate", "in_thread", "known_name", "logged_in", "same_site", "token"]

HEADER = "x-lora-studio"
TOKEN = "token"
SAFE = ("GET", "HEAD")
OWN = ("same-origin", "none")
VISITOR = "lora_studio.visitor"  # in a request's scope: who the host says it is


class StrangerError(HTTPException):
    """The page was asked for by a name that nobody gave it."""

    def __init__(self, name: str) -> None:
        super().__init__(403, f"This page is not known by the name {name[:100] or 'in this request'}.")
        ways = "--allow-host NAME, in a WebUI Settings → Lora Studio, or LORA_STUDIO_HOSTS"
        self.hint = f"Open it by its address in numbers, or allow the name: {ways}."


async def gate(request: Request) -> None:
    """A dependency of every route. Raises 401 without a login, 403 for a request from elsewhere."""
    if not known_name(request):
        raise StrangerError(asked_name(request.headers.get("host", "")))
    if not same_site(request):
        raise HTTPException(403, "This request came from another site.")
    if not await logged_in(request):
        raise HTTPException(401, "Log in first.")
    if not _of_our_page(request):
        raise HTTPException(403, f"This request did not come from the page: it lacks the header {HEADER}.")


def known_name(request: Request) -> bool:
    """Whether the page is asked for by a name it has (see names.py).

    Two things are as good where others may reach it: a login, since a browser gives its cookie to no other name; and a browser's word that page and
    address are one (Sec-Fetch-Site), since it says so only of https, where another site's name fails by its certificate: a proxy in front of us.
    """
    context = getattr(request.app.state, "lora_studio", None)
    names = getattr(context, "names", None)
    return names is None or named(request, names, asks_for_login(request.app))


def named(request: Request, names: Any, login: bool) -> bool:
    """Whether a request's Host is one of ``names``, or stands in for one."""
    host = asked_name(request.headers.get("host", ""))
    if host in names:
        return True
    return bool(host) and isinstance(names, Reachable) and (login or request.headers.get("sec-fetch-site", "") in OWN)


def same_site(request: Request, header: bool = True) -> bool:
    """Whether the request comes from our own page.

    Browsers name the site (Sec-Fetch-Site) where the address is https or this machine, and elsewhere at least the origin of a change or of a request
    by a script; a form or a picture of another site can set neither our header nor any other. A proxy's X-Forwarded-Host counts for nothing: a script
    of another site may set it where the host allows requests from everywhere, as some gradio versions do. header: a change needs ours.
    """
    site = request.headers.get("sec-fetch-site", "")
    if site in ("cross-site", "same-site"):
        return False
    if header and request.method not in SAFE and request.headers.get(HEADER) != "1":
        return False
    origin = request.headers.get("origin")
    return origin is None or site == "same-origin" or (bool(origin) and _netloc(origin) == request.headers.get("host"))


def _netloc(address: str) -> str:
    try:
        return urlsplit(address).netloc
    except ValueError:
        return ""


def _of_our_page(request: Request) -> bool:
    """Whether our header is there, or, where a browser can send none (pictures, downloads, events), the word that only our page knows."""
    if request.headers.get(HEADER) == "1":
        return True
    context = getattr(request.app.state, "lora_studio", None)
    given = request.query_params.get(TOKEN, "")
    return request.method in SAFE and context is not None and hmac.compare_digest(given.encode(), token(context.secret, request).encode())


def token(secret: bytes, request: Request) -> str:
    """What addresses of pictures carry: of this run of the program and of this visitor, not to be guessed."""
    return hmac.new(secret, repr(request.scope.get(VISITOR)).encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:40]


async def logged_in(request: Request) -> bool:
    """Whether gradio's own login is off, or this session passed it."""
    app: Any = request.app
    if not _of_gradio(app):
        return True  # no gradio, no login of its own: whoever made this application decides
    # Without these names we would not know whether there is a login.
    if not hasattr(app, "auth") or not hasattr(app, "routes"):
        return False
    if not asks_for_login(app):
        return True
    current_user = _current_user(app.routes)
    if current_user is None:
        return False
    try:
        found = current_user(request)
        if inspect.isawaitable(found):
            found = await found
    except HTTPException:
        return False
    request.scope[VISITOR] = found
    return found is not None


def asks_for_login(app: Any) -> bool:
    """Whether gradio's own login is on."""
    return getattr(app, "auth", None) is not None or getattr(app, "auth_dependency", None) is not None


def _of_gradio(app: Any) -> bool:
    return any(kind.__module__.split(".")[0] == "gradio" for kind in type(app).__mro__)


def _current_user(routes: Iterable[Any]) -> Any:
    """gradio's own `get_current_user`, which its /user route is and its own routes depend on; None when it is not there."""
    for route in _flat(routes):
        endpoint = getattr(route, "endpoint", None)
        if getattr(endpoint, "__name__", "") == "get_current_user" and getattr(endpoint, "__module__", "").split(".")[0] == "gradio":
            return endpoint
    return None


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    """The routes of an application itself. New FastAPI keeps an included router as one entry; a mounted application has a login of its own."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from _flat(included.routes)
        else:
            yield route


async def in_thread(function: Any, *arguments: Any, **named: Any) -> Any:
    """Run something slow without holding up other requests."""
    return await run_in_threadpool(function, *arguments, **named)
