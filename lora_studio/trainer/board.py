"""Curves and samples for TensorBoard; without the package a run goes on, with a warning."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lora_studio.patience import patient
from lora_studio.training.events import EventWriter


class Board:
    """Writes to `folder` (None: nowhere); a resumed run hides what it is about to write again (`purge_step`)."""

    def __init__(self, folder: Path | None, step: int, events: EventWriter) -> None:
        self._events = events
        self._writer: Any = None
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = patient(lambda: SummaryWriter(str(folder), purge_step=step or None), path=folder)
            _make_patient(self._writer)
        except (ImportError, OSError) as error:
            events.write("warning", message=f"TensorBoard's curves are not written: {error}.")

    def scalars(self, step: int, **values: float) -> None:
        for name, value in values.items():
            self._try(lambda name=name, value=value: self._writer.add_scalar(name.replace("_", "/", 1), value, step))

    def picture(self, step: int, name: str, picture: Image.Image) -> None:
        self._try(lambda: self._writer.add_image(name, np.asarray(picture), step, dataformats="HWC"))

    def close(self) -> None:
        self._try(lambda: self._writer.close())

    def _try(self, write: Callable[[], Any]) -> None:
        """Curves are worth no training: after a failed write (a full disk) there are none any more."""
        if self._writer is None:
            return
        try:
            write()
        except Exception as error:  # the writer passes on whatever its own thread met
            self._writer = None
            self._events.write("warning", message=f"TensorBoard's curves cannot be written any more: {error}")


def _make_patient(writer: Any) -> None:
    """TensorBoard opens its file anew for each piece that it writes, in a thread that dies of the first error."""
    file = getattr(getattr(getattr(writer, "file_writer", None), "event_writer", None), "_general_file_writer", None)
    if file is not None:
        write = file.write
        file.write = lambda content: patient(lambda: write(content))
