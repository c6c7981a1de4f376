"""A run is its folder: start it, watch it, stop it, go on with it. A closed browser or a dead parent loses nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ..endings import reason
from ..environment import Environment
from ..errors import UserError
from ..files import atomic_write_json, explain_os_error, read_json, told_os_error
from ..patience import HeldError, opened, rmtree, touch, unlink
from ..reading import entries, read_object
from ..untrusted import is_inside, number, own_folder, whole
from .config import TrainingConfig
from .events import FILE, EventWriter, RunEvent, read_events, tail
from .outlive import free, tied
from .places import Granted, check_folder

PROCESS = "process.json"
#: of config.json, what others than the trainer read
TOLD: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("base", "vae", "output_name", "output_dir", "lora_dir", "trigger", "prediction"), (str,)),
    **dict.fromkeys(("sample_cfg", "clip_skip", "max_tokens"), (int, float)),
    **dict.fromkeys(("folders", "sample_prompts"), (list,)),
}
COMMANDS = ("stop", "save", "sample")
STARTING = "starting.lock"
STALE_SECONDS = 60.0
LAST_BYTES = 8000
TIED = (
    "The launcher that Lora Studio was started from ends everything when it is closed, this training too. "
    "Leave it open; a training that was cut off can be resumed."
)


@dataclass(frozen=True)
class RunStatus:
    """How a run stands.

    ``state``: created, running, finished, stopped, failed or crashed (no last word
    and its process gone; can be resumed). Times in seconds, ``started`` since 1970. ``problem``: what is wrong with its config.json.
    """

    folder: str
    state: str
    step: int
    total_steps: int
    epoch: int
    loss: float | None
    steps_per_second: float | None
    seconds_left: float | None
    started: float | None
    checkpoints: tuple[str, ...]
    warnings: tuple[str, ...]
    message: str
    hint: str
    phase: str
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Run:
    """The folder of one training."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    @classmethod
    def create(cls, runs_dir: Path, config: TrainingConfig) -> Run:
        """A new folder named by the time, with its ``config.json``."""
        stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        runs_dir.mkdir(parents=True, exist_ok=True)
        for k in range(1000):
            folder = runs_dir / (stamp if k == 0 else f"{stamp}_{k + 1}")
            try:
                folder.mkdir()
                break
            except FileExistsError:
                continue
        try:
            for name in ("control", "state", "samples", "tensorboard"):
                (folder / name).mkdir()
            atomic_write_json(folder / "config.json", config.to_dict())
        except BaseException:
            rmtree(folder, ignore_errors=True)
            raise
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Raises UserError for a folder that is no run."""
        if not os.path.isfile(Path(folder) / "config.json"):
            raise UserError(f"{folder} is not a training run: it has no config.json.", "`runs PROJECT` lists a project's runs.")
        return cls(folder)

    @property
    def events_path(self) -> Path:
        return self.folder / FILE

    def config(self) -> TrainingConfig:
        return TrainingConfig.from_dict(read_json(self.folder / "config.json"))

    def told(self) -> tuple[dict[str, Any], str]:
        """What config.json says as far as it can be used, for showing, and what is wrong with it ("": nothing)."""
        path = self.folder / "config.json"
        if not is_inside(self.folder, path):
            return {}, f"{path} is a link to another place."
        try:
            found = read_object(path)
        except UserError as error:
            return {}, error.message
        odd = [k for k, v in found.items() if k in TOLD and (isinstance(v, bool) or not isinstance(v, TOLD[k]))]
        odd += [k for k, of in (("folders", dict), ("sample_prompts", str)) if k not in odd and any(not isinstance(v, of) for v in found.get(k, ()))]
        wrong = f"{self.folder / 'config.json'} has values that cannot be used: {', '.join(odd)}." if odd else ""
        return {k: v for k, v in found.items() if k not in odd}, wrong

    def start(self, environment: Environment | None = None, granted: Granted | None = None) -> None:
        """Start (or resume) the trainer as a process of its own; ``granted``: what it may use beside its project.

        Raises:
            UserError: it is running already, being started by someone else, or finished.
        """
        granted = granted or Granted()
        check_folder(self.folder, [Path(place) for place in granted.places])
        with _alone(self.folder / STARTING):
            self._start(environment or Environment(), granted)

    def _start(self, environment: Environment, granted: Granted) -> None:
        state = self.status().state
        if state == "running":
            raise UserError(f"The run {self.folder.name} is running already.", "Stop it first, or wait for its end.")
        if state == "finished":
            raise UserError(f"The run {self.folder.name} is finished; there is nothing to resume.", "Start a new run.")
        for name in COMMANDS:
            unlink(self.folder / "control" / name, missing_ok=True)
        bound = tied()
        if bound:
            EventWriter(self.folder).write("warning", message=TIED)
        log = self.folder / "console.log"
        printed = log.stat().st_size if log.is_file() else 0
        words = trainer_words(self.folder, granted)
        process = spawn(environment.module("lora_studio.trainer", *words), log, environment.variables())
        facts = {"pid": process.pid, "created": _created(process.pid), "began": time.time(), "printed": printed, "tied": bound}
        try:
            atomic_write_json(self.folder / PROCESS, facts)
        except BaseException:  # nobody would know of it, and start a second one
            process.kill()
            process.wait()
            raise
        # Kept so that the child is reaped when this process lives longer than the run.
        _children[str(self.folder.resolve())] = process

    def command(self, name: str) -> None:
        """Ask the trainer for ``stop``, ``save`` or ``sample``; it looks at each step."""
        if name not in COMMANDS:
            raise ValueError(name)
        folder = own_folder(self.folder, self.folder / "control", f"The run {self.folder.name}")
        folder.mkdir(exist_ok=True)
        try:
            touch(folder / name)  # empty: that fits on a full disk too, where a training waits for somebody to stop it
        except OSError as error:
            raise explain_os_error(error, folder / name) or told_os_error(error) from error

    def alive(self) -> bool:
        """Whether the process that was started for this run still runs (pid and start time agree)."""
        name = str(self.folder.resolve())
        child = _children.get(name)
        if child is not None:
            if (code := child.poll()) is None:
                return True
            if _children.pop(name, None) is child:
                self._note_end(child.pid, code)
            return False
        try:
            known = read_object(self.folder / PROCESS)
        except HeldError:
            return True  # nobody can tell, and a second trainer would be worse
        except UserError:
            return False
        try:
            began = number(known["created"], PROCESS, low=0)
            return bool(began) and _created(whole(known["pid"], PROCESS, 1, 2**31 - 1)) == began
        except (UserError, KeyError):
            return False

    def _note_end(self, pid: int, code: int) -> None:
        """Keep the exit code: only who started a process is told it, and only once."""
        with suppress(UserError, OSError):
            facts = read_json(self.folder / PROCESS)
            if isinstance(facts, dict) and facts.get("pid") == pid:
                atomic_write_json(self.folder / PROCESS, {**facts, "code": code})

    def status(self) -> RunStatus:
        found = summarize(self.folder, read_events(self.events_path), self.alive(), os.path.isfile(self.folder / PROCESS))
        return replace(found, problem=self.told()[1])

    def events_size(self) -> int:
        """Bytes of events that there are now: where `follow` may begin, to tell only what comes."""
        try:
            return self.events_path.stat().st_size
        except OSError:
            return 0

    def follow(self, seen: Callable[[RunEvent], None], pause: float = 0.3, offset: int = 0) -> RunStatus:
        """Call ``seen`` with each event as it comes, from byte ``offset`` on, until the run ends; returns the last status."""
        while True:
            alive = self.alive()  # asked before reading: what it wrote last is then still read
            events, offset = tail(self.events_path, offset)
            for event in events:
                seen(event)
            if not alive:
                return self.status()
            time.sleep(pause)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold ``lock`` while a run is started, so that two starts at one moment give one trainer.

    A lock whose owner died is taken over after a minute: a start itself takes well under a second.
    """
    with suppress(OSError):
        if time.time() - lock.stat().st_mtime > STALE_SECONDS:
            unlink(lock)
    try:
        opened(lock, "x").close()
    except FileExistsError:
        raise UserError(f"The run {lock.parent.name} is being started already.", "See how it stands with: runs show") from None
    try:
        yield
    finally:
        try:
            unlink(lock, missing_ok=True)
        except OSError:  # it stays, as one whose owner died long ago
            with suppress(OSError):
                os.utime(lock, (0, 0))


def trainer_words(run_dir: Path, granted: Granted) -> list[str]:
    """What the trainer is started with: not the run's settings say where it may write, but whoever starts it."""
    places: Sequence[str] = [word for place in granted.places for word in ("--place", place)]
    return [*places, *(["--own"] if granted.own else []), str(run_dir)]


_children: dict[str, subprocess.Popen[bytes]] = {}


def spawn(command: list[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one and, where it is let go, its launcher; its output goes to ``log`` and is never parsed."""

    def start(flags: int) -> subprocess.Popen[bytes]:
        options: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            options = {"creationflags": flags | subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        with opened(log, "ab") as out:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=dict(environment), **options)

    return free(start)


def _created(pid: int) -> float | None:
    """When a process began, or None if there is none (a zombie is none)."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


def summarize(folder: Path, events: list[RunEvent], alive: bool, was_started: bool) -> RunStatus:
    """Fold a run's events into its status. Only what came after the last ``started`` decides the end."""
    last_start = max((k for k, e in enumerate(events) if e.type == "started"), default=0)
    current = events[last_start:]
    end = next((e for e in reversed(current) if e.type in ("finished", "stopped", "failed")), None)
    if alive:
        state = "running"
    elif end is not None:
        state = end.type
    else:
        state = "crashed" if was_started else "created"
    steps = [e for e in current if e.type == "step"]
    step = int(max((e.data.get("step") or 0 for e in events if e.type in ("step", "finished", "stopped")), default=0))
    total = int(next((e.data["total"] or 0 for e in reversed(events) if _counts_steps(e)), 0))
    speed = steps[-1].data.get("steps_per_second") if steps else None
    message = str(end.data.get("message", "")) if end and state == "failed" else ""
    hint = str(end.data.get("hint", "")) if end and state == "failed" else ""
    if state == "crashed":
        message, hint = _crash(folder)
    saved = dict.fromkeys(str(e.data.get("path", "")) for e in events if e.type == "checkpoint")
    phase = next((str(e.data.get("name", "")) for e in reversed(current) if e.type == "phase"), "")
    return RunStatus(
        folder=str(folder),
        state=state,
        step=step,
        total_steps=total,
        epoch=int(max((e.data.get("epoch") or 0 for e in events), default=0)),
        loss=steps[-1].data.get("loss_average") if steps else None,
        steps_per_second=speed,
        seconds_left=(total - step) / speed if speed and total and state == "running" else None,
        started=events[0].time if events else None,
        checkpoints=tuple(p for p in saved if p),
        warnings=tuple(dict.fromkeys(str(e.data.get("message", "")) for e in events if e.type == "warning")),
        message=message,
        hint=hint,
        phase=phase,
    )


def _crash(folder: Path) -> tuple[str, str]:
    """Why a run ended without a word, as far as its exit code and its last lines tell, and what to do."""
    facts: dict[str, Any] = {}
    with suppress(UserError):
        found = read_json(folder / PROCESS)
        facts = found if isinstance(found, dict) else {}
    code, printed = facts.get("code"), facts.get("printed")
    text = ""
    with suppress(OSError), (folder / "console.log").open("rb") as log:
        end = log.seek(0, 2)
        log.seek(max(printed if isinstance(printed, int) else 0, end - LAST_BYTES))
        text = log.read().decode("utf-8", "replace")
    known = reason(code if isinstance(code, int) else None, text)
    resume = "Resume the run; see console.log in its folder for what it printed last."
    if known is not None:
        return f"The trainer ended without a word. {known.message}", f"{known.hint} {resume}"
    if facts.get("tied"):
        return "The trainer ended together with the launcher that Lora Studio was started from.", resume
    return "The trainer ended without a word: it was killed, or the machine went down.", resume


def _counts_steps(event: RunEvent) -> bool:
    """Whether ``total`` of this event means training steps (other phases count other things)."""
    return "total" in event.data and (event.type == "step" or event.data.get("name") == "training")


def list_runs(runs_dir: Path) -> list[Run]:
    """A project's runs, oldest first."""
    return [Run(p) for p in entries(runs_dir) if os.path.isfile(p / "config.json")]


def find_run(project_runs: Path, name: str) -> Run:
    """A run by folder path, by name, or ``last``.

    Raises:
        UserError: there is none.
    """
    runs = list_runs(project_runs)
    if name in ("", "last"):
        if not runs:
            raise UserError("This project has no runs yet.", "Start one with `train`.")
        return runs[-1]
    for run in runs:
        if run.folder.name == name:
            return run
    raise UserError(f"There is no run named {name}.", "Runs here: " + (", ".join(r.folder.name for r in runs) or "none") + ".")
