"""Who may come in: only who the host has let in, and only from the page itself. Anything unclear is refused."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool

HEADER = "x-lora-studio"
SAFE = ("GET", "HEAD")
# The names of this machine for itself. A page bound to it that is asked for by another name has been led here by that name's owner (DNS rebinding).
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


async def gate(request: Request) -> None:
    """A dependency of every route. Raises 401 without a login, 403 for a request from elsewhere."""
    if not known_name(request) or not same_site(request):
        raise HTTPException(403, "This request came from another site.")
    if not await logged_in(request):
        raise HTTPException(401, "Log in first.")


def known_name(request: Request) -> bool:
    """Whether the page is asked for by a name it has. Inside a WebUI and with --listen any name is taken."""
    context = getattr(request.app.state, "lora_studio", None)
    names = getattr(context, "names", None)
    if names is None:
        return True
    try:
        return urlsplit("//" + request.headers.get("host", "")).hostname in names
    except ValueError:
        return False


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
    return origin is None or site == "same-origin" or (bool(origin) and urlsplit(origin).netloc == request.headers.get("host"))


async def logged_in(request: Request) -> bool:
    """Whether gradio's own login is off, or this session passed it."""
    app: Any = request.app
    if not _of_gradio(app):
        return True  # no gradio, no login of its own: whoever made this application decides
    # Without these names we would not know whether there is a login.
    if not hasattr(app, "auth") or not hasattr(app, "routes"):
        return False
    if app.auth is None and getattr(app, "auth_dependency", None) is None:
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
    return found is not None


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
