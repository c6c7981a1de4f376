"""What we ask of a host. Everything else in the program knows this protocol and no WebUI."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from .. import cards
from ..cards import Card
from ..environment import Environment
from ..progress import Progress


@dataclass(frozen=True)
class Checkpoint:
    """A base model the host knows. ``title`` is what people see; ``family`` sd1, sd2, sdxl or "", then ``problem`` says why."""

    title: str
    path: Path
    family: str = ""
    size: int = 0
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "path": str(self.path)}


@dataclass(frozen=True)
class Vram:
    """Graphics memory in bytes; None where there is no card or it cannot be asked."""

    free: int | None = None
    total: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class VramChange:
    """What releasing or restoring a model did, as read before and after."""

    before: Vram
    after: Vram
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class DrawRequest:
    """Pictures to draw with the host's own txt2img. ``prompt`` holds any ``<lora:name:weight>`` itself; sizes in pixels."""

    prompt: str
    negative: str = ""
    checkpoint: str = ""
    seed: int = 1
    count: int = 1
    steps: int = 20
    cfg: float = 7.0
    width: int = 512
    height: int = 512
    sampler: str = ""


DEFAULT_SETTINGS: dict[str, Any] = {"default_base": "", "release_model": False, "preferred_weight": 0.8}


def memory_message(before: Vram, after: Vram) -> str:
    """What a release did, in a person's words."""
    if before.free is None or after.free is None:
        return "The checkpoint is out of memory. There is no graphics card here that could be asked how much that freed."
    return f"Free graphics memory: {before.free / 2**30:.1f} GB before, {after.free / 2**30:.1f} GB now."


def on_its_card(host: Host, device: str) -> bool:
    """Whether a training with this ``device`` option uses the card that the host's own model lies on, as far as that can be known."""
    if device.strip().lower().startswith("cpu"):
        return False
    index = cards.index_of(device, host.device)
    return index is None or index == cards.index_of("auto", host.device)


class Host(Protocol):
    """One per process."""

    @property
    def name(self) -> str:
        """``webui``, ``forge`` or ``standalone``."""

    @property
    def projects_dir(self) -> Path: ...

    @property
    def lora_dir(self) -> Path | None:
        """Where LoRAs are looked for; None: nowhere."""

    @property
    def has_txt2img(self) -> bool:
        """Whether the page has a txt2img tab that text can be sent to, and `draw` works in this process."""

    @property
    def checkpoints_dir(self) -> Path:
        """Where the host looks for checkpoints, and where new ones go."""

    @property
    def environment(self) -> Environment:
        """How child processes are started."""

    def checkpoints(self) -> Sequence[Checkpoint]: ...

    def refresh_checkpoints(self) -> None:
        """Have the host look at its folder again, after a file arrived there."""

    def locale(self) -> str:
        """The language the person chose in the host, as ``en``, ``zh_CN`` …; "" when they did not."""

    def api_logins(self) -> Sequence[tuple[str, str]]:
        """(name, password) that programs may give instead of a session; empty: none are set."""

    def page_names(self) -> Sequence[str]:
        """Names that a person allows the page to be opened by, besides this machine's own."""

    def tag_lists(self) -> Sequence[Path]:
        """Lists of other names of tags that the host's extensions brought."""

    def paths_allowed(self) -> bool:
        """Whether people may type paths of this machine into the page."""

    def settings(self) -> dict[str, Any]:
        """Machine-level settings (Settings → Lora Studio): the keys of DEFAULT_SETTINGS."""

    @property
    def device(self) -> str:
        """The card that the host was told to use ("cuda:1"), "" where it was not told."""

    def cards(self) -> Sequence[Card]:
        """The graphics cards as a training counts them; none where there are none or they cannot be asked. Loads no torch."""

    def vram(self, device: str = "auto") -> Vram:
        """Of the card that a training with this ``device`` option uses."""

    def release_model(self) -> VramChange:
        """Take the loaded checkpoint out of graphics memory, so that training has it."""

    def restore_model(self) -> VramChange: ...

    def refresh_loras(self) -> None: ...

    def draw(self, request: DrawRequest, progress: Progress) -> list[Image.Image]:
        """Raises UserError where the host cannot draw."""
