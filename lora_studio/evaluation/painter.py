"""Drawing the test prompts with the base model, or with a LoRA merged into it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from PIL.Image import Image

from .. import cores
from ..errors import UserError
from ..failures import because
from .prompts import TestPrompt


class Painter(Protocol):
    """What an evaluation asks of the model."""

    def draw(
        self, prompts: Sequence[TestPrompt], lora: Path | None, weight: float, drawn: Callable[[int], None]
    ) -> list[Image]:
        """One picture a prompt, in order; ``drawn(n)`` is told how many are done. ``lora`` None: the base model."""
        ...


@dataclass(frozen=True)
class Canvas:
    """How every picture is drawn: pixels, sampling steps, guidance, negative prompt, pictures at a time."""

    width: int
    height: int
    steps: int
    cfg: float
    negative: str
    batch_size: int


class ModelPainter:
    """Draws with the trainer's sampler. Loading and sampling need torch, which is imported only here."""

    def __init__(self, base: str, vae: str, prediction: str, clip_skip: int, max_tokens: int, canvas: Canvas, device: str) -> None:
        import torch

        from ..trainer.guard import release_memory
        from ..trainer.models import load_base
        from ..trainer.runtime import DTYPES, choose_device, choose_precision, set_up
        from ..trainer.trial import gives_numbers

        chosen, notes = choose_device(device)
        precision, more = choose_precision("auto", chosen, set_up(chosen))
        if chosen.type == "cpu":
            torch.set_num_threads(cores.threads())
            torch.set_flush_denormal(True)
        self.notes: list[str] = [*notes, *more]
        self.model: Any = load_base(base, chosen, DTYPES[precision], vae=vae, prediction=prediction)
        if precision != "fp32" and not gives_numbers(self.model, (canvas.width, canvas.height)):
            self.notes.append(f"{precision} gives no numbers on this device: the pictures are drawn in fp32.")
            self.model = None  # both together may not fit
            release_memory()
            self.model = load_base(base, chosen, DTYPES["fp32"], vae=vae, prediction=prediction)
        self.model.clip_skip = clip_skip
        self.model.max_tokens = max_tokens
        self.canvas = canvas
        self.device = str(chosen)

    def draw(
        self, prompts: Sequence[TestPrompt], lora: Path | None, weight: float, drawn: Callable[[int], None]
    ) -> list[Image]:
        """See Painter. Raises UserError for a LoRA none of whose modules are in the base model."""
        if lora is None:
            return self._sample(prompts, drawn)
        from ..trainer.merge import merged

        with merged(self.model, lora, weight) as report:
            if not report.matched:
                raise UserError(
                    f"Nothing in {lora.name} fits the base model {self.model.path.name}.",
                    "Evaluate it with the base model it was trained on.",
                )
            if report.unmatched:
                note = f"{len(report.unmatched)} of {len(report.matched) + len(report.unmatched)} modules of {lora.name} do not fit the base model"
                if note not in self.notes:
                    self.notes.append(note)
            return self._sample(prompts, drawn)

    def _sample(self, prompts: Sequence[TestPrompt], drawn: Callable[[int], None]) -> list[Image]:
        from ..trainer.guard import out_of_memory
        from ..trainer.sampling import Prompt, sample

        c = self.canvas
        asked = [Prompt(p.text, c.negative, p.seed, c.width, c.height, c.steps, c.cfg) for p in prompts]

        def progress(done: int, total: int, message: str) -> None:
            drawn(done)

        try:
            return sample(self.model, asked, c.batch_size, progress)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            why, hint = because(error)
            raise UserError(f"One picture of {c.width}x{c.height} cannot be drawn: {why}", hint) from error


def describe(painter: Any) -> dict[str, Any]:
    """What the report says about the painter: device and notes, where it has them."""
    return {"device": getattr(painter, "device", ""), "notes": list(getattr(painter, "notes", []))}
