"""Drawing with a WebUI's own txt2img, so that a grid shows what people will get there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL.Image import Image

from ..errors import UserError
from ..host.base import DrawRequest, Host
from ..untrusted import is_network
from .prompts import TestPrompt
from .xygrid import GridOptions


class HostPainter:
    """A painter (see `Painter`) that asks the host, one picture at a time: between two of them a job can be stopped."""

    def __init__(self, host: Host, found: Mapping[str, Any], options: GridOptions) -> None:
        self.host, self.options = host, options
        self.checkpoint = checkpoint_title(host, str(found.get("base", "")))
        host.refresh_loras()

    def draw(self, prompts: Sequence[TestPrompt], lora: Path | None, weight: float, drawn: Callable[[int], None]) -> list[Image]:
        """Raises UserError for a LoRA that the host does not find: it would draw without a word as if there were none."""
        if lora is not None and not in_lora_dir(self.host, lora.name):
            raise UserError(f"{lora.name} is not in the WebUI's LoRA folder.", "Copy it there, with the file beside it that ends in .json.")
        pictures: list[Image] = []
        for k, prompt in enumerate(prompts):
            # Sampling steps are not shown, what counts is cells; but asked to stop, a picture may end in the middle.
            pictures += self.host.draw(self._request(prompt, lora, weight), partial(_again, drawn, k))[:1]
        drawn(len(prompts))
        return pictures

    def _request(self, prompt: TestPrompt, lora: Path | None, weight: float) -> DrawRequest:
        o = self.options
        text = f"{prompt.text}, <lora:{lora.stem}:{weight:g}>" if lora else prompt.text
        return DrawRequest(text, o.negative, self.checkpoint, prompt.seed, 1, o.steps, 7.0 if o.cfg is None else o.cfg, o.width, o.height)


def _again(drawn: Callable[[int], None], cells: int, done: int, total: int, message: str) -> None:
    drawn(cells)


def in_lora_dir(host: Host, file: str) -> bool:
    """Whether the host has a LoRA of this file name anywhere in its folder."""
    folder = host.lora_dir
    return bool(folder and folder.is_dir() and any(p.name == file for p in folder.rglob("*.safetensors")))


def checkpoint_title(host: Host, base: str) -> str:
    """The host's own name for the base model of a run; "" (what is loaded now) when it does not have it."""
    if not base:
        return ""
    here, known = Path(base), list(host.checkpoints())
    same = [c for c in known if c.path == here or _same_file(c.path, here)] or [c for c in known if c.path.name == here.name]
    return same[0].title if same else ""


def _same_file(a: Path, b: Path) -> bool:
    if is_network(str(b)):  # a run's settings name it: it is not looked at
        return False
    try:
        return a.samefile(b)
    except OSError:
        return False
