"""The command line, as far as an extension may have to respect it."""

import argparse
import os

from modules.paths_internal import data_path, models_path

parser = argparse.ArgumentParser()
parser.add_argument("--data-dir", type=os.path.abspath, default=data_path)
parser.add_argument("--models-dir", type=os.path.abspath, default=None)
parser.add_argument("--ckpt-dir", type=os.path.abspath, default=None)
parser.add_argument("--lora-dir", type=os.path.abspath, default=os.path.join(models_path, "Lora"))
parser.add_argument("--share", action="store_true")
parser.add_argument("--ngrok", type=str, default=None)
parser.add_argument("--listen", action="store_true")
parser.add_argument("--server-name", type=str, default=None)
parser.add_argument("--enable-insecure-extension-access", action="store_true")
parser.add_argument("--hide-ui-dir-config", action="store_true")
parser.add_argument("--freeze-settings", action="store_true")
parser.add_argument("--gradio-auth", type=str, default=None)
parser.add_argument("--gradio-auth-path", type=str, default=None)
parser.add_argument("--gradio-allowed-path", action="append", default=[data_path])
parser.add_argument("--api", action="store_true")
parser.add_argument("--nowebui", action="store_true")
parser.add_argument("--skip-install", action="store_true")
parser.add_argument("--port", type=int, default=None)

cmd_opts, _ = parser.parse_known_args()
cmd_opts.webui_is_non_local = any([cmd_opts.share, cmd_opts.listen, cmd_opts.ngrok, cmd_opts.server_name])
cmd_opts.disable_extension_access = cmd_opts.webui_is_non_local and not cmd_opts.enable_insecure_extension_access
