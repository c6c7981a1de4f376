"""Routes of training: the form, its presets and bases, starting, and the runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse

from .. import cards
from ..errors import UserError
from ..host.base import VramChange, on_its_card
from ..project import Project
from ..studio import DEMO_BASE
from ..training.runs import Run
from ..untrusted import is_network
from .app import JSON, router
from .body import read_body
from .context import Context
from .desktop import at_this_machine
from .gate import in_thread
from .runwatch import RunWatch

ONE = "/projects/{project}"
RUN = ONE + "/runs/{run}"
#: a job of no project: one download of a base at a time
BASE_JOB = "base"
STAYS = "The WebUI's checkpoint stays loaded: this training does not use its card."
# What names a file of this machine: chosen from lists where people may not type paths.
PATHS = ("vae", "network_weights", "mask_dir", "reg_dir")
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=86400"}


def routes(context: Context) -> APIRouter:
    own = router()
    if context.watch is None:
        context.watch = RunWatch(context)
    watch = context.watch
    studio = context.studio

    def run_of(project: str, run: str) -> Run:
        return context.run(context.project(project), run)

    # -- the form ----------------------------------------------------------------

    def form_now() -> dict[str, Any]:
        return studio.training_form(context.host.cards())

    @own.get("/training/form")
    async def form() -> Response:
        """Every option in groups with its texts in English and Chinese, what it accepts and its default; the presets."""
        return JSON(await in_thread(form_now))

    @own.put("/training/presets")
    async def save_preset(request: Request) -> Response:
        """{name, preset, settings}: keeps changed options under a name, with the preset that they began from."""
        body = await read_body(request)
        await in_thread(studio.save_preset, _text(body, "name"), _settings(body), _text(body, "preset"))
        return JSON(await in_thread(form_now))

    @own.delete("/training/presets/{name}")
    async def remove_preset(name: str) -> Response:
        """Removes a preset of one's own."""
        await in_thread(studio.remove_preset, name)
        return JSON(await in_thread(form_now))

    @own.post(ONE + "/training/draft")
    async def draft(project: str, request: Request) -> Response:
        """{base, preset, settings}: what the preset sets, mistakes by option, steps, time, disk, memory, trainings of others. Changes nothing."""
        body = await read_body(request)

        def look() -> dict[str, Any]:
            opened = context.project(project)
            found = studio.draft_training(opened, *choice_of(context, opened, body)).to_dict()
            chosen = {**found["values"], **_settings(body)}
            device = str(chosen.get("device") or "auto")
            if found["preflight"]:
                found["preflight"]["warnings"] = [*found["preflight"]["warnings"], *_of_card(context, device, str(chosen.get("precision") or ""))]
            return {**found, "vram": context.host.vram(device).to_dict(), "elsewhere": watch.elsewhere(context.identity(opened))}

        return JSON(await in_thread(look))

    @own.post(ONE + "/training/start")
    async def start(project: str, request: Request) -> Response:
        """{base, preset, settings, release}: starts a run; ``release``: take the host's checkpoint out of graphics memory before."""
        body = await read_body(request)

        def begin() -> dict[str, Any]:
            opened = context.project(project)
            choice = choice_of(context, opened, body)
            device = str(choice[2].get("device") or "auto")
            return _begin(context, watch, opened, device, bool(body.get("release")), lambda: studio.start_training(opened, *choice))

        return JSON(await in_thread(begin))

    # -- bases -------------------------------------------------------------------

    @own.get("/training/bases")
    async def bases() -> Response:
        """Bases that can be downloaded: family, size, what for, whether it is there, how much was fetched before."""
        folder = context.host.checkpoints_dir
        return JSON({"bases": await in_thread(studio.bases, folder), "folder": str(folder)})

    @own.post("/training/bases/{name}/download")
    async def download(name: str) -> Response:
        """Fetches a base of the catalogue into the host's checkpoint folder, as a job of no project; goes on where it stopped."""
        host = context.host
        if name not in {base["name"] for base in await in_thread(studio.bases, host.checkpoints_dir)}:
            raise HTTPException(404, "There is no such base model.")

        def fetch(progress: Any) -> Any:
            done = studio.download_base(name, host.checkpoints_dir, progress)
            host.refresh_checkpoints()
            return done

        return JSON(context.jobs.start(BASE_JOB, "", fetch))

    @own.post("/training/bases/download")
    async def download_own(request: Request) -> Response:
        """{url, file}: fetches a .safetensors checkpoint from any https address, where people may type paths; as a job of no project."""
        body = await read_body(request)
        host = context.host
        if not host.paths_allowed():
            raise UserError("Other addresses are not allowed on this page.", "Choose one of the list.")
        base = studio.own_base(_text(body, "url"), _text(body, "file"))

        def fetch(progress: Any) -> Any:
            done = studio.download_own_base(base, host.checkpoints_dir, progress)
            host.refresh_checkpoints()
            return done

        return JSON(context.jobs.start(BASE_JOB, "", fetch))

    # -- runs --------------------------------------------------------------------

    @own.get(ONE + "/runs")
    async def history(project: str) -> Response:
        """The runs, newest first, those in the trash, whether TensorBoard is installed, and what was chosen for the last run."""

        return JSON(await in_thread(lambda: studio.run_history(context.project(project))))

    @own.get(RUN)
    async def detail(project: str, run: str) -> Response:
        """How a run stands, its settings, at most 2,000 points of its loss curve, its samples; ``seq``: the last event taken in.

        {gone: true} for one in the trash.
        """
        return JSON(await in_thread(context.look_at_run, project, run, studio.run_detail))

    @own.post(RUN + "/stop")
    async def stop(project: str, run: str) -> Response:
        """Asks a run to save its state and end."""
        await in_thread(lambda: studio.stop(run_of(project, run)))
        return JSON({})

    @own.post(RUN + "/resume")
    async def resume(project: str, run: str, request: Request) -> Response:
        """{release}: goes on from the last saved state."""
        release = bool((await read_body(request)).get("release"))

        def begin() -> dict[str, Any]:
            found = run_of(project, run)

            def go() -> Run:
                studio.resume(found)
                return found

            return _begin(context, watch, context.project(project), found.config().device, release, go)

        return JSON(await in_thread(begin))

    @own.post(RUN + "/ask/{what}")
    async def ask(project: str, run: str, what: str) -> Response:
        """save or sample: has a running training save a LoRA, or draw samples, at its next step."""
        if what not in ("save", "sample"):
            raise HTTPException(404, "A run can be asked to save or to sample.")

        def tell() -> None:
            found = run_of(project, run)
            if not found.alive():
                raise UserError(f"The run {run} is not running.")
            found.command(what)

        await in_thread(tell)
        return JSON({})

    @own.delete(RUN)
    async def remove(project: str, run: str) -> Response:
        """Moves a run that does not run to the project's trash; its LoRA files stay."""
        await in_thread(lambda: studio.trash_run(context.project(project), run_of(project, run)))
        context.hub.publish("run", project, {"run": run, "events": [], "more": True, "ended": False, "removed": True})
        return await history(project)

    @own.post(RUN + "/restore")
    async def restore(project: str, run: str) -> Response:
        """Puts a run back from the trash."""
        await in_thread(lambda: studio.restore_run(context.project(project), run))
        context.hub.publish("run", project, {"run": run, "events": [], "more": True, "ended": False})
        return await history(project)

    @own.get(RUN + "/log")
    async def log(project: str, run: str) -> Response:
        """The last lines that the trainer printed."""
        return JSON({"text": await in_thread(lambda: studio.run_log(run_of(project, run)))})

    @own.get(RUN + "/samples/{file}")
    async def sample(project: str, run: str, file: str) -> Response:
        """A picture drawn while training."""
        from ..studio import picture_below

        found = await in_thread(lambda: picture_below(run_of(project, run).folder, f"samples/{file}"))
        if found is None:
            raise HTTPException(404, "There is no such picture.")
        return FileResponse(found, headers=HEADERS)

    @own.post(ONE + "/tensorboard")
    async def tensorboard(project: str, request: Request) -> Response:
        """Starts TensorBoard over the project's runs, for who sits at this machine; its address."""
        if not at_this_machine(request):
            raise UserError("TensorBoard can be opened only in a browser on the machine that trains.", "The loss curve here works everywhere.")
        port = await in_thread(lambda: studio.tensorboard(context.project(project)))
        return JSON({"url": f"http://127.0.0.1:{port}/"})

    return own


def _begin(context: Context, watch: RunWatch, project: Project, device: str, release: bool, start: Callable[[], Run]) -> dict[str, Any]:
    """Make room on the graphics card if wanted, start, and follow the run; without a start the host gets its model back."""
    host = context.host
    freed: VramChange | None = host.release_model() if release and on_its_card(host, device) else None
    try:
        run = start()
    except BaseException:
        if freed is not None:
            context.host.restore_model()
        raise
    identity = context.identity(project)
    watch.started(identity, run, freed is not None)
    context.hub.publish("run", identity, {"run": run.folder.name, "events": [], "more": True, "ended": False})
    told = freed or (VramChange(now := host.vram(), now, STAYS) if release else None)
    return {"run": run.folder.name, "released": told.to_dict() if told else None}


def _of_card(context: Context, device: str, precision: str) -> list[str]:
    """What is to be said of the card that a training would use, before it starts."""
    index = cards.index_of(device, context.host.device)
    said = (cards.warning(precision, card) for card in context.host.cards() if card.index == index)
    return [words for words in said if words]


def choice_of(context: Context, project: Project, body: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """(base, preset, settings) of a request. Where people may not type paths, only what the host knows can be chosen."""
    base, settings = _text(body, "base"), _settings(body)
    preset = _text(body, "preset") or "character"
    if not base:
        raise UserError("No base model is chosen.", "Choose the checkpoint to train on.")
    if not context.host.paths_allowed():
        known = {DEMO_BASE, *(str(c.path) for c in context.host.checkpoints())}
        if base not in known:
            raise UserError("This base model is not one of the list.", "Choose one of the list; other paths are not allowed on this page.")
        for name in PATHS:
            if str(settings.get(name) or "") and not _known_place(context, project, str(settings[name])):
                raise UserError(f"{name}: other paths are not allowed on this page.", "Leave it empty.")
    return base, preset, settings


def _known_place(context: Context, project: Project, path: str) -> bool:
    """Whether a path lies in the project or in the host's folders of checkpoints, VAEs and LoRAs."""
    if is_network(path):
        return False
    folder, loras = context.host.checkpoints_dir, context.host.lora_dir
    places = [project.folder, folder, folder.parent / "VAE", *([loras] if loras else [])]
    return any(place.resolve() in Path(path).resolve().parents for place in places)


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str):
        raise UserError(f"The request cannot be used: {name} should be text.")
    return value


def _settings(body: dict[str, Any]) -> dict[str, Any]:
    value = body.get("settings", {})
    if not isinstance(value, dict):
        raise UserError("The request cannot be used: settings should be an object.")
    return value
