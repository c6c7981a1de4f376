"""What may go wrong on the way and does not end a run: a full disk, a held file, too little memory, a loss that is no number, a wish to stop."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch

from lora_studio import patience
from lora_studio.errors import UserError
from lora_studio.failures import MEMORY, UNSTARTED, find
from lora_studio.training.events import EventWriter

Result = TypeVar("Result")
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
#: how often the rate is halved before a run gives up
MOST_ROLLBACKS = 4
#: seconds between two looks at a full disk, or at a file that another program holds
DISK_PAUSE = 2.0
#: bytes of graphics memory that cuBLAS and cuDNN need to start
STARTS = 400 * 2**20
#: seconds that a held file is waited for without a word
QUIET = 2.0


class StopAskedError(Exception):
    """Somebody asked the run to stop while it was busy with something longer than a step."""


class NotFiniteError(Exception):
    """The loss or the LoRA itself is not a number any more; or, with `gradients`, no gradient has been one for many steps."""

    def __init__(self, step: int, *, gradients: bool = False) -> None:
        super().__init__(f"not a number at step {step}")
        self.step, self.gradients = step, gradients


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means too little memory, on any device. A library of the card that does not start counts where the card is full."""
    if not isinstance(error, (RuntimeError, MemoryError)):
        return False
    row = find(f"{type(error).__name__}: {error}")
    if row is not None and row.kind == UNSTARTED:
        return _card_full()
    return isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)) or (row is not None and row.kind in MEMORY)


def _card_full() -> bool:
    """Whether the driver has too little left for a library of the card to start."""
    try:
        return torch.cuda.is_available() and torch.cuda.mem_get_info()[0] < STARTS
    except RuntimeError:  # after some errors the card answers nothing any more
        return False


def release_memory() -> None:
    """Give back what torch holds of the card and does not use."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif (mps := getattr(torch.backends, "mps", None)) is not None and mps.is_available():
        torch.mps.empty_cache()


def disk_full(error: BaseException | None) -> bool:
    """Whether an error was caused by a full disk, however it was put into words since."""
    while error is not None:
        if isinstance(error, OSError) and (error.errno in FULL or getattr(error, "winerror", None) == 112):
            return True
        error = error.__cause__
    return False


def waits(error: BaseException) -> bool:
    """Whether an error passes by itself or with somebody's help, and the run can wait for that."""
    return disk_full(error) or patience.is_held(error)


def patiently(write: Callable[[], Result], where: Path, events: EventWriter, stop_asked: Callable[[], bool]) -> Result:
    """Write something; while the disk is full or another program holds a file of it, wait.

    Raises StopAskedError when somebody stops the run meanwhile.
    """
    said = ""
    while True:
        try:
            with patience.within(QUIET, ask=False):
                result = write()
        except (OSError, UserError) as error:
            if not waits(error):
                raise
            kind = "full" if disk_full(error) else "held"
            if said != kind:
                events.write("warning", message=_why(error, where, kind))
                said = kind
            if stop_asked():
                raise StopAskedError from error
            patience.sleep(DISK_PAUSE)
        else:
            if said:
                what = "There is room on the disk again" if said == "full" else "The file is free again"
                events.write("warning", message=f"{what}: the training goes on.")
            return result


def _why(error: BaseException, where: Path, kind: str) -> str:
    """What the run waits for, in words."""
    if kind == "full":
        return f"The disk is full ({where}): the training waits until there is room. Free some space, or stop the run."
    path = getattr(error, "filename", None) or where
    return f"{patience.held(error, path).message} The training waits until the file is free. Close that program, or stop the run."
