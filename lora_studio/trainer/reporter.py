"""The losses of the last steps: read from the device now and then, checked, smoothed and told."""

from __future__ import annotations

import math
import time

import torch

from lora_studio.trainer.board import Board
from lora_studio.trainer.guard import NotFiniteError
from lora_studio.trainer.outputs import Length
from lora_studio.training.events import EventWriter

#: seconds between two step events; the loss is read from the device only then
REPORT_EVERY = 0.25
#: share of the old average that a new loss leaves
SMOOTHING = 0.95
NORMS = ("norm_shrunk", "norm_mean", "norm_max")


class Reporter:
    """Gathers what each step left on the device. `started` times leave out what is spent on other things (see `pause`)."""

    def __init__(self, events: EventWriter, board: Board, length: Length) -> None:
        self.events, self.board, self.length = events, board, length
        self.pending: list[tuple[int, dict[str, float], torch.Tensor, torch.Tensor | None]] = []
        self._last = time.monotonic()
        self._timed_steps = 0
        self._timed_since: float | None = None

    def add(self, step: int, rates: dict[str, float], loss: torch.Tensor, norms: torch.Tensor | None) -> None:
        self.pending.append((step, rates, loss, norms))

    def due(self) -> bool:
        return bool(self.pending) and time.monotonic() - self._last >= REPORT_EVERY

    def pause(self, seconds: float) -> None:
        """Time spent on other things does not count as training time."""
        if self._timed_since is not None:
            self._timed_since += seconds

    def flush(self, epoch: int, average: float) -> float:
        """Tell the gathered steps and return the running average of the loss. Raises NotFiniteError at the first that is no number."""
        if not self.pending:
            return average
        now = time.monotonic()
        for step, rates, tensor, norms in self.pending:
            loss = float(tensor)
            if not math.isfinite(loss):
                raise NotFiniteError(step)
            average = SMOOTHING * average + (1.0 - SMOOTHING) * loss
            more = {} if norms is None else dict(zip(NORMS, norms.tolist(), strict=True))
            self.board.scalars(step, loss=loss, **{f"lr_{part}": rate for part, rate in rates.items()}, **more)
        speed = self._speed(now)
        self.events.write(
            "step",
            step=step,
            total=self.length.total,
            epoch=epoch,
            epochs=self.length.epochs,
            loss=loss,
            loss_average=average / (1.0 - SMOOTHING**step),
            lr=rates.get("unet", 0.0),
            lr_text=rates.get("text", 0.0),
            steps_per_second=round(speed, 4),
            eta=round((self.length.total - step) / speed, 1) if speed else None,
            **more,
        )
        self.pending.clear()
        self._last = now
        return average

    def _speed(self, now: float) -> float:
        # the first report only starts the clock: its steps include warming up
        if self._timed_since is None:
            self._timed_since = now
        else:
            self._timed_steps += len(self.pending)
        elapsed = now - self._timed_since
        return self._timed_steps / elapsed if elapsed > 0 else 0.0
