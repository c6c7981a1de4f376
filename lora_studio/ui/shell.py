"""The gradio part of the page, the same on gradio 3, 4 and 6: one element that javascript/ fills.

Everything inside it talks to the web API. That keeps the WebUI's own page light (its size grows with every gradio component), makes a reload
of the page harmless, and leaves nothing that differs between the gradio generations but this file.
"""

from __future__ import annotations

from typing import Any

ROOT_ID = "lora_studio"


def build() -> Any:
    """The tab's content as `gr.Blocks`."""
    import gradio as gr

    with gr.Blocks(analytics_enabled=False) as page:
        gr.HTML(f'<div id="{ROOT_ID}" class="ls-root"></div>', elem_id=f"{ROOT_ID}_shell")
    return page
