"""What cannot be read for a moment is never taken for nothing: it is not written over, and nobody's work is put aside or renamed for it."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_studio import patience, staged
from lora_studio.crop import draft, edit, load_plan
from lora_studio.crop.applied import load_applied
from lora_studio.crop.options import CropOptions
from lora_studio.errors import UserError
from lora_studio.host import families
from lora_studio.patience import HeldError
from lora_studio.project import Project
from lora_studio.studio import Studio
from lora_studio.trainer import __main__ as trainer
from lora_studio.trainer import export
from lora_studio.training import places
from lora_studio.training.runs import Run
from tests.held.faults import Faults
from tests.loras import RUN, trained_project, write_lora

Hold = Callable[[Path], None]


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Hold:
    """Another program has a file so that nobody else may read it, as Windows says it of open(); waiting for it takes no time."""
    held: set[str] = set()
    real, real_bytes = os.open, Path.read_bytes
    now = [0.0]

    def refuse(path: Any) -> None:
        if os.path.abspath(os.fsdecode(path)) in held:
            raise PermissionError(errno.EACCES, "Permission denied", os.fsdecode(path))

    def opening(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        if not flags & (os.O_WRONLY | os.O_RDWR):
            refuse(path)
        return real(path, flags, *arguments, **options)

    def reading(path: Path) -> bytes:
        refuse(path)
        return real_bytes(path)

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(os, "open", opening)
    monkeypatch.setattr(Path, "read_bytes", reading)
    monkeypatch.setattr(patience, "WINDOWS", True)
    monkeypatch.setattr(patience, "sleep", sleep)
    monkeypatch.setattr(patience, "clock", lambda: now[0])
    monkeypatch.setattr(patience, "holders", lambda path: ())

    def begin(path: Path) -> None:
        held.add(os.path.abspath(path))

    return begin


@pytest.fixture
def project(tmp_path: Path) -> Project:
    folder = trained_project(tmp_path / "projects")
    opened = Project.open(folder)
    (opened.raw_dir / "a.png").write_bytes((opened.dataset_dir / "a.png").read_bytes())
    return opened


def test_boxes_that_people_drew_are_not_written_over(project: Project, hold: Hold) -> None:
    edit.change_boxes(project, [{"source": "a.png", "box": [0, 0, 32, 32]}])
    file = project.studio_dir / "crop_draft.json"
    before = file.read_text(encoding="utf-8")
    hold(file)
    with pytest.raises(HeldError):
        edit.change_boxes(project, [{"source": "a.png", "excluded": True}])
    with pytest.raises(HeldError):
        draft.load(project)
    assert file.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("name", ["crop_plan.json", "crop_written.jsonl"])
def test_crops_are_not_taken_for_somebody_else_s(project: Project, hold: Hold, name: str) -> None:
    """The record is asked for anew once it is free: that it was held is not remembered."""
    studio = Studio(project.folder.parent)
    studio.crop(project, CropOptions(size="32"))
    file = project.studio_dir / name
    if not file.exists():
        file.write_text("", encoding="utf-8")
    hold(file)
    with pytest.raises(HeldError):
        load_applied(project)
    if name == "crop_plan.json":
        with pytest.raises(HeldError):
            load_plan(project)


def test_a_renaming_that_was_broken_off_is_not_passed_over(project: Project, hold: Hold) -> None:
    stage = project.folder / staged.STAGE
    stage.mkdir()
    (stage / staged.PLAN).write_text("{}", encoding="utf-8")
    hold(stage / staged.PLAN)
    with pytest.raises(UserError, match="plan"):
        Project.open(project.folder)


def test_a_run_whose_process_cannot_be_asked_for_is_not_started_twice(project: Project, hold: Hold) -> None:
    run = Run.open(project.runs_dir / RUN)
    (run.folder / "process.json").write_text('{"pid": 1, "created": 1.0}', encoding="utf-8")
    assert not run.alive()
    hold(run.folder / "process.json")
    assert run.alive()


def test_what_was_allowed_to_other_runs_stays(tmp_path: Path, hold: Hold) -> None:
    places.grant(tmp_path / "one", ["x"], own=True)
    file = places.file_of_this_machine()
    before = file.read_text(encoding="utf-8")
    hold(file)
    places.grant(tmp_path / "two", [], own=True)
    places.follow([(tmp_path / "one", tmp_path / "three")])
    assert file.read_text(encoding="utf-8") == before and places.granted(tmp_path / "one") == places.Granted()


def test_a_checkpoint_is_not_remembered_as_broken(tmp_path: Path, hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lora(tmp_path / "model.safetensors")
    families._family.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(families, "family_of", lambda path: (_ for _ in ()).throw(HeldError("held")))
        assert families.look(path) == ("", "held")
    monkeypatch.setattr(families, "family_of", lambda path: "sd1")
    assert families.look(path) == ("sd1", "")


@pytest.mark.torch
def test_an_epoch_that_is_read_by_others_is_waited_for_and_no_reason_for_another_name(tmp_path: Path, hold: Hold) -> None:
    """A scanner looks at the first epoch while the second is written: the run keeps its name."""
    path = write_lora(tmp_path / "hana-01.safetensors", ss_session_id="s1")
    files = export.Files("s1", own=True)
    data = path.read_bytes()
    assert export.taken("hana", tmp_path, lambda found: False) and not export.taken("hana", tmp_path, files.names)
    assert export.same_weights(path, data)
    hold(path)
    for asked in (lambda: export.taken("hana", tmp_path, files.names), lambda: export.in_the_way([tmp_path], "hana-01", files, data)):
        with pytest.raises(HeldError):
            asked()


@pytest.mark.torch
def test_an_older_epoch_whose_picture_is_held_goes_whole_the_next_time(tmp_path: Path, faults: Faults) -> None:
    folder = faults.root / "lora"
    names = ["hana-01.json", "hana-01.png", "hana-01.safetensors"]
    write_lora(folder / "hana-01.safetensors", ss_session_id="s1")
    for name in names[:2]:
        (folder / name).write_bytes(b"beside")
    files = export.Files("s1", own=True)
    faults.begin(lambda number, call: call.paths[0].endswith(".png"))
    with pytest.raises(HeldError):
        export.remove_lora([folder], "hana-01", files)
    faults.release()
    export.remove_lora([folder], "hana-01", files)
    assert not list(folder.iterdir())


def test_ctrl_c_ends_a_run_whose_folder_takes_no_wish_to_stop(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"")  # nothing can be made in it
    before = trainer._stop_on_interrupt(tmp_path / "run")
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
