"""Long work started from the page: in a thread or a child process, with progress, rate and time left, and a way to stop it."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from . import parent, processes
from .endings import died
from .errors import UserError
from .failures import explained
from .files import told_os_error
from .progress import Progress

RUNNING = "running"
KEPT = 200
PROGRESS_EVERY = 0.1  # seconds between two reports of one job


class CancelledError(Exception):
    """Raised out of a job's progress call once someone asked it to stop."""


@dataclass(frozen=True)
class Job:
    """How a job stands. ``state``: running, done, failed or cancelled. ``total`` 0: not known yet.

    ``rate`` in items a second and ``seconds_left`` of the present stage, None while unknown; ``result`` is what it returned.
    """

    id: str
    kind: str
    project: str
    state: str = RUNNING
    done: int = 0
    total: int = 0
    message: str = ""
    rate: float | None = None
    seconds_left: float | None = None
    started: float = 0.0
    ended: float | None = None
    result: Any = None
    error: str = ""
    hint: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


Work = Callable[[Progress], Any]


class Jobs:
    """All jobs of this process. ``changed`` is called with each new state, from the job's own thread."""

    def __init__(self, changed: Callable[[Job], None] = lambda job: None) -> None:
        self._changed = changed
        self._jobs: dict[str, Job] = {}
        self._stop: dict[str, threading.Event] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._held: set[str] = set()

    def start(self, kind: str, project: str, work: Work, *, join: bool = False) -> Job:
        """Run ``work`` in a thread. One job of a kind at a time for each project.

        ``join``: the one that is running already is as good, and given.

        Raises:
            UserError: such a job is running already.
        """
        with self._lock:
            running = next((j for j in self._jobs.values() if j.state == RUNNING and j.kind == kind and j.project == project), None)
            if running is not None and join:
                return running
            if running is not None:
                raise UserError("This is running already.", "Wait for its end, or stop it first.")
            if project and project in self._held:
                raise UserError("This project is being renamed.", "Wait a moment, then open it under its new name.")
            job = Job(f"{int(time.time())}-{next(self._ids)}", kind, project, started=time.time())
            self._jobs[job.id] = job
            self._stop[job.id] = threading.Event()
            self._forget_old()
            thread = threading.Thread(target=self._run, args=(job.id, work), name=f"lora-studio {kind}", daemon=True)
            self._threads[job.id] = thread
        self._changed(job)
        thread.start()
        return job

    @contextmanager
    def held(self, project: str) -> Iterator[None]:
        """No job of this project begins meanwhile. Raises UserError while one runs."""
        with self._lock:
            if project in self._held or any(j.state == RUNNING and j.project == project for j in self._jobs.values()):
                raise UserError("Something runs for this project.", "Wait for its end, or stop it first.")
            self._held.add(project)
        try:
            yield
        finally:
            with self._lock:
                self._held.discard(project)

    def start_command(
        self, kind: str, project: str, command: Sequence[str], environment: Mapping[str, str], cwd: str | None = None, *, join: bool = False
    ) -> Job:
        """Run one of our own commands as a child process; it has to be given ``--json --progress json``."""
        return self.start(kind, project, lambda progress: run_command(command, environment, progress, cwd), join=join)

    def get(self, identity: str) -> Job:
        """Raises UserError for a job that is not known (any more)."""
        with self._lock:
            if identity not in self._jobs:
                raise UserError("This job is not known any more.", "The program was started anew since; look at the project itself.")
            return self._jobs[identity]

    def list(self, project: str | None = None) -> list[Job]:
        """The jobs kept, oldest first."""
        with self._lock:
            return [j for j in self._jobs.values() if project is None or j.project == project]

    def cancel(self, identity: str) -> Job:
        """Ask a job to stop; it does at its next report of progress."""
        job = self.get(identity)
        self._stop[identity].set()
        return job

    def wait(self, identity: str, timeout: float | None = None) -> Job:
        """The job once it ended (or as it stands after ``timeout`` seconds)."""
        self.get(identity)
        self._threads[identity].join(timeout)
        return self.get(identity)

    def _forget_old(self) -> None:
        ended = [j.id for j in self._jobs.values() if j.state != RUNNING]
        for identity in ended[: max(0, len(self._jobs) - KEPT)]:
            for known in (self._jobs, self._stop, self._threads):
                known.pop(identity, None)

    def _update(self, identity: str, **changes: Any) -> None:
        with self._lock:
            job = self._jobs[identity] = replace(self._jobs[identity], **changes)
        self._changed(job)

    def _run(self, identity: str, work: Work) -> None:
        stop = self._stop[identity]
        meter = _Meter()

        def progress(done: int, total: int, message: str) -> None:
            if stop.is_set():
                raise CancelledError
            if (found := meter.see(done, total, message)) is not None:
                self._update(identity, **found)

        try:
            result = work(progress)
            end = {"state": "done", "result": result}
        except CancelledError:
            end = {"state": "cancelled"}
        except UserError as error:
            end = {"state": "failed", "error": error.message, "hint": error.hint}
        except OSError as error:  # a disk that is read-only, full or gone
            traceback.print_exc()
            told = explained(error) or told_os_error(error)
            end = {"state": "failed", "error": told.message, "hint": told.hint}
        except Exception as error:  # the last line of defence: the page says it, the console has the details
            traceback.print_exc()
            message = f"Something went wrong inside Lora Studio: {type(error).__name__}: {error}"
            known = explained(error) or UserError(message, "The details are in the console; please report them.")
            end = {"state": "failed", "error": known.message, "hint": known.hint}
        self._update(identity, ended=time.time(), seconds_left=None, **end)


class _Meter:
    """Rate and time left of the present stage; reports that come too fast are dropped, the last of a stage never."""

    def __init__(self) -> None:
        self.began = self.told = 0.0
        self.before = 0
        self.stage: tuple[int, int] | None = None

    def see(self, done: int, total: int, message: str) -> dict[str, Any] | None:
        now = time.monotonic()
        if self.stage is None or total != self.stage[1] or done < self.stage[0]:
            self.began, self.before, self.told = now, done, 0.0
        self.stage = (done, total)
        if now - self.told < PROGRESS_EVERY and not (total and done >= total):
            return None
        self.told = now
        elapsed = now - self.began
        rate = (done - self.before) / elapsed if done > self.before and elapsed > 0 else None
        left = (total - done) / rate if rate and total else None
        return {"done": done, "total": total, "message": message, "rate": rate, "seconds_left": left}


def run_command(command: Sequence[str], environment: Mapping[str, str], progress: Progress, cwd: str | None = None) -> Any:
    """Run a command of ours and return the object it prints; its standard error is progress, one JSON object a line. It ends with us.

    Raises:
        UserError: what the command reported. CancelledError: ``progress`` raised it; the process is then ended.
    """
    process = subprocess.Popen(
        list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**environment, **parent.helper()}, cwd=cwd,
        **processes.hidden(),
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    output: list[bytes] = []
    reader = threading.Thread(target=lambda: output.append(process.stdout.read()), daemon=True)  # type: ignore[union-attr]
    watched = _Watched(process, progress)
    reader.start()
    with process:
        watched.follow()
        reader.join()
    text = b"".join(output).decode("utf-8", "replace").strip()
    try:
        found = json.loads(text)
    except ValueError:
        printed = "\n".join(watched.other) or text
        raise died(message="A helper process ended without an answer.", code=process.returncode, printed=printed) from None
    if process.returncode != 0:
        if isinstance(found, dict) and "error" in found:
            raise UserError(str(found["error"]), str(found.get("hint", "")))
        raise died(message="A helper process failed.", code=process.returncode, printed="\n".join(watched.other))
    return found


class _Watched:
    """Passes a child's progress on and ends the child when it is cancelled, also while it is silent."""

    def __init__(self, process: subprocess.Popen[bytes], progress: Progress) -> None:
        self.process, self.progress = process, progress
        self.other: list[str] = []
        self.latest: tuple[int, int, str] = (0, 0, "")
        self._new = threading.Event()
        self._ended = False

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            text = line.decode("utf-8", "replace").rstrip()
            try:
                found = json.loads(text)
                self.latest = (int(found["done"]), int(found["total"]), str(found["message"]))
            except (ValueError, KeyError, TypeError):
                if text:
                    self.other = [*self.other[-199:], text]
            self._new.set()
        self._ended = True
        self._new.set()

    def follow(self) -> None:
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        try:
            while not self._ended:
                self._new.wait(0.25)
                self._new.clear()
                self.progress(*self.latest)
        except BaseException:
            self.process.kill()
            raise
        reader.join()
