"""Who may come in: only who the host has let in, and only from the page itself. Anything unclear is refused."""

from __future__ import annotations

import inspect
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from fastapi.concurrency import run_in_threadpool

HEADER = "x-lora-studio"
SAFE = ("GET", "HEAD")


async def gate(request: Request) -> None:
    """A dependency of every route. Raises 401 without a login, 403 for a request from elsewhere."""
    if not same_site(request):
        raise HTTPException(403, "This request came from another site.")
    if not await logged_in(request):
        raise HTTPException(401, "Log in first.")


def same_site(request: Request) -> bool:
    """Whether the request comes from our own page. Browsers name the site; changes also need a header that a foreign form cannot set."""
    site = request.headers.get("sec-fetch-site", "")
    if site in ("cross-site", "same-site"):
        return False
    if request.method in SAFE:
        return True
    if request.headers.get(HEADER) != "1":
        return False
    origin = request.headers.get("origin")
    if not origin or site == "same-origin":
        return True
    hosts = {request.headers.get("host", ""), request.headers.get("x-forwarded-host", "")} - {""}
    return urlsplit(origin).netloc in hosts


async def logged_in(request: Request) -> bool:
    """Whether gradio's own login is off, or this session passed it."""
    app: Any = request.app
    if getattr(app, "auth", None) is None and getattr(app, "auth_dependency", None) is None:
        return True
    current_user = _current_user(app)
    if current_user is None:
        return False
    try:
        found = current_user(request) if not inspect.iscoroutinefunction(current_user) else await current_user(request)
    except HTTPException:
        return False
    return found is not None


def _current_user(app: Any) -> Any:
    """gradio's own `get_current_user`, found as the dependency of its /login_check route; None when it is not there."""
    for route in app.routes:
        if getattr(route, "path", "") in ("/login_check", "/login_check/"):
            for dependency in route.dependant.dependencies:
                if getattr(dependency.call, "__name__", "") == "get_current_user":
                    return dependency.call
                for inner in dependency.dependencies:
                    if getattr(inner.call, "__name__", "") == "get_current_user":
                        return inner.call
    return None


async def in_thread(function: Any, *arguments: Any, **named: Any) -> Any:
    """Run something slow without holding up other requests."""
    return await run_in_threadpool(function, *arguments, **named)
