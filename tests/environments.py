#!/usr/bin/env python3
"""Makes what the browser tests need besides .venv: the gradio generations of the WebUI and of Forge, and a Chromium.

    python tests/environments.py

.venv-gradio3 and .venv-gradio4 lie beside .venv; each is made once and again only when its list of pins changes. Standard library only.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from launch import SetupError, pins_hash, read_stamp, run_step, say, venv_python, write_stamp  # noqa: E402

GENERATIONS = ("gradio3", "gradio4")
NEWEST = (3, 12)  # the hosts' numpy has no package for a newer Python
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")


def python_for_hosts() -> str:
    """A Python that the hosts' old packages have wheels for: this one, or one found beside it."""
    if sys.version_info[:2] <= NEWEST:
        return sys.executable
    for name in ("python3.11", "python3.10", "python3.12"):
        found = shutil.which(name)
        if found and subprocess.run([found, "-c", "import venv"], capture_output=True, check=False).returncode == 0:
            return found
    raise SetupError("The hosts' gradio versions need Python 3.10, 3.11 or 3.12, and none was found. Install one, then run this again.")


def make(generation: str) -> None:
    """One environment from requirements/<generation>.txt; nothing to do when it is noted as complete."""
    pins = ROOT / "requirements" / f"{generation}.txt"
    folder = ROOT / f".venv-{generation}"
    stamp = folder / "lora_studio_setup.json"
    if venv_python(folder).exists() and read_stamp(stamp).get("pins") == pins_hash(pins):
        return
    python = python_for_hosts()
    say(f"Making {folder.name} from {pins.relative_to(ROOT)}")
    run_step([python, "-m", "venv", "--clear", str(folder)], f"{folder} could not be made.")
    install = [str(venv_python(folder)), "-m", "pip", "install", "--quiet", "-r", str(pins)]
    run_step(install, f"Installing {pins.name} failed; pip's own words are above.")
    write_stamp(stamp, {"pins": pins_hash(pins), "python": platform.python_version()})


def install_chromium() -> None:
    """A Chromium from the system's packages where there is none. Says so when it cannot; the browser tests then say what is missing."""
    named = os.environ.get("LORA_STUDIO_CHROMIUM")
    if named or any(shutil.which(name) for name in CHROMIUMS):
        return
    if sys.platform != "linux" or shutil.which("apt-get") is None or os.geteuid() != 0:
        say("There is no Chromium for the browser tests: install it, or name it in LORA_STUDIO_CHROMIUM.")
        return
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    say("Installing Chromium (apt-get)")
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-noto-cjk"]):
        done = subprocess.run(command, env=quiet, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            say(f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}")


def main() -> int:
    try:
        for generation in GENERATIONS:
            make(generation)
    except SetupError as error:
        say(f"\n{error}")
        return 1
    install_chromium()
    return 0


if __name__ == "__main__":
    sys.exit(main())
