"""What a run needs to go on after any interruption: one folder a state, tensors and JSON, never a pickle."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from lora_studio.errors import UserError
from lora_studio.files import atomic_write_bytes, atomic_write_json, read_json
from lora_studio.untrusted import mapping, number, refuse, whole

FORMAT = 1
KEEP = 2
#: numbers of a state: the least each may be, at most MOST; and those that are no whole numbers, with what they usually are
COUNTS = {"step": 0, "epoch": 1, "batch": 0, "rollbacks": 0, "best_epoch": 0, "processes": 1}
NUMBERS = {"loss_average": 0.0, "rate": 1.0, "best_loss": 0.0}
MOST = 10**9


@dataclass(frozen=True)
class Position:
    """Where a run stands: `step` optimizer steps are done; `batch` batches of `epoch` (from 1) are done.

    Everything random is derived from the seed and this position, so there is no generator state to keep. `rate` is the factor
    on the learning rates after `rollbacks` returns from a loss that was no number; `best_epoch` had the lowest validation loss.
    """

    step: int = 0
    epoch: int = 1
    batch: int = 0
    loss_average: float = 0.0
    scaler: dict[str, float] | None = None
    rate: float = 1.0
    rollbacks: int = 0
    best_epoch: int = 0
    best_loss: float = 0.0
    processes: int = 1

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Position:
        """Raises RefusedError for a number that is none or cannot be, and for keys that are not known."""
        what = "The run's state.json"
        if unknown := sorted(set(values) - {f.name for f in fields(cls)}):
            raise refuse(what, unknown, "is not known")
        counts = {name: whole(values.get(name, low), what, low, MOST) for name, low in COUNTS.items()}
        numbers = {name: number(values.get(name, usual), what, low=0) for name, usual in NUMBERS.items()}
        scaler = values.get("scaler")
        for value in mapping(scaler, what).values() if scaler is not None else ():
            number(value, what)  # as they are: some of them must be whole
        return cls(**counts, **numbers, scaler=scaler)

    def among(self, processes: int) -> Position:
        """The same place for another number of processes: a step of theirs takes another number of pictures."""
        share = self.processes / processes
        return replace(self, step=round(self.step * share), batch=round(self.batch * share), processes=processes)


def save_state(folder: Path, position: Position, tensors: Mapping[str, torch.Tensor]) -> Path:
    """Write `folder/step-N/`, complete or not at all, then drop all but the newest two. Disk full raises UserError."""
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{position.step:08d}"
    temporary = folder / f".writing-{position.step:08d}"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        atomic_write_bytes(temporary / "tensors.safetensors", save(_apart(tensors)))
        atomic_write_json(temporary / "state.json", {"format": FORMAT, **asdict(position)})
        if final.exists():  # the same step saved again: same content
            shutil.rmtree(final)
        os.replace(temporary, final)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise UserError(
            f"The training state cannot be written to {folder}: {error}", "Free some disk space, then resume the run."
        ) from error
    except UserError:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    for old in _folders(folder)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """On the processor, and each with memory of its own: some optimizers share a table among parameters, which the file format refuses."""
    taken: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        own = tensor.detach().cpu()
        place = own.untyped_storage().data_ptr()
        found[name] = own.clone() if place in taken else own
        taken.add(place)
    return found


def load_state(folder: Path) -> tuple[Position, dict[str, torch.Tensor]] | None:
    """The newest state that can be read, or None where there is none."""
    for candidate in reversed(_folders(folder)):
        try:
            facts = read_json(candidate / "state.json")
            if facts.pop("format") != FORMAT:
                continue
            return Position.from_dict(facts), load((candidate / "tensors.safetensors").read_bytes())
        except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError, SafetensorError, UserError):
            continue
    return None


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name.startswith("step-"))
