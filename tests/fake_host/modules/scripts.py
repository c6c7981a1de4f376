"""Loads scripts/*.py of an extension: its folder is on sys.path only meanwhile, and its callbacks are registered anew each time."""

import importlib.util
import os
import sys

from modules import errors, script_callbacks

scripts_txt2img = None
extension_dirs = []  # set by server.py


def load_module(path):
    spec = importlib.util.spec_from_file_location(os.path.basename(path), path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_scripts():
    script_callbacks.clear_callbacks()
    syspath = sys.path
    for folder in extension_dirs:
        scripts = os.path.join(folder, "scripts")
        for name in sorted(os.listdir(scripts)) if os.path.isdir(scripts) else []:
            if not name.endswith(".py"):
                continue
            try:
                sys.path = [folder, *sys.path]
                load_module(os.path.join(scripts, name))
            except Exception:
                errors.report(f"Error loading script: {name}", exc_info=True)
            finally:
                sys.path = syspath


def list_scripts(scriptdirname, extension):
    found = []
    for folder in extension_dirs:
        where = os.path.join(folder, scriptdirname)
        found += [os.path.join(where, n) for n in sorted(os.listdir(where)) if n.endswith(extension)] if os.path.isdir(where) else []
    return found


def list_files_with_name(filename):
    return [p for p in (os.path.join(folder, filename) for folder in extension_dirs) if os.path.isfile(p)]
