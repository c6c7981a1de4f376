"""The list of saved epochs, their favourite weight, and keeping some of them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from lora_studio import moving
from lora_studio.errors import UserError
from lora_studio.evaluation import loras, trash
from lora_studio.project import Project
from tests.loras import RUN, trained_project


@pytest.fixture
def places(tmp_path: Path) -> tuple[Project, Path]:
    lora_dir = tmp_path / "models" / "Lora"
    return Project.open(trained_project(tmp_path / "projects", lora_dir)), lora_dir


def tree(*folders: Path) -> dict[str, bytes]:
    return {f"{f.name}/{p.relative_to(f)}": p.read_bytes() for f in folders for p in f.rglob("*") if p.is_file()}


def test_the_list_tells_what_the_files_say(places: tuple[Project, Path]) -> None:
    project, lora_dir = places
    found = loras.list_loras(project, lora_dir)
    assert [x.epoch for x in found] == [1, 2, 3] and {x.run for x in found} == {RUN}
    first = found[0]
    assert (first.file, first.step, first.weight) == ("hana-01.safetensors", 10, 0.8)
    assert first.preview and first.in_output and first.in_lora_dir
    assert first.usage.prompt.startswith("mikuzu, 1girl, score_9") and first.usage.lora == "<lora:hana-01:0.8>"
    assert (first.usage.width, first.usage.height) == (1024, 1024)


def test_damaged_and_unfinished_files_do_not_hide_the_others(places: tuple[Project, Path]) -> None:
    project, lora_dir = places
    (project.output_dir / ".tmp-abc.safetensors").write_bytes(b"half")
    (project.output_dir / "broken.safetensors").write_bytes(b"no header")
    (project.output_dir / "hana-02.json").write_text("not json", encoding="utf-8")
    found = {x.file: x for x in loras.list_loras(project, lora_dir)}
    assert set(found) == {"hana-01.safetensors", "hana-02.safetensors", "hana-03.safetensors", "broken.safetensors"}
    assert found["broken.safetensors"].epoch is None and found["broken.safetensors"].run == ""
    assert found["hana-02.safetensors"].usage.trigger == "mikuzu"


def test_a_weight_keeps_everything_else_in_both_sidecars(places: tuple[Project, Path]) -> None:
    project, lora_dir = places
    assert loras.set_weight(project, lora_dir, "hana-02.safetensors", 0.65) == 0.65
    for folder in (project.output_dir, lora_dir / "hana"):
        assert json.loads((folder / "hana-02.json").read_text(encoding="utf-8")) == {
            "activation text": "mikuzu", "preferred weight": 0.65, "notes": "mine", "description": "日本",
        }  # fmt: skip
    assert loras.list_loras(project, lora_dir)[1].usage.lora == "<lora:hana-02:0.65>"


@pytest.mark.parametrize("weight", [0, 4.5, -9, float("nan"), float("inf")])
def test_no_senseless_weight(places: tuple[Project, Path], weight: float) -> None:
    with pytest.raises(UserError, match="weight"):
        loras.set_weight(*places, "hana-02.safetensors", weight)


@pytest.mark.parametrize("file", ["../project.json", "hana-02", "hana-09.safetensors", "", ".", "/etc/passwd"])
def test_only_names_of_the_list_are_taken(places: tuple[Project, Path], file: str) -> None:
    with pytest.raises(UserError, match="There is no LoRA called"):
        loras.set_weight(*places, file, 0.5)


def test_a_sidecar_that_cannot_be_read_is_not_overwritten(places: tuple[Project, Path]) -> None:
    project, lora_dir = places
    (lora_dir / "hana" / "hana-02.json").write_text("[1]", encoding="utf-8")
    before = tree(project.output_dir, lora_dir)
    with pytest.raises(UserError):
        loras.set_weight(project, lora_dir, "hana-02.safetensors", 0.5)
    assert tree(project.output_dir, lora_dir) == before


def test_keep_and_restore_are_each_other_s_inverse(places: tuple[Project, Path]) -> None:
    project, lora_dir = places
    (project.output_dir / "hana-01.preview.png").write_bytes(b"p")
    (project.output_dir / "hana-01-notes.txt").write_bytes(b"somebody else's")
    before = tree(project.output_dir, lora_dir)
    found = trash.keep_only(project, lora_dir, ["hana-02.safetensors"], RUN)
    assert found["moved"] == ["hana-01.safetensors", "hana-03.safetensors"]
    left = {p.name for folder in (project.output_dir, lora_dir / "hana") for p in folder.iterdir()}
    assert left == {"hana-02.safetensors", "hana-02.json", "hana-02.png", "hana-01-notes.txt"}
    (batch,) = trash.batches(project)
    assert batch["batch"] == found["batch"] and batch["files"] == found["moved"]
    assert trash.restore(project, lora_dir)["restored"] == found["moved"]
    assert tree(project.output_dir, lora_dir) == before and trash.batches(project) == []
    with pytest.raises(UserError, match="nothing to put back"):
        trash.restore(project, lora_dir)


def test_other_runs_are_left_alone(tmp_path: Path, places: tuple[Project, Path]) -> None:
    project, lora_dir = places
    trained_project(tmp_path / "projects", lora_dir, epochs=(1, 2), run="2026-02-02_00-00-00", session="s2", stem="hana_2")
    trash.keep_only(project, lora_dir, ["hana_2-02.safetensors"], "2026-02-02_00-00-00")
    assert [x.file for x in loras.list_loras(project, lora_dir)] == [f"hana-0{n}.safetensors" for n in (1, 2, 3)] + ["hana_2-02.safetensors"]


def test_a_name_that_begins_like_another_takes_nothing_of_it(tmp_path: Path) -> None:
    project = Project.open(trained_project(tmp_path, epochs=(1, 2), stem="v1"))
    trained_project(tmp_path, epochs=(1,), run="2026-02-02_00-00-00", session="s2", stem="v1-01.5")
    trash.keep_only(project, None, ["v1-02.safetensors"], RUN)
    left = {p.name for p in project.output_dir.iterdir() if p.name.startswith("v1-01")}
    assert left == {f"v1-01.5-01.{s}" for s in ("safetensors", "json", "png")}


@pytest.mark.parametrize("keep", [[], ["nobody.safetensors"], ["hana-01.safetensors", "../x"]])
def test_keeping_nothing_or_strangers_changes_nothing(places: tuple[Project, Path], keep: list[str]) -> None:
    project, lora_dir = places
    before = tree(project.folder, lora_dir)
    with pytest.raises(UserError):
        trash.keep_only(project, lora_dir, keep)
    assert tree(project.folder, lora_dir) == before


@pytest.mark.parametrize("fails_at", [0, 1, 5, 10])
def test_a_move_that_fails_leaves_everything_where_it_was(places: tuple[Project, Path], fails_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    project, lora_dir = places
    before = tree(project.output_dir, lora_dir)
    calls = 0
    real = moving.move_file

    def move(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == fails_at + 1:
            raise OSError(errno.EIO, "Input/output error", str(source))
        real(source, target)

    monkeypatch.setattr(moving, "move_file", move)
    with pytest.raises(UserError, match="could not be moved"):
        trash.keep_only(project, lora_dir, ["hana-02.safetensors"])
    assert tree(project.output_dir, lora_dir) == before
    assert trash.batches(project) == []


def test_a_process_that_died_in_the_middle_can_be_undone(places: tuple[Project, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    project, lora_dir = places
    before = tree(project.output_dir, lora_dir)
    calls = 0
    real = moving.move_file

    def move(source: Path, target: Path) -> None:
        nonlocal calls
        calls += 1
        if calls > 4:
            raise KeyboardInterrupt
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(moving, "move_file", move)
        with pytest.raises(KeyboardInterrupt):
            trash.keep_only(project, lora_dir, ["hana-02.safetensors"])
    assert tree(project.output_dir, lora_dir) != before
    trash.restore(project, lora_dir)
    assert tree(project.output_dir, lora_dir) == before


def test_nothing_newer_is_overwritten(places: tuple[Project, Path]) -> None:
    project, lora_dir = places
    trash.keep_only(project, lora_dir, ["hana-02.safetensors"])
    (project.output_dir / "hana-03.safetensors").write_bytes(b"trained anew")
    with pytest.raises(UserError, match=r"taken by newer files: hana-03\.safetensors"):
        trash.restore(project, lora_dir)
    assert (project.output_dir / "hana-03.safetensors").read_bytes() == b"trained anew"
    assert trash.batches(project)[0]["files"] == ["hana-01.safetensors", "hana-03.safetensors"]


def test_across_disks_a_copy_is_whole_before_the_original_goes(places: tuple[Project, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    project, lora_dir = places
    before = tree(project.output_dir, lora_dir)
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "rename", rename)
    trash.keep_only(project, lora_dir, ["hana-02.safetensors"])
    assert not (project.output_dir / "hana-01.safetensors").exists()
    trash.restore(project, lora_dir)
    monkeypatch.setattr(os, "rename", real)
    assert tree(project.output_dir, lora_dir) == before


def test_without_a_lora_folder_now_its_copies_are_not_lost(tmp_path: Path, places: tuple[Project, Path]) -> None:
    project, lora_dir = places
    for path in project.output_dir.glob("hana-01.*"):
        path.unlink()
    trash.keep_only(project, lora_dir, ["hana-02.safetensors"])
    trash.restore(project, None)
    assert {x.file for x in loras.list_loras(project, None)} == {"hana-01.safetensors", "hana-02.safetensors", "hana-03.safetensors"}
