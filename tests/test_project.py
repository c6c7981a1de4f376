from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lora_studio.errors import UserError
from lora_studio.project import Project


def test_round_trip(tmp_path: Path) -> None:
    project = replace(Project.create(tmp_path, "名前 🎀"), trigger="word", traits=("red hair", "hat"), settings={"crop": {"size": "512"}})
    project.save()
    assert Project.open(project.folder) == project
    assert project.raw_dir.is_dir()
    assert project.studio_dir == project.folder / "dataset" / ".lora_studio"


def test_a_folder_made_for_the_notebooks_opens_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "Loras" / "my (old) one"
    (folder / "dataset").mkdir(parents=True)
    project = Project.open(folder)
    assert (project.name, project.trigger, project.traits) == ("my (old) one", "", ())
    assert [p.name for p in folder.iterdir()] == ["dataset"]


def test_an_existing_project_is_not_created_over(tmp_path: Path) -> None:
    project = Project.create(tmp_path, "one")
    (project.raw_dir / "a.png").write_bytes(b"x")
    with pytest.raises(UserError, match="already exists"):
        Project.create(tmp_path, "one")


def test_what_an_earlier_attempt_left_empty_is_taken_over(tmp_path: Path) -> None:
    replace(Project.create(tmp_path, "one"), trigger="word").save()
    assert Project.create(tmp_path, "one").trigger == "word"
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="is a file"):
        Project.create(tmp_path, "file")


@pytest.mark.parametrize("text", ["[]", '{"version": 99}', '{"traits": "red hair"}', '{"trigger": 3}', '{"settings": []}', "{"])
def test_a_damaged_project_file_is_told(tmp_path: Path, text: str) -> None:
    project = Project.create(tmp_path, "one")
    (project.folder / "project.json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"project\.json"):
        Project.open(project.folder)


def test_what_is_no_project_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no project folder"):
        Project.open(tmp_path / "missing")
    with pytest.raises(UserError, match="neither"):
        Project.open(tmp_path)


def test_a_copied_project_has_its_folder_s_name(tmp_path: Path) -> None:
    project = Project.create(tmp_path, "one")
    project.folder.rename(tmp_path / "two")
    assert Project.open(tmp_path / "two").name == "two"
