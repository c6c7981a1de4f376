"""In front of gradio on the page of our own: what gradio would take from everybody (uploads, calls, a login) is looked at first.

Our shell is one empty element that talks to our own routes. Of gradio it needs the page, the page's files and the login; nothing else is let through.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from fastapi import Request, Response

from .app import NO_STORE, PREFIX, TAGGER
from .brake import address_of
from .context import Context
from .frames import Framed
from .gate import StrangerError, asks_for_login, named, same_site

#: what our shell reads of gradio: the page, its settings and files, and what says that it is still there
READ = re.compile(
    r"/(config|login_check|logout|user|app_id|theme\.css|favicon\.ico|robots\.txt|manifest\.json|pwa_icon(/\w+)?|(static|assets|svelte)/.*"
    r"|gradio_api/(info|app_id|user|login_check|startup-events|theme\.css|heartbeat/\w+))?/?"
)
OURS = (f"{PREFIX}/", f"{TAGGER}/", "/lora-studio/static/")


class Door:
    """The middleware. ``context``: of the page; whether there is a login, gradio's application knows."""

    def __init__(self, app: Any, context: Context) -> None:
        self.app, self.context = app, context

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":  # the shell opens none
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] != "http":
            await self.app(scope, receive, send)
        else:
            request = Request(scope)
            answer = self._refusal(request)
            through = self._login if answer is None and self._is_login(request) else self.app if answer is None else answer
            await Framed(through)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        names = self.context.names
        login = asks_for_login(request.scope.get("app"))
        if names is not None and not named(request, names, login):
            told = StrangerError(request.headers.get("host", ""))
            return refused(403, told.detail, told.hint)
        path = request.scope["path"]
        if path.startswith(OURS):  # these have a gate of their own
            return None
        if request.method in ("GET", "HEAD"):
            visiting = path == "/" and request.headers.get("sec-fetch-mode") == "navigate"  # a link or a bookmark that leads here
            return None if READ.fullmatch(path) and (visiting or same_site(request, header=False)) else refused(403, "This page does not use that.")
        if self._is_login(request):
            return None if same_site(request, header=False) else refused(403, "This request came from another site.")
        return refused(403, "This page does not use that.")

    @staticmethod
    def _is_login(request: Request) -> bool:
        return request.method == "POST" and request.scope["path"].rstrip("/") == "/login"

    async def _login(self, scope: Any, receive: Any, send: Any) -> None:
        """A try to log in, unless this address has to wait."""
        address = address_of(scope)
        wait = self.context.brake.take(address)
        if wait:
            await too_many(wait)(scope, receive, send)
            return

        async def looked_at(message: Any) -> None:
            if message["type"] == "http.response.start" and message["status"] < 400:
                self.context.brake.right(address)
            await send(message)

        await self.app(scope, receive, looked_at)


def too_many(wait: float) -> Response:
    """The answer to who has to wait so many seconds before the next password."""
    seconds = math.ceil(wait)
    return refused(429, f"There were too many wrong passwords. Try again in {seconds} seconds.", "", {"Retry-After": str(seconds)})


def refused(status: int, message: str, hint: str = "", headers: dict[str, str] | None = None) -> Response:
    content = json.dumps({"error": message, "hint": hint, "detail": message})  # detail: gradio's login form shows it
    return Response(content, status, {**NO_STORE, **(headers or {})}, "application/json")
