"""The overlay: a folder of packages that only our child processes see, for what the host's Python lacks or has in another version.

    <packages>/<key>/           everything that was installed, and lora_studio_overlay.json saying what for
    <packages>/new-…, cache/    an installation under way

The key holds what an overlay depends on (the pins, this Python, the host's torch), so one made for another torch is simply not found, a new one never
touches files that a running child has open, and a half-made one is never mistaken for a whole. Standard library only: install.py asks at every start.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from . import pins

STAMP = "lora_studio_overlay.json"


class Facts(NamedTuple):
    """What of the host decides which packages fit: versions as installed ("" for none), the system as sys.platform names it, Python's version."""

    torch: str
    cudnn: str = ""
    system: str = "linux"
    python: str = "3.10"

    @staticmethod
    def read() -> Facts:
        """Of the interpreter we run in; nothing is imported."""
        have = pins.installed()
        return Facts(have.get("torch", ""), have.get("nvidia-cudnn-cu12", ""), sys.platform, f"{sys.version_info[0]}.{sys.version_info[1]}")


def requirements(facts: Facts, wanted: dict[str, str]) -> list[str]:
    """The pins as pip reads them, ONNX Runtime in the flavour that uses this machine's card."""
    return [f"{onnxruntime_flavour(facts) if name == 'onnxruntime' else name}{version}" for name, version in wanted.items()]


def onnxruntime_flavour(facts: Facts) -> str:
    """DirectML on Windows; CUDA where torch brought CUDA 12 with cuDNN 9, which onnxruntime-gpu is built for; else the plain one."""
    if facts.system == "win32":
        return "onnxruntime-directml"
    if facts.system == "linux" and facts.cudnn and pins.numbers(facts.cudnn)[0] >= 9:
        return "onnxruntime-gpu"
    return "onnxruntime"


def constraints(facts: Facts) -> list[str]:
    """What must stay as the host has it: its torch, and a numpy that this torch can read."""
    return [f"torch=={facts.torch}", *(["numpy<2"] if pins.numbers(facts.torch) < (2, 3) else [])]


def key(facts: Facts, pinned: str) -> str:
    """The folder's name; short, for Windows has little room in a path."""
    return hashlib.sha256("|".join((pinned, *facts)).encode()).hexdigest()[:10]


def folder(packages: Path, facts: Facts | None = None) -> Path:
    """Where the overlay for this Python, this torch and these pins is, or would be."""
    return packages / key(facts or Facts.read(), pins.digest())


def is_complete(overlay: Path) -> bool:
    return (overlay / STAMP).is_file()


def used(overlay: Path) -> None:
    """Note that a child process starts with it."""
    with suppress(OSError):
        os.utime(overlay / STAMP)


def unused_for(overlay: Path) -> float:
    """Seconds since a child was last started with it."""
    try:
        return time.time() - (overlay / STAMP).stat().st_mtime
    except OSError:
        return 0.0


def others(packages: Path, overlay: Path) -> list[Path]:
    """Complete overlays of other pins, other Pythons or another torch."""
    try:
        return sorted(p for p in packages.iterdir() if p != overlay and is_complete(p))
    except OSError:
        return []


def missing(overlay: Path, paths: Sequence[str] | None = None) -> list[str]:
    """The pinned packages that neither the overlay nor the host has in a version that fits."""
    have = pins.installed([str(overlay), *(sys.path if paths is None else paths)])
    return [name for name, wanted in pins.wanted_versions().items() if not pins.fulfilled(name, wanted, have)]


def size_hint(facts: Facts) -> int:
    """About how many bytes an installation fetches, as measured with these pins in the WebUI v1.10.1's environment."""
    return {"onnxruntime-gpu": 345_000_000, "onnxruntime-directml": 70_000_000}.get(onnxruntime_flavour(facts), 60_000_000)
