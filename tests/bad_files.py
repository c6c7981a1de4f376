"""What a file can be instead of what it should be, from a seed; and a world of files to put it in the place of."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lora_studio.crop import apply_plan, draft, edit, plan_project
from lora_studio.crop.options import CropOptions
from lora_studio.dataset import quality
from lora_studio.evaluation import GridOptions
from lora_studio.project import Project
from lora_studio.studio import Studio
from tests.loras import RUN, trained_project

NEIGHBOUR = "2026-05-05_05-05-05"
DEEP = 100_000
ODD_TEXTS: dict[str, bytes] = {
    "empty": b"", "cut": b"{", "no end": b'{"a": ', "null": b"null", "true": b"true", "number": b"5", "text": b'"text"', "list": b"[]",
    "lists": b"[[], {}]", "object": b"{}", "deep lists": b"[" * DEEP + b"]" * DEEP, "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "a little deep": b"[" * 500 + b"]" * 500,
    "huge float": b'{"version": 1e999}', "infinity": b'{"version": Infinity, "name": NaN}', "huge int": b'{"version": ' + b"9" * 6000 + b"}",
    "NUL": b"\0" * 50, "NUL in a text": b'{"name": "a\\u0000b", "base": "\\u0000"}', "half a character": b'{"name": "\\ud800", "trigger": "\\udfff"}',
    "GBK": '{"trigger": "\u732b\u8033\u5c11\u5973"}'.encode("gbk"), "UTF-16": '{"name": "a"}'.encode("utf-16"), "bytes": bytes(range(256)),
    "lines": b"\n\n[]\n{}\nnull\n" + b"[" * 3000 + b'\n{"seq": 1e999, "time": 0, "type": "step"}\n{"seq": "x"}\n',
}  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**19, 1e308, -0.5, "", "x", "\u00b2", "9" * 5000, "../../x", "a" * 5000, [], [None], [[1]], {}, {"a": None},
    ["x"] * 3, [1, 2], [1e308], "/" + "b" * 300, "nul", "花" * 200,
)  # fmt: skip


def specials(place: Path) -> Iterator[tuple[str, Callable[[Path], None]]]:
    """What is no file at all."""
    yield "folder", lambda path: path.mkdir()
    if hasattr(os, "mkfifo"):
        yield "pipe", os.mkfifo
        yield "device", lambda path: path.symlink_to("/dev/zero")
        yield "link to itself", lambda path: path.symlink_to(path)

        def listening(path: Path) -> None:
            own = socket.socket(socket.AF_UNIX)
            here = Path.cwd()
            os.chdir(path.parent)  # a socket's address is short
            try:
                own.bind(path.name)
            finally:
                os.chdir(here)
                own.close()

        yield "socket", listening


def changed(rng: random.Random, value: Any) -> Any:
    """The same JSON value with something odd in one place of it."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at = rng.randrange(len(value))
        return [*value[:at], changed(rng, value[at]), *value[at + 1 :]]
    return rng.choice(ODD_VALUES)


def header(data: bytes) -> tuple[Any, bytes]:
    """The header of a safetensors file and what follows it."""
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def whole(table: Any, rest: bytes) -> bytes:
    text = json.dumps(table).encode("utf-8") if not isinstance(table, bytes) else table
    return len(text).to_bytes(8, "little") + text + rest


def lora(path: Path, **metadata: str) -> None:
    """A LoRA of two modules as kohya writes them."""
    table: dict[str, Any] = {"__metadata__": {"ss_session_id": "s1", "ss_epoch": "1", "ss_steps": "10", "ss_resolution": "(512, 512)", **metadata}}
    rest = b""
    for module in ("lora_unet_down_blocks_1_attentions_0_proj_in", "lora_te_text_model_encoder_layers_0_mlp_fc1"):
        for part, shape in (("lora_down.weight", [2, 4]), ("lora_up.weight", [4, 2]), ("alpha", [])):
            values = np.ones(shape, np.float16).tobytes()
            table[f"{module}.{part}"] = {"dtype": "F16", "shape": shape, "data_offsets": [len(rest), len(rest) + len(values)]}
            rest += values
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(whole(table, rest))


def a_project(studio: Studio, name: str) -> Path:
    """A trained project with everything that is read of one."""
    assert studio.lora_dir is not None
    projects, models = studio.projects_dir, studio.lora_dir.parent
    folder = trained_project(projects, studio.lora_dir, name)
    run, project = folder / "runs" / RUN, Project.open(folder)
    shutil.copytree(run, folder / "runs" / NEIGHBOUR)
    shutil.copy(folder / "dataset" / "a.png", folder / "raw" / "p.png")
    draft.update(project, lambda now: draft.change(now, options=CropOptions(size="64")))
    apply_plan(plan_project(project, CropOptions(size="64"), {}), project)
    edit.change_boxes(project, [{"source": "p.png", "focal": [0.5, 0.5]}], None)
    quality.check(project.raw_dir, project.studio_dir)
    lora(folder / "output" / f"{name}-own.safetensors")
    texts = {"activation text": "mikuzu", "preferred weight": 0.7}
    report = {
        "recommended": 1, "epochs": [{"epoch": 1}], "base": {"trigger": 0.1}, "prompts": [{"kind": "trigger", "text": "x", "seed": 1}],
        "seconds": 5.0, "options": {"weights": [1.0], "steps": 4}, "curve": [],
    }  # fmt: skip
    (run / "evaluation").mkdir()
    for path, value in (
        (folder / "output" / f"{name}-own.json", texts), (run / "evaluation" / "report.json", report),
        (run / "process.json", {"pid": 999_999_999, "created": 5.0, "began": 5.0}),
    ):  # fmt: skip
        path.write_text(json.dumps(value), encoding="utf-8")
    for prompt in ("a", "b"):
        studio.plan_grid(studio.run(folder, RUN), GridOptions((prompt,), weights=(1.0,)))
    studio.keep_loras(project, [f"{name}-own.safetensors", f"{name}-01.safetensors", f"{name}-02.safetensors"])
    Image.new("RGB", (8, 8)).save(folder / "raw" / "gone.png")
    studio.remove_pictures(project, "raw", ["gone.png"])
    studio.save_preset(name, {"unet_lr": 1e-3, "epochs": 3}, "character")
    names = ("model.diffusion_model.x.weight", "cond_stage_model.transformer.x.weight")
    table = {key: {"dtype": "F16", "shape": [1, 1], "data_offsets": [2 * k, 2 * k + 2]} for k, key in enumerate(names)}
    tagger, bases = projects / "_taggers" / name, models / "Stable-diffusion"
    for place in (tagger, bases, projects / "_tags", folder / "bundles"):
        place.mkdir(parents=True, exist_ok=True)
    (bases / f"{name}.safetensors").write_bytes(whole(table, bytes(4)))
    (tagger / "model.onnx").write_bytes(b"x")
    (tagger / "selected_tags.csv").write_text("tag_id,name,category,count\n1,1girl,0,5\n2,miku,4,3\n", encoding="utf-8")
    (projects / "_tags" / f"{name}.csv").write_text('1girl,0,5,"girl,woman"\n', encoding="utf-8")
    for number in (1, 2):
        (folder / "bundles" / f"bundle-{number}.zip").write_bytes(b"x")
    return folder


def a_world(root: Path) -> dict[str, Path]:
    """Two projects side by side. {what: a file of the first}; of each there is a good neighbour, in the same project or the other."""
    studio = Studio(root / "projects", root / "models" / "Lora")
    folder, _ = a_project(studio, "hana"), a_project(studio, "good")
    run, own, projects = folder / "runs" / RUN, folder / "dataset" / ".lora_studio", studio.projects_dir
    return {
        "project": folder / "project.json", "config": run / "config.json", "events": run / "events.jsonl", "session": run / "session.json",
        "process": run / "process.json", "log": run / "console.log", "report": run / "evaluation" / "report.json",
        "grid": min((run / "evaluation" / "grids").glob("*/grid.json")), "lora": folder / "output" / "hana-own.safetensors",
        "sidecar": folder / "output" / "hana-own.json", "moves": next((folder / ".trash").glob("*/moves.json")),
        "pictures": next((folder / ".trash").glob("pictures_*/pictures.json")), "draft": own / "crop_draft.json", "plan": own / "crop_plan.json",
        "written": own / "crop_written.jsonl", "looks": own / "crop_looks.json", "quality": own / "quality_raw.json",
        "sizes": own / "sizes_raw.json", "preset": projects / "_presets" / "hana.json", "names": projects / "_tags" / "hana.csv",
        "base": root / "models" / "Stable-diffusion" / "hana.safetensors", "tagger": projects / "_taggers" / "hana" / "selected_tags.csv",
        "model": projects / "_taggers" / "hana" / "model.onnx", "bundle": folder / "bundles" / "bundle-1.zip",
        "caption": folder / "dataset" / "a.txt", "recent": projects / "_recent.json",
    }  # fmt: skip
