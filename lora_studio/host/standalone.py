"""The host when there is no WebUI: a folder of checkpoints, a folder of LoRAs, a page of our own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from .. import cards as rules
from .. import nvidia
from ..cards import Card
from ..environment import Environment
from ..errors import UserError
from ..progress import Progress
from .base import DEFAULT_SETTINGS, Checkpoint, DrawRequest, Vram, VramChange
from .families import family, known_checkpoint

SUFFIXES = (".safetensors", ".ckpt")
NOT_BASES = (".vae.safetensors", ".vae.ckpt")


@dataclass
class Standalone:
    """``models_dir`` holds ``Stable-diffusion/`` and ``Lora/``, as a WebUI's does, and may be one."""

    projects_dir: Path = field(default_factory=lambda: Path("projects"))
    models_dir: Path = field(default_factory=lambda: Path("models"))
    lora_folder: Path | None = None
    language: str = ""
    only_local: bool = True
    logins: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    environment: Environment = field(default_factory=Environment)
    _cards: list[Card] | None = field(default=None, init=False, repr=False, compare=False)

    name = "standalone"
    device = ""
    has_txt2img = False

    @property
    def lora_dir(self) -> Path:
        return self.lora_folder or self.models_dir / "Lora"

    @property
    def checkpoints_dir(self) -> Path:
        return self.models_dir / "Stable-diffusion"

    def checkpoints(self) -> Sequence[Checkpoint]:
        from ..demo import checkpoint_path

        folder = self.checkpoints_dir
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and os.path.isfile(p)) if folder.is_dir() else []
        bases = [p for p in found if not p.name.lower().endswith(NOT_BASES)]
        demo = checkpoint_path()
        own = [known_checkpoint(p.relative_to(folder).as_posix(), p) for p in bases]
        return [*own, Checkpoint("demo", demo, family(demo), demo.stat().st_size)]

    def refresh_checkpoints(self) -> None:
        """Nothing is remembered: each list is read from the folder."""

    def locale(self) -> str:
        return self.language

    def page_names(self) -> Sequence[str]:
        return ()  # --allow-host

    def tag_lists(self) -> Sequence[Path]:
        return ()

    def api_logins(self) -> Sequence[tuple[str, str]]:
        """Those of people: the page's own."""
        return self.logins

    def paths_allowed(self) -> bool:
        return self.only_local

    def settings(self) -> dict[str, Any]:
        return dict(DEFAULT_SETTINGS)

    def cards(self) -> Sequence[Card]:
        """As CUDA counts them: a short child process asks the driver, once."""
        if self._cards is None:
            known = bool(nvidia.seen())
            self._cards = nvidia.ask(self.environment.module("lora_studio.nvidia"), self.environment.variables()) if known else []
        return self._cards

    def vram(self, device: str = "auto") -> Vram:
        """As nvidia-smi says, which counts otherwise and knows no CUDA_VISIBLE_DEVICES: the card is found by its UUID."""
        now, index = nvidia.seen(), rules.index_of(device)
        if not now or index is None:
            return Vram()
        card = next((card for card in self.cards() if card.index == index), None)
        if card is not None:
            found = nvidia.memory(card, now)
        else:  # the driver's library did not answer
            found = (now[0].free, now[0].total) if len(now) == 1 and index == 0 and "CUDA_VISIBLE_DEVICES" not in os.environ else None
        return Vram(*found) if found else Vram()

    def release_model(self) -> VramChange:
        now = self.vram()
        return VramChange(now, now, "Nothing else holds a model here.")

    def restore_model(self) -> VramChange:
        now = self.vram()
        return VramChange(now, now, "Nothing was released.")

    def refresh_loras(self) -> None:
        """Nobody here keeps a list."""

    def draw(self, request: DrawRequest, progress: Progress) -> list[Image.Image]:
        raise UserError("There is no txt2img on this page.", "The grid is drawn by the trainer's own sampler instead.")
