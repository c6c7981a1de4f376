"""Routes of projects: list, make, open, rename, look at the pictures, take some out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response

from ..errors import UserError
from ..project import Project
from .app import JSON, router
from .body import build, read_body
from .context import Context
from .gate import in_thread

ONE = "/projects/{project}"
SHOWN = 200


@dataclass(frozen=True)
class NewProject:
    """A project's name, which is the LoRA's file name too."""

    name: str


@dataclass(frozen=True)
class FolderPath:
    """A folder of this machine."""

    path: str


@dataclass(frozen=True)
class Chosen:
    """Pictures by name."""

    where: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Batch:
    """What was taken out at once."""

    batch: str


@dataclass(frozen=True)
class Changes:
    """What may be changed of a project as a whole."""

    trigger: str


def describe(context: Context, project: Project) -> dict[str, Any]:
    return {
        "id": context.identity(project),
        "name": project.name,
        "folder": str(project.folder),
        "trigger": project.trigger,
        "traits": list(project.traits),
        "overview": context.studio.overview(project),
        "cut_off": context.studio.cut_off_run(project),
    }


def routes(context: Context) -> APIRouter:
    own = router()
    studio = context.studio

    @own.get("/projects")
    async def projects() -> Response:
        """{projects: [{id, name, folder, pictures, cover, changed}], newest first, unreadable: [{name, folder, reason}], paths_allowed}."""

        def listed() -> dict[str, Any]:
            here = [{"id": found.id, **found.to_dict()} for found in context.known_projects()]
            return {"projects": here[:SHOWN], "unreadable": context.unreadable_projects(), "paths_allowed": context.host.paths_allowed()}

        return JSON(await in_thread(listed))

    @own.post("/projects")
    async def make(request: Request) -> Response:
        """Make an empty project. Body: {name}."""
        wanted = build(NewProject, await read_body(request))
        return JSON(await in_thread(lambda: describe(context, Project.create(studio.projects_dir, wanted.name))), 201)

    @own.post("/projects/open")
    async def opened(request: Request) -> Response:
        """Open a project or a Loras/<name> folder by its path. Body: {path}."""
        wanted = build(FolderPath, await read_body(request))
        _paths_allowed(context)

        def work() -> dict[str, Any]:
            project = Project.open(Path(_unquoted(wanted.path)))
            context.remember(project)
            return describe(context, project)

        return JSON(await in_thread(work))

    @own.get(ONE)
    async def one(project: str) -> Response:
        """{id, name, folder, trigger, traits, overview, cut_off: the newest run if it ended without a word}."""
        return JSON(await in_thread(lambda: describe(context, context.project(project))))

    @own.put(ONE)
    async def change(request: Request, project: str) -> Response:
        """Set the trigger word (captions are changed under Edit). Body: {trigger}."""
        wanted = build(Changes, await read_body(request))

        def work() -> dict[str, Any]:
            changed = replace(context.project(project), trigger=wanted.trigger.strip())
            changed.save()
            context.hub.publish("changed", project, {})
            return describe(context, changed)

        return JSON(await in_thread(work))

    @own.post(ONE + "/rename")
    async def rename(request: Request, project: str) -> Response:
        """Give a project another name, also its folder where it is one of ours. Body: {name}. It has another id then."""
        wanted = build(NewProject, await read_body(request))

        def work() -> dict[str, Any]:
            opened = context.project(project)
            with context.jobs.held(context.identity(opened)):
                renamed = studio.rename(opened, wanted.name)
            found = describe(context, renamed)
            context.hub.publish("changed", project, {"renamed": found["id"]})
            return found

        return JSON(await in_thread(work))

    @own.delete(ONE)
    async def forget(project: str) -> Response:
        """Take a folder elsewhere off the list; the folder stays as it is."""
        await in_thread(context.forget, project)
        return JSON({})

    @own.get(ONE + "/check")
    async def checked(project: str) -> Response:
        """What is known of the pictures' quality: {advice, pictures, pending}, without looking at pictures anew."""
        return JSON(await in_thread(lambda: studio.quality(context.project(project))))

    @own.post(ONE + "/check")
    async def check(project: str) -> Response:
        """Look at every picture that was not looked at yet. A job "check", the one that runs where there is one: windows ask by themselves."""
        opened = await in_thread(context.project, project)
        return JSON(context.start_command("check", project, "check", str(opened.folder), join=True), 202)

    @own.post(ONE + "/pictures/remove")
    async def remove(request: Request, project: str) -> Response:
        """Move pictures of raw or dataset into the project's trash. Body: {where, names}. {batch}."""
        wanted = build(Chosen, await read_body(request))
        batch = await in_thread(lambda: studio.remove_pictures(context.project(project), wanted.where, wanted.names))
        context.hub.publish("changed", project, {})
        return JSON({"batch": batch})

    @own.get(ONE + "/pictures/trash")
    async def removed(project: str) -> Response:
        """{batches: [{batch, where, names, time}]}: pictures that were removed, the newest first."""
        return JSON({"batches": await in_thread(lambda: studio.removed_pictures(context.project(project)))})

    @own.post(ONE + "/pictures/restore")
    async def restore(request: Request, project: str) -> Response:
        """Bring back what was removed at once. Body: {batch}. {names}."""
        wanted = build(Batch, await read_body(request))
        names = await in_thread(lambda: studio.restore_pictures(context.project(project), wanted.batch))
        context.hub.publish("changed", project, {})
        return JSON({"names": names})

    return own


def one_path(context: Context, path: str) -> str:
    """A whole path of this machine, as somebody typed it. Raises UserError where paths are switched off."""
    _paths_allowed(context)
    return _unquoted(path)


def _paths_allowed(context: Context) -> None:
    if not context.host.paths_allowed():
        raise UserError("Paths of this machine are switched off here (--hide-ui-dir-config, or the page is open to others).", "Upload the pictures.")


def _unquoted(path: str) -> str:
    """As Windows copies it: in quotes."""
    found = path.strip().strip('"').strip()
    if not found or not Path(found).is_absolute():
        raise UserError(f"{found or 'This'} is not a whole path.", r"For example /home/me/pictures or C:\Users\me\Pictures.")
    return found
