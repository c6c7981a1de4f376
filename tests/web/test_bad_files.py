"""One bad file never takes a whole list with it: no route breaks, what is good is listed, and what is bad is named with the reason."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from lora_studio.cli import main
from lora_studio.web.app import PREFIX
from tests.bad_files import NEIGHBOUR, ODD_TEXTS, a_world, changed, header, specials, whole
from tests.loras import RUN

from .catalogue import routes

PROJECT = "/projects/hana"
HERE = PROJECT + "/runs/" + RUN
RUNS = (PROJECT, PROJECT + "/runs", PROJECT + "/test", HERE, HERE + "/log", HERE + "/evaluation", HERE + "/grids")
LORAS, CROPS = (PROJECT + "/loras",), (PROJECT + "/crop", PROJECT + "/crop/plan-file")
PICTURES = (PROJECT + "/check", PROJECT + "/pictures?where=raw")
#: {file: the routes that read it}
READ_BY: dict[str, tuple[str, ...]] = {
    "project": ("/projects", PROJECT, PROJECT + "/test", *CROPS, PROJECT + "/tagging", PROJECT + "/check"),
    **dict.fromkeys(("events", "process", "log", "report", "grid"), RUNS), "config": RUNS + LORAS,
    **dict.fromkeys(("session", "lora", "sidecar", "moves"), LORAS), "pictures": (PROJECT + "/pictures/trash",),
    **dict.fromkeys(("draft", "plan", "written", "looks"), CROPS), **dict.fromkeys(("quality", "sizes"), PICTURES),
    "preset": ("/training/form",), "base": ("/host/checkpoints",), "tagger": ("/tagging/models", PROJECT + "/vocabulary?q=1g"),
    "model": ("/tagging/models",), "names": (PROJECT + "/vocabulary?q=gi",), "bundle": (PROJECT + "/bundles",),
    "caption": (PROJECT, PROJECT + "/captions", PROJECT + "/captions/tags", PROJECT + "/captions/history"), "recent": ("/projects",),
}  # fmt: skip


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Path]]:
    root = tmp_path_factory.mktemp("world")
    return root, a_world(root)


@pytest.fixture
def world(origin: tuple[Path, dict[str, Path]], tmp_path: Path) -> dict[str, Path]:
    root, files = origin
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    return {what: tmp_path / path.relative_to(root) for what, path in files.items()}


@pytest.fixture
def client(world: dict[str, Path], tmp_path: Path) -> Iterator[Any]:
    yield from served(tmp_path)


@pytest.fixture(scope="module")
def same(origin: tuple[Path, dict[str, Path]]) -> Iterator[Any]:
    """One page for the tests that leave all files as they were."""
    yield from served(origin[0])


def served(root: Path) -> Iterator[Any]:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from lora_studio.host.standalone import Standalone
    from lora_studio.studio import Studio
    from lora_studio.web.app import install
    from lora_studio.web.context import Context

    host, own = Standalone(root / "projects", root / "models"), FastAPI()
    install(own, Context(Studio(host.projects_dir, host.lora_dir), host))
    with TestClient(own, headers={"X-Lora-Studio": "1"}, raise_server_exceptions=False) as found:
        yield found


def look(client: Any, path: str, what: object) -> Any:
    """The answer of a route, which is one that a browser can read and nothing that went wrong inside."""

    def strict(text: str) -> None:
        raise AssertionError((what, text))

    answer = client.get(PREFIX + path)
    assert answer.status_code < 500, (what, path, answer.text)
    return json.loads(answer.text, parse_constant=strict)


def put(path: Path, before: bytes | None) -> None:
    """The file as it was."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    elif os.path.lexists(path):
        path.unlink()
    if before is not None:
        path.write_bytes(before)


def spoilt(path: Path, root: Path, texts: dict[str, bytes]) -> Generator[str, None, None]:
    """The file as each of the texts, then as what is no file; as it was at last."""
    before = path.read_bytes() if path.is_file() else None
    try:
        for name, text in texts.items():
            path.write_bytes(whole(text, bytes(8)) if path.suffix == ".safetensors" and name.startswith(("deep", "huge", "list", "NUL")) else text)
            yield name
        for name, make in specials(root):
            put(path, None)
            make(path)
            yield name
    finally:
        put(path, before)


def mutated(path: Path, count: int, rng: random.Random) -> Generator[bytes, None, None]:
    """The file with something odd at one place of what it holds."""
    before = path.read_bytes() if path.is_file() else b""
    try:
        for _ in range(count if before and path.suffix in (".json", ".jsonl", ".safetensors") else 0):
            if path.suffix == ".safetensors":
                table, rest = header(before)
                data = whole(changed(rng, table), rest)
            else:
                lines = before.splitlines() if path.suffix == ".jsonl" else [before]
                data = b"".join(json.dumps(changed(rng, json.loads(line))).encode() + b"\n" for line in lines)
            path.write_bytes(data)
            yield data[:500]
    finally:
        put(path, before or None)


def test_every_file_has_its_routes(origin: tuple[Path, dict[str, Path]], same: Any) -> None:
    assert set(READ_BY) == set(origin[1])
    for path in {path for paths in READ_BY.values() for path in paths}:
        assert same.get(PREFIX + path).status_code == 200, path


def breaks_no_list(client: Any, path: Path, root: Path, what: str, texts: dict[str, bytes], mutations: int, rng: random.Random) -> None:
    for spoiling in (spoilt(path, root, texts), mutated(path, mutations, rng)):
        with closing(spoiling):
            for name in spoiling:
                for route in READ_BY[what]:
                    look(client, route, (what, name))


@pytest.mark.parametrize("what", READ_BY)
def test_a_bad_file_breaks_no_list(same: Any, origin: tuple[Path, dict[str, Path]], what: str) -> None:
    rng = random.Random(what)
    texts = {name: ODD_TEXTS[name] for name in rng.sample(sorted(ODD_TEXTS), 3)}
    breaks_no_list(same, origin[1][what], origin[0], what, texts, 3, rng)


@pytest.mark.slow
@pytest.mark.parametrize("what", READ_BY)
def test_any_bad_file_breaks_no_list(same: Any, origin: tuple[Path, dict[str, Path]], what: str) -> None:
    breaks_no_list(same, origin[1][what], origin[0], what, ODD_TEXTS, 60, random.Random(7))


def test_what_may_not_be_read(client: Any, world: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    refused: set[str] = set()
    real_open, real_stat = os.open, os.stat

    def opened(path: Any, *more: Any, **named: Any) -> int:
        if str(path) in refused:
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *more, **named)

    def told(path: Any, *more: Any, **named: Any) -> os.stat_result:
        if str(path) in refused and named.get("follow_symlinks", True) is not False:
            raise PermissionError(13, "Permission denied", str(path))
        return real_stat(path, *more, **named)

    for fake in ("open", "stat"):
        with monkeypatch.context() as patch:
            patch.setattr(os, fake, opened if fake == "open" else told)
            for what in ("project", "config", "report", "grid", "sidecar", "preset", "draft"):
                refused = {str(world[what])}
                for path in READ_BY[what]:
                    look(client, path, (what, fake))


# -- what is good is listed, what is bad is named ---------------------------------------


def test_projects(client: Any, world: dict[str, Path]) -> None:
    world["project"].write_bytes(ODD_TEXTS["deep objects"])
    found = look(client, "/projects", "")
    assert [one["name"] for one in found["projects"]] == ["good"]
    assert [(one["name"], one["folder"]) for one in found["unreadable"]] == [("hana", str(world["project"].parent))]
    assert "nested" in found["unreadable"][0]["reason"]
    assert look(client, PROJECT, "")["error"] == found["unreadable"][0]["reason"]


def test_runs(client: Any, world: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    world["config"].write_text('{"base": ["x"], "output_name": "n"}', encoding="utf-8")
    for path in ("/runs", "/test"):
        found = {one["name"]: one["problem"] for one in look(client, PROJECT + path, "")["runs"]}
        assert found[NEIGHBOUR] == "" and "base" in found[RUN]
    assert look(client, HERE, "")["config"] == {"output_name": "n"}
    assert main(["runs", str(world["project"].parent)]) == 0
    said = capsys.readouterr()
    assert NEIGHBOUR in said.out and "cannot be used: base" in said.out + said.err


def test_evaluations_and_grids(client: Any, world: dict[str, Path]) -> None:
    world["report"].write_text('{"epochs": 5, "prompts": [], "options": {}, "base": {}, "recommended": null}', encoding="utf-8")
    found = {one["name"]: one for one in look(client, PROJECT + "/test", "")["runs"]}
    assert not found[RUN]["evaluated"] and "report.json" in found[RUN]["problem"] and not found[NEIGHBOUR]["problem"]
    world["grid"].write_bytes(ODD_TEXTS["lists"])
    grids = {one["name"]: one for one in look(client, HERE + "/grids", "")["grids"]}
    bad = grids.pop(world["grid"].parent.name)
    assert set(bad) == {"name", "problem"} and [one["total"] for one in grids.values()] == [3]


def test_a_grid_of_a_thousand_thousand_cells_is_none(client: Any, world: dict[str, Path]) -> None:
    plan = json.loads(world["grid"].read_bytes())
    for seeds, said in ((20_000, "no list of at most 1000"), (1000, "does not describe a grid")):
        plan["options"] |= {"seeds": list(range(seeds)), "epochs": list(range(1000))}
        world["grid"].write_text(json.dumps(plan), encoding="utf-8")
        assert any(said in one.get("problem", "") for one in look(client, HERE + "/grids", "")["grids"])


def test_loras_and_what_lies_beside_them(client: Any, world: dict[str, Path]) -> None:
    world["lora"].write_bytes(whole(ODD_TEXTS["deep objects"], b""))
    world["sidecar"].write_bytes(b'{"preferred weight": 1e999}')
    found = {one["file"]: one for one in look(client, PROJECT + "/loras", "")["loras"]}
    bad = found.pop("hana-own.safetensors")
    assert "not a whole .safetensors" in bad["problem"] and "too large" in bad["problem"] and bad["weight"] == 0.8
    assert found and all(not one["problem"] for one in found.values())


def test_presets(client: Any, world: dict[str, Path]) -> None:
    world["preset"].write_text('{"unet_lr": {"a": 1}, "epochs": "many"}', encoding="utf-8")
    found = {one["name"]: one for one in look(client, "/training/form", "")["presets"] if one["own"]}
    assert found["good"]["settings"] == {"unet_lr": 0.001, "epochs": 3} and "problem" not in found["good"]
    assert "unet_lr" in found["hana"]["problem"] and "epochs" in found["hana"]["problem"]
    answer = client.put(PREFIX + "/training/presets", json={"name": "mine", "preset": "face", "settings": {"unet_lr": [1]}})
    assert answer.status_code == 422 and "unet_lr" in answer.json()["error"]
    assert not (world["preset"].parent / "mine.json").exists()
    assert client.delete(PREFIX + "/training/presets/hana").status_code == 200 and not world["preset"].exists()


def test_checkpoints_and_taggers(client: Any, world: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    world["base"].write_bytes(whole({"a": {"dtype": "F16", "shape": [1], "data_offsets": [0, 200]}}, b""))
    found = {one["title"]: one for one in look(client, "/host/checkpoints", "")["checkpoints"]}
    assert found["good.safetensors"]["family"] == "sd1" and not found["good.safetensors"]["problem"]
    assert found["hana.safetensors"]["family"] == "" and "not a whole" in found["hana.safetensors"]["problem"]
    world["tagger"].write_bytes(ODD_TEXTS["NUL"])
    taggers = {one["name"]: one["about"] for one in look(client, "/tagging/models", "")["models"]}
    assert taggers["good"] == "A tagger of your own." and "selected_tags.csv" in taggers["hana"]
    assert main(["taggers", "--projects", str(world["preset"].parents[1])]) == 0
    assert "selected_tags.csv" in capsys.readouterr().out


def test_pictures_in_the_trash(client: Any, world: dict[str, Path]) -> None:
    good = world["pictures"].parent.with_name("pictures_good")
    shutil.copytree(world["pictures"].parent, good)
    world["pictures"].write_text('{"where": "raw", "names": ["../../x.png"]}', encoding="utf-8")
    found = {one["batch"]: one for one in look(client, PROJECT + "/pictures/trash", "")["batches"]}
    assert found["pictures_good"]["names"] == ["gone.png"] and "x.png" in found[world["pictures"].parent.name]["problem"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_caption_that_cannot_be_read(client: Any, world: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(world["caption"].with_suffix(".png"), world["caption"].with_name("b.png"))
    world["caption"].with_name("b.txt").write_text("hat", encoding="utf-8")
    world["caption"].unlink()
    os.mkfifo(world["caption"])
    found = look(client, PROJECT + "/captions?filter=tag:hat", "")
    assert found["names"] == ["b.png"]
    found = look(client, PROJECT + "/captions", "")
    assert found["unreadable"] == [["a.txt", "it is not a file."]]
    assert found["pictures"]["a.png"]["problem"] == "Its caption cannot be used: it is not a file."
    body = {"ops": [{"op": "add", "name": "a.png", "tag": "x"}]}
    assert client.post(PREFIX + PROJECT + "/captions/ops", json=body).status_code == 422
    assert main(["captions", str(world["project"].parent), "list"]) == 0
    said = capsys.readouterr()
    assert "b.png" in said.out and "a.txt" in said.out + said.err
    world["caption"].unlink()
    world["caption"].write_text("smile", encoding="utf-8")
    time.sleep(0.1)
    assert look(client, PROJECT + "/captions", "")["unreadable"] == []


# -- requests ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cut", "lists", "number", "deep lists", "huge float", "half a character", "object", "NUL in a text"])
def test_no_body_breaks_a_route(same: Any, name: str) -> None:
    """Every changing route with odd bodies: told with a sentence, never an error inside."""
    values = {"project": "good", "run": RUN, "name": "x", "file": "good-own.safetensors", "batch": "x", "grid": "x", "identity": "x"}
    for route in routes(same.app.state.lora_studio):
        if route.method == "GET" or route.path.endswith(("/release", "/restore", "/install", "/refresh", "/resume", "/check", "/uploads")):
            continue
        if name == "object" and not route.path.endswith(("/ops", "/open", "/presets", "/rename")):
            continue  # many routes need nothing else, and would begin to work
        answer = same.request(route.method, route.filled(**{k: quote(v) for k, v in values.items()}), content=ODD_TEXTS[name])
        assert answer.status_code < 500, (route, name, answer.text)
