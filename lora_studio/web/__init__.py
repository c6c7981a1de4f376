"""The web API of the tab: routes under /lora-studio/api/v1, each a thin call of `studio`."""

from __future__ import annotations

from types import ModuleType


def subjects() -> list[ModuleType]:
    """The modules that add routes, one a subject; each has `routes(context) -> APIRouter`."""
    from . import captionfiles, captions, carrying, crop, host, kohya, pictures, projects, tagging, testing, training, uploads

    return [projects, uploads, pictures, crop, tagging, captions, captionfiles, training, carrying, kohya, testing, host]
