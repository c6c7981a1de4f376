"""Routes of caption files as such: odd encodings, kohya's metadata, pictures copied to another project, tags that seem to be missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from ..editing import EditReport, Wanted
from ..errors import UserError
from ..project import Project
from .app import JSON, router
from .body import build, read_body
from .context import Context
from .gate import in_thread

ONE = "/projects/{project}/captions"


def routes(context: Context) -> APIRouter:
    own = router()
    studio = context.studio

    def tell(project: Project, body: dict[str, Any], count: int) -> None:
        if count:
            told = {"what": "edit", "tab": str(body.get("tab", ""))[:64], "names": None, "count": count}
            context.hub.publish("dataset", context.identity(project), told)

    def edited(project: str, body: dict[str, Any], work: Callable[[Project], EditReport]) -> dict[str, Any]:
        opened = context.project(project)
        report = work(opened)
        tell(opened, body, report.changed)
        return {**report.to_dict(), "present": studio.history_present(opened)}

    @own.get(ONE + "/encodings")
    async def encodings(project: str, encoding: str = "auto") -> Response:
        """{found: [{file, encoding, problems, text}], choices}: captions that are not plain UTF-8 on one line, and how they would be read."""
        return JSON(await in_thread(lambda: studio.odd_captions(context.project(project), encoding)))

    @own.post(ONE + "/encodings")
    async def repair(project: str, request: Request) -> Response:
        """{encoding, tab}: write them anew as plain UTF-8, as one step of undo."""
        body = await read_body(request)
        encoding = _text(body, "encoding", "auto")
        return JSON(await in_thread(edited, project, body, lambda opened: studio.repair_captions(opened, encoding)))

    @own.get(ONE + "/metadata")
    async def metadata(project: str, full: bool = False) -> Response:
        """All captions as kohya's metadata JSON, by file name or (full) by path."""
        return JSON(await in_thread(lambda: studio.captions_metadata(context.project(project), full)))

    @own.post(ONE + "/metadata")
    async def take(project: str, request: Request) -> Response:
        """{metadata, existing: overwrite, append, prepend or skip, tab}: its tags become captions, as one step of undo."""
        body = await read_body(request)
        existing = _text(body, "existing", "overwrite")
        unmatched: dict[str, Any] = {}

        def work(opened: Project) -> EditReport:
            report, incoming = studio.take_metadata(opened, body.get("metadata"), existing)
            unmatched.update(unknown=list(incoming.unknown), unclear=list(incoming.unclear))
            return report

        return JSON({**await in_thread(edited, project, body, work), **unmatched})

    @own.post(ONE + "/transfer")
    async def transfer(project: str, request: Request) -> Response:
        """{to: a project, names or wanted, move, tab}: pictures with their captions into the dataset of another project."""
        body = await read_body(request)
        to, move = _text(body, "to"), body.get("move", False)
        names = body.get("names")
        if not isinstance(move, bool) or not (names is None or (isinstance(names, list) and all(isinstance(n, str) for n in names))):
            raise UserError("The request cannot be used: names should be a list of names, move true or false.")

        def work() -> dict[str, Any]:
            opened, target = context.project(project), context.project(to)
            chosen = studio.captions(opened, build(Wanted, body.get("wanted") or {}, "filter"))["names"] if names is None else names
            report = studio.transfer_pictures(opened, chosen, target.dataset_dir, move)
            tell(target, {}, len(report.pictures))
            if move:
                tell(opened, body, len(report.pictures))
            return report.to_dict()

        return JSON(await in_thread(work))

    @own.get(ONE + "/missing")
    async def missing(project: str, tag: str = "", least: float = 0.5) -> Response:
        """{tagger, stored, tags: [[tag, seem to lack it, have it]], pictures: [[name, probability]] of ``tag``}, by stored probabilities."""
        return JSON(await in_thread(lambda: studio.missing_tags(context.project(project), tag, least)))

    return own


def _text(body: dict[str, Any], name: str, default: str = "") -> str:
    found = body.get(name, default)
    if not isinstance(found, str):
        raise UserError(f"The request cannot be used: {name} should be text.")
    return found
