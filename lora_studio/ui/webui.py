"""The page as a tab of the WebUI: what its callbacks call. One `Context` for the process, which a reload of the page leaves as it is."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

from ..host.webui import WebUI
from ..studio import Studio
from ..web.app import install
from ..web.context import Context
from ..web.names import Reachable
from .shell import build

TAB = "lora_studio"


def add_settings() -> None:
    """Settings → Lora Studio."""
    import gradio as gr

    host().add_settings(radio=gr.Radio, dropdown=gr.Dropdown, slider=gr.Slider)


def tabs() -> list[tuple[Any, str, str]]:
    """Our tab, as the WebUI wants it: content, title, id."""
    return [(build(), "Lora Studio", TAB)]


def app_started(page: Any, app: Any) -> None:
    """Add our routes to the application: a new one after each reload, one without a page under --nowebui."""
    own = context()
    own.studio = replace(own.studio, projects_dir=own.host.projects_dir, lora_dir=own.host.lora_dir, environment=own.host.environment)
    install(app, own)


@lru_cache(maxsize=1)
def host() -> WebUI:
    return WebUI()


@lru_cache(maxsize=1)
def context() -> Context:
    return Context(Studio(), host(), names=Reachable(lambda: host().page_names()))
