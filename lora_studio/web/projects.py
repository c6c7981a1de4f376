"""Routes of projects."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from ..project import Project
from .app import JSON, router
from .context import Context
from .gate import in_thread


def describe(context: Context, project: Project) -> dict[str, Any]:
    return {"id": context.identity(project), "name": project.name, "trigger": project.trigger, "traits": list(project.traits), "overview": {}}


def routes(context: Context) -> APIRouter:
    own = router()

    @own.get("/projects/{project}")
    async def one(project: str) -> Response:
        return JSON(await in_thread(lambda: describe(context, context.project(project))))

    return own
