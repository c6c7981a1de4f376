"""Applications that are made when they are first asked for something: a host's start pays nothing for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from starlette.routing import Match, Mount

from .gate import in_thread


class Later:
    """An ASGI application that is made, in a thread, by its first request."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = None
        self._lock = threading.Lock()

    def get(self) -> Any:
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        made = self._made if self._made is not None else await in_thread(self.get)
        await made(scope, receive, send)


class Fallback(Mount):
    """Routes of ours under somebody else's path, unless the application has such routes already or gets them later."""

    def matches(self, scope: Any) -> Any:
        app = scope.get("app")
        if any(getattr(route, "path", "").startswith(f"{self.path}/") for route in getattr(app, "routes", ())):
            return Match.NONE, {}
        return super().matches(scope)
