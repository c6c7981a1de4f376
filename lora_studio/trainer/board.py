"""Curves and samples for TensorBoard; without the package a run goes on, with a warning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lora_studio.training.events import EventWriter


class Board:
    """Writes to `folder`; a resumed run hides what it is about to write again (`purge_step`)."""

    def __init__(self, folder: Path, step: int, events: EventWriter) -> None:
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder), purge_step=step or None)
        except ImportError as error:
            events.write("warning", message=f"TensorBoard is not installed, its curves are not written ({error}).")

    def scalars(self, step: int, **values: float) -> None:
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name.replace("_", "/", 1), value, step)

    def picture(self, step: int, name: str, picture: Image.Image) -> None:
        if self._writer is not None:
            self._writer.add_image(name, np.asarray(picture), step, dataformats="HWC")

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
