"""Several processes that train one LoRA together; alone, everything here does nothing.

Each process computes its share of every batch, and the gradients are added: the steps are those of one process with all
the pictures. The first process (`main`) alone reads `control/` and writes files, and tells the others what to do.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from lora_studio.endings import died
from lora_studio.errors import UserError
from lora_studio.processes import module
from lora_studio.trainer.runtime import choose_device
from lora_studio.training.events import EventWriter, RunEvent

Thing = TypeVar("Thing")
#: the first process may draw samples or wait for room on the disk for long
PATIENCE = timedelta(days=7)
LOG_BYTES = 8000


class Team:
    """`rank` of `size` processes; `local` is the number on this machine and `beside` how many are on it."""

    def __init__(self, rank: int = 0, size: int = 1, local: int = 0, beside: int = 1) -> None:
        self.rank, self.size, self.local, self.beside = rank, size, local, beside
        self._parent = os.getppid()

    @classmethod
    def join(cls, device: str = "auto") -> Team:
        """The team that `accelerate launch` or torchrun describe in the environment; a team of one without them."""
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size < 2:
            return cls()
        rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
        beside = int(os.environ.get("LOCAL_WORLD_SIZE", str(size)))
        cuda = choose_device(device, local, beside)[0].type == "cuda"
        if cuda:
            torch.cuda.set_device(local)
        if not dist.is_initialized():
            dist.init_process_group("cpu:gloo,cuda:nccl" if cuda and dist.is_nccl_available() else "gloo", timeout=PATIENCE)
        return cls(rank, size, local, beside)

    @property
    def main(self) -> bool:
        return self.rank == 0

    def share(self, count: int) -> slice:
        """Which of `count` things are this process's."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def add(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def agree(self, value: int) -> int:
        """The largest value of all processes. Ends a process whose launcher is gone: nobody could stop it."""
        if self.size < 2:
            return value
        if self._orphaned():
            sys.exit("the launcher is gone")
        shared = torch.tensor(value, dtype=torch.int64)
        dist.all_reduce(shared, op=dist.ReduceOp.MAX)
        return int(shared)

    def tell(self, thing: Thing) -> Thing:
        """The first process's thing, in every process."""
        if self.size < 2:
            return thing
        box = [thing]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def gather(self, thing: Thing) -> list[Thing]:
        """Every process's thing, in the order of ranks."""
        if self.size < 2:
            return [thing]
        things: list[Any] = [None] * self.size
        dist.all_gather_object(things, thing)
        return things

    def leave(self) -> None:
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()

    def _orphaned(self) -> bool:
        if sys.platform != "win32":
            return os.getppid() != self._parent
        import psutil

        return not psutil.pid_exists(self._parent)


class Quiet(EventWriter):
    """The diary of a process that is not the first: nothing is written."""

    def __init__(self, run_dir: Path) -> None:
        self.path = Path(run_dir)

    def write(self, kind: str, /, **data: Any) -> RunEvent:
        return RunEvent(0, 0.0, kind, data)


def launch_words(arguments: Sequence[str], processes: int) -> list[str]:
    """Arguments of torchrun for all processes on this machine (accelerate launch runs it too), each with the trainer's own `arguments`."""
    # --no-python: torchrun's own `python -m` finds nothing of ours in a Python that ignores PYTHONPATH
    return ["--standalone", f"--nproc_per_node={processes}", "--no-python", *module(sys.executable, "lora_studio.trainer", *arguments)]


def process_failed(run_dir: Path, processes: int, code: int) -> UserError:
    """For one of several processes that ended all of them; what it printed is in the run's log."""
    log = run_dir / "console.log"
    printed = log.read_bytes()[-LOG_BYTES:].decode("utf-8", "replace") if log.is_file() else ""
    hint = "Its message is in console.log of the run; resume the run when that is solved."
    return died(message=f"One of the {processes} processes failed.", code=code, printed=printed, hint=hint)


def machines_command(run_dir: Path, processes: int, places: Sequence[str] = ()) -> str:
    """What to type on each of two machines, `processes` on each; both see the run's folder. `places`: see the trainer's `--place`."""
    allowed = "".join(f'--place "{place}" ' for place in places)
    return (
        f"accelerate launch --multi_gpu --num_machines 2 --num_processes {2 * processes} --machine_rank 0 "
        f'--main_process_ip FIRST_MACHINE --main_process_port 29500 -m lora_studio.trainer {allowed}"{run_dir}"'
        "   (on the second machine: --machine_rank 1)"
    )
