"""Bundles: what is packed comes out the same, a foreign file writes nothing it should not, and what was done elsewhere comes home."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save

from lora_studio.bundle import pack, place
from lora_studio.bundle.manifest import MANIFEST, is_safe
from lora_studio.errors import UserError
from lora_studio.project import Project
from lora_studio.studio import Studio
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import EventWriter
from lora_studio.training.runs import Run

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = save({"a.alpha": np.ones(3, np.float32)})


@pytest.fixture
def home(tmp_path: Path) -> Studio:
    """A studio with a project of three captioned pictures and its masks, and a run that was started and stopped."""
    studio = Studio(tmp_path / "home" / "projects", tmp_path / "home" / "models" / "Lora")
    dataset = studio.projects_dir / "米拉" / "dataset"
    dataset.mkdir(parents=True)
    masks = tmp_path / "masks"
    masks.mkdir()
    for name in ("a", "b 图", "c"):
        Image.new("RGB", (32, 32), (9, 9, 9)).save(dataset / f"{name}.png")
        Image.new("L", (32, 32)).save(masks / f"{name}.png")
        (dataset / f"{name}.txt").write_text("word, smile", encoding="utf-8")
    (dataset / "notes.exe").write_bytes(b"MZ")
    base = tmp_path / "home" / "model.safetensors"
    base.write_bytes(WEIGHTS)
    return studio


def project_of(studio: Studio) -> Project:
    return studio.open("米拉")


def make_run(studio: Studio, steps: int = 4) -> Run:
    project = project_of(studio)
    folder = {"path": str(project.dataset_dir), "repeats": 2, "conditioning_data_dir": str(studio.projects_dir.parents[1] / "masks")}
    values = {
        "base": str(studio.projects_dir.parent / "model.safetensors"), "folders": [folder], "output_name": "米拉", "masked_loss": True,
        "output_dir": str(project.output_dir), "lora_dir": str((studio.lora_dir or Path()) / "米拉"),
    }  # fmt: skip
    run = Run.create(project.runs_dir, TrainingConfig.from_dict(values))
    go_on(run, 1, steps)
    return run


def go_on(run: Run, first: int, last: int, end: str = "stopped") -> None:
    """What a trainer leaves behind after some steps."""
    events = EventWriter(run.folder)
    events.write("started", pid=1)
    for step in range(first, last + 1):
        events.write("step", step=step, total=9, epoch=1, epochs=1, loss=0.5, loss_average=0.5)
    state = run.folder / "state" / f"step-{last:08d}"
    state.mkdir(parents=True)
    (state / "tensors.safetensors").write_bytes(save({"w": np.full(2, last, np.float32)}))
    (state / "state.json").write_text(json.dumps({"step": last}), encoding="utf-8")
    config = run.config()
    output = Path(config.output_dir)
    output.mkdir(exist_ok=True)
    name = f"米拉-step{last:06d}"
    (output / f"{name}.safetensors").write_bytes(save({"x.alpha": np.full(2, last, np.float32)}))
    (output / f"{name}.json").write_text("{}", encoding="utf-8")
    events.write("checkpoint", path=str(output / f"{name}.safetensors"), lora_path=str(output / f"{name}.safetensors"), name=name, epoch=1, step=last)
    Image.new("RGB", (8, 8)).save(run.folder / "samples" / f"epoch-01-step-{last:06d}-00.png")
    events.write(end, step=last, epoch=1)


def away(tmp_path: Path) -> Studio:
    return Studio(tmp_path / "away" / "projects")


def test_out_and_home_again(home: Studio, tmp_path: Path) -> None:
    run = make_run(home)
    packed = home.bundle(project_of(home), run, tmp_path / "b.zip")
    assert packed["left_out"] == [] and not packed["base_included"]
    other = away(tmp_path)
    placed = other.unbundle(tmp_path / "b.zip", tmp_path / "home" / "model.safetensors", train=True)
    there = other.run(placed.run)
    config = there.config()
    inside = tmp_path / "away" / "projects" / "米拉"
    assert (config.folders[0].path, config.folders[0].conditioning_data_dir) == (str(inside / "dataset"), str(inside / "masks" / "1"))
    assert (config.output_dir, config.lora_dir, config.folders[0].repeats) == (str(inside / "output"), "", 2)
    assert sorted(p.name for p in (inside / "dataset").iterdir()) == sorted(
        p.name for p in project_of(home).dataset_dir.iterdir() if p.name != "notes.exe"
    )
    assert (there.status().state, there.status().step) == ("stopped", 4)
    assert (inside / "masks" / "1" / "b 图.png").read_bytes() == (tmp_path / "masks" / "b 图.png").read_bytes()
    # it is trained to its end there and comes home
    go_on(there, 5, 9, "finished")
    other.bundle(other.open("米拉"), there, tmp_path / "back.zip")
    back = home.unbundle(tmp_path / "back.zip")
    status = run.status()
    assert (status.state, status.step) == ("finished", 9)
    assert not back.new and len(back.loras) == 1 and back.left_out == ()
    assert home.lora_dir is not None
    for folder in (home.lora_dir / "米拉", project_of(home).output_dir):
        assert load_file(folder / "米拉-step000009.safetensors")["x.alpha"].tolist() == [9, 9]
        assert (folder / "米拉-step000009.json").is_file()
    assert run.config() == Run(run.folder).config() and run.config().base.startswith(str(tmp_path / "home"))
    assert all(Path(path).is_file() for path in status.checkpoints)
    assert (run.folder / "samples" / "epoch-01-step-000009-00.png").is_file()
    # a second time nothing changes
    assert home.unbundle(tmp_path / "back.zip").loras == ()


def test_a_stopped_run_can_go_on_at_home(home: Studio, tmp_path: Path) -> None:
    run = make_run(home)
    home.bundle(project_of(home), run, tmp_path / "b.zip")
    other = away(tmp_path)
    there = other.run(other.unbundle(tmp_path / "b.zip", tmp_path / "home" / "model.safetensors", train=True).run)
    go_on(there, 5, 6)
    other.bundle(other.open("米拉"), there, tmp_path / "back.zip")
    home.unbundle(tmp_path / "back.zip")
    assert (run.status().state, run.status().step) == ("stopped", 6)
    assert (run.folder / "state" / "step-00000006" / "tensors.safetensors").is_file()


def test_captions_that_were_edited_meanwhile_stay(home: Studio, tmp_path: Path) -> None:
    run = make_run(home)
    home.bundle(project_of(home), run, tmp_path / "b.zip")
    (project_of(home).dataset_dir / "a.txt").write_text("edited", encoding="utf-8")
    (project_of(home).dataset_dir / "c.png").unlink()
    home.unbundle(tmp_path / "b.zip")
    assert (project_of(home).dataset_dir / "a.txt").read_text(encoding="utf-8") == "edited"
    assert not (project_of(home).dataset_dir / "c.png").exists()


def test_an_older_bundle_takes_nothing_back(home: Studio, tmp_path: Path) -> None:
    run = make_run(home)
    home.bundle(project_of(home), run, tmp_path / "b.zip")
    go_on(run, 5, 7)
    assert home.unbundle(tmp_path / "b.zip").ahead
    assert run.status().step == 7


def test_runs_that_went_different_ways_are_not_mixed(home: Studio, tmp_path: Path) -> None:
    run = make_run(home)
    home.bundle(project_of(home), run, tmp_path / "b.zip")
    other = away(tmp_path)
    there = other.run(other.unbundle(tmp_path / "b.zip", tmp_path / "home" / "model.safetensors", train=True).run)
    go_on(there, 5, 6)
    other.bundle(other.open("米拉"), there, tmp_path / "back.zip")
    go_on(run, 5, 8)
    with pytest.raises(UserError, match="both here and where"):
        home.unbundle(tmp_path / "back.zip")
    assert run.status().step == 8


def test_a_lora_of_another_run_is_never_overwritten(home: Studio, tmp_path: Path) -> None:
    run = make_run(home)
    home.bundle(project_of(home), run, tmp_path / "b.zip")
    assert home.lora_dir is not None
    theirs = home.lora_dir / "米拉" / "米拉-step000004.safetensors"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(WEIGHTS)
    placed = home.unbundle(tmp_path / "b.zip")
    assert theirs.read_bytes() == WEIGHTS and placed.left_out[0][0] == str(theirs)


def test_names_are_chosen_before_the_run_leaves(home: Studio, tmp_path: Path) -> None:
    project = project_of(home)
    project.output_dir.mkdir()
    (project.output_dir / "米拉-03.safetensors").write_bytes(WEIGHTS)
    run = make_run(home)
    home.bundle(project, run, tmp_path / "b.zip")
    assert json.loads((run.folder / "session.json").read_text(encoding="utf-8"))["stem"] == "米拉_2"


def test_the_base_is_asked_for_by_name_and_checked(home: Studio, tmp_path: Path) -> None:
    home.bundle(project_of(home), make_run(home), tmp_path / "b.zip")
    with pytest.raises(UserError, match=r"needs model.safetensors") as missing:
        away(tmp_path).unbundle(tmp_path / "b.zip", train=True)
    assert "--base" in missing.value.hint
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(WEIGHTS + b"x")
    with pytest.raises(UserError, match="is not the base"):
        away(tmp_path).unbundle(tmp_path / "b.zip", wrong, train=True)
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS)  # beside the bundle
    placed = away(tmp_path).unbundle(tmp_path / "b.zip", train=True)
    assert Run(Path(placed.run)).config().base == str(tmp_path / "model.safetensors")


def test_the_base_can_travel_along(home: Studio, tmp_path: Path) -> None:
    packed = home.bundle(project_of(home), make_run(home), tmp_path / "b.zip", include_base=True)
    assert packed["base_included"] and "--base" not in packed["command"]
    base = Path(Run(Path(away(tmp_path).unbundle(tmp_path / "b.zip", train=True).run)).config().base)
    assert base.read_bytes() == WEIGHTS and tmp_path / "away" in base.parents


def test_what_belongs_to_the_machine_may_be_set_there(home: Studio, tmp_path: Path) -> None:
    home.bundle(project_of(home), make_run(home), tmp_path / "b.zip", include_base=True)
    placed = away(tmp_path).unbundle(tmp_path / "b.zip", train=True, settings={"processes": "2", "device": "cpu"})
    assert (Run(Path(placed.run)).config().processes, Run(Path(placed.run)).config().device) == (2, "cpu")
    with pytest.raises(UserError, match="epochs cannot be changed"):
        away(tmp_path).unbundle(tmp_path / "b.zip", train=True, settings={"epochs": 3})


def test_the_starter_finds_the_program_beside_the_bundle(home: Studio, tmp_path: Path) -> None:
    """Nothing is importable where it starts: it calls the launch.py it finds with the bundle and its own words."""
    home.bundle(project_of(home), make_run(home), tmp_path / "b.zip")
    words = [sys.executable, "-S", "-E", str(tmp_path / "b.zip"), "--base", "x y.safetensors"]
    nothing = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path / "masks")
    assert nothing.returncode == 2 and "Lora Studio is not found" in nothing.stderr
    (tmp_path / "Lora Studio" / "lora_studio").mkdir(parents=True)
    (tmp_path / "Lora Studio" / "launch.py").write_text("import sys; print(sys.argv[1:]); sys.exit(7)", encoding="utf-8")
    done = subprocess.run(words, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path / "masks")
    assert done.returncode == 7
    assert done.stdout.strip() == str(["unbundle", str(tmp_path / "b.zip"), "--train", "--base", "x y.safetensors"])


def test_another_project_of_that_name_is_not_trained_on(home: Studio, tmp_path: Path) -> None:
    home.bundle(project_of(home), make_run(home), tmp_path / "b.zip")
    other = tmp_path / "away" / "projects" / "米拉" / "dataset"
    other.mkdir(parents=True)
    (other / "mine.png").write_bytes(b"")
    with pytest.raises(UserError, match="another project"):
        away(tmp_path).unbundle(tmp_path / "b.zip", tmp_path / "home" / "model.safetensors", train=True)
    assert [p.name for p in other.iterdir()] == ["mine.png"]


def test_it_goes_on_where_it_was_broken_off(home: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import lora_studio.bundle.placing as module

    home.bundle(project_of(home), make_run(home), tmp_path / "b.zip")
    copy = module._Placing._copy
    left = [4]

    def fail(self: Any, name: str, target: Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        copy(self, name, target)

    monkeypatch.setattr(module._Placing, "_copy", fail)
    broken = 0
    for _ in range(20):
        left[0] = 4
        try:
            placed = away(tmp_path).unbundle(tmp_path / "b.zip", tmp_path / "home" / "model.safetensors", train=True)
            break
        except KeyboardInterrupt:
            broken += 1
    assert broken >= 2 and Run(Path(placed.run)).status().step == 4
    assert not list((tmp_path / "away").rglob(".tmp-*"))


def test_a_full_disk_leaves_no_half_bundle(home: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, *args: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device")

    run = make_run(home)
    monkeypatch.setattr(zipfile.ZipFile, "open", full)
    with pytest.raises(UserError, match="disk is full"):
        home.bundle(project_of(home), run, tmp_path / "out" / "b.zip")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_running_run_is_not_packed(home: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(home)
    monkeypatch.setattr(Run, "alive", lambda self: True)
    with pytest.raises(UserError, match="is running"):
        pack(project_of(home), run, tmp_path / "b.zip")


# -- files from anywhere ---------------------------------------------------------


def rewritten(source: Path, target: Path, change: Callable[[dict[str, Any], dict[str, bytes]], None]) -> Path:
    """A bundle with its list and members changed by hand."""
    with zipfile.ZipFile(source) as archive:
        members = {n: archive.read(n) for n in archive.namelist()}
    manifest = json.loads(members.pop(MANIFEST))
    change(manifest, members)
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        archive.writestr(MANIFEST, json.dumps(manifest))
    return target


@pytest.mark.parametrize(
    "name",
    ["../evil.png", "/etc/x.png", "dataset/../../x.png", "dataset/a.exe", "dataset/sub/../a.png", "C:/x.png", "dataset\\a.png", "evil.png",
     "runs/other/config.json", "runs/RUN/control/stop.json", "runs/RUN/process.json", "dataset/.hidden.png", "output/a.pt", "output/a.ckpt",
     "dataset/con.png", "dataset/a.png ", "models/base/a.py", "dataset//a.png", "runs/RUN/x.pkl", "dataset/a\x00.png"],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_refused(home: Studio, tmp_path: Path, name: str) -> None:
    run = make_run(home)
    home.bundle(project_of(home), run, tmp_path / "b.zip")
    name = name.replace("RUN", run.folder.name)
    assert not is_safe(name, run.folder.name)

    def change(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
        manifest["files"][name] = [3, "0" * 64]
        members[name.replace("\x00", "0")] = b"abc"

    evil = rewritten(tmp_path / "b.zip", tmp_path / "evil.zip", change)
    with pytest.raises(UserError, match=r"does not belong there|not valid text"):
        place(evil, tmp_path / "away")
    assert not (tmp_path / "away").exists()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("project", "../x", "cannot be used"),
        ("run", "a/b", "cannot be used"),
        ("folders", [{"path": "/etc"}], "does not belong"),
        ("folders", [{"path": "dataset", "conditioning_data_dir": "../.."}], "does not belong"),
        ("base", {"name": "b", "size": 1, "sha256": "0", "member": "dataset/a.png"}, "does not belong"),
        ("base", {"name": "../b", "size": 1, "sha256": "0"}, "cannot be used"),
        ("base", None, "no bundle"),
        ("files", [1], "no bundle"),
        ("format", 99, "newer"),
    ],
)
def test_a_list_that_is_not_sound_is_refused(home: Studio, tmp_path: Path, key: str, value: Any, message: str) -> None:
    home.bundle(project_of(home), make_run(home), tmp_path / "b.zip")
    evil = rewritten(tmp_path / "b.zip", tmp_path / "evil.zip", lambda manifest, members: manifest.update({key: value}))
    with pytest.raises(UserError, match=message):
        place(evil, tmp_path / "away")
    assert not (tmp_path / "away").exists()


def test_changed_content_is_noticed(home: Studio, tmp_path: Path) -> None:
    home.bundle(project_of(home), make_run(home), tmp_path / "b.zip")

    def change(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
        members["dataset/a.txt"] = b"other text!"

    broken = rewritten(tmp_path / "b.zip", tmp_path / "c.zip", change)
    with pytest.raises(UserError, match=r"damaged at dataset/a.txt"):
        place(broken, tmp_path / "away")
    assert not (tmp_path / "away" / "米拉" / "dataset" / "a.txt").exists()


def test_settings_of_a_foreign_file_choose_no_paths(home: Studio, tmp_path: Path) -> None:
    home.bundle(project_of(home), make_run(home), tmp_path / "b.zip")
    placed = away(tmp_path).unbundle(tmp_path / "b.zip")  # not to be trained: no base needed
    config = Run(Path(placed.run)).config()
    for path in (config.output_dir, config.folders[0].path, config.folders[0].conditioning_data_dir):
        assert Path(path).is_relative_to(tmp_path / "away")
    assert (config.base, config.lora_dir) == ("model.safetensors", "")


def test_what_is_no_zip(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match="cannot be read"):
        place(tmp_path / "a.zip", tmp_path)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("x", "y")
    with pytest.raises(UserError, match="no bundle"):
        place(tmp_path / "b.zip", tmp_path)


# -- for real ---------------------------------------------------------------------

SETTINGS = ["epochs=2", "repeats=6", "batch_size=2", "prior_weight=0", "sample_every_epochs=0", "state_every_minutes=100", "threads=1"]


def command(*words: str, where: Path) -> list[str]:
    return [sys.executable, "-m", "lora_studio", *words, "--projects", str(where / "projects"), "--lora-dir", str(where / "Lora"), "--json"]


def call(*words: str, where: Path) -> dict[str, Any]:
    done = subprocess.run(command(*words, where=where), capture_output=True, text=True, encoding="utf-8", cwd=where)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def tensors(path: Path) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in load_file(path).items()}


@pytest.mark.slow
@pytest.mark.torch
def test_stopped_elsewhere_and_finished_at_home_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle is started as a program on the other machine, stopped there, and resumed at home: as if it had never left."""
    pytest.importorskip("torch")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    home, other = tmp_path / "home", tmp_path / "other"
    dataset = home / "projects" / "mira" / "dataset"
    dataset.mkdir(parents=True)
    other.mkdir()
    random = np.random.default_rng(0)
    for k in range(4):
        Image.fromarray(random.integers(0, 256, (128, 128, 3), dtype=np.uint8)).save(dataset / f"{k}.png")
        (dataset / f"{k}.txt").write_text(f"mira, smile, tag {k}", encoding="utf-8")
    file = other / "mira.zip"
    packed = call("bundle", "mira", "--base", "demo", "--set", *SETTINGS, "--out", str(file), where=home)

    words = [sys.executable, str(file), "--projects", str(other / "projects")]
    child = subprocess.Popen(words, cwd=other, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8")
    run = Run(other / "projects" / "mira" / "runs" / packed["run"])
    until = time.monotonic() + 300
    while child.poll() is None and time.monotonic() < until:
        if run.events_path.is_file() and run.status().step >= 14:
            run.command("stop")
            break
        time.sleep(0.05)
    out = child.communicate(timeout=300)[0]
    assert child.returncode == 0, out
    assert run.status().state == "stopped" and 14 <= run.status().step < 24

    call("unbundle", str(other / "mira-back.zip"), where=home)
    came = Run(home / "projects" / "mira" / "runs" / packed["run"])
    assert came.status().state == "stopped"
    call("runs", "resume", str(came.folder), where=home)
    straight = call("train", "mira", "--base", "demo", "--set", *SETTINGS, "output_name=straight", where=home)
    assert came.status().state == "finished" and came.status().step == straight["step"] == 24
    for epoch in (1, 2):
        moved = home / "Lora" / "mira" / f"mira-{epoch:02d}.safetensors"
        assert tensors(moved) == tensors(home / "Lora" / "mira" / f"straight-{epoch:02d}.safetensors")
