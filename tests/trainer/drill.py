"""The fault drill: runs that are killed, find the disk full, lose memory or meet a loss that is no number, over and over.

Each attempt is a forked process; after each one nothing half-written may lie in the LoRA folders, and in the end every run
must be finished. Runs that were only killed and kept waiting must equal an undisturbed run to the bit.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from lora_studio.trainer import guard, loop, outputs, state
from lora_studio.trainer.__main__ import main
from tests.trainer.runs import diary, digest, make_run

EPOCHS = 8
OPTIONS: dict[str, Any] = {
    "epochs": EPOCHS, "scheduler": "cosine", "prior_weight": 0.5, "flip": True, "ema_decay": 0.9, "network_dropout": 0.1, "sample_prompts": ["word"],
    "sample_steps": 6, "state_every_minutes": 0.01, "validation_split": 0.2,
}  # fmt: skip
#: where a kill is aimed at, by the last phase the run told
PHASES = ("starting", "latents", "training", "sampling", "saving")


@dataclass
class Report:
    """`kills` by phase, `faults` by kind, `problems` in words: there should be none."""

    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    problems: list[str] = field(default_factory=list)


def drill(folder: Path, base: Path, pictures: Path, kills: int, seed: int = 1) -> Report:
    """Kill runs `kills` times, every second run with faults injected too."""
    torch.set_num_threads(1)  # no thread pool may be alive when this process forks
    report, rng = Report(), random.Random(seed)
    reference = make_run(folder / "reference", base, pictures, **OPTIONS)
    if wait(fork(reference, None), 300) != 0:
        report.problems.append(f"the undisturbed run: {diary(reference)[-1]}")
        return report
    while sum(report.kills.values()) < kills:
        report.runs += 1
        place = folder / f"run-{report.runs:03d}"
        run = make_run(place, base, pictures, **OPTIONS)
        injected = report.runs % 2 == 0
        _disturb(run, place / "output", rng, report, kills, injected)
        _check_end(run, place, folder / "reference", report, exact=not injected)
    return report


def _disturb(run: Path, output: Path, rng: random.Random, report: Report, kills: int, injected: bool) -> None:
    """Start, kill, start again, until the run is finished; the last start is left alone."""
    attempts = 0
    while True:
        fault = rng.choice(["disk", "nan", "memory"]) if injected and attempts < 4 else None
        child = fork(run, partial(inject, fault, rng))
        attempts += 1
        if fault:
            report.faults[fault] += 1
        phase = rng.choice(PHASES)
        ended = aim(run, child, phase, rng) if sum(report.kills.values()) < kills and attempts < 12 else None
        if ended is None and attempts < 12 and sum(report.kills.values()) < kills:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            report.kills[phase] += 1
            check_files(output, report)
            continue
        code = wait(child, 300) if ended is None else ended
        check_files(output, report)
        if code != 0:
            report.problems.append(f"{run}: exit {code}: {diary(run)[-1]}")
        return


def fork(run: Path, prepare: Callable[[], None] | None) -> int:
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # injected faults print tracebacks
            guard.DISK_PAUSE = 0.01
            if prepare is not None:
                prepare()
            code = main([str(run)])
        finally:
            os._exit(code)
    return child


def aim(run: Path, child: int, phase: str, rng: random.Random) -> int | None:
    """Wait until the run is in a phase, and a moment more; its exit code if it ended before."""
    known, deadline = len(diary(run)), time.monotonic() + 20
    names = {"starting": "dataset", "saving": "training"}
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        told = diary(run)[known:]
        if any(e.get("name") == names.get(phase, phase) for e in told) and (phase != "saving" or writing(run)):
            time.sleep(rng.uniform(0.0, {"starting": 0.3, "latents": 0.05, "saving": 0.003}.get(phase, 0.25)))
            return None
        time.sleep(0.0005)
    return None


def writing(run: Path) -> bool:
    """Whether a file is being written right now."""
    places = (*(run / "state").glob("step-*"), run.parent / "output")
    with suppress(FileNotFoundError):  # an old state that is taken away meanwhile
        return any(name.startswith(".tmp-") for place in places if place.is_dir() for name in os.listdir(place))
    return False


def wait(child: int, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def inject(fault: str | None, rng: random.Random) -> None:
    """Make this process meet a fault once or a few times, soon."""
    if fault is None:
        return
    if fault == "disk":
        left = [rng.randrange(1, 5)]
        for module, name in ((state, "atomic_write_bytes"), (outputs.export, "atomic_write_bytes"), (outputs, "_save_picture")):
            setattr(module, name, _full(getattr(module, name), left))
        return
    original, when, count = loop.Objective.loss, rng.randrange(1, 12), [0]

    def loss(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        count[0] += 1
        if count[0] == when and fault == "memory":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return original(self, *args, **kwargs) * (float("nan") if count[0] == when else 1.0)

    loop.Objective.loss = loss  # type: ignore[method-assign]


def _full(write: Callable[..., Any], left: list[int]) -> Callable[..., Any]:
    def written(*args: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(*args)

    return written


def check_files(output: Path, report: Report) -> None:
    """Every LoRA that is there can be read to its last number."""
    for path in output.glob("*.safetensors") if output.is_dir() else ():
        try:
            if not all(torch.isfinite(t).all() for t in load_file(path).values()):
                report.problems.append(f"{path} holds numbers that are none")
        except Exception as error:  # whatever is wrong with it is a finding
            report.problems.append(f"{path}: {error}")


def _check_end(run: Path, place: Path, reference: Path, report: Report, *, exact: bool) -> None:
    events = diary(run)
    if events[-1]["type"] != "finished" or [e["seq"] for e in events] != sorted(e["seq"] for e in events):
        report.problems.append(f"{run}: {events[-1]}")
        return
    for epoch in range(1, EPOCHS + 1):
        path, other = (p / "output" / f"word-{epoch:02d}.safetensors" for p in (place, reference))
        if not path.is_file():
            report.problems.append(f"{path} is missing")
        elif exact and digest(path) != digest(other):
            report.problems.append(f"{path} differs from the undisturbed run's")
    if state.load_state(run / "state") is None:
        report.problems.append(f"{run} has no state")
