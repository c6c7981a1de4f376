"""Starts the stand-in as webui.py starts the WebUI: see README.md."""

from __future__ import annotations

import json
import os
import sys
import time
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
sys.path.insert(0, str(HERE))
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")


def initialize(extensions: list[str]) -> None:
    """What modules/initialize.py does with extensions before the page is built."""
    from modules import script_callbacks, scripts, sd_models, shared

    os.makedirs(sd_models.model_path, exist_ok=True)
    os.makedirs(shared.cmd_opts.lora_dir, exist_ok=True)
    if not shared.opts.data.get("_loaded"):
        shared.opts.load(shared.config_filename)
        shared.opts.data["_loaded"] = True
    scripts.extension_dirs = extensions
    scripts.load_scripts()
    sd_models.list_models()
    script_callbacks.ui_settings_callback()


def install_networks() -> types.ModuleType:
    """The built-in Lora extension's module, which the WebUI leaves in sys.modules."""
    networks = types.ModuleType("networks")
    networks.available_networks = {}
    networks.refreshed = 0

    def list_available_networks() -> None:
        from modules import shared

        networks.refreshed += 1
        networks.available_networks.clear()
        for path in sorted(Path(shared.cmd_opts.lora_dir).rglob("*.safetensors")):
            networks.available_networks[path.stem] = str(path)

    networks.list_available_networks = list_available_networks
    sys.modules["networks"] = networks
    return networks


def create_ui():
    """txt2img with the element ids that "Send to txt2img" fills, then the extensions' tabs, as modules/ui.py nests them."""
    import gradio as gr
    from modules import script_callbacks, shared

    with gr.Blocks(analytics_enabled=False) as txt2img:
        with gr.Row(elem_id="txt2img_toprow"):
            gr.Textbox(label="Prompt", elem_id="txt2img_prompt", lines=3)
            gr.Textbox(label="Negative prompt", elem_id="txt2img_neg_prompt", lines=3)
            gr.Button("Generate", elem_id="txt2img_generate", variant="primary")
        with gr.Row():
            gr.Slider(64, 2048, 512, step=8, label="Width", elem_id="txt2img_width")
            gr.Slider(64, 2048, 512, step=8, label="Height", elem_id="txt2img_height")
    interfaces = [(txt2img, "txt2img", "txt2img"), *script_callbacks.ui_tabs_callback()]
    shared.tab_names = [label for _, label, _ in interfaces]
    with gr.Blocks(analytics_enabled=False, title="Stable Diffusion") as demo, gr.Tabs(elem_id="tabs"):
        for interface, label, ident in interfaces:
            with gr.TabItem(label, id=ident, elem_id=f"tab_{ident}"):
                interface.render()
    return demo


def reload_javascript() -> None:
    """Put the scripts and styles of host and extensions into the page's head, as modules/ui_gradio_extensions.py does."""
    import gradio as gr
    from modules import scripts, shared

    def address(path: str) -> str:
        return f"file={path}?{os.path.getmtime(path)}"

    head = f"<script>window.localization = {json.dumps({})}</script>\n"
    for path in (str(HERE / "script.js"), *scripts.list_scripts("javascript", ".js")):
        head += f'<script type="text/javascript" src="{address(path)}"></script>\n'
    sheets = (str(HERE / "style.css"), *scripts.list_files_with_name("style.css"))
    styles = "".join(f'<link rel="stylesheet" property="stylesheet" href="{address(path)}">' for path in sheets)
    if not hasattr(shared, "GradioTemplateResponseOriginal"):
        shared.GradioTemplateResponseOriginal = gr.routes.templates.TemplateResponse

    def template_response(*args, **kwargs):
        res = shared.GradioTemplateResponseOriginal(*args, **kwargs)
        res.body = res.body.replace(b"</head>", f'{head}<meta name="referrer" content="no-referrer"/></head>'.encode())
        res.body = res.body.replace(b"</body>", f"{styles}</body>".encode())
        res.init_headers()
        return res

    gr.routes.templates.TemplateResponse = template_response


def auth_pairs() -> list[tuple[str, ...]] | None:
    from modules.shared_cmd_options import cmd_opts

    return [tuple(pair.strip().split(":", 1)) for pair in (cmd_opts.gradio_auth or "").split(",") if pair.strip()] or None


def launch():
    """One round of webui.py's loop: (demo, app, address)."""
    from modules import script_callbacks, shared

    script_callbacks.before_ui_callback()
    reload_javascript()
    shared.demo = create_ui()
    shared.demo.queue(64) if int(__import__("gradio").__version__.split(".")[0]) < 4 else shared.demo.queue()
    app, address, _ = shared.demo.launch(
        share=False,
        server_name="0.0.0.0" if shared.cmd_opts.listen else None,
        server_port=shared.cmd_opts.port,
        auth=auth_pairs(),
        inbrowser=False,
        prevent_thread_lock=True,
        quiet=True,
        # The WebUI allows its own folders, where extensions lie; this one lies elsewhere.
        allowed_paths=[*shared.cmd_opts.gradio_allowed_path, str(HERE), str(REPOSITORY / "javascript"), str(REPOSITORY / "style.css")],
        app_kwargs={"docs_url": "/docs", "redoc_url": "/redoc"},
    )
    app.user_middleware = [x for x in app.user_middleware if x.cls.__name__ != "CORSMiddleware"]
    setup_middleware(app)
    script_callbacks.app_started_callback(shared.demo, app)
    return shared.demo, app, address


def setup_middleware(app) -> None:
    """Everything is compressed, as in modules/initialize_util.py: a stream of small events is held back unless it is kept out of that."""
    from starlette.middleware import Middleware
    from starlette.middleware.gzip import GZipMiddleware

    app.middleware_stack = None
    app.user_middleware.insert(0, Middleware(GZipMiddleware, minimum_size=1000))
    app.build_middleware_stack()


def restart(extensions: list[str]):
    """Reload UI: the page is closed, scripts are loaded anew, a new page with a new application is made."""
    from modules import script_callbacks, shared

    shared.demo.close()
    time.sleep(0.2)
    script_callbacks.app_reload_callback()
    script_callbacks.script_unloaded_callback()
    initialize(extensions)
    return launch()


def api_only():
    """--nowebui: a plain application, and the extensions are told with no page."""
    from fastapi import FastAPI
    from modules import script_callbacks

    app = FastAPI()
    setup_middleware(app)
    script_callbacks.before_ui_callback()
    script_callbacks.app_started_callback(None, app)
    return app


def make_forge() -> None:
    """What tells Forge from the WebUI: its memory management, and model functions that do nothing."""
    from modules import sd_models

    backend = types.ModuleType("backend")
    memory = types.ModuleType("backend.memory_management")

    def unload_all_models() -> None:
        sd_models.moves.append(("forge", "unload_all_models"))

    memory.unload_all_models = unload_all_models
    memory.soft_empty_cache = lambda force=False: None
    backend.memory_management = memory
    sys.modules |= {"backend": backend, "backend.memory_management": memory, "modules_forge": types.ModuleType("modules_forge")}
    sd_models.unload_model_weights = lambda sd_model=None, info=None: unload_all_models()
    sd_models.send_model_to_device = sd_models.send_model_to_cpu = sd_models.load_model = lambda *a, **k: None


def main() -> None:
    extensions = [str(REPOSITORY)]
    from modules import shared

    if "--forge" in sys.argv:
        make_forge()
    install_networks()
    initialize(extensions)
    if shared.cmd_opts.nowebui:
        import uvicorn

        uvicorn.run(api_only(), host="127.0.0.1", port=shared.cmd_opts.port or 7861, log_level="warning")
        return
    _, _, address = launch()
    print(f"Running on {address}", flush=True)
    while True:
        command = shared.state.wait_for_server_command(timeout=5)
        if command == "stop":
            shared.demo.close()
            return
        if command == "restart":
            _, _, address = restart(extensions)
            print(f"Running on {address}", flush=True)


if __name__ == "__main__":
    main()
