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
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
STAMP = VENV / "lora_studio_setup.json"
TORCH = "torch==2.13.0"
# https://pytorch.org/get-started: the plain package for Windows has no CUDA.
TORCH_INDEX = "https://download.pytorch.org/whl/"
# CUDA 13 builds left out cards before Turing and need this driver; CUDA 12.6 builds run on the others.
CUDA13_CAPABILITY = 7.5
CUDA13_DRIVER = 580.0
INTERRUPTED = 130


class SetupError(Exception):
    """Set-up cannot go on; the message says what to do."""


def say(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    print(text.encode(encoding, "replace").decode(encoding), flush=True)


def venv_python(venv: Path) -> Path:
    return venv / "Scripts" / "python.exe" if os.name == "nt" else venv / "bin" / "python"


def nvidia_card() -> tuple[float, float] | None:
    """(compute capability, driver version) of the weakest NVIDIA card, or None when there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        found = subprocess.run(
            [tool, "--query-gpu=compute_cap,driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=20, check=True,
        ).stdout.strip().splitlines()
        cards = [line.split(",") for line in found]
        return min((float(cap), float(".".join(driver.strip().split(".")[:2]))) for cap, driver in cards)
    except (OSError, subprocess.SubprocessError, ValueError):
        # There is a driver, but too old to say more.
        return (0.0, 0.0)


def torch_arguments(environ: dict[str, str], system: str, card: tuple[float, float] | None) -> list[str]:
    """Arguments for `python -m` that install torch. TORCH_COMMAND has the WebUI's form: "pip install torch==... --index-url ..."."""
    command = environ.get("TORCH_COMMAND", "").strip()
    if command:
        # posix=False keeps the backslashes of Windows paths, but also the quotes.
        parts = shlex.split(command) if system != "Windows" else [p.strip('"') for p in shlex.split(command, posix=False)]
        if len(parts) < 3 or parts[0] != "pip":
            raise SetupError(f'TORCH_COMMAND is {command!r}; it has to look like "pip install torch==2.13.0".')
        return parts
    arguments = ["pip", "install", TORCH]
    if system == "Windows" and card is not None:
        newest = card[0] >= CUDA13_CAPABILITY and card[1] >= CUDA13_DRIVER
        arguments += ["--index-url", TORCH_INDEX + ("cu130" if newest else "cu126")]
    return arguments


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
            arguments = torch_arguments(dict(os.environ), platform.system(), nvidia_card() if os.name == "nt" else None)
            noted = torch_key(dict(os.environ))
        else:
            path = HERE / "requirements" / f"{layer}.txt"
            arguments, noted = ["pip", "install", "-r", str(path)], pins_hash(path)
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
    path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1"}


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
            return start([str(venv_python(VENV)), "-m", "lora_studio", "--help"])
        return 0
    command, rest = (arguments[0], arguments[1:]) if arguments else ("ui", [])
    if command == "doctor" and not is_ready():
        # The one command that must work when the set-up does not.
        return start([sys.executable, "-m", "lora_studio.doctor", *rest])
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
    return start([python, "-m", "lora_studio", command, *rest])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
