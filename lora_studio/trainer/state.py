"""What a run needs to go on after any interruption: one folder a state, tensors and JSON, never a pickle.

No folder is ever renamed, which Windows refuses while anybody has a file in it open. The tensors are written first; `state.json`, put in place
at once, names them and so makes the folder a state. Deleting begins with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from lora_studio.errors import UserError
from lora_studio.files import atomic_write_bytes, atomic_write_json, read_json
from lora_studio.patience import TIDYING, HeldError, patient, rmtree, unlink, within
from lora_studio.untrusted import file_name, mapping, number, refuse, whole

FORMAT = 1
KEEP = 2
FACTS = "state.json"
#: the second is for a step that is saved again: the first stays until then
TENSORS = ("tensors.safetensors", "tensors-2.safetensors")
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
    """Write `folder/step-N/`, complete or not at all, then drop all but the newest two: this one is the newest. Disk full raises UserError."""
    final = folder / f"step-{position.step:08d}"
    known = _facts(final)
    name = TENSORS[known is not None and known.get("tensors", TENSORS[0]) == TENSORS[0]]
    try:
        final.mkdir(parents=True, exist_ok=True)
        _sweep(folder, final, known)
        atomic_write_bytes(final / name, save(_apart(tensors)))
        more = {} if name == TENSORS[0] else {"tensors": name}
        atomic_write_json(final / FACTS, {"format": FORMAT, **more, **asdict(position)})
    except (OSError, UserError) as error:
        if known is None:
            _away(lambda: rmtree(final))
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"The training state cannot be written to {folder}: {error}", "Free some disk space, then resume the run."
        ) from error
    for later in _folders(folder)[_folders(folder).index(final) + 1 :]:  # could not be read, or counted other steps: see `Position.among`
        _away(lambda later=later: unlink(later / FACTS, missing_ok=True))
    _sweep(folder, final, {"tensors": name})
    return final


def _sweep(folder: Path, final: Path, known: Mapping[str, object] | None) -> None:
    """Remove the states before the newest two, and what no state needs. What somebody holds goes the next time."""
    needed = {FACTS, str(known.get("tensors", TENSORS[0]))} if known else set()
    for path in final.iterdir():
        if path.name not in needed:
            _away(lambda path=path: unlink(path))
    for old in [path for path in _folders(folder) if (path / FACTS).is_file()][:-KEEP]:
        _away(lambda old=old: unlink(old / FACTS))
    for old in folder.iterdir():  # `.writing-N`: of versions that renamed folders
        if old != final and old.is_dir() and old.name.startswith(("step-", ".writing-")) and not (old / FACTS).is_file():
            _away(lambda old=old: rmtree(old))


def _away(delete: Callable[[], None]) -> None:
    with suppress(OSError), within(TIDYING, ask=False):
        delete()


def _facts(state: Path) -> dict[str, object] | None:
    try:
        found = read_json(state / FACTS)
    except HeldError:
        raise
    except UserError:
        return None
    return found if isinstance(found, dict) else None


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
    """The newest state that can be read, or None where there is none. Raises HeldError while another program holds the newest."""
    for candidate in reversed(_folders(folder)):
        try:
            facts = read_json(candidate / FACTS)
            if facts.pop("format") != FORMAT:
                continue
            path = candidate / file_name(facts.pop("tensors", TENSORS[0]), str(candidate / FACTS))
            return Position.from_dict(facts), load(patient(path.read_bytes, path=path))
        except HeldError:
            raise  # an older one would do the work of hours again
        except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError, SafetensorError, UserError):
            continue
    return None


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name.startswith("step-"))
