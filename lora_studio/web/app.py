"""Puts our routes into the host's application, behind its login."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect

from ..errors import UserError
from ..failures import explained
from ..files import told_os_error
from ..reading import finite
from ..studio import _plain
from .context import Context
from .frames import Framed
from .gate import gate
from .later import Fallback, Later

PREFIX = "/lora-studio/api/v1"
TAGGER = "/tagger/v1"
NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class JSON(Response):
    """An object as JSON; not-a-number becomes null, which a browser can read."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: dict[str, str] | None = None) -> None:
        super().__init__(content, status_code, {**NO_STORE, **(headers or {})})

    def render(self, content: Any) -> bytes:
        plain = _plain(content.to_dict() if hasattr(content, "to_dict") else content)
        return json.dumps(finite(plain), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


class ConflictError(UserError):
    """Somebody else changed it in the meantime (409); ``data`` is how it stands now."""

    def __init__(self, message: str, hint: str = "", data: Any = None) -> None:
        super().__init__(message, hint)
        self.data = data


class _Route(APIRoute):
    """Every UserError of a route becomes an answer that the page can show."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        handler = super().get_route_handler()

        async def safe(request: Request) -> Response:
            try:
                return await handler(request)
            except HTTPException as error:
                return JSON({"error": str(error.detail), "hint": getattr(error, "hint", "")}, error.status_code)
            except ConflictError as error:
                return JSON({"error": error.message, "hint": error.hint, "data": error.data}, 409)
            except UserError as error:
                return JSON({"error": error.message, "hint": error.hint, "data": getattr(error, "data", None)}, 422)
            except RequestValidationError as error:
                wrong = "; ".join(f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors())
                return JSON({"error": f"The request cannot be used: {wrong}.", "hint": ""}, 422)
            except OSError as error:  # a read-only or full disk, a folder that is gone: wherever a route reads or writes
                traceback.print_exc()
                told = told_os_error(error)
                return JSON({"error": told.message, "hint": told.hint}, 422)
            except ClientDisconnect:
                return Response(status_code=400)  # nobody is there to read it
            except Exception as error:  # the last line of defence: the page says it, the console has the details
                traceback.print_exc()
                message = f"Something went wrong inside Lora Studio: {type(error).__name__}: {error}"
                known = explained(error) or UserError(message, "The details are in the console; please report them.")
                return JSON({"error": known.message, "hint": known.hint}, 500)

        return safe


def _ending(app: Any) -> bool:
    """Whether gradio has told its server to end, which then waits for every open answer."""
    server = getattr(getattr(app, "blocks", None), "server", None)
    return bool(getattr(server, "should_exit", False))


def router() -> APIRouter:
    """A router for one subject's routes: behind the gate, errors told. Paths are below `PREFIX`."""
    return APIRouter(dependencies=[Depends(gate)], route_class=_Route)


def install(app: FastAPI, context: Context) -> None:
    """Add every route. Called again with a new app when the WebUI reloads its page.

    The routes are made when the first of them is asked for: a host's start pays for what nobody has opened yet only a few milliseconds.
    """
    app.state.lora_studio = context
    app.mount(PREFIX, Framed(Later(lambda: api(context))))
    app.router.routes.append(Fallback(TAGGER, Framed(Later(lambda: _tagger_api(context, app))), name="tagger"))
    if any("gzip" in middleware.cls.__name__.lower() for middleware in app.user_middleware):
        app.user_middleware.insert(0, Middleware(PlainEvents))
        if app.middleware_stack is not None:  # made already: the next request passes a new one
            app.middleware_stack = app.build_middleware_stack()


def _tagger_api(context: Context, app: Any) -> Any:
    from . import taggerv1

    return taggerv1.api(context, app)


class PlainEvents:
    """Keeps the stream of events from being compressed: the WebUI's GZipMiddleware holds back what is written until there are kilobytes of it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"].endswith(f"{PREFIX}/events"):
            scope = {**scope, "headers": [(name, value) for name, value in scope["headers"] if name.lower() != b"accept-encoding"]}
        await self.app(scope, receive, send)


def api(context: Context) -> APIRouter:
    """All routes of ours, their paths below `PREFIX`."""
    from . import subjects

    whole = APIRouter()
    whole.include_router(_common(context))
    for subject in subjects():
        whole.include_router(subject.routes(context))
    return whole


def _common(context: Context) -> APIRouter:
    own = router()

    @own.get("/events")
    async def events(request: Request, project: str = "") -> Response:
        """What happens, as server-sent events: job, run, dataset, project, loras, reload."""
        stream = context.hub.stream(project, lambda: _ending(request.app))
        return StreamingResponse(stream, media_type="text/event-stream", headers={**NO_STORE, "X-Accel-Buffering": "no"})

    @own.get("/jobs")
    async def jobs(project: str = "") -> Response:
        """Jobs that run or ended lately, of one project or of all."""
        return JSON({"jobs": [j.to_dict() for j in context.jobs.list(project or None)]})

    @own.post("/jobs/{identity}/cancel")
    async def cancel(identity: str) -> Response:
        """Stop a job."""
        return JSON(context.jobs.cancel(identity))

    return own
