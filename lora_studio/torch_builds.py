"""Which build of PyTorch can use which NVIDIA card with which driver, and what to do where none can. Standard library only.

PyTorch's builds hold code for some generations of cards only, and each CUDA needs a driver that is new enough.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .processes import hidden

TORCH = "2.13.0"
INDEX = "https://download.pytorch.org/whl/"
DRIVERS = "https://www.nvidia.com/drivers"


class Card(NamedTuple):
    """An NVIDIA card as its driver describes it; 0 for what an old driver does not tell."""

    name: str
    capability: float
    driver: float


class Build(NamedTuple):
    """A build of PyTorch, called as its index is: the compute capabilities it has code for, and the oldest driver on Linux and on Windows."""

    name: str
    torch: str
    lowest: float
    highest: float
    linux: float
    windows: float

    @property
    def cuda(self) -> str:
        return f"{self.name[2:-1]}.{self.name[-1]}"

    def driver(self, system: str) -> float:
        return self.windows if system == "Windows" else self.linux

    def knows(self, card: Card) -> bool:
        return self.lowest <= card.capability <= self.highest if card.capability else self.name == WIDEST

    def fits(self, card: Card, system: str) -> bool:
        return self.knows(card) and (not card.driver or card.driver >= self.driver(system))


#: In order of preference. PyTorch's release notes: CUDA 13 begins with Turing; the builds for CUDA 12.6 end with Hopper and are the last for
#: GTX 10xx; those for CUDA 12.8, which run RTX 50xx with a driver that is too old for CUDA 13, ended with 2.11. Drivers: NVIDIA's CUDA release notes.
BUILDS = (
    Build("cu130", TORCH, 7.5, 12.9, 580, 580),
    Build("cu126", TORCH, 5.0, 9.9, 525, 528),
    Build("cu128", "2.11.0", 7.5, 12.9, 570, 570),
)
WIDEST = "cu126"  # what runs on most of the cards that people have
ON_PYPI = "cu130"  # what the plain package for Linux is
NEWEST_DRIVER = 580


class Choice(NamedTuple):
    """``build`` None: no card can be used. ``left_out``: (card, what to do) for each card that this build cannot use."""

    build: Build | None
    left_out: tuple[tuple[Card, str], ...]

    @property
    def needs_driver(self) -> bool:
        """Whether nothing but a newer driver is lacking."""
        return self.build is None and any(build.knows(card) for card, _ in self.left_out for build in BUILDS)


def cards() -> list[Card]:
    """The machine's NVIDIA cards; one without a name where there is a driver that does not answer. Empty where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    for fields in ("name,driver_version,compute_cap", "name,driver_version"):  # drivers before 510 do not know the last
        command = [tool, f"--query-gpu={fields}", "--format=csv,noheader"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=20, check=True, **hidden())
        except (OSError, subprocess.SubprocessError):
            continue
        return parse(answer.stdout)
    return [Card("", 0.0, 0.0)]


def parse(text: str) -> list[Card]:
    """What nvidia-smi said: ``name, driver[, compute capability]`` a line."""
    found = []
    for line in text.strip().splitlines():
        parts = [part.strip() for part in line.split(",")]
        numbers = [re.match(r"\d+(\.\d+)?", part) for part in [*parts, "", ""][1:3]]
        driver, capability = (float(n[0]) if n else 0.0 for n in numbers)
        found.append(Card(parts[0], capability, driver))
    return found


def choose(found: Sequence[Card], system: str) -> Choice:
    """The build that can use the most of these cards, of equal ones the newest. system: as platform.system() says."""
    best = max(BUILDS, key=lambda build: sum(build.fits(card, system) for card in found))
    used = best if any(best.fits(card, system) for card in found) else None
    return Choice(used, tuple((card, cure(card, system)) for card in found if used is None or not used.fits(card, system)))


def cure(card: Card, system: str) -> str:
    """Why a card cannot be used and what to do, as sentences; "" where a build is there for it that was not taken."""
    able = [build for build in BUILDS if build.knows(card)]
    name = f"{card.name} (compute capability {card.capability:g})"
    if not able:
        return f"PyTorch has no build any more that knows the {name}: training and tagging use the processor."
    if any(build.fits(card, system) for build in able):
        return f"The {name} and the other card need different builds of PyTorch: only the other one is used."
    # NVIDIA's drivers for cards before Turing end with this number too
    needed = min(build.driver(system) for build in able)
    better = "" if needed == NEWEST_DRIVER else f" ({NEWEST_DRIVER} is better)"
    return (
        f"The {name} needs NVIDIA driver {needed:g} or newer{better}; {card.driver:g} is installed. "
        f"Install it from {DRIVERS}, restart the computer, then do this again."
    )


def command(build: Build, index: str = INDEX) -> list[str]:
    """What pip is told to install it from PyTorch's own index, or a mirror of it."""
    return ["install", f"torch=={build.torch}", "--index-url", index + build.name]


def installed(environment: Path) -> tuple[str, str]:
    """(version, CUDA's version) of the torch in a virtual environment, read without loading it; "" for what is not there."""
    for path in (*environment.glob("Lib/site-packages/torch/version.py"), *environment.glob("lib/python*/site-packages/torch/version.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        found = [re.search(rf"^{name}\b.*=\s*['\"]([^'\"]*)['\"]", text, re.MULTILINE) for name in ("__version__", "cuda")]
        return tuple(match[1] if match else "" for match in found)  # type: ignore[return-value]
    return "", ""
