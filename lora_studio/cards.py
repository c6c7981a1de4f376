"""Graphics cards and builds of PyTorch as plain facts, and what follows from them: whether one runs on the other, how it computes, what helps.

Pure functions, standard library only: the trainer, the doctor and the page ask the same questions here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .pins import numbers
from .torch_builds import BUILDS, INDEX

#: the PyTorch to take where an old one has to go: the first whose builds know every card below
FIRST_FOR_ALL = "2.7.1"
#: the last build that runs new cards with a driver that is too old for CUDA 13
BEFORE_CUDA13 = next(build for build in BUILDS if build.name == "cu128")
#: from this compute capability on a card computes bf16 itself; below, PyTorch emulates it or refuses
BF16_FROM = (8, 0)
#: Triton, which compiles, writes nothing for older cards
TRITON_FROM = (7, 0)
#: cards of capability 7.5 without tensor cores: half precision gives no numbers in some of cuDNN's algorithms
NO_HALF = ("GTX 16", "T400", "T500", "T550", "T600", "T1000", "T1200", "T2000", "MX450", "MX550", "CMP 30HX")
#: the least driver of a CUDA version's builds; within one major version newer builds run on it too
DRIVERS = {11: 450, 12: 525, 13: 580}
#: the least driver that knows a card at all, by its major capability
DRIVER_OF_CARD = {12: 570, 10: 570}


@dataclass(frozen=True)
class Card:
    """One card, counted as CUDA counts (``cuda:index``). ``capability`` (0, 0) and ``total`` (bytes) 0: not known."""

    index: int
    name: str
    capability: tuple[int, int] = (0, 0)
    total: int = 0
    uuid: str = ""

    @property
    def device(self) -> str:
        return f"cuda:{self.index}"

    @property
    def words(self) -> str:
        """As people know it: without the maker, the capability behind it."""
        name = re.sub(r"^(NVIDIA )?(GeForce )?", "", self.name) or self.name
        return f"{name} (compute capability {self.capability[0]}.{self.capability[1]})" if any(self.capability) else name


@dataclass(frozen=True)
class Build:
    """One PyTorch. ``cuda``: what it was built with ("12.1"), "" for none; ``hip`` the same of AMD's; ``kernels``: what it holds code for."""

    torch: str
    cuda: str = ""
    hip: str = ""
    kernels: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"PyTorch {self.torch.split('+')[0]}" + (f" (CUDA {self.cuda})" if self.cuda else "")


def build_of(torch: Any) -> Build:
    """The facts of an imported torch."""
    try:
        kernels = tuple(torch.cuda.get_arch_list())
    except Exception:  # a broken driver answers in many ways
        kernels = ()
    return Build(str(torch.__version__), torch.version.cuda or "", getattr(torch.version, "hip", None) or "", kernels)


def card_of(torch: Any, index: int) -> Card:
    """The facts of one card, as an imported torch says them."""
    facts = torch.cuda.get_device_properties(index)
    uuid = str(getattr(facts, "uuid", "") or "")  # torch 2.5 and later
    major, minor = torch.cuda.get_device_capability(index)
    return Card(index, str(torch.cuda.get_device_name(index)), (int(major), int(minor)), int(facts.total_memory), f"GPU-{uuid}" if uuid else "")


def cards_of(torch: Any) -> list[Card]:
    """Every card that an imported torch sees; none where it can use none."""
    return [card_of(torch, k) for k in range(torch.cuda.device_count())] if torch.cuda.is_available() else []


# -- how a card computes -------------------------------------------------------------------------------------------


def has_kernels(card: Card, build: Build) -> bool:
    """Whether a build holds code for a card: compiled for its generation and not for a later card of it, or to be translated by the driver.

    Where one of both is not known it counts as yes, and so it does with AMD, whose numbers mean something else.
    """
    if build.hip or not build.kernels or not any(card.capability):
        return True
    for kernel in build.kernels:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", kernel)
        if found is None:
            continue
        kind, own, only = found[1], (int(found[2]), int(found[3])), found[4] == "a"
        if own == card.capability or (not only and own <= card.capability and (kind == "compute" or own[0] == card.capability[0])):
            return True
    return False


def computes_bf16(card: Card, build: Build) -> bool:
    """Whether the card itself does (``torch.cuda.is_bf16_supported`` counts emulation, from torch 2.4 on)."""
    return bool(build.hip) or card.capability >= BF16_FROM


def precision_of(card: Card, build: Build) -> str:
    """What ``precision=auto`` takes on a card."""
    return "bf16" if computes_bf16(card, build) else "fp16"


def breaks_half(card: Card) -> bool:
    """Whether half precision is known to need cuDNN's own search for algorithms there (the WebUI's cure), and may fail all the same."""
    return card.capability == (7, 5) and any(f" {name}" in f" {card.name}" for name in NO_HALF)


def warning(precision: str, card: Card) -> str:
    """What is to be said of a precision before a training starts on a card; "" for nothing."""
    if precision != "bf16" or not (0, 0) < card.capability < BF16_FROM:
        return ""
    return f"The {card.words} does not compute in bf16: it is emulated, which is slow, or refused. precision=auto takes fp16 there."


# -- what is wrong, and what helps ---------------------------------------------------------------------------------


def least_driver(card: Card, build: Build) -> int:
    """The driver that a card and a build need together, by its first number."""
    return max(DRIVERS.get(numbers(build.cuda)[0], 0) if build.cuda else 0, DRIVER_OF_CARD.get(card.capability[0], 0))


def is_older(driver: str, least: int) -> bool:
    """Whether a driver's version ("560.35.03") is below one; "" is not known."""
    return bool(numbers(driver)) and numbers(driver)[0] < least


def build_for(card: Card, build: Build, driver: str = "") -> str:
    """What to type to get a PyTorch that can use a card: the same version where it was published for this card; "" where there is none."""
    version = build.torch.split("+")[0]
    if any(card.capability) and card.capability < (5, 0):
        return ""
    if card.capability >= (10, 0):
        if numbers(version) < (2, 7):
            version, index = FIRST_FOR_ALL, "cu128"
        elif numbers(version) < (2, 9):
            index = "cu128"
        elif is_older(driver, DRIVERS[13]):
            version, index = BEFORE_CUDA13.torch, BEFORE_CUDA13.name
        else:
            index = "cu130"
    else:
        index = "cu121" if numbers(version) < (2, 6) else "cu126"
    return f"pip install --force-reinstall torch=={version} torchvision --index-url {INDEX}{index}"


def wrong(card: Card, build: Build, driver: str = "") -> tuple[str, str] | None:
    """Why a build cannot use an NVIDIA card, and exactly what helps, in two sentences; None where nothing is known to be wrong.

    driver: its version, "" where it is not known.
    """
    if build.hip:
        return None
    command = build_for(card, build, driver)
    least = least_driver(card, build)
    install = f'Install another PyTorch: set TORCH_COMMAND to "{command}" and run the set-up, or start the WebUI once with --reinstall-torch.'
    if is_older(driver, first := DRIVER_OF_CARD.get(card.capability[0], DRIVERS[12])):
        install = f"Install NVIDIA's driver {first} or newer (nvidia.com/drivers) and restart the machine. {install}"
    if not command:
        return f"The {card.words} is too old: no PyTorch that this works with has code for it.", "Train on another card, or set device to cpu."
    if not build.cuda:
        return f"There is a {card.words}, but {build.name} was built without CUDA.", install
    if not has_kernels(card, build):
        return f"This {build.name} holds no code for the {card.words}.", install
    if is_older(driver, least):
        what = f"The driver {driver} is too old for the {card.words} with this {build.name}: it needs {least} or newer."
        keeps = build.cuda.startswith("13") and not is_older(driver, DRIVER_OF_CARD.get(card.capability[0], DRIVERS[12]))
        instead = f' Or keep the driver and install another PyTorch: "{command}".' if keeps else ""
        return what, f"Install NVIDIA's driver {least} or newer (nvidia.com/drivers) and restart the machine.{instead}"
    return None


def why(card: Card, build: Build, driver: str, visible: str | None) -> tuple[str, str]:
    """Why torch sees no card though the driver reports one, and what helps. visible: CUDA_VISIBLE_DEVICES, None for not set."""
    if found := wrong(card, build, driver):
        return found
    if visible is not None:
        hidden = f"CUDA_VISIBLE_DEVICES is {visible!r}, which hides the {card.words}."
        return hidden, "Take it out of the environment, or name a card that is there."
    what = f"There is a {card.words}, but {build.name} cannot use it."
    return what, "Install NVIDIA's newest driver (nvidia.com/drivers) and restart the machine."


def no_kernels(error: BaseException) -> bool:
    """Whether an error of torch's means that it holds no code for the card."""
    text = str(error).lower()
    return "no kernel image is available" in text or "cudaerrornokernelimagefordevice" in text


# -- which one is meant --------------------------------------------------------------------------------------------

#: what means "the card that is used here anyway"
ANY = ("", "auto", "cuda")


def index_of(device: str, home: str = "") -> int | None:
    """The number of the card that a ``device`` option means; None for what is no CUDA card. home: what ``auto`` means here ("cuda:1")."""
    name = home or "cuda:0" if device.strip().lower() in ANY else device.strip().lower()
    found = re.fullmatch(r"cuda:(\d+)", name)
    return int(found[1]) if found else None


def names(cards: Sequence[Card]) -> str:
    """``cuda:0 (RTX 3060), cuda:1 (…)``, for messages."""
    return ", ".join(f"{card.device} ({card.words})" for card in cards) or "none"
