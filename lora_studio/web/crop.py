"""Routes of cropping: the boxes as people edit them, and their application as a job."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from ..crop import CropOptions
from ..errors import OutdatedError, UserError
from ..jobs import Job, run_command
from ..progress import Progress
from ..project import Project
from .app import JSON, NO_STORE, ConflictError, router
from .body import build, read_body
from .context import Context
from .gate import in_thread

ONE = "/projects/{project}/crop"
LISTED = 50  # of the pictures left out, in a job's result


def routes(context: Context) -> APIRouter:
    own = router()
    studio = context.studio

    def change(project: str, work: Callable[[Project], dict[str, Any]]) -> dict[str, Any]:
        """Make a change and tell the other pages; a change upon an older state is answered with the present one."""
        opened = context.project(project)
        try:
            after = work(opened)
        except OutdatedError as error:
            raise ConflictError(error.message, error.hint, studio.crops(opened)) from None
        context.hub.publish("changed", context.identity(opened), {"what": "crop", "revision": after["revision"]})
        return after

    @own.get(ONE)
    async def crops(project: str) -> Response:
        """Options, and for every picture of raw/ its box, its size and what to think of."""
        return await in_thread(lambda: _rows(studio.crops(context.project(project))))

    @own.put(ONE + "/options")
    async def options(project: str, request: Request) -> Response:
        """{revision, and the options to change}: boxes drawn by hand are fitted to them. Answers like GET."""
        body = await read_body(request)
        revision = _revision(body)

        def work(opened: Project) -> dict[str, Any]:
            if "plan_file" in body:
                raise UserError("The request cannot be used: plan_file is not known.")
            now = {**studio.crops(opened, ())["options"], **body}
            return studio.change_crop_options(opened, build(CropOptions, now, "crop settings"), revision)

        return JSON(await in_thread(change, project, work))

    @own.put(ONE + "/boxes")
    async def boxes(project: str, request: Request) -> Response:
        """{revision, changes: [{source, and one of box, focal, method, excluded, add, part with box or remove}]}: one step of undo.

        Answers with these pictures.
        """
        body = await read_body(request)
        revision, changes = _revision(body), body.get("changes")
        if not isinstance(changes, list):
            raise UserError("The request cannot be used: changes should be a list.")
        return JSON(await in_thread(change, project, lambda opened: studio.change_crops(opened, changes, revision)))

    @own.get(ONE + "/plan-file")
    async def give_plan(project: str) -> Response:
        """The plan as a file: settings and boxes, for another person or another copy of the pictures."""
        opened = await in_thread(context.project, project)
        plan = await in_thread(studio.crop_plan_file, opened)
        return JSON(plan, headers=_download(f"{opened.name}-crop-plan.json"))

    @own.put(ONE + "/plan-file")
    async def take_plan(project: str, request: Request) -> Response:
        """{revision, plan}: take the settings and boxes of a plan file. Answers like GET."""
        body = await read_body(request)
        revision = _revision(body)
        return JSON(await in_thread(change, project, lambda opened: studio.take_crop_plan(opened, body.get("plan"), revision)))

    @own.get("/projects/{project}/archive/{where}")
    async def archive(project: str, where: str) -> Response:
        """The pictures and captions of raw or dataset as a ZIP."""
        opened = await in_thread(context.project, project)
        pieces = await in_thread(studio.pack, opened, where)
        return StreamingResponse(pieces, media_type="application/zip", headers={**NO_STORE, **_download(f"{opened.name}-{where}.zip")})

    @own.post(ONE + "/undo")
    async def undo(project: str, request: Request) -> Response:
        """{revision}: take the last change back. Answers with the pictures it touched (partial), or with all."""
        revision = _revision(await read_body(request))
        return JSON(await in_thread(change, project, lambda opened: studio.undo_crops(opened, revision)))

    @own.post(ONE + "/redo")
    async def redo(project: str, request: Request) -> Response:
        """{revision}: do the change that was taken back last again."""
        revision = _revision(await read_body(request))
        return JSON(await in_thread(change, project, lambda opened: studio.undo_crops(opened, revision, forward=True)))

    def start(kind: str, project: str, *flags: str) -> Job:
        """Run the crop command in a process of its own, with the stored draft; its result is told in numbers."""
        opened = context.project(project)
        identity, environment = context.identity(opened), studio.environment
        folders = ["--projects", str(studio.projects_dir), *(["--lora-dir", str(studio.lora_dir)] if studio.lora_dir is not None else [])]
        command = environment.command("crop", str(opened.folder.resolve()), "--stored", *flags, *folders, "--json", "--progress", "json")

        def work(progress: Progress) -> dict[str, Any]:
            try:
                return _in_numbers(run_command(command, environment.variables(), progress))
            finally:
                context.hub.publish("changed", identity, {"what": "crop"})
                if kind == "crop":  # captions came along, pictures came and went
                    context.hub.publish("dataset", identity, {"what": "crop"})

        # Every window asks for the look by itself: one does for all of them.
        return context.jobs.start(kind, identity, work, join=kind == "crop-plan")

    @own.post(ONE + "/plan")
    async def plan(project: str, request: Request) -> Response:
        """Look at the pictures whose boxes are pending: a job "crop-plan", the one that runs where there is one.

        A folder without originals has its pictures copied to raw/ first.
        """
        await read_body(request)
        return JSON(await in_thread(start, "crop-plan", project, "--plan-only"))

    @own.post(ONE + "/apply")
    async def apply(project: str, request: Request) -> Response:
        """{force}: write what is not there as planned, with force everything: a job "crop"."""
        force = (await read_body(request)).get("force", False)
        if not isinstance(force, bool):
            raise UserError("The request cannot be used: force should be true or false.")
        return JSON(await in_thread(start, "crop", project, *(["--force"] if force else [])))

    return own


def _rows(found: dict[str, Any]) -> Response:
    """Like JSON, for what is known to be plain and finite: looking for the rest takes longer than all else with ten thousand pictures."""
    return Response(json.dumps(found, ensure_ascii=False, separators=(",", ":"), allow_nan=False), media_type="application/json", headers=NO_STORE)


def _download(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}


def _revision(body: dict[str, Any]) -> int | None:
    """The revision that a change was made upon, taken out of the request; None: whatever is there."""
    revision = body.pop("revision", None)
    if revision is not None and (isinstance(revision, bool) or not isinstance(revision, int)):
        raise UserError("The request cannot be used: revision should be a whole number.")
    return revision


def _in_numbers(report: dict[str, Any]) -> dict[str, Any]:
    """A report of the command without the names of thousands of pictures."""
    some = {name: len(found) for name, found in report.items() if isinstance(found, list)}
    return {**some, "captions": report.get("captions", 0), "listed": report["skipped"][:LISTED]}
