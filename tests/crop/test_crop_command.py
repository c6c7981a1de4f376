"""The crop and export commands."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lora_studio.cli import main
from lora_studio.dataset import load_image
from lora_studio.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.create(tmp_path, "hana")
    rng = np.random.default_rng(0)
    for name, size in {"a.png": (300, 200), "long.png": (600, 100)}.items():
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(project.raw_dir / name)
    return project


def run(capsys: pytest.CaptureFixture[str], project: Project, *words: str) -> dict[str, Any]:
    capsys.readouterr()
    code = main([words[0], str(project.folder), *words[1:], "--json", "--projects", str(project.folder.parent)])
    found = json.loads(capsys.readouterr().out)
    assert code == 0, found
    return found


def there(project: Project) -> list[str]:
    return sorted(p.name for p in project.dataset_dir.iterdir() if p.is_file())


def test_every_flag(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    run(
        capsys,
        project,
        "crop",
        "--size",
        "100",
        "--split",
        "0.5",
        "--flip",
        "--rename",
        "p{n}",
        "--rename-start",
        "5",
        "--format",
        "jpg",
        "--quality",
        "90",
    )
    # Eight tiles of the long one and one of the other, each twice.
    assert len(there(project)) == 18 and "p5.jpg" in there(project) and "p6_2.jpg" in there(project)
    run(capsys, project, "crop", "--size", "64x128", "--pad", "#00ff00", "--focal", "center")
    assert there(project) == ["a.png", "long.png"]
    assert np.asarray(load_image(project.dataset_dir / "long.png"))[0].tolist() == [[0, 255, 0]] * 64


def test_a_plan_file_brings_its_settings_unless_others_are_given(project: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plan = run(capsys, project, "crop", "--size", "80x40", "--format", "webp", "--plan-only")
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(plan), encoding="utf-8")
    run(capsys, project, "crop", "--plan", str(file))
    assert there(project) == ["a.webp", "long.webp"] and load_image(project.dataset_dir / "a.webp").size == (80, 40)
    run(capsys, project, "crop", "--plan", str(file), "--size", "50", "--format", "png")
    assert there(project) == ["a.png", "long.png"] and load_image(project.dataset_dir / "a.png").size == (50, 50)


def test_out_as_a_zip_and_into_another_project(project: Project, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run(capsys, project, "crop", "--size", "64")
    out = tmp_path / "out.zip"
    assert run(capsys, project, "export", "--out", str(out)) == {"file": str(out)}
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == ["a.png", "long.png"]
    assert main(["new", "other", "--images", str(out), "--projects", str(tmp_path), "--quiet"]) == 0
    assert sorted(p.name for p in (tmp_path / "other" / "raw").iterdir()) == ["a.png", "long.png"]
