"""Routes of tagging: taggers, the preview on stored probabilities, tag counts and the words to choose tags from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from fastapi import APIRouter, Request, Response

from ..errors import UserError
from ..progress import Progress
from ..project import Project
from ..tagging import TagOptions
from .app import JSON, router
from .body import build, read_body
from .context import Context
from .gate import in_thread

ONE = "/projects/{project}"
MOST_WORDS = 200
MOST_SHOWN = 24


@dataclass(frozen=True)
class PreviewRequest:
    """Options, and which pictures to show in full: these names, filled up by others drawn with ``seed``."""

    options: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    count: int = 6
    seed: int = 0


def routes(context: Context) -> APIRouter:
    own = router()
    studio = context.studio

    def options_of(data: dict[str, Any]) -> TagOptions:
        """The settings of a request, the model by the name under which the page knows it."""
        asked = build(TagOptions, data, "tagging settings")
        return replace(asked, model=studio.tagger_model(asked.model, context.host.paths_allowed()))

    @own.get("/tagging/models")
    async def models() -> Response:
        """{models: [{name, kind, here, size, part, generation, general_threshold, character_threshold, about}]}."""
        return JSON({"models": await in_thread(context.studio.tagger_models)})

    @own.post("/tagging/models/{name}/download")
    async def download(name: str) -> Response:
        """Fetch a tagger of the catalogue; what was fetched before is kept. A job "tagger" of no project."""
        if studio.tagger_model(name) not in {m["name"] for m in await in_thread(studio.tagger_models) if m["kind"] == "catalogue"}:
            raise UserError(f"{name} needs no download.", "Choose one of the catalogue.")
        return JSON(context.start_command("tagger", "", "taggers", "--download", name), 202)

    @own.get(ONE + "/tagging")
    async def state(project: str) -> Response:
        """{options, pictures, captioned, stored: {tagger: pictures whose probabilities are stored}}."""
        return JSON(await in_thread(lambda: studio.tagging(context.project(project), context.host.paths_allowed())))

    @own.post(ONE + "/tagging/preview")
    async def preview(request: Request, project: str) -> Response:
        """What tagging would write, from stored probabilities alone. Body: {options, names?, count?, seed?}."""
        asked = build(PreviewRequest, await read_body(request))
        count = max(1, min(asked.count, MOST_SHOWN))
        return JSON(
            await in_thread(
                lambda: studio.tag_preview(context.project(project), options_of(asked.options), asked.names[:MOST_SHOWN], count, asked.seed)
            )
        )

    @own.post(ONE + "/tagging/start")
    async def start(request: Request, project: str) -> Response:
        """Tag the pictures. Body: the options. A job "tag"; with all probabilities stored it is done here, else by a process of its own."""
        options = options_of(await read_body(request))
        opened = await in_thread(context.project, project)
        if await in_thread(studio.tag_is_instant, opened, options):
            return JSON(context.jobs.start("tag", project, lambda progress: _at_once(context, opened, options, progress)), 202)
        return JSON(context.start_command("tag", project, "tag", str(opened.folder), *flags(options)), 202)

    @own.get(ONE + "/tags")
    async def tags(project: str) -> Response:
        """{tags: [[tag, captions with it, group, kind]]} of the present captions, the most frequent first."""
        return JSON({"tags": await in_thread(lambda: context.studio.tag_counts(context.project(project)))})

    @own.get(ONE + "/vocabulary")
    async def vocabulary(project: str, q: str = "", limit: int = 20) -> Response:
        """{tags: [{tag, count, here, group, category, alias, chinese}]} to complete what was typed, in Chinese too."""
        most = max(1, min(limit, MOST_WORDS))
        return JSON({"tags": await in_thread(lambda: context.studio.vocabulary(context.project(project), q[:200], most, context.host.tag_lists()))})

    return own


def _at_once(context: Context, project: Project, options: TagOptions, progress: Progress) -> Any:
    report = context.studio.tag(project, options, progress, infer=False)
    context.hub.publish("dataset", context.identity(project), {})
    return report.to_dict()


def flags(options: TagOptions) -> list[str]:
    """The same settings for the command line."""
    words = ["--model", options.model, "--on-existing", options.on_existing, "--batch", str(options.batch_size)]
    for flag, value in (("--general", options.general_threshold), ("--character", options.character_threshold)):
        words += [] if value is None else [flag, str(value)]
    words += [f"--{name}" for name in ("mcut", "underscores", "escape", "ratings") if getattr(options, name)]
    # With "=": a tag may begin with a hyphen.
    words += [f"--exclude={','.join(options.exclude)}"] if options.exclude else []
    words += [f"--add={','.join(options.add)}"] if options.add else []
    words += [f"--rename={a}={b}" for a, b in options.rename]
    words += [f"--provider={name}" for name in options.providers or ()]
    return words
