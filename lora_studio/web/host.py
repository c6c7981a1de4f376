"""Routes about the host: what the page has to know before it draws anything, the host's models and memory, the packages for training."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from .. import __version__
from . import assets
from .app import JSON, router
from .context import Context
from .gate import in_thread, token

INSTALL = "install"


def routes(context: Context) -> APIRouter:
    own = router()

    @own.get("/session")
    async def session(request: Request) -> Response:
        """Version, host, language with its words, whether the packages for training are there, machine-level settings, the addresses' token."""
        host = context.host
        locale = assets.best_locale(host.locale() or request.headers.get("accept-language", "").split(",")[0])
        return JSON(
            {
                "version": __version__,
                "host": host.name,
                "has_txt2img": host.has_txt2img,
                "paths_allowed": host.paths_allowed(),
                "token": token(context.secret, request),
                "locale": locale,
                "words": assets.words(locale),
                "environment": await in_thread(context.studio.environment.state),
                "settings": await in_thread(host.settings),
            }
        )

    @own.get("/host/checkpoints")
    async def checkpoints() -> Response:
        """Every checkpoint the host knows: title, path, family, size in bytes."""
        return JSON({"checkpoints": [c.to_dict() for c in await in_thread(context.host.checkpoints)]})

    @own.post("/host/checkpoints/refresh")
    async def refresh_checkpoints() -> Response:
        """Have the host look at its folder again; the new list."""
        await in_thread(context.host.refresh_checkpoints)
        return await checkpoints()

    @own.get("/host/vram")
    async def vram(device: str = "auto") -> Response:
        """Free and total memory in bytes of the card that a training with this ``device`` uses; null where there is none."""
        return JSON(await in_thread(context.host.vram, device))

    @own.post("/host/model/release")
    async def release() -> Response:
        """Take the host's loaded checkpoint out of memory, after the picture being drawn: memory before and after, and a message."""
        return JSON(await in_thread(context.host.release_model))

    @own.post("/host/model/restore")
    async def restore() -> Response:
        """Load what was released again."""
        return JSON(await in_thread(context.host.restore_model))

    @own.post("/host/loras/refresh")
    async def refresh_loras() -> Response:
        """Have the host look for new LoRA files."""
        await in_thread(context.host.refresh_loras)
        return JSON({})

    @own.get("/environment")
    async def environment() -> Response:
        """Whether the packages for training are there, which are missing, about how many bytes there are to fetch."""
        return JSON(await in_thread(context.studio.environment.state))

    @own.post("/environment/install")
    async def install() -> Response:
        """Set the packages up, as a job of no project; it can be stopped, and goes on where it was when it is started again."""
        return JSON(context.jobs.start(INSTALL, "", context.studio.environment.install))

    return own
