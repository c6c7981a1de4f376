"""What each step says of itself."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from PIL import Image

from lora_studio import overview as overviews
from lora_studio.overview import Standing, overview, standing, steps
from lora_studio.project import Project
from lora_studio.wording import filled

walk = overviews._walk
NAMES = ("project", "crop", "tag", "edit", "train", "test")
WAY = [
    (Standing(), "", ("project", "crop", "tag", "edit", "train", "test")),
    (Standing(raw=20), "project", ("crop", "tag", "edit", "train", "test")),
    (Standing(raw=20, cropped=20), "project crop", ("tag", "edit", "train", "test")),
    (Standing(raw=20, cropped=20, captions=20), "project crop tag", ("edit", "train", "test")),
    (Standing(raw=20, cropped=20, captions=20, trigger="hanako"), "project crop tag edit", ("train", "test")),
    (Standing(raw=20, cropped=20, captions=20, trigger="hanako", runs=1, running=True), "project crop tag edit", ("test",)),
    (Standing(raw=20, cropped=20, captions=20, trigger="hanako", runs=1, epochs=5), "project crop tag edit train", ("test",)),
    (Standing(raw=20, cropped=20, captions=20, trigger="hanako", runs=1, epochs=5, recommended=2), "project crop tag edit train test", ()),
]


@pytest.mark.parametrize(("now", "done", "open_steps"), WAY)
def test_step_by_step(now: Standing, done: str, open_steps: tuple[str, ...]) -> None:
    found = steps(now)
    assert tuple(found) == NAMES
    assert " ".join(name for name in NAMES if found[name].done) == done
    for name in open_steps:
        assert found[name].next is not None, name
    for step in found.values():
        for text, values in filter(None, (step.note, step.next)):
            assert filled(text, values)
        assert step.go in ("", *NAMES) and (not step.go or step.next)


def test_one_untagged_picture_keeps_the_step_open() -> None:
    found = steps(Standing(raw=3, cropped=3, captions=2))["tag"]
    assert not found.done and found.note == ("{n} of {total} tagged", {"n": 2, "total": 3})


def test_what_lies_in_the_folders(tmp_path: Path) -> None:
    project = Project.create(tmp_path, "hana")
    assert standing(project) == Standing()
    for name in ("a.png", "b.jpg", ".hidden.png"):
        Image.new("RGB", (8, 8)).save(project.raw_dir / name)
    Image.new("RGB", (8, 8)).save(project.dataset_dir / "a.png")
    Image.new("RGB", (8, 8)).save(project.dataset_dir / "b.png")
    (project.dataset_dir / "a.txt").write_text("1girl", encoding="utf-8")
    (project.dataset_dir / "b.txt").write_text("", encoding="utf-8")  # nothing in it: no tags
    (project.dataset_dir / "gone.txt").write_text("1girl", encoding="utf-8")  # of no picture
    assert standing(project) == Standing(raw=2, cropped=2, captions=1)
    assert overview(project)["crop"] == {"done": True, "note": ["{n} cropped", {"n": 2}], "next": None}
    assert overview(Project(tmp_path / "nothing here", "x"))["project"]["done"] is False


def test_what_stands_still_is_not_walked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.create(tmp_path, "hana")
    (project.dataset_dir / "a.png").write_bytes(b"x")
    (project.dataset_dir / "a.txt").write_text("", encoding="utf-8")
    hour_ago = time.time() - 3600
    os.utime(project.dataset_dir, (hour_ago, hour_ago))
    assert standing(project) == Standing(cropped=1)
    monkeypatch.setattr(overviews, "_walk", lambda folder: pytest.fail(f"{folder} stood still") if folder == project.dataset_dir else walk(folder))
    assert standing(project) == Standing(cropped=1)
    monkeypatch.setattr(overviews, "_walk", walk)
    (project.dataset_dir / "b.png").write_bytes(b"x")  # changes the folder's own time
    assert standing(project) == Standing(cropped=2)
    # A folder that changes at this moment is not taken for standing still, and one in which a caption was written in place not for long.
    (project.dataset_dir / "a.txt").write_text("1girl", encoding="utf-8")
    assert standing(project).captions == 1
    os.utime(project.dataset_dir, (hour_ago + 60, hour_ago + 60))
    assert standing(project).captions == 1
    (project.dataset_dir / "a.txt").write_text("", encoding="utf-8")
    monkeypatch.setattr(overviews, "FORGOTTEN", 0.0)
    assert standing(project).captions == 0


def test_two_pictures_of_one_stem_count_twice(tmp_path: Path) -> None:
    project = Project.create(tmp_path, "hana")
    for name in ("a.png", "a.jpg"):
        (project.raw_dir / name).write_bytes(b"x")
    assert standing(project).raw == 2
