"""The host's folders; FAKE_WEBUI_DATA stands in for --data-dir where the command line is not read."""

import argparse
import os
import sys

script_path = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))

_parser = argparse.ArgumentParser(add_help=False)
_parser.add_argument("--data-dir", type=os.path.abspath, default=os.environ.get("FAKE_WEBUI_DATA", script_path))
_parser.add_argument("--models-dir", type=os.path.abspath, default=None)
_known = _parser.parse_known_args()[0]

data_path = _known.data_dir
models_path = _known.models_dir or os.path.join(data_path, "models")
extensions_dir = os.path.join(data_path, "extensions")
extensions_builtin_dir = os.path.join(script_path, "extensions-builtin")
cwd = os.getcwd()
argv = sys.argv
