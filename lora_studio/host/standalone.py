"""The host when there is no WebUI: a folder of checkpoints, a folder of LoRAs, a page of our own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import UserError
from ..progress import Progress
from .base import Checkpoint, DrawRequest, Vram, VramChange

SUFFIXES = (".safetensors", ".ckpt")


@dataclass
class Standalone:
    """``models_dir`` holds ``Stable-diffusion/`` and ``Lora/``, as a WebUI's does, and may be one."""

    projects_dir: Path = field(default_factory=lambda: Path("projects"))
    models_dir: Path = field(default_factory=lambda: Path("models"))
    lora_folder: Path | None = None
    language: str = ""
    only_local: bool = True

    name = "standalone"
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
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()) if folder.is_dir() else []
        own = [Checkpoint(str(p.relative_to(folder).as_posix()), p, size=p.stat().st_size) for p in found]
        demo = checkpoint_path()
        return [*own, Checkpoint("demo", demo, "sd1", demo.stat().st_size)]

    def locale(self) -> str:
        return self.language

    def paths_allowed(self) -> bool:
        return self.only_local

    def settings(self) -> dict[str, Any]:
        return {}

    def vram(self) -> Vram:
        return Vram()

    def release_model(self) -> VramChange:
        return VramChange(self.vram(), self.vram(), "Nothing else holds a model here.")

    def restore_model(self) -> VramChange:
        return VramChange(self.vram(), self.vram())

    def refresh_loras(self) -> None:
        return None

    def draw(self, request: DrawRequest, progress: Progress) -> list[Image.Image]:
        raise UserError("There is no txt2img on this page.", "The grid is drawn by the trainer's own sampler instead.")
