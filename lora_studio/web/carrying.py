"""Routes of bundles: a training packed for another machine and offered as a download, and what was trained there brought home."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse

from .. import patience
from ..dataset import uploads
from ..errors import UserError
from ..jobs import RUNNING
from ..patience import unlink
from ..project import Project
from .app import JSON, NO_STORE, router
from .body import build, read_body
from .context import Context
from .gate import in_thread
from .projects import one_path
from .receiving import receive
from .training import choice_of

ONE = "/projects/{project}/bundles"
LARGEST = 64 * 2**30  # bytes; a base of today may be in it
PACK, HOME = "bundle", "unbundle"


@dataclass(frozen=True)
class Arrived:
    """A file that was uploaded, or one of this machine."""

    file: str = ""
    path: str = ""


def routes(context: Context) -> APIRouter:
    own = router()
    studio = context.studio

    def packed(project: str, file: str) -> Path:
        """A bundle of the project by its name: one of those listed, never a path."""
        opened = context.project(project)
        if file not in {found["file"] for found in studio.bundles(opened)}:
            raise HTTPException(404, "There is no such bundle.")
        return studio.bundles_dir(opened) / file

    def both(project: str) -> dict[str, Any]:
        opened = context.project(project)
        return {"bundles": studio.bundles(opened), "arrived": [] if coming_home(project) else _arrived(_folder(context, opened))}

    def coming_home(project: str) -> bool:
        return any(job.kind == HOME and job.state == RUNNING for job in context.jobs.list(project))

    @own.get(ONE)
    async def listed(project: str) -> Response:
        """{bundles: [{file, bytes, changed}], arrived: likewise, of those uploaded and not brought home}, the newest first."""
        return JSON(await in_thread(both, project))

    @own.post(ONE)
    async def pack(request: Request, project: str) -> Response:
        """{run, include_base} or {base, preset, settings, include_base}: packs a run, or a new one of these settings. A job "bundle"."""
        body = await read_body(request)

        def start() -> Any:
            opened = context.project(project)
            if any(job.kind == PACK and job.state == RUNNING for job in context.jobs.list(project)):
                raise UserError("This is running already.", "Wait for its end, or stop it first.")
            run = _run(context, opened, body)
            out = studio.bundles_dir(opened) / f"{opened.name}-{run}.zip"
            out.parent.mkdir(exist_ok=True)
            more = ["--include-base"] if body.get("include_base") is True else []
            return context.start_command(PACK, project, "bundle", str(opened.folder), "--run", run, "--out", str(out), *more)

        return JSON(await in_thread(start), 202)

    @own.post(ONE + "/uploads")
    async def upload(request: Request, project: str, name: str) -> Response:
        """?name, the file as the body: kept until it is brought home. {file, bytes}."""
        if not name.lower().endswith(".zip"):
            raise UserError("A bundle is a .zip file.", "Take the file that the other machine packed.")
        folder = await in_thread(lambda: _folder(context, context.project(project)))
        temporary = await in_thread(uploads.temporary, context.studio.projects_dir)

        def place(arrived: Path) -> str:
            context.project(project)  # renamed meanwhile: nobody would look for it here
            folder.mkdir(parents=True, exist_ok=True)
            file = f"bundle-{uuid.uuid4().hex}.zip"
            patience.replace(arrived, folder / file)
            return file

        file, written = await receive(request, temporary, LARGEST, Path(name.replace("\\", "/")).name, "Give its path instead.", place)
        return JSON({"file": file, "bytes": written})

    @own.post(ONE + "/home")
    async def home(request: Request, project: str) -> Response:
        """{file} (uploaded) or {path} (of this machine): run, samples and LoRAs come into the project they belong to. A job "unbundle"."""
        wanted = build(Arrived, await read_body(request))

        def start() -> Any:
            opened = context.project(project)
            if wanted.path:
                return context.start_command(HOME, project, "unbundle", one_path(context, wanted.path))
            folder = _folder(context, opened)
            if wanted.file not in {found["file"] for found in _arrived(folder)}:
                raise UserError("Nothing was uploaded.", "Choose the file again.")
            return context.start_command(HOME, project, "unbundle", str(folder / wanted.file), "--take")

        return JSON(await in_thread(start), 202)

    @own.delete(ONE + "/uploads/{file}")
    async def discard(project: str, file: str) -> Response:
        """Throws away a bundle that was uploaded and not brought home. Answers like GET."""

        def work() -> dict[str, Any]:
            folder = _folder(context, context.project(project))
            if coming_home(project):
                raise UserError("This is running already.", "Wait for its end, or stop it first.")
            if file not in {found["file"] for found in _arrived(folder)}:
                raise HTTPException(404, "There is no such bundle.")
            patience.unlink(folder / file, missing_ok=True)
            return both(project)

        return JSON(await in_thread(work))

    @own.get(ONE + "/{file}")
    async def give(project: str, file: str) -> Response:
        """The bundle itself."""
        found = await in_thread(packed, project, file)
        return FileResponse(found, media_type="application/zip", filename=file, headers=NO_STORE)

    @own.delete(ONE + "/{file}")
    async def remove(project: str, file: str) -> Response:
        """Deletes a bundle; the run it was made of stays. {bundles}."""
        await in_thread(lambda: unlink(packed(project, file), missing_ok=True))
        return await listed(project)

    return own


def _run(context: Context, project: Project, body: dict[str, Any]) -> str:
    """The name of the run to pack: one that is there, or a new one of the settings given."""
    if name := body.get("run"):
        return context.run(project, str(name)).folder.name
    return context.studio.prepare_training(project, *choice_of(context, project, body)).folder.name


def _arrived(folder: Path) -> list[dict[str, Any]]:
    stats = {path.name: path.stat() for path in folder.glob("bundle-*.zip") if path.is_file() and not path.is_symlink()}
    return [{"file": name, "bytes": s.st_size, "changed": s.st_mtime} for name, s in sorted(stats.items(), key=lambda one: -one[1].st_mtime)]


def _folder(context: Context, project: Project) -> Path:
    return context.studio.projects_dir / uploads.INCOMING / uploads.BUNDLES / context.identity(project)
