"""Routes about the host: what the page has to know before it draws anything."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from .. import __version__
from . import assets
from .app import JSON, router
from .context import Context


def routes(context: Context) -> APIRouter:
    own = router()

    @own.get("/session")
    async def session(request: Request) -> Response:
        locale = assets.best_locale(context.host.locale() or request.headers.get("accept-language", "").split(",")[0])
        return JSON(
            {
                "version": __version__,
                "host": context.host.name,
                "has_txt2img": context.host.has_txt2img,
                "paths_allowed": context.host.paths_allowed(),
                "locale": locale,
                "words": assets.words(locale),
            }
        )

    return own
