"""Routes of uploads: pictures come in file by file and wait in batches until they are imported or given up."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from ..dataset import uploads
from ..errors import UserError
from ..jobs import RUNNING, Job
from .app import JSON, router
from .body import build, read_body
from .context import Context
from .gate import in_thread
from .projects import ONE, one_path
from .receiving import receive

LARGEST = 512 * 2**20  # bytes of one file
QUIET = 30.0  # seconds without a further file after which a batch counts as left
CLEAN_EVERY = 3600.0


@dataclass(frozen=True)
class Sources:
    """Files and folders of this machine; none: what was uploaded, one batch of it."""

    paths: tuple[str, ...] = ()
    batch: str = ""


@dataclass
class Busy:
    """Which batches something is being done with, by (project id, batch)."""

    coming: Counter[tuple[str, str]] = field(default_factory=Counter)
    touched: dict[tuple[str, str], float] = field(default_factory=dict)
    taken: dict[tuple[str, str], Job] = field(default_factory=dict)
    cleaned: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def uploading(self, key: tuple[str, str]) -> Iterator[None]:
        with self.lock:
            self.coming[key] += 1
        try:
            yield
        finally:
            with self.lock:
                self.coming[key] -= 1
                self.touched[key] = time.monotonic()

    def of(self, key: tuple[str, str], context: Context) -> str:
        """What is being done with a batch: "uploading", "importing" or ""."""
        with self.lock:
            job = self.taken.get(key)
            if job is not None and any(known.id == job.id and known.state == RUNNING for known in context.jobs.list(key[0])):
                return "importing"
            recent = time.monotonic() - self.touched.get(key, -QUIET) < QUIET
            return "uploading" if self.coming[key] > 0 or recent else ""

    def whole(self, key: tuple[str, str]) -> None:
        """Nothing more comes. Raises UserError while files come in."""
        with self.lock:
            if self.coming[key] > 0:
                raise UserError("Files of this upload are still coming in.", "Wait for their end, then try again.")
            self.touched.pop(key, None)

    def time_to_clean(self) -> bool:
        with self.lock:
            due = self.cleaned is None or time.monotonic() - self.cleaned > CLEAN_EVERY
            self.cleaned = time.monotonic() if due else self.cleaned
            return due


def routes(context: Context) -> APIRouter:
    own = router()
    busy = Busy()

    def home_of(project: str) -> Path:
        return uploads.home_of(context.studio.projects_dir, context.identity(context.project(project)))

    def left(project: str) -> dict[str, Any]:
        home = home_of(project)
        if busy.time_to_clean():
            doing = {key for key in [*busy.coming, *busy.taken] if busy.of(key, context)}
            uploads.clean(context.studio.projects_dir, busy=doing)
        found = [(one, busy.of((home.name, one.batch), context)) for one in uploads.waiting(home)]
        return {"batches": [{**one.to_dict(), "busy": doing} for one, doing in found]}

    @own.get(ONE + "/uploads")
    async def waiting(project: str) -> Response:
        """{batches: [{batch, files, bytes, changed, names, busy}]}: what was uploaded and not imported, the newest first."""
        return JSON(await in_thread(left, project))

    @own.post(ONE + "/uploads")
    async def upload(request: Request, project: str, name: str, batch: str = uploads.OPEN) -> Response:
        """One file as the request's body. name: its path below what was dropped; batch: what it belongs to. {name, batch, bytes}."""
        home = await in_thread(home_of, project)
        folder, path = uploads.batch_folder(home, batch), uploads.stored_path(name)

        def place(arrived: Path) -> Path:
            context.project(project)  # renamed meanwhile: nobody would look for it here
            return uploads.place(arrived, folder, path)

        with busy.uploading((home.name, batch)):
            temporary = await in_thread(uploads.temporary, context.studio.projects_dir)
            target, written = await receive(request, temporary, LARGEST, path, "Give the path of its folder instead.", place)
        return JSON({"name": target.relative_to(folder).as_posix().split("/", 1)[1], "batch": batch, "bytes": written})

    @own.delete(ONE + "/uploads/{batch}")
    async def discard(project: str, batch: str) -> Response:
        """Throw away what was uploaded and not imported. Answers like GET."""

        def work() -> dict[str, Any]:
            home = home_of(project)
            uploads.batch_folder(home, batch)
            busy.whole((home.name, batch))
            if busy.of((home.name, batch), context):
                raise UserError("This is running already.", "Wait for its end, or stop it first.")
            uploads.discard(home, batch)
            return left(project)

        return JSON(await in_thread(work))

    @own.post(ONE + "/import")
    async def bring(request: Request, project: str) -> Response:
        """Import a batch of uploads (none named: the rest), or files and folders of this machine. Body: {paths?, batch?}. A job "import"."""
        wanted = build(Sources, await read_body(request))

        def start() -> Job:
            opened = context.project(project)
            if wanted.paths:
                paths = [one_path(context, path) for path in wanted.paths]
                return context.start_command("import", project, "add", str(opened.folder), "--images", *paths)
            if any(job.kind == "import" and job.state == RUNNING for job in context.jobs.list(project)):
                raise UserError("This is running already.", "Wait for its end, or stop it first.")
            home = home_of(project)
            batch = uploads.close(home) if wanted.batch in ("", uploads.OPEN) else wanted.batch
            busy.whole((home.name, batch))
            if not batch or batch not in {one.batch for one in uploads.waiting(home)}:
                raise UserError("Nothing was uploaded.", "Drop pictures first.")
            job = context.start_command("import", project, "add", str(opened.folder), "--images", str(uploads.batch_folder(home, batch)), "--take")
            busy.taken[home.name, batch] = job
            return job

        return JSON(await in_thread(start), 202)

    return own
