"""Pictures go into the trash with their captions, and come back as they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lora_studio.dataset import trash
from lora_studio.errors import UserError
from lora_studio.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(tmp_path, "hana")
    for name in ("a.png", "b.jpg", "c 花.png"):
        (made.raw_dir / name).write_bytes(name.encode())
    (made.raw_dir / "a.txt").write_text("1girl", encoding="utf-8")
    return made


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def test_there_and_back(project: Project) -> None:
    before = content(project.raw_dir)
    first = trash.take_out(project, "raw", ["a.png", "c 花.png"])
    second = trash.take_out(project, "raw", ["b.jpg"])
    assert first != second and content(project.raw_dir) == {}
    assert trash.bring_back(project, first) == ["a.png", "a.txt", "c 花.png"]
    assert trash.bring_back(project, second) == ["b.jpg"]
    assert content(project.raw_dir) == before
    with pytest.raises(UserError, match="not in the trash"):
        trash.bring_back(project, first)


def test_what_is_there_again_is_not_written_over(project: Project) -> None:
    batch = trash.take_out(project, "raw", ["a.png"])
    (project.raw_dir / "a.png").write_bytes(b"another")
    with pytest.raises(UserError, match="again already"):
        trash.bring_back(project, batch)
    assert (project.raw_dir / "a.png").read_bytes() == b"another" and not (project.raw_dir / "a.txt").exists()


def test_all_or_none(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(project.raw_dir)
    real = os.rename

    def rename(source: Path, target: Path) -> None:
        if Path(source).name == "b.jpg" and Path(source).parent == project.raw_dir:
            raise PermissionError(13, "in use")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(UserError):
        trash.take_out(project, "raw", ["a.png", "b.jpg"])
    assert content(project.raw_dir) == before


@pytest.mark.parametrize("name", ["", "..", "../project.json", "gone.png", "a.txt", "/etc/passwd", "a.png\0", "sub/a.png", "C:a.png"])
def test_names_that_are_none(project: Project, name: str) -> None:
    before = content(project.raw_dir)
    with pytest.raises(UserError):
        trash.take_out(project, "raw", ["a.png", name])
    with pytest.raises(UserError):
        trash.bring_back(project, name)
    with pytest.raises(UserError):
        trash.take_out(project, "../raw", ["a.png"])
    assert content(project.raw_dir) == before


def test_what_lies_in_the_trash(project: Project) -> None:
    assert trash.batches(project) == []
    first = trash.take_out(project, "raw", ["a.png"])
    os.utime(project.folder / trash.FOLDER / first / trash.FILE, (1000, 1000))
    second = trash.take_out(project, "raw", ["b.jpg", "c 花.png"])
    (project.folder / trash.FOLDER / "pictures_damaged").mkdir()
    (project.folder / trash.FOLDER / "pictures_damaged" / trash.FILE).write_text("[1]", encoding="utf-8")
    bad, *found = trash.batches(project)
    assert bad["batch"] == "pictures_damaged" and "pictures.json" in bad["problem"] and not bad["names"]
    assert [(one["batch"], one["names"]) for one in found] == [(second, ["b.jpg", "c 花.png"]), (first, ["a.png"])]  # the caption goes unsaid
    assert found[1]["time"] == 1000 and found[0]["where"] == "raw"
    trash.bring_back(project, second)
    assert [one["batch"] for one in trash.batches(project)] == ["pictures_damaged", first]
