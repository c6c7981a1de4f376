"""Our answers are shown by no other site within a page of its own, where people could be led to press what they do not see."""

from __future__ import annotations

from typing import Any

FRAMES = ((b"x-frame-options", b"SAMEORIGIN"), (b"content-security-policy", b"frame-ancestors 'self'"))


class Framed:
    """Keeps what an application answers out of the frames of other sites."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def framed(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                message = {**message, "headers": headers + [header for header in FRAMES if header not in headers]}
            await send(message)

        await self.app(scope, receive, framed if scope["type"] == "http" else send)
