"""Epochs × weights: planned, filled cell by cell, stopped and gone on with; by our own painter and by a host's txt2img."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_studio.errors import UserError
from lora_studio.evaluation import GridOptions, xygrid
from lora_studio.evaluation.hostpainter import HostPainter, checkpoint_title
from lora_studio.evaluation.prompts import TestPrompt
from lora_studio.host.base import Checkpoint, DrawRequest
from lora_studio.jobs import CancelledError
from tests.loras import RUN, trained_project

OPTIONS = GridOptions(("mikuzu, <lora:hana-01:1>, smile",), epochs=(1, 3), weights=(0.0, 0.8), seeds=(7, 8), steps=4)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return trained_project(tmp_path / "projects", tmp_path / "Lora") / "runs" / RUN


class Painter:
    """Colours a picture by what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, float, int]] = []

    def draw(self, prompts: Sequence[TestPrompt], lora: Path | None, weight: float, drawn: Callable[[int], None]) -> list[Image.Image]:
        self.asked += [(lora.stem if lora else "", p.text, weight, p.seed) for p in prompts]
        drawn(len(prompts))
        return [Image.new("RGB", (64, 64), (int(100 * weight), p.seed, len(lora.stem) if lora else 0)) for p in prompts]


def test_a_grid_is_planned_drawn_and_found_again(run: Path) -> None:
    folder = xygrid.plan(run, OPTIONS)
    assert xygrid.list_grids(run)[0]["drawn"] == 0 and xygrid.list_grids(run)[0]["total"] == 8
    painter, said = Painter(), []
    report = xygrid.fill(run, folder.name, lambda *a: said.append(a), lambda found, options: painter)
    assert report["cells"] == 8 and said[-1] == (8, 8, "done")
    assert [d for d, _, _ in said] == sorted(d for d, _, _ in said)
    first = [(name, weight, seed) for name, _, weight, seed in painter.asked[:4]]
    assert first == [("", 0.0, 7), ("", 0.0, 8), ("hana-01", 0.8, 7), ("hana-01", 0.8, 8)]
    assert {text for _, text, _, _ in painter.asked} == {"mikuzu, smile"}
    assert {name for name, *_ in painter.asked} == {"", "hana-01", "hana-03"}
    shown = xygrid.show_grid(run, folder.name)
    assert all(c["drawn"] for c in shown["cells"]) and shown["options"]["width"] == 64 and shown["base"] == "ponyDiffusionV6XL.safetensors"
    with Image.open(folder / "cells" / "e03-w0.8-p1-s8.png") as cell:
        assert cell.getpixel((0, 0)) == (80, 8, 7)
    with Image.open(folder / "grid.png") as sheet:
        assert sheet.width > 2 * 64 and sheet.height > 4 * 64  # two seeds, each a block of two rows


def test_a_stopped_grid_keeps_its_cells_and_goes_on(run: Path) -> None:
    name = xygrid.plan(run, OPTIONS).name
    first = Painter()

    def stop_after_two(done: int, total: int, message: str) -> None:
        if len(first.asked) >= 4 and done >= 4:
            raise CancelledError

    with pytest.raises(CancelledError):
        xygrid.fill(run, name, stop_after_two, lambda *plan: first)
    assert [c["drawn"] for c in xygrid.show_grid(run, name)["cells"]].count(True) == 2  # the batch that was cut is not half on disk
    assert xygrid.sheet(xygrid.grid_folder(run, name)).height > 4 * 64  # it can be looked at as it is
    second = Painter()
    xygrid.fill(run, name, painter_of=lambda *plan: second)
    assert len(second.asked) == 6 and all(c["drawn"] for c in xygrid.show_grid(run, name)["cells"])


def test_two_grids_at_one_moment_have_folders_of_their_own(run: Path) -> None:
    names = [xygrid.plan(run, OPTIONS).name for _ in range(3)]
    assert len(set(names)) == 3 and {g["name"] for g in xygrid.list_grids(run)} == set(names)


def test_what_cannot_be_drawn_is_said_before_anything_is_written(run: Path) -> None:
    for options in (replace(OPTIONS, epochs=(1, 9)), replace(OPTIONS, seeds=tuple(range(300)))):
        with pytest.raises(UserError):
            xygrid.plan(run, options)
    with pytest.raises(UserError, match=r"no prompt.*weights.*seeds.*steps.*multiples of 8"):
        GridOptions((" ",), weights=(9.0,), seeds=(-1,), steps=1, width=65)
    assert xygrid.list_grids(run) == []


@pytest.mark.parametrize("name", ["", ".", "..", "../grids", "nobody", "/etc", "a/b", "..\\x"])
def test_only_grids_of_the_list_are_opened(run: Path, name: str) -> None:
    xygrid.plan(run, OPTIONS)
    with pytest.raises(UserError, match="There is no grid"):
        xygrid.grid_folder(run, name)


def test_a_damaged_plan_is_named_in_the_list(run: Path) -> None:
    folder = xygrid.plan(run, OPTIONS)
    (folder / "grid.json").write_text(json.dumps({"options": 1}), encoding="utf-8")
    assert [set(one) for one in xygrid.list_grids(run)] == [{"name", "problem"}]


class Host:
    """A host whose txt2img remembers what it was asked for."""

    def __init__(self, lora_dir: Path | None, checkpoints: Sequence[Checkpoint] = ()) -> None:
        self.lora_dir, self._checkpoints = lora_dir, checkpoints
        self.requests: list[DrawRequest] = []
        self.refreshed = 0

    def checkpoints(self) -> Sequence[Checkpoint]:
        return self._checkpoints

    def refresh_loras(self) -> None:
        self.refreshed += 1

    def draw(self, request: DrawRequest, progress: Callable[[int, int, str], None]) -> list[Image.Image]:
        progress(0, 1, "Step 1 of 4")
        self.requests.append(request)
        return [Image.new("RGB", (request.width, request.height), "red")]


def host_painter(host: Any) -> Callable[..., HostPainter]:
    return lambda found, options: HostPainter(host, found, options)


def test_the_host_is_asked_by_the_prompt_itself(run: Path, tmp_path: Path) -> None:
    host = Host(tmp_path / "Lora", [Checkpoint("pony [abc]", Path("/elsewhere/ponyDiffusionV6XL.safetensors"))])
    name = xygrid.plan(run, replace(OPTIONS, negative="bad", seeds=(7,))).name
    xygrid.fill(run, name, painter_of=host_painter(host))
    assert [r.prompt for r in host.requests] == [
        "mikuzu, smile", "mikuzu, smile, <lora:hana-01:0.8>", "mikuzu, smile", "mikuzu, smile, <lora:hana-03:0.8>",
    ]  # fmt: skip
    assert {replace(r, prompt="") for r in host.requests} == {DrawRequest("", "bad", "pony [abc]", 7, 1, 4, 4.0, 64, 64)}
    assert host.refreshed == 1


def test_a_stop_is_heard_in_the_middle_of_a_picture(run: Path, tmp_path: Path) -> None:
    host, name = Host(tmp_path / "Lora"), xygrid.plan(run, replace(OPTIONS, seeds=(7,))).name
    heard = []

    def progress(done: int, total: int, message: str) -> None:
        heard.append(done)
        if heard.count(1) == 3:  # its begin, the painter's own word, then the host's first sampling step
            raise CancelledError

    with pytest.raises(CancelledError):
        xygrid.fill(run, name, progress, host_painter(host))
    assert len(host.requests) == 1
    assert [c["drawn"] for c in xygrid.show_grid(run, name)["cells"]] == [True, False, False, False]


def test_a_lora_that_the_host_does_not_have_is_not_drawn_without_a_word(run: Path, tmp_path: Path) -> None:
    name = xygrid.plan(run, replace(OPTIONS, weights=(1.0,))).name
    with pytest.raises(UserError, match="not in the WebUI's LoRA folder"):
        xygrid.fill(run, name, painter_of=host_painter(Host(tmp_path / "empty")))


def test_the_checkpoint_of_the_run_in_the_host_s_words(tmp_path: Path) -> None:
    here = tmp_path / "a.safetensors"
    here.write_bytes(b"")
    known = [Checkpoint("other", tmp_path / "b.safetensors"), Checkpoint("by name", Path("/x/a.safetensors")), Checkpoint("by path", here)]
    assert checkpoint_title(Host(None, known), str(here)) == "by path"
    assert checkpoint_title(Host(None, known[:2]), str(here)) == "by name"
    assert checkpoint_title(Host(None, known[:1]), str(here)) == ""
    assert checkpoint_title(Host(None, known), "") == ""
