"""TensorBoard over a project's runs: started on this machine alone, on a free port, and ended with the program that started it.

As a program (``python -m lora_studio.training.tensorboard RUNS PORT``) it is the TensorBoard itself.
"""

from __future__ import annotations

import atexit
import socket
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

from .. import processes
from ..environment import Environment
from ..errors import UserError
from ..parent import end_with_parent, helper

LOCAL = "127.0.0.1"
START = 60.0  # seconds: its first start reads many files

_running: dict[Path, tuple[subprocess.Popen[bytes], int]] = {}
_lock = threading.Lock()


def installed(environment: Environment) -> bool:
    """Whether there is a TensorBoard to start; nothing of it is imported."""
    overlay = environment.overlay
    return find_spec("tensorboard") is not None or (overlay is not None and (overlay / "tensorboard").is_dir())


def start(runs_dir: Path, environment: Environment) -> int:
    """The port of a TensorBoard that shows these runs; one that runs already is taken.

    Raises:
        UserError: it is not installed, or does not come up.
    """
    if not installed(environment):
        raise UserError("TensorBoard is not installed.", "The loss curve on this page shows the same losses.")
    folder = runs_dir.resolve()
    with _lock:
        known = _running.get(folder)
        if known is not None and known[0].poll() is None:
            return known[1]
        port = _free_port()
        command = environment.module("lora_studio.training.tensorboard", str(folder), str(port))
        variables = environment.variables() | helper()
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=variables, **processes.hidden())
        _running[folder] = (process, port)
    _wait(process, port)
    return port


def stop_all() -> None:
    """End every TensorBoard that was started here."""
    with _lock:
        for process, _ in _running.values():
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        _running.clear()


atexit.register(stop_all)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind((LOCAL, 0))
        return int(one.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise UserError("TensorBoard ended as soon as it was started.", "Start it by hand to see why: tensorboard --logdir RUNS_FOLDER")
        try:
            socket.create_connection((LOCAL, port), 0.5).close()
            return
        except OSError:
            time.sleep(0.2)
    process.terminate()
    raise UserError("TensorBoard does not answer.", "Try again.")


def main(runs: str, port: str) -> None:
    """Be the TensorBoard, until the program that wanted it is gone."""
    end_with_parent()
    from tensorboard import main as board

    sys.argv = ["tensorboard", "--logdir", runs, "--host", LOCAL, "--port", port, "--reload_interval", "5"]
    board.run_main()


if __name__ == "__main__":
    main(*sys.argv[1:])
