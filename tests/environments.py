#!/usr/bin/env python3
"""Makes what the tests need besides .venv: the gradio generations of the WebUI and of Forge, a Chromium, and the WebUI's own torch.

    python tests/environments.py

.venv-gradio3 and .venv-gradio4 lie beside .venv. The WebUI's torch (2.1.2 on Python 3.10: 2.7 GB to fetch, 5 GB on the disk) lies in the user's
cache folder, or where LORA_STUDIO_TEST_ENVIRONMENTS says: all checkouts share it. Each is made once and again only when its list of pins changes.
Standard library only.

    python tests/environments.py --python-of torch21     prints that environment's Python; nothing where it could not be made
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
TORCH21 = "torch21"
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


def python310() -> str | None:
    """A Python 3.10, the one of the WebUI: on the path, among those of pyenv, or known to Windows' launcher; None where there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    tries = [["python3.10"], *([str(path)] for path in sorted(pyenv.glob("versions/3.10.*/bin/python"))), ["py", "-3.10"]]
    for command in tries:
        if shutil.which(command[0]) is None:
            continue
        found = subprocess.run([*command, "-c", "import sys, venv; print(sys.executable)"], capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.strip()
    return None


def shared_folder() -> Path:
    """Where environments lie that are too large to have one for each checkout."""
    if named := os.environ.get("LORA_STUDIO_TEST_ENVIRONMENTS"):
        return Path(named)
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "lora-studio-tests"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lora-studio-tests"


def make_torch21() -> None:
    """The WebUI's own torch on its own Python. Says so where that Python is missing, and goes on."""
    python = python310()
    if python is None:
        say("There is no Python 3.10: the trainer is not tested on the WebUI's own torch (2.1.2).")
        return
    make(TORCH21, shared_folder() / TORCH21, python)


def make(generation: str, folder: Path, python: str) -> None:
    """One environment from requirements/<generation>.txt; nothing to do when it is noted as complete."""
    pins = ROOT / "requirements" / f"{generation}.txt"
    stamp = folder / "lora_studio_setup.json"
    if is_made(generation, folder):
        return
    say(f"Making {folder.name} from {pins.relative_to(ROOT)}")
    run_step([python, "-m", "venv", "--clear", str(folder)], f"{folder} could not be made.")
    install = [str(venv_python(folder)), "-m", "pip", "install", "--quiet", "-r", str(pins)]
    run_step(install, f"Installing {pins.name} failed; pip's own words are above.")
    write_stamp(stamp, {"pins": wanted(pins), "python": platform.python_version()})


def is_made(generation: str, folder: Path) -> bool:
    pins = ROOT / "requirements" / f"{generation}.txt"
    return venv_python(folder).exists() and read_stamp(folder / "lora_studio_setup.json").get("pins") == wanted(pins)


def wanted(pins: Path) -> str:
    """Changes when a list does, or one that it includes."""
    included = [line.split()[1] for line in pins.read_text(encoding="utf-8").splitlines() if line.startswith("-r ")]
    return " ".join(pins_hash(path) for path in (pins, *(pins.parent / name for name in included)))


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


def main(arguments: list[str]) -> int:
    if arguments == ["--python-of", TORCH21]:
        folder = shared_folder() / TORCH21
        if is_made(TORCH21, folder):
            print(venv_python(folder))
        return 0
    try:
        for generation in GENERATIONS:
            make(generation, ROOT / f".venv-{generation}", python_for_hosts())
        make_torch21()
    except SetupError as error:
        say(f"\n{error}")
        return 1
    install_chromium()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
