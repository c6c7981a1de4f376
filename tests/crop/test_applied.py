"""What earlier crops left behind: found again after an interruption, and trusted no further than it can be."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_studio.crop import CropOptions, apply_plan, draft, edit, plan_path, plan_project, view
from lora_studio.crop import parallel as parallel_module
from lora_studio.crop.applied import Made, load_applied
from lora_studio.crop.parallel import each
from lora_studio.dataset import load_image
from lora_studio.errors import UserError
from lora_studio.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.create(tmp_path, "applied")
    rng = np.random.default_rng(0)
    for k in range(6):
        Image.fromarray(rng.integers(0, 256, (100, 120, 3), dtype=np.uint8)).save(project.raw_dir / f"{k}.png")
    return project


class StoppedError(Exception):
    pass


def stop_after(count: int):  # type: ignore[no-untyped-def]
    def progress(done: int, total: int, message: str) -> None:
        if done == count:
            raise StoppedError

    return progress


def test_a_crop_that_was_stopped_goes_on_where_it_was(project: Project) -> None:
    options = CropOptions(size="64", focal="center")
    draft.update(project, lambda d: draft.change(d, options=options))
    with pytest.raises(StoppedError):
        apply_plan(plan_project(project, options), project, stop_after(2))
    written = len(list(project.dataset_dir.glob("*.png")))
    assert written >= 2 and load_applied(project).plan is None
    assert view.show(project)["counts"]["done"] == written
    report = apply_plan(plan_project(project, options), project)
    assert (len(report.unchanged), len(report.written)) == (written, 6 - written) and report.kept_aside == ()


def test_a_crop_ended_before_it_was_noted_is_known_as_ours(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_studio.crop import apply as apply_module

    def killed(*_: object) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(apply_module, "note", killed)
        with pytest.raises(StoppedError):
            apply_plan(plan_project(project, CropOptions(size="64")), project)
    assert list(project.dataset_dir.glob("*.png"))
    report = apply_plan(plan_project(project, CropOptions(size="32")), project)
    assert report.kept_aside == () and len(report.written) == 6
    # Back to the settings of before: the file that is there is not the one that was noted.
    with monkeypatch.context() as patch:
        patch.setattr(apply_module, "note", killed)
        with pytest.raises(StoppedError):
            apply_plan(plan_project(project, CropOptions(size="64")), project)
    draft.update(project, lambda d: draft.change(d, options=CropOptions(size="32")))
    larger = {p.name for p in project.dataset_dir.glob("*.png") if load_image(p).size == (64, 64)}
    assert larger and {one["source"] for one in view.show(project)["entries"] if not one["done"]} == larger
    report = apply_plan(plan_project(project, CropOptions(size="32")), project)
    assert {p.name for p in report.written} == larger and report.kept_aside == ()
    # What somebody painted over since is theirs all the same.
    Image.new("RGB", (9, 9)).save(project.dataset_dir / "0.png")
    assert [p.name for p in apply_plan(plan_project(project, CropOptions(size="48")), project).kept_aside] == ["0.png"]


def test_unfinished_files_are_swept_away_once_they_are_old(project: Project) -> None:
    old, new, other = (project.dataset_dir / f".tmp-{name}" for name in (f"{1:012x}.png", f"{2:012x}.png", f"{1:012x}.txt"))
    mine = project.dataset_dir / ".tmp-mine.png"
    for path in (old, new, other, mine):
        path.write_bytes(b"half")
    for path in (old, other, mine):
        os.utime(path, (1, 1))
    apply_plan(plan_project(project, CropOptions(size="64")), project)
    assert not old.exists() and new.exists() and other.exists() and mine.exists()


@pytest.mark.parametrize("line", ['{"entry"', "[]", "1", '{"entry": {}, "name": "a.png"}'])
def test_damaged_lines_are_passed_over(project: Project, line: str) -> None:
    with pytest.raises(StoppedError):
        apply_plan(plan_project(project, CropOptions(size="64")), project, stop_after(6))
    with (project.studio_dir / "crop_written.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    assert len(load_applied(project).made) == 6


@pytest.mark.parametrize("name", ["../raw/0.png", "/etc/passwd", ".hidden", ".."])
def test_the_record_names_no_file_elsewhere(project: Project, name: str) -> None:
    apply_plan(plan_project(project, CropOptions(size="64")), project)
    made = load_applied(project).made["0.png"].to_dict()
    with pytest.raises(UserError, match="no crop of this picture"):
        Made.from_dict({**made, "name": name})
    stored = json.loads(plan_path(project).read_text(encoding="utf-8"))
    stored["entries"][0]["stem"] = "../raw/0"
    plan_path(project).write_text(json.dumps(stored), encoding="utf-8")
    assert load_applied(project).made == {}
    before = (project.raw_dir / "0.png").read_bytes()
    edit.change_boxes(project, [{"source": "0.png", "excluded": True}])
    apply_plan(plan_project(project, CropOptions(size="64"), draft.load(project).choices), project)
    assert (project.raw_dir / "0.png").read_bytes() == before


# -- many at a time ----------------------------------------------------------


def test_results_come_in_order_and_an_error_ends_it() -> None:
    def work(k: int) -> int:
        time.sleep(0.02 if k % 3 == 0 else 0)
        return k * k

    assert list(each(range(50), [1] * 50, work)) == [(k, k * k) for k in range(50)]
    assert list(each([], [], work)) == []

    def fails(k: int) -> int:
        if k == 5:
            raise UserError("no")
        return k

    seen = []
    with pytest.raises(UserError):
        for k, _ in each(range(50), [1] * 50, fails):
            seen.append(k)
    assert seen == [0, 1, 2, 3, 4]


def test_no_more_pixels_at_a_time_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_module, "threads", lambda: 8)
    monkeypatch.setattr(parallel_module, "ROOM", 100)
    sizes = [60, 60, 10, 10, 10, 500, 30, 30, 30, 30]
    lock, open_now, most = threading.Lock(), [0], [0]

    def work(size: int) -> int:
        with lock:
            open_now[0] += min(size, 100)
            most[0] = max(most[0], open_now[0])
        time.sleep(0.01)
        with lock:
            open_now[0] -= min(size, 100)
        return size

    assert [size for size, _ in each(sizes, sizes, work)] == sizes
    assert most[0] <= 100
