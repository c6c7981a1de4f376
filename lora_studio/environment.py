"""Where our child processes find their packages: this Python's own, or an overlay folder before the host's.

Inside a WebUI nothing of the host's is ever changed: what training and tagging need on top lies in a folder that only our child processes see.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import overlay as overlays
from . import parent, processes, proxies
from .endings import died
from .errors import UserError
from .progress import Progress, silent

PACKAGE_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Environment:
    """How to start one of our own processes.

    ``packages``: the folder that keeps overlays (see overlay.py) for the interpreter we run in; None: ``python`` has everything itself.
    ``device``: what ``auto`` means for children, where the host was given a card ("cuda:1").
    """

    python: str = field(default_factory=lambda: sys.executable)
    packages: Path | None = None
    device: str = ""

    @property
    def overlay(self) -> Path | None:
        """The overlay that children see, once it is complete."""
        found = overlays.folder(self.packages) if self.packages is not None else None
        return found if found is not None and overlays.is_complete(found) else None

    def variables(self) -> dict[str, str]:
        """The environment variables of a child process."""
        overlay = self.overlay
        if overlay is not None:
            overlays.used(overlay)
        paths = [str(overlay) if overlay else "", str(PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            **({"LORA_STUDIO_DEVICE": self.device} if self.device else {}),
            **proxies.local_direct(os.environ),
            "PYTHONUTF8": "1",
            "PYTHONUNBUFFERED": "1",
            # The folder a WebUI is started in is full of modules of its own.
            "PYTHONSAFEPATH": "1",
            "PYTHONPATH": os.pathsep.join(p for p in paths if p),
        }

    def module(self, name: str, *arguments: str) -> list[str]:
        """``python -m NAME ARGUMENTS`` in this environment."""
        return processes.module(self.python, name, *arguments)

    def command(self, *arguments: str) -> list[str]:
        """``python -m lora_studio ARGUMENTS`` in this environment."""
        return self.module("lora_studio", *arguments)

    def answer(self, *arguments: str) -> Any:
        """What a command of ours answers, run to its end with the packages that only our children see. Raises UserError with its message."""
        done = subprocess.run(
            self.command(*arguments, "--json", "--quiet"), capture_output=True, text=True, encoding="utf-8", errors="replace",
            env=self.variables() | parent.helper(), **processes.hidden(),
        )  # fmt: skip
        try:
            found = json.loads(done.stdout)
        except ValueError:
            raise died(message="A command of Lora Studio ended without an answer.", code=done.returncode, printed=done.stderr) from None
        if done.returncode:
            raise UserError(str(found.get("error", "")), str(found.get("hint", "")))
        return found

    def missing(self) -> list[str]:
        """The packages that are not there yet in a version that fits; a look at facts on disk, no imports."""
        return [] if self.packages is None else overlays.missing(overlays.folder(self.packages))

    def state(self) -> dict[str, Any]:
        """For the page: whether training and tagging can begin, what is missing, how much there is to fetch (bytes, about)."""
        lacking = self.missing()
        return {"ready": not lacking, "missing": lacking, "size_hint": overlays.size_hint(overlays.Facts.read()) if lacking else 0}

    def install(self, progress: Progress = silent) -> dict[str, Any]:
        """Make the overlay; what is there already is left as it is. Stopped or broken off, it goes on where it was.

        Raises:
            UserError: saying what is missing and what to do.
        """
        if self.packages is None:
            return {"installed": []}
        from .overlay_install import install

        return install(self.packages, progress)
