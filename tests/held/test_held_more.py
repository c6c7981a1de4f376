"""What the systematic trials do not tell apart: what is not fetched twice, not moved by halves, not lost in a ring of names, not started twice."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from lora_studio import moving, overlay_install, patience
from lora_studio.crop import captionmoves
from lora_studio.dataset import trash as pictures_trash
from lora_studio.errors import UserError
from lora_studio.evaluation import trash
from lora_studio.fetching import fetch
from lora_studio.project import Project
from lora_studio.studio import Studio
from lora_studio.training import runs, view
from lora_studio.training.config import TrainingConfig
from lora_studio.training.runs import Run
from tests.held.cases import CONTENT, Nothing, captioned, files, serving
from tests.held.faults import Call, Faults
from tests.loras import RUN, trained_project


class PowerCutError(BaseException):
    """Nothing catches it, and nothing is tidied up after it."""


def killed(faults: Faults, at: int) -> None:
    def dies(number: int, call: Call) -> bool:
        if number >= at:
            raise PowerCutError
        return False

    faults.begin(dies)


# -- downloads ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as found:
        yield found


def test_a_finished_download_is_never_fetched_again(faults: Faults, address: Any) -> None:
    url, server = address
    target = faults.root / "model.safetensors"
    faults.begin(lambda number, call: call.kind == "replace" and call.paths[1] == str(target))
    with pytest.raises(UserError, match=r"model\.safetensors") as caught:
        fetch(url, target)
    assert "nothing is fetched twice" in caught.value.hint and not target.exists() and server.served == [0]
    faults.release()
    fetch(url, target)
    assert target.read_bytes() == CONTENT and server.served == [0] and [p.name for p in faults.root.iterdir() if p.is_file()] == [target.name]


def test_a_whole_part_of_an_earlier_version_is_known_by_the_server_s_answer(tmp_path: Path, address: Any) -> None:
    """Its mark holds the ETag alone; the server has no byte after the last one, and says how many there are: 416."""
    url, server = address
    target = tmp_path / "model.safetensors"
    (tmp_path / "model.safetensors.part").write_bytes(CONTENT)
    (tmp_path / "model.safetensors.part.etag").write_text('"one"', encoding="utf-8")
    fetch(url, target)
    assert target.read_bytes() == CONTENT and server.served == [len(CONTENT)]


def test_a_part_longer_than_the_file_is_not_trusted(tmp_path: Path, address: Any) -> None:
    url, server = address
    target = tmp_path / "model.safetensors"
    (tmp_path / "model.safetensors.part").write_bytes(CONTENT + b"more")
    (tmp_path / "model.safetensors.part.etag").write_text('"one"', encoding="utf-8")
    fetch(url, target)
    assert target.read_bytes() == CONTENT and server.served == [len(CONTENT) + 4, 0]


def test_a_whole_part_is_looked_at_like_every_other(tmp_path: Path, address: Any) -> None:
    url, server = address
    target = tmp_path / "model.safetensors"
    (tmp_path / "model.safetensors.part").write_bytes(b"x" * len(CONTENT))
    (tmp_path / "model.safetensors.part.etag").write_text(f'"one"\n{len(CONTENT)}\n', encoding="utf-8")
    with pytest.raises(UserError, match="damaged"):
        fetch(url, target, sha256="0" * 64)
    assert server.served == [] and not list(tmp_path.iterdir())


# -- trash --------------------------------------------------------------------------------------------------------------


def test_a_run_half_moved_by_an_earlier_version_comes_out_right(tmp_path: Path) -> None:
    """It copied the folder, then deleted the original file by file, and met one that was open."""
    project = Project.open(trained_project(tmp_path / "projects"))
    source, target = project.runs_dir / RUN, project.folder / view.TRASH / RUN
    whole = files(source)
    shutil.copytree(source, target)
    (source / "events.jsonl").unlink()
    (source / "samples" / "epoch-01.png").unlink()
    view.to_trash(Run(source), project.folder)
    assert not source.exists() and files(target) == whole
    # and the other way round, with a copy that was not whole
    shutil.copytree(target, source)
    (source / "events.jsonl").unlink()
    view.from_trash(project.folder, project.runs_dir, RUN)
    assert not target.exists() and files(source) == whole


def test_two_runs_of_one_name_are_not_mixed(tmp_path: Path) -> None:
    project = Project.open(trained_project(tmp_path / "projects"))
    source, target = project.runs_dir / RUN, project.folder / view.TRASH / RUN
    shutil.copytree(source, target)
    (source / "config.json").write_text("{}", encoding="utf-8")
    (target / "mine.txt").write_text("x", encoding="utf-8")
    before = files(source, target)
    with pytest.raises(UserError, match="is there already"):
        view.to_trash(Run(source), project.folder)
    assert files(source, target) == before


def test_a_folder_goes_onto_another_disk_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captioned(tmp_path / "here", 3)
    before, real, fails = files(tmp_path / "here"), os.rename, True

    def rename(source: Path, target: Path) -> None:
        if Path(source).name == "here" or fails:
            raise OSError(18, "Invalid cross-device link")
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(UserError):
        moving.move_folder(tmp_path / "here", tmp_path / "there" / "here")
    assert files(tmp_path / "here") == before and not list((tmp_path / "there").iterdir())
    fails = False
    moving.move_folder(tmp_path / "here", tmp_path / "there" / "here")
    assert files(tmp_path / "there" / "here") == before and not (tmp_path / "here").exists()


@pytest.mark.parametrize("back", [False, True])
def test_epochs_half_moved_by_a_program_that_was_ended_are_put_back_at_the_next_look(faults: Faults, back: bool) -> None:
    lora_dir = faults.root / "models" / "Lora"
    project = Project.open(trained_project(faults.root / "projects", lora_dir))
    studio, before = Studio(faults.root / "projects", lora_dir), files(project.output_dir, lora_dir)
    if back:
        trash.keep_only(project, lora_dir, ["hana-02.safetensors"])
    killed(faults, 7)
    with pytest.raises(PowerCutError):
        trash.restore(project, lora_dir) if back else trash.keep_only(project, lora_dir, ["hana-02.safetensors"])
    faults.release()
    assert files(project.output_dir, lora_dir) != before
    assert studio.loras(project)["trash"] == [] and files(project.output_dir, lora_dir) == before


def test_a_listing_does_not_put_back_what_is_being_moved(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    lora_dir = faults.root / "models" / "Lora"
    project = Project.open(trained_project(faults.root / "projects", lora_dir))
    real = moving.move_file

    def looked_at(source: Path, target: Path) -> None:
        real(source, target)
        trash.settle(project, lora_dir)  # another window

    monkeypatch.setattr(moving, "move_file", looked_at)
    trash.keep_only(project, lora_dir, ["hana-02.safetensors"])
    assert trash.batches(project)[0]["files"] == ["hana-01.safetensors", "hana-03.safetensors"]
    assert {p.name for p in project.output_dir.iterdir()} == {f"hana-02.{s}" for s in ("safetensors", "json", "png")}


def test_pictures_half_moved_are_put_back_at_the_next_look(faults: Faults) -> None:
    project = Project.create(faults.root, "hana")
    captioned(project.raw_dir, 3)
    before = files(project.raw_dir)
    killed(faults, 6)
    with pytest.raises(PowerCutError):
        pictures_trash.take_out(project, "raw", ["00.png", "01.png", "02.png"])
    faults.release()
    assert files(project.raw_dir) != before
    assert pictures_trash.batches(project) == [] and files(project.raw_dir) == before


# -- captions, training, packages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [{"a": "b", "b": "c"}, {"a": "b", "b": "a"}, {"a": "b", "b": "c", "c": "a"}])
def test_captions_that_change_names_are_never_lost(faults: Faults, names: dict[str, str]) -> None:
    at, ended = 0, False
    while not ended:
        project = Project.create(faults.root / str(at), "hana")
        for name in names:
            (project.dataset_dir / f"{name}.txt").write_text(f"text of {name}", encoding="utf-8")
        wanted = {f"{old}.txt": f"{new}.txt" for old, new in names.items()}
        project.studio_dir.mkdir()
        killed(faults, at)
        try:
            captionmoves.move_captions(project, wanted)
            ended = True
        except PowerCutError:
            pass
        faults.release()
        # the next crop does what was noted first; had nothing been noted yet, it asks for the same
        captionmoves.finish(project) if (project.studio_dir / captionmoves.FILE).exists() else at < 2 and captionmoves.move_captions(project, wanted)
        left = {p.stem: p.read_text(encoding="utf-8") for p in project.dataset_dir.glob("*.txt")}
        assert left == {new: f"text of {old}" for old, new in names.items()}, at
        at += 1


def test_a_trainer_that_nobody_would_know_of_is_ended(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    class Waits(Nothing):
        def module(self, name: str, *arguments: str) -> list[str]:
            return [sys.executable, "-S", "-c", "import time; time.sleep(60)"]

    values = {"base": "x", "folders": [{"path": "z"}], "output_name": "word", "output_dir": "y"}
    run, started, real = Run.create(faults.root, TrainingConfig.from_dict(values)), [], runs.spawn
    monkeypatch.setattr(runs, "spawn", lambda *a: started.append(real(*a)) or started[-1])
    faults.begin(lambda number, call: call.paths[-1].endswith("process.json"))
    with pytest.raises(UserError, match=r"process\.json"):
        run.start(Waits())
    assert started[0].poll() is not None and not run.alive()


def test_pip_that_met_a_held_file_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(patience, "sleep", slept.append)
    said = ["ERROR: Could not install packages due to an OSError: [WinError 32] The process cannot access the file: 'C:\\\\x\\\\one.pyd'"]
    tries: list[bool] = []

    def run(command: Any, variables: Any, read: Any, tell: Any) -> int:
        folder = Path(command[command.index("--target") + 1])
        tries.append(not list(folder.iterdir()))
        (folder / "half").mkdir()
        if len(tries) < 3 or not succeeds:
            read(said[0])
            return 1
        return 0

    monkeypatch.setattr(overlay_install, "_run", run)
    pip, succeeds = overlay_install._Pip(tmp_path, lambda *_: None), True
    pip.unpack(["one==1"], tmp_path / "new")
    assert tries == [True] * 3 and slept == list(overlay_install.UNPACK_AGAIN)  # each time into an empty folder
    succeeds = False
    with pytest.raises(UserError, match=r"WinError 32.*one\.pyd") as caught:
        pip.unpack(["one==1"], tmp_path / "new")
    assert "what was fetched is kept" in caught.value.hint
