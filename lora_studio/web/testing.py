"""Routes of the test step: evaluations, grids, and the saved epochs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import FileResponse

from ..errors import UserError
from ..evaluation import EvaluateOptions, GridOptions
from ..jobs import RUNNING, Job
from ..project import Project
from ..training.runs import Run
from ..untrusted import is_inside
from .app import JSON, router
from .body import build, read_body
from .context import Context
from .desktop import at_this_machine, open_folder
from .gate import in_thread

ONE = "/projects/{project}"
RUN = ONE + "/runs/{run}"
GRID = RUN + "/grids/{grid}"
# What a page may not choose: where files go, and what the machine itself decides best.
NOT_FROM_A_PAGE = {"out", "device", "batch_size"}
HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=86400"}


def routes(context: Context) -> APIRouter:
    own = router()

    def run_of(project: str, run: str) -> Run:
        return context.run(context.project(project), run)

    # -- evaluations -----------------------------------------------------------

    @own.get(ONE + "/test")
    async def tests(project: str) -> Response:
        """The project's runs with what was evaluated, and the taggers that can read pictures."""
        return JSON(await in_thread(lambda: context.studio.tests(context.project(project))))

    @own.get(RUN + "/evaluation")
    async def evaluation(project: str, run: str) -> Response:
        """The report of a run (null: not evaluated), where its pictures are, the samples of the training; {gone: true} for a run in the trash."""
        return JSON(await in_thread(context.look_at_run, project, run, context.studio.evaluation))

    @own.post(RUN + "/evaluate")
    async def evaluate(project: str, run: str, request: Request) -> Response:
        """Start an evaluation as a job; the body holds EvaluateOptions but for what only the machine can decide."""
        body = await read_body(request)

        def start() -> Job:
            opened = context.project(project)
            chosen = context.run(opened, run)
            if refused := sorted(NOT_FROM_A_PAGE & set(body)):
                raise UserError(f"The evaluation cannot start: {', '.join(refused)} cannot be chosen here.")
            options = build(EvaluateOptions, body, "evaluation")
            if options.tagger and options.tagger not in context.studio.tests(opened)["taggers"]:
                raise UserError(f"The tagger {options.tagger} is not on this machine.", "Download it in the step Tag, or choose another one.")
            return context.start_command("evaluate", context.identity(opened), *evaluate_arguments(chosen, options))

        return JSON(await in_thread(start))

    @own.get(RUN + "/evaluation/pictures/{path:path}")
    async def pictures(project: str, run: str, path: str) -> Response:
        """A picture of the evaluation, by the address that it has in the evaluation's columns."""
        return await in_thread(lambda: _picture(run_of(project, run).folder, "evaluation/pictures", path))

    @own.get(RUN + "/evaluation/samples/{path:path}")
    async def samples(project: str, run: str, path: str) -> Response:
        """A picture drawn while training."""
        return await in_thread(lambda: _picture(run_of(project, run).folder, "samples", path))

    @own.get(RUN + "/evaluation/report.html")
    async def report(project: str, run: str) -> Response:
        """The report to be kept: downloaded, never shown as a page of this address."""
        opened = await in_thread(context.project, project)
        folder = (await in_thread(context.run, opened, run)).folder
        file = folder / "evaluation" / "report.html"
        if not file.is_file() or not is_inside(folder, file):  # a link would give away any file
            raise HTTPException(404, "This run was not evaluated yet.")
        headers = {**HEADERS, "Cache-Control": "no-store", "Content-Security-Policy": "sandbox; default-src 'none'"}
        return FileResponse(file, media_type="text/html", filename=f"{opened.name} {run}.html", headers=headers)

    # -- grids -----------------------------------------------------------------

    @own.get(RUN + "/grids")
    async def grids(project: str, run: str) -> Response:
        """The grids of a run, newest first, with how much of each is drawn."""
        return JSON({"grids": await in_thread(lambda: context.studio.grids(run_of(project, run)))})

    @own.get(GRID)
    async def grid(project: str, run: str, grid: str) -> Response:
        """A grid's options and cells."""
        return JSON(await in_thread(lambda: context.studio.grid(run_of(project, run), grid)))

    @own.post(RUN + "/grids")
    async def new_grid(project: str, run: str, request: Request) -> Response:
        """Plan a grid and start to draw it: with the host's own txt2img where there is one, else in a child process."""
        body = await read_body(request)

        def start() -> dict[str, Any]:
            opened = context.project(project)
            chosen = context.run(opened, run)
            options = build(GridOptions, body, "grid")
            _one_at_a_time(context, opened)
            name = context.studio.plan_grid(chosen, options)
            return {"grid": name, "job": _draw(context, opened, chosen, name).to_dict()}

        return JSON(await in_thread(start))

    @own.post(GRID + "/resume")
    async def resume_grid(project: str, run: str, grid: str) -> Response:
        """Draw what is missing of a grid that was stopped."""

        def start() -> dict[str, Any]:
            opened = context.project(project)
            chosen = context.run(opened, run)
            context.studio.grid(chosen, grid)
            return {"grid": grid, "job": _draw(context, opened, chosen, grid).to_dict()}

        return JSON(await in_thread(start))

    @own.get(GRID + "/sheet.png")
    async def sheet(project: str, run: str, grid: str) -> Response:
        """All cells in one labelled picture; what is not drawn yet stays empty."""

        def make() -> bytes:
            data = io.BytesIO()
            context.studio.grid_sheet(run_of(project, run), grid).save(data, "PNG")
            return data.getvalue()

        headers = {**HEADERS, "Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="grid.png"'}
        return Response(await in_thread(make), media_type="image/png", headers=headers)

    @own.get(GRID + "/pictures/{path:path}")
    async def cells(project: str, run: str, grid: str, path: str) -> Response:
        """One cell of a grid."""
        def look() -> Response:
            folder = context.studio.grid_folder(run_of(project, run), grid)
            return _picture(folder.parent, folder.name, path)

        return await in_thread(look)

    # -- saved epochs ----------------------------------------------------------

    @own.get(ONE + "/loras")
    async def loras(project: str) -> Response:
        """The project's saved epochs with what to write into a prompt, and what lies in its trash."""
        return JSON(await in_thread(lambda: context.studio.loras(context.project(project))))

    @own.post(ONE + "/loras/keep")
    async def keep(project: str, request: Request) -> Response:
        """{keep: [file], run: name or ""}: all other epochs of the run go to the project's trash."""
        body = await read_body(request)
        names, run = body.get("keep"), body.get("run", "")
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or not isinstance(run, str):
            raise UserError("The request cannot be used: keep should be a list of file names, run a text.")
        return JSON(await in_thread(_changed, context, project, lambda opened: context.studio.keep_loras(opened, names, run)))

    @own.post(ONE + "/loras/restore")
    async def restore(project: str, request: Request) -> Response:
        """{batch: name or ""}: a batch of the trash, the newest if none is named, goes back where it was."""
        batch = (await read_body(request)).get("batch", "")
        if not isinstance(batch, str):
            raise UserError("The request cannot be used: batch should be text.")
        return JSON(await in_thread(_changed, context, project, lambda opened: context.studio.restore_loras(opened, batch)))

    @own.post(ONE + "/loras/{file}/weight")
    async def weight(project: str, file: str, request: Request) -> Response:
        """{weight: number}: what the WebUI writes into the prompt when the LoRA's card is clicked."""
        value = (await read_body(request)).get("weight")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UserError("The request cannot be used: weight should be a number.")
        return JSON(await in_thread(_changed, context, project, lambda opened: {"weight": context.studio.weigh_lora(opened, file, float(value))}))

    @own.get(ONE + "/loras/{file}/preview")
    async def preview(project: str, file: str) -> Response:
        """The picture beside a LoRA."""
        found = await in_thread(lambda: context.studio.lora_preview(context.project(project), file))
        if found is None:
            raise HTTPException(404, "This LoRA has no preview.")
        return FileResponse(found, headers=HEADERS)

    @own.post(ONE + "/folder/open")
    async def folder(project: str, request: Request) -> Response:
        """{which: project, output, lora or run, run}: shows the folder to who sits at this machine, tells the others where it is."""
        body = await read_body(request)
        opened = await in_thread(context.project, project)
        place = await in_thread(_place, context, opened, str(body.get("which", "")), str(body.get("run", "")))
        local = at_this_machine(request) and context.host.paths_allowed()
        return JSON({"path": str(place), "opened": local and await in_thread(open_folder, place)})

    return own


def evaluate_arguments(run: Run, options: EvaluateOptions) -> list[str]:
    """The command that evaluates a run with these options. Texts are tied to their flags: one that begins with a dash is no flag."""
    o = options
    arguments = ["evaluate", str(run.folder), "--steps", str(o.steps), "--seed", str(o.seed), f"--tagger={o.tagger}", f"--negative={o.negative}"]
    arguments += ["--pictures", str(o.trigger_pictures), str(o.flexibility_pictures), str(o.leakage_pictures)]
    arguments += ["--weights", *(f"{w:g}" for w in o.weights)]
    if o.epochs:
        arguments += ["--epochs", *map(str, o.epochs)]
    if o.traits is not None:
        arguments.append(f"--traits={', '.join(o.traits)}")
    if o.cfg is not None:
        arguments.append(f"--cfg={o.cfg:g}")
    if o.width and o.height:
        arguments.append(f"--size={o.width}x{o.height}")
    return arguments


def _picture(folder: Path, place: str, path: str) -> Response:
    """A picture of a run: no link leads out of its place, and that is no link out of the folder."""
    from ..studio import picture_below

    found = picture_below(folder / place, path)
    if found is None or picture_below(folder, f"{place}/{path}") is None:
        raise HTTPException(404, "There is no such picture.")
    return FileResponse(found, headers=HEADERS)


def _one_at_a_time(context: Context, project: Project) -> None:
    """Before anything is written: a grid that cannot be drawn now is not planned either."""
    if any(j.kind == "grid" and j.state == RUNNING for j in context.jobs.list(context.identity(project))):
        raise UserError("This is running already.", "Wait for its end, or stop it first.")


def _draw(context: Context, project: Project, run: Run, name: str) -> Job:
    identity = context.identity(project)
    if context.host.has_txt2img:
        return context.jobs.start("grid", identity, lambda progress: context.studio.draw_grid(run, name, progress, context.host))
    return context.start_command("grid", identity, "grid", str(run.folder), f"--resume={name}")


def _changed(context: Context, project: str, change: Any) -> dict[str, Any]:
    """Make a change to the saved epochs and tell the pages that show them."""
    opened = context.project(project)
    result: dict[str, Any] = change(opened)
    context.hub.publish("loras", context.identity(opened), {})
    return result


def _place(context: Context, project: Project, which: str, run: str) -> Path:
    lora_dir = context.studio.lora_dir
    if which == "run":
        return context.run(project, run).folder
    places = {"project": project.folder, "output": project.output_dir, "lora": lora_dir / project.name if lora_dir else None}
    if which not in places:
        raise UserError("The request cannot be used: which should be project, output, lora or run.")
    place = places[which]
    if place is None:
        raise UserError("No WebUI's LoRA folder is known here.", "The LoRAs are in the project's output folder.")
    return place
