"""Where our child processes find their packages: this Python's own, or an overlay folder before the host's.

Inside a WebUI nothing of the host's is ever changed: what training and tagging need on top lies in a folder that only our child processes see.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE_ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Environment:
    """How to start one of our own processes. ``overlay``: a folder of packages that come before the interpreter's own."""

    python: str = field(default_factory=lambda: sys.executable)
    overlay: Path | None = None

    def variables(self) -> dict[str, str]:
        """The environment variables of a child process."""
        paths = [str(PACKAGE_ROOT), str(self.overlay) if self.overlay else "", os.environ.get("PYTHONPATH", "")]
        return {**os.environ, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(p for p in paths if p)}

    def command(self, *arguments: str) -> list[str]:
        """``python -m lora_studio ARGUMENTS`` in this environment."""
        return [self.python, "-m", "lora_studio", *arguments]
