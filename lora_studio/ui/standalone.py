"""The page without a WebUI: gradio serves it, our routes are added to its application."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .. import proxies
from ..host.standalone import Standalone
from ..studio import Studio
from ..web import assets
from ..web.app import install
from ..web.brake import is_one_of
from ..web.context import Context
from ..web.door import Door
from ..web.names import LOCAL, Reachable, listed
from .shell import build

STATIC = "/lora-studio/static"


@dataclass(frozen=True)
class PageOptions:
    """``listen``: reachable from other machines. ``auth``: (name, password) pairs that may come in; empty: everyone who reaches it.

    ``hosts``: names that the page may be called by, besides its own.
    """

    port: int | None = None
    listen: bool = False
    open_browser: bool = True
    auth: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    hosts: tuple[str, ...] = ()


def serve(studio: Studio, host: Standalone, options: PageOptions, wait: bool = True) -> tuple[Any, str]:
    """Start the page; (gradio's Blocks, its address). Returns at once when not told to ``wait``."""
    context = Context(studio, host, names=Reachable(lambda: options.hosts) if options.listen else LOCAL | listed(options.hosts))
    with proxies.none_used():  # gradio asks its own address whether it is there
        page, app, address = _launch(options, context)
    add_files(app)
    install(app, context)
    print(f"Lora Studio: {address}", flush=True)
    if options.open_browser:
        import webbrowser

        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    if wait:
        page.block_thread()
    return page, address


def _launch(options: PageOptions, context: Context) -> tuple[Any, Any, str]:
    from starlette.middleware import Middleware

    page = build()
    app, address, _ = page.launch(
        server_name="0.0.0.0" if options.listen else "127.0.0.1",
        server_port=options.port,
        inbrowser=False,
        prevent_thread_lock=True,
        auth=_asker(options.auth) if options.auth else None,
        quiet=True,
        share=False,
        ssr_mode=False,
        head=head(),
        theme=theme(),
        footer_links=[],
        app_kwargs={"middleware": [Middleware(Door, context=context)]},
    )
    return page, app, address


def _asker(pairs: tuple[tuple[str, str], ...]) -> Callable[[str, str], bool]:
    """Whether name and password belong together, as gradio asks it; it takes as long for a name that is not known."""
    known = [f"{name}\0{password}".encode() for name, password in pairs]
    return lambda name, password: is_one_of(f"{name}\0{password}".encode("utf-8", "replace"), known)


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
