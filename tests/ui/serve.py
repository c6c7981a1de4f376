"""Serves the page for the browser tests, started by whichever interpreter has the gradio that is to be tested.

    PYTHON tests/ui/serve.py page DATA [--locale zh_CN] [--auth name:password]     our own page
    PYTHON tests/ui/serve.py webui DATA ...                                       the tab in a page like the WebUI's

Prints one JSON line, ``{"url": …, "gradio": …}``, once it can be asked. It ends when its standard input is closed, so it never outlives a test.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def serve_page(options: argparse.Namespace) -> str:
    from lora_studio.host.standalone import Standalone
    from lora_studio.studio import Studio
    from lora_studio.ui.standalone import PageOptions, serve

    host = Standalone(options.data / "projects", options.data / "models", language=options.locale)
    auth = (tuple(options.auth.split(":", 1)),) if options.auth else ()
    page = PageOptions(port=options.port or free_port(), open_browser=False, auth=auth)
    return serve(Studio(host.projects_dir, host.lora_dir), host, page, wait=False)[1]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["page", "webui"])
    parser.add_argument("data", type=Path)
    parser.add_argument("--locale", default="")
    parser.add_argument("--auth", default="")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    if options.kind == "webui":
        from fake_webui import serve_webui  # beside this file

        url = serve_webui(options, options.port or free_port())
    else:
        url = serve_page(options)
    import gradio

    print(json.dumps({"url": url, "gradio": gradio.__version__}), flush=True)
    sys.stdin.read()
    # The server's threads are not waited for: whoever closed our input is done with it.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
