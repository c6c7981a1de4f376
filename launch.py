#!/usr/bin/env python3
"""Start Lora Studio without a WebUI: set up .venv on first use, then run a command in it.

    python launch.py                 the page, in the browser
    python launch.py demo            from raw pictures to a trained, scored LoRA
    python launch.py test [--fast]   the tests
    python launch.py COMMAND ...     any command of `python -m lora_studio`
    python launch.py setup           only set up, or repair the set-up (--tests: the test tools too)

Standard library only. Once set up, nothing here touches the network.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
STAMP = VENV / "lora_studio_setup.json"
TORCH = "torch==2.13.0"
INTERRUPTED = 130
BUILD_FOR_CUDA = re.compile(r"/cu\d+$")  # how the address of PyTorch's index for one CUDA ends

sys.path.insert(0, str(HERE))  # an embedded Python does not look beside the script


class SetupError(Exception):
    """Set-up cannot go on; the message says what to do."""


def say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def venv_python(venv: Path) -> Path:
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def nvidia_cards() -> list[Any]:
    """The NVIDIA cards that a build of torch has to fit; none on a machine for which there is but one build."""
    from lora_studio import torch_builds

    return torch_builds.cards() if platform.system() in ("Linux", "Windows") and platform.machine().lower() in ("x86_64", "amd64") else []


def torch_arguments(environ: dict[str, str], system: str, cards: Sequence[Any]) -> list[str]:
    """Arguments for `python -m` that install a torch that can use these cards (of lora_studio.torch_builds).

    Both of the WebUI's variables are understood: TORCH_COMMAND, "pip install torch==... --index-url ...", goes before our own choice;
    TORCH_INDEX_URL names a mirror of PyTorch's index. Raises SetupError where no build can use a card until its driver is newer.
    """
    from lora_studio import torch_builds

    command = environ.get("TORCH_COMMAND", "").strip()
    if command:
        # posix=False keeps the backslashes of Windows paths, but also the quotes.
        parts = shlex.split(command) if system != "Windows" else [p.strip('"') for p in shlex.split(command, posix=False)]
        if len(parts) < 3 or parts[0] != "pip":
            raise SetupError(f'TORCH_COMMAND is {command!r}; it has to look like "pip install torch==2.13.0".')
        return parts
    mirror = environ.get("TORCH_INDEX_URL", "").strip().rstrip("/")
    if mirror and not BUILD_FOR_CUDA.search(mirror):
        return ["pip", "install", TORCH, "--index-url", mirror]
    if not cards or (system != "Windows" and not any(card.name for card in cards)):  # the plain package: on Windows it has no CUDA
        return ["pip", "install", TORCH, *index_arguments(environ)]
    chosen = torch_builds.choose(cards, system)
    index = BUILD_FOR_CUDA.sub("/", mirror) or torch_builds.INDEX
    if chosen.needs_driver:
        without = f"pip install {TORCH} --index-url {index}cpu"
        raise SetupError("\n".join(sentence for _, sentence in chosen.left_out) + f'\nTo go on without the card: set TORCH_COMMAND to "{without}".')
    if chosen.build is None:
        return ["pip", "install", TORCH, "--index-url", index + "cpu"]
    if system != "Windows" and chosen.build.name == torch_builds.ON_PYPI and not mirror:
        return ["pip", "install", TORCH, *index_arguments(environ)]
    return ["pip", *torch_builds.command(chosen.build, index)]


def index_arguments(environ: dict[str, str]) -> list[str]:
    """INDEX_URL, the WebUI's name for a mirror of the package index, as pip takes it."""
    index = environ.get("INDEX_URL", "").strip()
    return ["--index-url", index] if index else []


def make_way(python: Path, arguments: list[str], cards: Sequence[Any], stamp: dict[str, str]) -> None:
    """Remove a torch for another CUDA than these arguments install: pip takes both for the same version and would leave it."""
    from lora_studio import torch_builds

    version, cuda = torch_builds.installed(VENV)
    build = re.search(r"/(cu\d+|cpu)$", arguments[-1])
    if not version or not cards or (build[1] if build else torch_builds.ON_PYPI) == (f"cu{cuda.replace('.', '')}" if cuda else "cpu"):
        return
    stamp.pop("torch", None)
    write_stamp(STAMP, stamp)
    run_step([str(python), "-m", "pip", "uninstall", "-y", "torch"], "The PyTorch that is installed could not be removed.")


def read_stamp(path: Path) -> dict[str, str]:
    try:
        stamp = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(path: Path, stamp: dict[str, str]) -> None:
    from lora_studio.patience import opened, replace  # late: whoever starts this may have a Python that is too old for it

    temporary = path.with_suffix(".tmp")
    with opened(temporary, "w", encoding="utf-8") as file:
        file.write(json.dumps(stamp, indent=2))
    replace(temporary, path)


def pins_hash(path: Path) -> str:
    """Changes when a pin does, not when a comment does."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return hashlib.sha256("\n".join(line for line in lines if line).encode()).hexdigest()


def torch_key(environ: dict[str, str]) -> str:
    """What the torch that is wanted depends on, without asking the graphics card at every start."""
    return environ.get("TORCH_COMMAND", "").strip() or TORCH


def missing_layers(stamp: dict[str, str], with_tests: bool, environ: dict[str, str], again: bool = False) -> list[str]:
    """Which of torch, stack, page and test have to be installed, in order. again: also what is noted as installed."""
    layers = []
    installed = stamp.get("torch", "")
    # A torch chosen by TORCH_COMMAND stays when the variable is not set the next time.
    chosen = bool(installed) and not installed.startswith("torch==")
    keep = chosen and not environ.get("TORCH_COMMAND", "").strip()
    if not keep and (again or installed != torch_key(environ)):
        layers.append("torch")
    for layer in ("stack", "page", "test") if with_tests else ("stack", "page"):
        if again or stamp.get(layer) != pins_hash(HERE / "requirements" / f"{layer}.txt"):
            layers.append(layer)
    return layers


def is_ready(with_tests: bool = False) -> bool:
    stamp = read_stamp(STAMP)
    return venv_python(VENV).exists() and "venv" in stamp and not missing_layers(stamp, with_tests, dict(os.environ))


def run_step(command: list[str], failed: str) -> None:
    """Run with its output in sight. Raises SetupError when it fails."""
    try:
        code = subprocess.call(command, env={**os.environ, "PYTHONUTF8": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    except OSError as error:
        raise SetupError(f"{failed} ({error})") from error
    if code:
        raise SetupError(failed)


def make_venv() -> None:
    from lora_studio import longpaths

    if excess := longpaths.excess(VENV, longpaths.IN_VENV):
        raise SetupError(
            f"This folder's path is {excess} characters too long for Windows: {HERE}\n"
            f"Move it nearer to the drive's root (C:\\lora-studio), {longpaths.SWITCH}."
        )
    if importlib.util.find_spec("venv") is None and os.name == "nt":
        raise SetupError(f"{sys.executable} is an embedded Python, which cannot make a virtual environment. Install the one from python.org.")
    say(f"Setting up {VENV} (once)")
    try:
        run_step(
            # --clear: an interrupted first attempt may have left half of one.
            [sys.executable, "-m", "venv", "--clear", str(VENV)],
            "The virtual environment could not be made. On Debian and Ubuntu: sudo apt install python3-venv; then run this again.",
        )
        write_stamp(STAMP, {"venv": platform.python_version()})
    except OSError as error:
        raise SetupError(f"{VENV} cannot be written: {error}. Free some space or check the folder's permissions, then run this again.") from error


def prepare(with_tests: bool = False, again: bool = False) -> None:
    """Bring .venv to the pinned state; `again` has pip look at everything, to repair what was changed by hand.

    Each layer is noted when it is complete, so an interrupted set-up goes on where it was.
    """
    from lora_studio import torch_builds

    python = venv_python(VENV)
    stamp = read_stamp(STAMP)
    if "venv" not in stamp or not python.exists():
        make_venv()
        stamp = read_stamp(STAMP)
    layers = missing_layers(stamp, with_tests, dict(os.environ), again)
    free = shutil.disk_usage(HERE).free / 2**30
    if layers and free < 4:
        say(f"Only {free:.1f} GB are free on this disk; the set-up may need more.")
    for number, layer in enumerate(layers, 1):
        if layer == "torch":
            cards = nvidia_cards()
            arguments = torch_arguments(dict(os.environ), platform.system(), cards)
            noted = torch_key(dict(os.environ))
            if not os.environ.get("TORCH_COMMAND", "").strip():
                for _, remark in torch_builds.choose(cards, platform.system()).left_out:
                    say(remark)
                make_way(python, arguments, cards, stamp)
        else:
            path = HERE / "requirements" / f"{layer}.txt"
            arguments, noted = ["pip", "install", "-r", str(path), *index_arguments(dict(os.environ))], pins_hash(path)
        what = {"torch": "PyTorch", "stack": "the trainer's packages", "page": "the page", "test": "the test tools"}[layer]
        say(f"[{number}/{len(layers)}] Installing {what}: {' '.join(arguments)}")
        run_step(
            [str(python), "-m", *arguments],
            f"Installing {what} failed; pip's own words are above. Check the network and the free space "
            f"({free:.1f} GB), then run the same command again: it goes on from here.",
        )
        stamp[layer] = noted
        write_stamp(STAMP, stamp)
    if layers:
        say("Set-up complete.")


def environment() -> dict[str, str]:
    """For the programs we start: this folder importable from anywhere, UTF-8 on every console."""
    from lora_studio import proxies

    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, **proxies.local_direct(os.environ), "PYTHONPATH": path, "PYTHONUTF8": "1"}


def module(python: str, name: str, *arguments: str) -> list[str]:
    """`python -m NAME ARGUMENTS`. Of .venv's Python it is known that it looks at PYTHONPATH: we made it."""
    from lora_studio import processes

    return processes.module(python, name, *arguments) if python == sys.executable else [python, "-m", name, *arguments]


def start(command: list[str], cwd: Path | None = None) -> int:
    """Run a program to its end and return its exit status. Ctrl-C reaches it too: it is left to end by itself."""
    process = subprocess.Popen(command, env=environment(), cwd=cwd)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def main(arguments: list[str]) -> int:
    if sys.version_info < (3, 10):  # noqa: UP036 - whoever starts this may have any Python
        say(f"Lora Studio needs Python 3.10 or newer; this is {platform.python_version()} ({sys.executable}).")
        return 2
    if arguments and arguments[0] in ("-h", "--help", "help"):
        say((__doc__ or "").strip())
        if is_ready():
            return start(module(str(venv_python(VENV)), "lora_studio", "--help"))
        return 0
    command, rest = (arguments[0], arguments[1:]) if arguments else ("ui", [])
    if command == "doctor" and not is_ready():
        # The one command that must work when the set-up does not.
        return start(module(sys.executable, "lora_studio.doctor", *rest))
    try:
        prepare(with_tests=command == "test" or (command == "setup" and "--tests" in rest), again=command == "setup")
    except SetupError as error:
        say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        say("\nStopped. Run the same command again: the set-up goes on where it was.")
        return INTERRUPTED
    python = str(venv_python(VENV))
    if command == "setup":
        return 0
    if command == "test":
        chosen = ["-m", "not slow"] if "--fast" in rest else []
        return start([python, "-m", "pytest", *chosen, *(a for a in rest if a != "--fast")], cwd=HERE)
    return start(module(python, "lora_studio", command, *rest))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
