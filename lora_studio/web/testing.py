"""Routes of testing."""

from __future__ import annotations

from fastapi import APIRouter

from .app import router
from .context import Context


def routes(context: Context) -> APIRouter:
    return router()
