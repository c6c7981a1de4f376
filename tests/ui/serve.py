"""Serves the page for the browser tests, started by whichever interpreter has the gradio that is to be tested.

    PYTHON tests/ui/serve.py page DATA [--locale zh_CN] [--auth name:password]            our own page
    PYTHON tests/ui/serve.py webui DATA [--locale …] [--auth …] [the WebUI's own flags]   the tab inside tests/fake_host

Prints ``Running on ADDRESS`` once it can be asked. It ends when its standard input is closed, so it never outlives a test.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import socket
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def end_with_the_test() -> None:
    """Wait for the end of our input in the background. The server's threads are not waited for: whoever closed it is done with them."""

    def watch() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def serve_page(options: argparse.Namespace, more: list[str]) -> None:
    from lora_studio.host.standalone import Standalone
    from lora_studio.studio import Studio
    from lora_studio.ui.standalone import PageOptions, serve

    host = Standalone(options.data / "projects", options.data / "models", language=options.locale)
    auth = tuple(tuple(pair.split(":", 1)) for pair in [options.auth] if pair)
    page = PageOptions(port=options.port, open_browser=False, auth=auth, listen="--listen" in more)
    blocks, address = serve(Studio(host.projects_dir, host.lora_dir), host, page, wait=False)
    print(f"Running on {address}", flush=True)
    blocks.block_thread()


def serve_webui(options: argparse.Namespace, more: list[str]) -> None:
    settings = options.data / "config.json"
    if options.locale and not settings.exists():
        settings.write_text(json.dumps({"localization": options.locale}), encoding="utf-8")
    auth = ["--gradio-auth", options.auth] if options.auth else []
    server = ROOT / "tests" / "fake_host" / "server.py"
    sys.argv = [str(server), "--data-dir", str(options.data), "--port", str(options.port), *auth, *more]
    runpy.run_path(str(server), run_name="__main__")


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("kind", choices=["page", "webui"])
    parser.add_argument("data", type=Path)
    parser.add_argument("--locale", default="")
    parser.add_argument("--auth", default="")
    parser.add_argument("--port", type=int, default=0)
    options, more = parser.parse_known_args()
    options.port = options.port or free_port()
    options.data = options.data.resolve()
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    end_with_the_test()
    (serve_webui if options.kind == "webui" else serve_page)(options, more)


if __name__ == "__main__":
    main()
