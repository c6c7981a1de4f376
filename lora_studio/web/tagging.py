"""Routes of tagging: taggers, the preview on stored probabilities, tag counts and the words to choose tags from."""

from __future__ import annotations

from fastapi import APIRouter, Response

from .app import JSON, router
from .context import Context
from .gate import in_thread

ONE = "/projects/{project}"
MOST_WORDS = 200


def routes(context: Context) -> APIRouter:
    own = router()

    @own.get("/tagging/models")
    async def models() -> Response:
        return JSON({"models": await in_thread(context.studio.tagger_models)})

    @own.get(ONE + "/tags")
    async def tags(project: str) -> Response:
        """{tags: [[tag, captions with it, group, kind]]} of the present captions, the most frequent first."""
        return JSON({"tags": await in_thread(lambda: context.studio.tag_counts(context.project(project)))})

    @own.get(ONE + "/vocabulary")
    async def vocabulary(project: str, q: str = "", limit: int = 20) -> Response:
        """{tags: [{tag, count, here, group, category}]} to complete what was typed."""
        most = max(1, min(limit, MOST_WORDS))
        return JSON({"tags": await in_thread(lambda: context.studio.vocabulary(context.project(project), q[:200], most))})

    return own
