"""The steps of the product that change files, each small: what is there before, the step, and what comes of it."""

from __future__ import annotations

import _io  # its open is the system's own: what others do here is never refused
import asyncio
import json
import os
import sys
import threading
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image

from lora_studio import overlay, overlay_install, patience
from lora_studio.bundle import pack, place
from lora_studio.crop import CropOptions, apply_plan, draft, plan_project
from lora_studio.dataset import trash as pictures_trash
from lora_studio.dataset import uploads
from lora_studio.editing import EditOptions, edit_pictures
from lora_studio.editing.ops import Op
from lora_studio.editing.transfer import transfer
from lora_studio.environment import Environment
from lora_studio.errors import OutdatedError, UserError
from lora_studio.evaluation import EvaluateOptions, evaluate, loras, trash
from lora_studio.fetching import fetch
from lora_studio.project import Project
from lora_studio.studio import Studio
from lora_studio.tagging import TagOptions, tag_folder
from lora_studio.tagging.store import Store, take_shards
from lora_studio.training import presets, view
from lora_studio.training.config import TrainingConfig
from lora_studio.training.runs import Run, list_runs
from lora_studio.web.receiving import receive
from tests.bundle.test_bundle import WEIGHTS, go_on
from tests.loras import RUN, trained_project


@dataclass(frozen=True)
class Case:
    """One step. ``act`` may be called again after it failed; ``result``: what counts of the outcome, the same for every good one.

    ``unchanged``: what a failed step must have left as it was. ``told``: reasons in what the step returned, where it leaves things out with a word.
    """

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path], Any]
    result: Callable[[Path], Any]
    unchanged: Callable[[Path], Any] = lambda here: None
    told: Callable[[Any], str] = lambda value: ""
    for_ever: bool = True


def files(*folders: Path) -> dict[str, bytes]:
    """Content by name of what people see: without hidden folders and files that were broken off."""
    return {
        f"{folder.name}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for folder in folders
        for path in (folder.rglob("*") if folder.is_dir() else ())
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (48, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def captioned(folder: Path, count: int, tags: str = "1girl, long hair") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture(folder / f"{number:02d}.png", number, (16, 16))
        (folder / f"{number:02d}.txt").write_text(f"{tags}, tag {number}", encoding="utf-8")


def project(here: Path) -> Project:
    return Project.open(here / "projects" / "hana")


def studio(here: Path) -> Studio:
    return Studio(here / "projects", here / "models" / "Lora")


def made(here: Path) -> Project:
    return Project.create(here / "projects", "hana")


# -- pictures -----------------------------------------------------------------------------------------------------------


def _sources(here: Path) -> None:
    for number, name in enumerate(("a", "deep/a", "c 花")):
        picture(here / "mine" / f"{name}.png", number).with_suffix(".txt").write_text(f"word, {number}", encoding="utf-8")
    with zipfile.ZipFile(here / "more.zip", "w") as packed:
        packed.write(picture(here / "z.png", 9), "z.png")
        packed.writestr("z.txt", "word, z")
    (here / "projects").mkdir()


def _new(here: Path) -> Any:
    try:
        return studio(here).new("hana", [here / "mine", here / "more.zip"])
    except UserError as error:
        if "already exists" not in error.message:
            raise
        return _add(here)  # as it says: open it


def _add(here: Path) -> Any:
    return studio(here).add_images(project(here), [here / "mine", here / "more.zip"])


NEW = Case(
    "a new project", _sources, _new,
    lambda here: files(here / "projects" / "hana" / "raw"), lambda here: files(here / "mine"),
)  # fmt: skip
IMPORT = Case(
    "import", lambda here: (_sources(here), made(here))[0], _add, lambda here: files(project(here).raw_dir), lambda here: files(here / "mine")
)


def _cropped(here: Path) -> None:
    found = made(here)
    for number, name in enumerate("abc"):
        picture(found.raw_dir / f"{name}.png", number).with_suffix(".txt").write_text(f"word, {name}", encoding="utf-8")
    apply_plan(plan_project(found, CropOptions(size="32", focal="center")), found)
    picture(found.dataset_dir / "a-1.jpg", 7)  # somebody else's, where a crop will go


def _crop(here: Path) -> Any:
    """Another format and size, and names that go around: captions of all move."""
    return apply_plan(plan_project(project(here), CropOptions(size="24", focal="center", format="jpg", rename="{name}-{n}")), project(here))


CROP = Case(
    "crop", _cropped, _crop, lambda here: files(project(here).dataset_dir), lambda here: files(project(here).raw_dir)
)


def _draft(here: Path) -> None:
    _cropped(here)
    draft.update(project(here), lambda now: draft.change(now, options=CropOptions(size="40")))


CROP_UNDO = Case(
    "crop undo", _draft, lambda here: draft.update(project(here), lambda now: draft.undo(now) if now.past else now),
    lambda here: draft.load(project(here)).options.size, lambda here: files(project(here).raw_dir),
)  # fmt: skip


# -- captions -----------------------------------------------------------------------------------------------------------


def _tagged(here: Path) -> None:
    found = made(here)
    for number in range(3):
        os.utime(picture(found.dataset_dir / f"{number}.png", number, (64, 64)), (1e9, 1e9))
    tag_folder(found.dataset_dir, TagOptions(model="demo"))
    (found.dataset_dir / "0.txt").unlink()
    (found.studio_dir / "hashes.json").unlink()


TAG = Case(
    "tag", _tagged, lambda here: tag_folder(project(here).dataset_dir, TagOptions(model="demo", general_threshold=0.01, on_existing="overwrite")),
    lambda here: files(project(here).dataset_dir),
)  # fmt: skip


def _shards(here: Path) -> None:
    here.mkdir(parents=True, exist_ok=True)
    for number in (1, 2):
        store = Store(here / f"tags_x.share-{number}-of-2.npz", "x", 4)
        store.put(bytes([number]) * 32, np.full(4, 0.5, np.float32))
        store.save()


def _stored(here: Path) -> Any:
    store = Store(here / "tags_x.npz", "x", 4)
    store.put(b"\0" * 32, np.full(4, 0.25, np.float32))
    take_shards(store)
    store.save()


STORE = Case("tag stores", _shards, _stored, lambda here: len(Store(here / "tags_x.npz", "x", 4)))


def _captions(here: Path) -> None:
    captioned(made(here).dataset_dir, 22)
    (project(here).dataset_dir / "00.txt").unlink()


EDIT = Case(
    "edit", _captions, lambda here: studio(here).edit(project(here), EditOptions(trigger="zed", add=("new",))),
    lambda here: (files(project(here).dataset_dir), project(here).trigger),
)  # fmt: skip


def _edited(here: Path) -> None:
    _captions(here)
    studio(here).edit(project(here), EditOptions(add=("first",)))
    studio(here).edit(project(here), EditOptions(add=("second",)))


def _undo(here: Path) -> Any:
    with suppress(OutdatedError):  # tried again, it may be that it was brought to its end already
        studio(here).undo(project(here), "000002")


def _redo(here: Path) -> Any:
    studio(here).redo(project(here))


def _undone(here: Path) -> None:
    _edited(here)
    studio(here).undo(project(here))


UNDO = Case("undo", _edited, _undo, lambda here: files(project(here).dataset_dir))
REDO = Case("redo", _undone, _redo, lambda here: files(project(here).dataset_dir))
OP = Case(
    "edit one picture", _captions, lambda here: edit_pictures(project(here).dataset_dir, [Op("add", "03.png", "hat"), Op("add", "00.png", "cap")]),
    lambda here: files(project(here).dataset_dir),
)  # fmt: skip
TRANSFER = Case(
    "move pictures", _captions, lambda here: transfer(project(here).dataset_dir, ["00.png", "01.png", "02.png"], here / "elsewhere", move=True),
    lambda here: files(project(here).dataset_dir, here / "elsewhere"),
    told=lambda value: "; ".join(why for _, why in value.skipped if "not in the dataset" not in why),
)  # fmt: skip


# -- trash --------------------------------------------------------------------------------------------------------------


def _raw(here: Path) -> None:
    captioned(made(here).raw_dir, 3)


def _took_out(here: Path) -> None:
    _raw(here)
    pictures_trash.take_out(project(here), "raw", ["00.png", "01.png", "02.png"])


def _in_trash(here: Path) -> list[Any]:
    return [(b["where"], b["names"]) for b in pictures_trash.batches(project(here))]


def _bring_back(here: Path) -> Any:
    for batch in pictures_trash.batches(project(here)):
        pictures_trash.bring_back(project(here), batch["batch"])


TAKE_OUT = Case(
    "pictures to the trash", _raw, lambda here: pictures_trash.take_out(project(here), "raw", ["00.png", "02.png"]),
    lambda here: (files(project(here).raw_dir), _in_trash(here)), lambda here: (_in_trash(here), files(project(here).raw_dir)),
)  # fmt: skip
BRING_BACK = Case("pictures back", _took_out, _bring_back, lambda here: (files(project(here).raw_dir), _in_trash(here)))


def _trained(here: Path) -> None:
    trained_project(here / "projects", here / "models" / "Lora")


def _loras(here: Path) -> Any:
    return files(project(here).output_dir, here / "models" / "Lora"), [b["files"] for b in studio(here).loras(project(here))["trash"]]


def _kept(here: Path) -> None:
    _trained(here)
    trash.keep_only(project(here), here / "models" / "Lora", ["hana-02.safetensors"])


def _restore(here: Path) -> Any:
    if studio(here).loras(project(here))["trash"]:
        trash.restore(project(here), here / "models" / "Lora")


KEEP = Case(
    "epochs to the trash", _trained, lambda here: trash.keep_only(project(here), here / "models" / "Lora", ["hana-02.safetensors"]), _loras, _loras
)
RESTORE = Case("epochs back", _kept, _restore, _loras)
WEIGHT = Case(
    "weight of an epoch", _trained, lambda here: loras.set_weight(project(here), here / "models" / "Lora", "hana-02.safetensors", 0.6), _loras
)


def _runs(here: Path) -> Any:
    found = project(here)
    return [r.folder.name for r in list_runs(found.runs_dir)], view.trashed(found.folder), files(found.runs_dir, found.folder / view.TRASH)


def _trashed(here: Path) -> None:
    _trained(here)
    view.to_trash(Run.open(project(here).runs_dir / RUN), project(here).folder)


RUN_TO_TRASH = Case(
    "run to the trash", _trained, lambda here: view.to_trash(Run.open(project(here).runs_dir / RUN), project(here).folder), _runs, _runs
)
RUN_BACK = Case("run back", _trashed, lambda here: view.from_trash(project(here).folder, project(here).runs_dir, RUN), _runs, _runs)


# -- projects, presets --------------------------------------------------------------------------------------------------


CREATE = Case(
    "project", lambda here: (here / "projects").mkdir(parents=True), lambda here: replace(made(here), trigger="zed").save(),
    lambda here: project(here).trigger,
)  # fmt: skip
SETTINGS = Case(
    "project settings", lambda here: replace(made(here), trigger="old", settings={"a": 1}).save(),
    lambda here: replace(project(here), trigger="new").save(), lambda here: files(project(here).folder), lambda here: files(project(here).folder),
)  # fmt: skip
RENAME = Case(
    "rename a project", _trained, lambda here: studio(here).rename(project(here), "yuki"),
    lambda here: sorted(files(here / "projects", here / "models" / "Lora")), for_ever=False,
)  # fmt: skip


def _preset(here: Path) -> None:
    here.mkdir(parents=True, exist_ok=True)
    presets.save("mine", {"epochs": 3}, here / "presets")


PRESET = Case(
    "save a preset", _preset, lambda here: presets.save("mine", {"epochs": 7}, here / "presets"), lambda here: files(here / "presets"),
    lambda here: files(here / "presets"),
)  # fmt: skip
PRESET_GONE = Case(
    "delete a preset", _preset, lambda here: presets.remove("mine", here / "presets"), lambda here: files(here / "presets"),
    lambda here: files(here / "presets"),
)  # fmt: skip


# -- training, evaluation -----------------------------------------------------------------------------------------------


class Nothing(Environment):
    """A trainer that ends at once."""

    def module(self, name: str, *arguments: str) -> list[str]:
        return [sys.executable, "-S", "-c", "pass"]


def _start(here: Path) -> Any:
    """A run that could not be started stays and is started the next time; one that could not be made leaves nothing."""
    runs = list_runs(here / "runs")
    values = {"base": "x", "folders": [{"path": "z"}], "output_name": "word", "output_dir": "y"}
    run = runs[-1] if runs else Run.create(here / "runs", TrainingConfig.from_dict(values))
    run.start(Nothing())
    while run.alive():
        pass


def _started(here: Path) -> Any:
    (run,) = list_runs(here / "runs")
    names = sorted(p.name for p in run.folder.iterdir() if not p.name.startswith(".") and p.name != "starting.lock")
    return names, list((run.folder / "control").iterdir())


START = Case("start a training", lambda here: (here / "runs").mkdir(parents=True), _start, _started)


class Painter:
    """One color an epoch."""

    def __init__(self, shade: int) -> None:
        self.shade = shade

    def draw(self, prompts: Sequence[Any], lora: Path | None, weight: float, drawn: Callable[[int], None]) -> list[Image.Image]:
        return [Image.new("RGB", (16, 16), (self.shade, int(weight * 100), len(lora.stem) if lora else 0)) for _ in prompts]


SMALL = EvaluateOptions(
    tagger="none", trigger_pictures=1, flexibility_pictures=1, leakage_pictures=1, weights=(0.5, 1.0), traits=("red hair",), seed=1, steps=2
)


def _evaluated(here: Path) -> None:
    _trained(here)
    evaluate(project(here).runs_dir / RUN, replace(SMALL, trigger_pictures=2), painter=Painter(10))


def _evaluation(here: Path) -> dict[str, bytes]:
    found = files(project(here).runs_dir / RUN / "evaluation")
    report = json.loads(found.pop("evaluation/report.json"))
    return {**found, "report": json.dumps({**report, "seconds": 0}).encode()}


EVALUATE = Case(
    "evaluation", _evaluated, lambda here: evaluate(project(here).runs_dir / RUN, SMALL, painter=Painter(90)), _evaluation, _evaluation
)


# -- what comes from elsewhere -------------------------------------------------------------------------------------------


CONTENT = bytes(range(256)) * 2000


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT; of a range that begins behind its end it says 416, as servers do."""

    served: list[int]

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        start = int(asked[6:-1]) if asked else 0
        type(self).served.append(start)
        if start >= len(CONTENT):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(CONTENT) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(CONTENT[start:])

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[tuple[str, type[Handler]]]:
    handler = type("Own", (Handler,), {"served": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}/model.safetensors", handler
        finally:
            http.shutdown()
            thread.join()


def _download(here: Path) -> Any:
    with mock.patch.dict(os.environ, {"no_proxy": "127.0.0.1", "http_proxy": ""}), serving() as (url, _):
        try:
            fetch(url, here / "model.safetensors")
        except OSError as error:
            if isinstance(error, UserError):
                raise
            from lora_studio.files import explain_os_error

            raise explain_os_error(error, here / "model.safetensors") or error from error


DOWNLOAD = Case("download", lambda here: here.mkdir(parents=True, exist_ok=True), _download, lambda here: (here / "model.safetensors").read_bytes())


class FakePip(overlay_install._Pip):
    """A pip that unpacks two packages; what it writes itself is not refused."""

    def modernise(self) -> None:
        pass

    def resolve(self, wanted: Any, constraints: Any) -> list[str]:
        return ["one==1", "two==2"]

    def _pip(self, *arguments: str, check: bool = True) -> list[str]:
        folder = Path(arguments[arguments.index("--target") + 1])
        for name in ("one", "two"):
            (folder / name).mkdir()
            with _io.open(folder / name / "__init__.py", "wb") as file:
                file.write(b"x = 1\n")
        return []


FACTS = overlay.Facts("2.1.2", "", "linux", "3.10")


def _broken_overlay(here: Path) -> None:
    target = overlay.folder(here / "packages", FACTS)
    (target / "half").mkdir(parents=True)
    (target / "half" / "file").write_bytes(b"left by another")


def _install(here: Path) -> Any:
    with (
        mock.patch.object(overlay_install, "_Pip", FakePip), mock.patch.object(overlay_install, "_try", lambda *_: None),
        mock.patch.object(overlay.Facts, "read", staticmethod(lambda: FACTS)), mock.patch.object(overlay, "missing", lambda *_: []),
        mock.patch.object(overlay_install, "ROOM", 0),
    ):  # fmt: skip
        return overlay_install.install(here / "packages", lambda *_: None)


def _packages(here: Path) -> Any:
    return sorted(files(overlay.folder(here / "packages", FACTS)))


INSTALL = Case("package set-up", _broken_overlay, _install, _packages, lambda here: files(overlay.folder(here / "packages", FACTS)))


def _to_pack(here: Path) -> None:
    found = made(here)
    captioned(found.dataset_dir, 2)
    (here / "model.safetensors").write_bytes(WEIGHTS)
    folders = [{"path": str(found.dataset_dir)}]
    values = {"base": str(here / "model.safetensors"), "folders": folders, "output_name": "米拉", "output_dir": str(found.output_dir)}
    go_on(Run.create(found.runs_dir, TrainingConfig.from_dict(values)), 1, 3)
    (here / "b.zip").write_bytes(b"an older bundle")


def _pack(here: Path) -> Any:
    return pack(project(here), list_runs(project(here).runs_dir)[0], here / "b.zip")


def _contents(here: Path) -> Any:
    if not zipfile.is_zipfile(here / "b.zip"):
        return "no bundle"
    with zipfile.ZipFile(here / "b.zip") as packed:
        return sorted(packed.namelist()), packed.testzip()


def _packed(here: Path) -> None:
    _to_pack(here)
    _pack(here)


PACK = Case("pack a bundle", _to_pack, _pack, _contents, lambda here: (here / "b.zip").read_bytes())
UNPACK = Case(
    "unpack a bundle", _packed, lambda here: place(here / "b.zip", here / "away", here / "loras", known=[here]),
    lambda here: sorted(files(here / "away", here / "loras")), lambda here: (here / "b.zip").read_bytes(),
)  # fmt: skip


class Upload:
    """A request whose body comes in two pieces."""

    headers = {"content-length": "6"}  # noqa: RUF012

    async def stream(self) -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"def"


def _upload(here: Path) -> Any:
    request: Any = Upload()
    temporary = uploads.temporary(here / ".projects")
    return asyncio.run(receive(request, temporary, 100, "a.png", "", lambda arrived: patience.replace(arrived, here / "a.png")))


UPLOAD = Case("upload", lambda here: here.mkdir(parents=True, exist_ok=True), _upload, lambda here: files(here))

CASES = (
    NEW, IMPORT, CROP, CROP_UNDO, TAG, STORE, EDIT, UNDO, REDO, OP, TRANSFER, TAKE_OUT, BRING_BACK, KEEP, RESTORE, WEIGHT, RUN_TO_TRASH, RUN_BACK,
    CREATE, SETTINGS, RENAME, PRESET, PRESET_GONE, START, EVALUATE, DOWNLOAD, INSTALL, PACK, UNPACK, UPLOAD,
)  # fmt: skip
