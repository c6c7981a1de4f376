"""The page without a WebUI: gradio serves it, our routes are added to its application."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from .. import proxies
from ..host.standalone import Standalone
from ..studio import Studio
from ..web import assets
from ..web.app import install
from ..web.context import Context
from ..web.gate import LOCAL
from .shell import build

STATIC = "/lora-studio/static"


@dataclass(frozen=True)
class PageOptions:
    """``listen``: reachable from other machines. ``auth``: (name, password) pairs that may come in; empty: everyone who reaches it."""

    port: int | None = None
    listen: bool = False
    open_browser: bool = True
    auth: tuple[tuple[str, str], ...] = ()


def serve(studio: Studio, host: Standalone, options: PageOptions, wait: bool = True) -> tuple[Any, str]:
    """Start the page; (gradio's Blocks, its address). Returns at once when not told to ``wait``."""
    with proxies.none_used():  # gradio asks its own address whether it is there
        page, app, address = _launch(options)
    add_files(app)
    install(app, Context(studio, host, names=None if options.listen else LOCAL))
    print(f"Lora Studio: {address}", flush=True)
    if options.open_browser:
        import webbrowser

        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    if wait:
        page.block_thread()
    return page, address


def _launch(options: PageOptions) -> tuple[Any, Any, str]:
    page = build()
    app, address, _ = page.launch(
        server_name="0.0.0.0" if options.listen else "127.0.0.1",
        server_port=options.port,
        inbrowser=False,
        prevent_thread_lock=True,
        auth=list(options.auth) or None,
        quiet=True,
        share=False,
        ssr_mode=False,
        head=head(),
        theme=theme(),
        footer_links=[],
    )
    return page, app, address


def theme() -> Any:
    """gradio's own look with a whole bold face: the semi-bold one that gradio brings has but a few letters."""
    from gradio import themes

    return themes.Default(font=(themes.LocalFont("Source Sans Pro", weights=(400, 700)), "sans-serif"))


def head() -> str:
    """What the page's <head> loads; a file's time of change keeps browsers from showing an old one."""

    def address(path: Any) -> str:
        return f"{STATIC.lstrip('/')}/{path.name}?{int(path.stat().st_mtime)}"

    lines = [f'<link rel="stylesheet" href="{address(assets.style())}">']
    lines += [f'<script defer src="{address(path)}"></script>' for path in assets.scripts()]
    return "\n".join(lines)


def add_files(app: Any) -> None:
    """Serve style.css and javascript/*.js, nothing else. They hold no secret, so a page that asks for a login may load them too."""
    from fastapi import HTTPException
    from fastapi.responses import FileResponse

    files = {path.name: path for path in (assets.style(), *assets.scripts())}

    @app.get(STATIC + "/{name}")
    def static(name: str) -> FileResponse:
        if name not in files:
            raise HTTPException(404)
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        return FileResponse(files[name], media_type=kind, headers={"X-Content-Type-Options": "nosniff"})
