"""Routes of editing captions: pictures by a filter, tags by frequency, edits of one and of all, and the history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response

from ..editing import ChangedSinceError, EditOptions, Op, TagsChangedError, Wanted
from ..errors import OutdatedError, UserError
from ..project import Project
from ..studio import Studio
from .app import JSON, ConflictError, router
from .body import build, convert, read_body, value_of
from .context import Context
from .gate import in_thread

ONE = "/projects/{project}/captions"
FIRST = 40  # pictures described with the answer to a filter
TOLD = 200  # names of changed pictures told to other pages; beyond that they look anew
MOST_OPS = 2000


def routes(context: Context) -> APIRouter:
    own = router()
    studio = context.studio

    def change(project: str, tab: str, work: Callable[[Project], Any]) -> dict[str, Any]:
        """Make a change, tell the pages (``tab`` knows its own by that), and answer with what is undone and redone next."""
        opened = context.project(project)
        try:
            report = work(opened)
        except ChangedSinceError as error:
            raise ConflictError(error.message, error.hint, error.report.to_dict()) from None
        except TagsChangedError as error:
            raise ConflictError(error.message, error.hint, {"tags": error.tags}) from None
        except OutdatedError as error:
            raise ConflictError(error.message, error.hint, studio.history(opened)) from None
        found: dict[str, Any] = report if isinstance(report, dict) else report.to_dict()
        names = list(found["names"] if isinstance(report, dict) else getattr(report, "names", found["changed"]))
        answer = {**found, "names": names if len(names) <= TOLD else None, "present": studio.history_present(opened)}
        if names and not found.get("dry_run"):
            told = {"what": "edit", "tab": tab, "names": answer["names"], "count": len(names)}
            context.hub.publish("dataset", context.identity(opened), told)
            after = context.project(project)
            answer |= {"trigger": after.trigger, "traits": after.traits}
        return answer

    @own.get(ONE)
    async def captions(project: str, filter: str = "", include: str = "", exclude: str = "", sort: str = "name") -> Response:  # noqa: A002
        """{revision, total, names, pictures: {name: {tags, v, …}} of the first, captions, repeated, present}; data.at: a mistake's place."""
        wanted = _wanted({"filter": filter, "include": include, "exclude": exclude, "sort": sort})
        return JSON(await in_thread(lambda: studio.captions(context.project(project), wanted, FIRST)))

    @own.get(ONE + "/tags")
    async def tags(project: str, filter: str = "", include: str = "", exclude: str = "") -> Response:  # noqa: A002
        """{revision, tags: [[tag, pictures of those wanted, pictures of all, group, kind]]}, the most frequent first."""
        wanted = _wanted({"filter": filter, "include": include, "exclude": exclude})
        return JSON(await in_thread(lambda: studio.captions_tags(context.project(project), wanted)))

    @own.post(ONE + "/read")
    async def read(project: str, request: Request) -> Response:
        """{names}: {revision, pictures: {name: {tags, v, …}}} of at most 300 pictures. Changes nothing; names are too long for an address."""
        names = _names((await read_body(request)).get("names", []))
        return JSON(await in_thread(lambda: studio.captions_of(context.project(project), names)))

    @own.get(ONE + "/groups")
    async def groups(project: str) -> Response:
        """The groups of traits."""
        await in_thread(context.project, project)
        return JSON({"groups": studio.trait_groups()})

    @own.post(ONE + "/ops")
    async def ops(project: str, request: Request) -> Response:
        """{ops: [{op, name, tag, …, seen}], tab}: one step of undo. 409 when tags that were to be set anew are not those seen."""
        body = await read_body(request)
        given = body.get("ops")
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given) or len(given) > MOST_OPS:
            raise UserError("The request cannot be used: ops should be a list of edits.")
        edits = [build(Op, one, "edit") for one in given]
        return JSON(await in_thread(change, project, _tab(body), lambda opened: studio.edit_pictures(opened, edits)))

    @own.post(ONE + "/edit")
    async def edit(project: str, request: Request) -> Response:
        """{options, names or wanted, revision, tab}: a bulk edit of all captions, of some, or of those of a filter; with dry_run its preview."""
        body = await read_body(request)
        options = build(EditOptions, _object(body, "options"), "edit")
        revision = body.get("revision")
        if revision is not None and (isinstance(revision, bool) or not isinstance(revision, int)):
            raise UserError("The request cannot be used: revision should be a whole number.")
        wanted = build(Wanted, _object(body, "wanted"), "filter") if body.get("wanted") is not None else None
        chosen = _names(body["names"]) if body.get("names") is not None else None

        def work(opened: Project) -> dict[str, Any]:
            names = chosen if wanted is None else studio.captions(opened, wanted)["names"]
            report = studio.edit(opened, options, names, revision)
            return {**report.to_dict(), "names": list(report.names), "pictures_named": None if names is None else len(names)}

        return JSON(await in_thread(lambda: change(project, _tab(body), work)))

    @own.get(ONE + "/history")
    async def history(project: str) -> Response:
        """{lines: [{id, kind, when, files, undone, details}], oldest first, steps, first, present}."""
        return JSON(await in_thread(lambda: studio.history(context.project(project))))

    def step(name: str, take: Callable[[Studio, Project, str], Any]) -> None:
        async def move(project: str, request: Request) -> Response:
            body = await read_body(request)
            entry = body.get("entry", "")
            if not isinstance(entry, str):
                raise UserError("The request cannot be used: entry should be text.")
            return JSON(await in_thread(change, project, _tab(body), lambda opened: take(studio, opened, entry)))

        own.add_api_route(f"{ONE}/{name}", move, methods=["POST"], name=name)

    step("undo", lambda s, project, entry: s.undo(project, entry))
    step("redo", lambda s, project, entry: s.redo(project, entry))
    step("goto", lambda s, project, entry: s.go_to(project, entry))
    step("restore", lambda s, project, _: s.restore_captions(project))
    return own


def _tab(body: dict[str, Any]) -> str:
    return str(body.get("tab", ""))[:64]


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    found = body.get(name, {})
    if not isinstance(found, dict):
        raise UserError(f"The request cannot be used: {name} should be an object.")
    return found


def _names(value: Any) -> list[str]:
    try:
        found: list[str] = list(convert(value, list[str]))
    except ValueError as error:
        raise UserError(f"The request cannot be used: names {error}.") from None
    return found


def _wanted(query: dict[str, str]) -> Wanted:
    """The pictures wanted, from an address: tags as JSON lists."""
    plain: dict[str, Any] = dict(query)
    for name in ("include", "exclude"):
        plain[name] = value_of(query[name]) if query[name] else []
    return build(Wanted, plain, "filter")
