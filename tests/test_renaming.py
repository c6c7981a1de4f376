"""A project under another name: what it knows of where it lies follows, what people have in their LoRA folder is not called otherwise."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from lora_studio.errors import UserError
from lora_studio.project import Project
from lora_studio.studio import Studio


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path / "projects", tmp_path / "models" / "Lora")


def trained(project: Project, studio: Studio) -> Path:
    """A run's folder as a training leaves it, and a LoRA of it."""
    assert studio.lora_dir is not None
    run = project.runs_dir / "2026-01-01_00-00-00"
    (studio.lora_dir / project.name).mkdir(parents=True)
    (studio.lora_dir / project.name / f"{project.name}-01.safetensors").write_bytes(b"lora")
    run.mkdir(parents=True)
    folders = [{"path": str(project.dataset_dir), "repeats": 2}, {"path": str(project.folder) + " too"}]
    config = {"output_dir": str(project.output_dir), "lora_dir": str(studio.lora_dir / project.name), "folders": folders, "output_name": project.name}
    (run / "config.json").write_text(json.dumps(config, ensure_ascii=True), encoding="utf-8")
    event = {"seq": 1, "type": "checkpoint", "path": str(project.output_dir / f"{project.name}-01.safetensors")}
    (run / "events.jsonl").write_text(json.dumps(event, ensure_ascii=False) + "\n", encoding="utf-8")
    return run


def test_folder_settings_and_runs_follow(studio: Studio) -> None:
    project = replace(Project.create(studio.projects_dir, "花 hana"), trigger="word", settings={"train": {"settings": {"mask_dir": "x"}}})
    project.save()
    (project.raw_dir / "a.png").write_bytes(b"picture")
    trained(project, studio)
    renamed = studio.rename(project, " yuki ")
    assert (renamed.name, renamed.trigger, renamed.settings) == ("yuki", "word", project.settings)
    assert not project.folder.exists() and Project.open(studio.projects_dir / "yuki") == renamed
    assert (renamed.raw_dir / "a.png").read_bytes() == b"picture"
    config = json.loads((renamed.runs_dir / "2026-01-01_00-00-00" / "config.json").read_text(encoding="utf-8"))
    assert studio.lora_dir is not None
    assert config["output_dir"] == str(renamed.output_dir) and config["lora_dir"] == str(studio.lora_dir / "yuki")
    assert [f["path"] for f in config["folders"]] == [str(renamed.dataset_dir), str(project.folder) + " too"]
    assert config["output_name"] == "花 hana"
    event = json.loads((renamed.runs_dir / "2026-01-01_00-00-00" / "events.jsonl").read_text(encoding="utf-8"))
    assert event["path"] == str(renamed.output_dir / "花 hana-01.safetensors")
    assert [p.name for p in studio.lora_dir.iterdir()] == ["yuki"]
    assert [p.name for p in (studio.lora_dir / "yuki").iterdir()] == ["花 hana-01.safetensors"]


def test_a_folder_elsewhere_keeps_its_name(studio: Studio, tmp_path: Path) -> None:
    folder = tmp_path / "Loras" / "old"
    (folder / "dataset").mkdir(parents=True)
    renamed = studio.rename(Project.open(folder), "new")
    assert renamed.folder == folder and Project.open(folder).name == "new"
    folder.rename(tmp_path / "Loras" / "copy")  # who renames the folder means the project
    assert Project.open(tmp_path / "Loras" / "copy").name == "copy"


@pytest.mark.parametrize("kind", ["project", "loras"])
def test_a_name_that_is_taken_changes_nothing(studio: Studio, kind: str) -> None:
    project = Project.create(studio.projects_dir, "hana")
    trained(project, studio)
    assert studio.lora_dir is not None
    taken = (studio.projects_dir if kind == "project" else studio.lora_dir) / "yuki"
    taken.mkdir(parents=True)
    with pytest.raises(UserError, match="there already"):
        studio.rename(project, "yuki")
    assert Project.open(project.folder).name == "hana" and (studio.lora_dir / "hana").is_dir()


def test_names_that_are_none_and_the_same_name(studio: Studio) -> None:
    project = Project.create(studio.projects_dir, "hana")
    with pytest.raises(UserError, match="cannot be used"):
        studio.rename(project, "../x")
    assert studio.rename(project, "hana") == project


def test_not_while_it_is_trained(studio: Studio) -> None:
    import psutil

    project = Project.create(studio.projects_dir, "hana")
    run = trained(project, studio)
    me = {"pid": os.getpid(), "created": psutil.Process().create_time(), "began": 0}
    (run / "process.json").write_text(json.dumps(me), encoding="utf-8")
    with pytest.raises(UserError, match="is running"):
        studio.rename(project, "yuki")
    assert project.folder.is_dir()


def test_all_or_nothing(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two folders cannot be renamed (on Windows: a LoRA is open): the first is put back."""
    project = Project.create(studio.projects_dir, "hana")
    trained(project, studio)
    real, loras = os.rename, studio.lora_dir
    assert loras is not None

    def stubborn(path: Path, target: Path) -> None:
        if loras in path.parents:
            raise PermissionError(13, "Permission denied")
        real(path, target)

    monkeypatch.setattr(os, "rename", stubborn)
    with pytest.raises(UserError, match="cannot be renamed"):
        studio.rename(project, "yuki")
    assert project.folder.is_dir() and not (studio.projects_dir / "yuki").exists()
