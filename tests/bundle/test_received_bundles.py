"""Bundles from anywhere, and what a bundle of ours tells of this machine: nothing."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from lora_studio.bundle import place
from lora_studio.bundle.nameless import board_name, plain_text, plain_value
from lora_studio.cli import main
from lora_studio.errors import UserError
from lora_studio.studio import Studio
from lora_studio.training import places, runs
from lora_studio.training.events import EventWriter
from lora_studio.training.runs import Run
from tests.bundle.test_bundle import WEIGHTS, away, home, make_run, project_of, rewritten
from tests.hostile_runs import nothing_changes, victim

__all__ = ["home"]


def texts(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


# -- what a bundle does -------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{"output_name": "../../other/fin"}, {"output_name": "C:\\fin"}, {"output_dir": "HERE/other"}, {"lora_dir": "HERE/other"}]
)
def test_settings_of_a_bundle_write_nowhere_else(home: Studio, tmp_path: Path, settings: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    home.bundle(project_of(home), make_run(home), tmp_path / "b.zip", include_base=True)
    victim(tmp_path / "other")
    commands: list[list[str]] = []

    def change(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
        name = next(n for n in members if n.endswith("/config.json"))
        here = {k: v.replace("HERE", str(tmp_path)) for k, v in settings.items()}
        members[name] = json.dumps({**json.loads(members[name]), **here}).encode()
        manifest["files"][name] = [len(members[name]), hashlib.sha256(members[name]).hexdigest()]

    evil = rewritten(tmp_path / "b.zip", tmp_path / "evil.zip", change)

    class Ended:
        pid = 2**22 + 1

        def poll(self) -> int:
            return 0

    monkeypatch.setattr(runs, "spawn", lambda command, log, variables: commands.append(command) or Ended())
    with nothing_changes(tmp_path, tmp_path / "away", tmp_path / "evil-back.zip"):
        back = str(tmp_path / "away" / "x.zip")
        code = main(["unbundle", str(evil), "--train", "--projects", str(tmp_path / "away" / "projects"), "--quiet", "--out", back])
    assert code == (2 if "output_name" in settings else 0)
    if "output_name" in settings:
        assert commands == []
    else:  # of another machine: set to this machine's
        [run] = (tmp_path / "away" / "projects" / "米拉" / "runs").iterdir()
        assert Run(run).config().output_dir == str(tmp_path / "away" / "projects" / "米拉" / "output") and Run(run).config().lora_dir == ""


def test_a_run_that_is_here_does_not_say_where_loras_go(home: Studio, tmp_path: Path) -> None:
    """Its settings may be somebody's who knew of the bundle: only a folder that a person allowed the run gets the LoRAs too."""
    run = make_run(home)
    home.bundle(project_of(home), run, tmp_path / "b.zip")
    theirs = victim(tmp_path / "theirs")
    config = {**run.config().to_dict(), "lora_dir": str(theirs)}
    (run.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    plain = Studio(home.projects_dir)
    with nothing_changes(tmp_path, home.projects_dir):
        placed = plain.unbundle(tmp_path / "b.zip")
    assert placed.left_out[0][0] == str(theirs) and "--lora-dir" in placed.left_out[0][1]
    places.grant(run.folder, [theirs])
    plain.unbundle(tmp_path / "b.zip")
    assert (theirs / "米拉-step000004.safetensors").is_file()


@pytest.mark.parametrize("part", ["output", "runs", "dataset"])
def test_links_in_a_project_are_not_written_through(home: Studio, tmp_path: Path, part: str) -> None:
    home.bundle(project_of(home), make_run(home), tmp_path / "b.zip")
    there, mine = tmp_path / "away" / "projects" / "米拉", tmp_path / "mine"
    mine.mkdir()
    there.mkdir(parents=True)
    (there / part).symlink_to(mine, target_is_directory=True)
    with nothing_changes(tmp_path, there), pytest.raises(UserError):
        away(tmp_path).unbundle(tmp_path / "b.zip")


def test_events_larger_than_any_are_not_unpacked(home: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.bundle(project_of(home), make_run(home), tmp_path / "b.zip")
    monkeypatch.setattr("lora_studio.bundle.placing.LARGEST_EVENTS", 10)
    with pytest.raises(UserError, match="more of a training's events"):
        away(tmp_path).unbundle(tmp_path / "b.zip")


@pytest.mark.parametrize("name", ["_presets", "_incoming", "@a", "-x", "show"])
def test_a_bundle_makes_no_project_that_nobody_finds(home: Studio, tmp_path: Path, name: str) -> None:
    home.bundle(project_of(home), make_run(home), tmp_path / "b.zip")
    evil = rewritten(tmp_path / "b.zip", tmp_path / "evil.zip", lambda manifest, members: manifest.update(project=name))
    with nothing_changes(tmp_path), pytest.raises(UserError, match="cannot become a project"):
        away(tmp_path).unbundle(evil)


@pytest.mark.parametrize(
    ("one", "other"), [("A.png", "a.png"), ("é.png", unicodedata.normalize("NFD", "é.png")), ("ß.png", "SS.png"), ("İ.png", "i̇.png")]
)
def test_names_that_are_one_file_on_other_systems(home: Studio, tmp_path: Path, one: str, other: str) -> None:
    run = make_run(home)
    file = tmp_path / "b.zip"
    home.bundle(project_of(home), run, file)

    def both(manifest: dict[str, Any], members: dict[str, bytes]) -> None:
        for name in (one, other):
            manifest["files"][f"dataset/{name}"] = manifest["files"]["dataset/a.png"]
            members[f"dataset/{name}"] = members["dataset/a.png"]

    with pytest.raises(UserError, match="does not belong there"):
        place(rewritten(file, tmp_path / "evil.zip", both), tmp_path / "away")
    dataset = project_of(home).dataset_dir
    for name in (one, other):
        (dataset / name).write_bytes((dataset / "c.png").read_bytes())
    if len({p.name for p in dataset.iterdir()} & {one, other}) == 2:  # where they are two files
        with pytest.raises(UserError, match="one file on Windows and macOS") as refused:
            home.bundle(project_of(home), run, tmp_path / "c.zip")
        assert one in refused.value.message and other in refused.value.message and not (tmp_path / "c.zip").exists()


# -- what a bundle tells ----------------------------------------------------------------


def test_nothing_in_a_bundle_tells_of_this_machine(home: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, events, logs, reports, the project's choices, TensorBoard's names: whoever gets the file learns no folder and no name."""
    monkeypatch.setattr(socket, "gethostname", lambda: "anjas-laptop.example")
    monkeypatch.setattr(getpass, "getuser", lambda: "anja1984")
    run, project = make_run(home), project_of(home)
    private = [str(tmp_path), "/home/anja1984", "C:\\Users\\anja1984", "anja1984", "anjas-laptop"]
    train = {"base": f"{tmp_path}/home/model.safetensors", "settings": {"vae": "C:\\Users\\anja1984\\v.safetensors"}}
    settings = {"train": train, "folders": [{"path": "/home/anja1984/reg"}]}
    (project.folder / "project.json").write_text(json.dumps({"version": 1, "trigger": "word", "settings": settings}), encoding="utf-8")
    events = EventWriter(run.folder)
    events.write("started", pid=77, machines_command=f'accelerate launch -m x "{run.folder}"', device="cpu")
    events.write("warning", message="C:\\Users\\anja1984\\a b.png is left out: it cannot be read.")
    events.write("failed", message=f"The disk is full: {run.folder}/state/x could not be written.", hint="On anjas-laptop, free some space.")
    log = f'  File "/home/anja1984/.venv/lib/python3.11/x.py", line 3\n{tmp_path}: no space, anja1984@anjas-laptop'
    (run.folder / "console.log").write_text(log, encoding="utf-8")
    epochs = [{"epoch": 1, "lora": str(tmp_path / "x" / "mira-01.safetensors")}]
    for name, value in {
        "evaluation/report.json": {"run": str(run.folder), "epochs": epochs, "prompts": [{"text": "a, b/c, /x/, d"}]},
        "evaluation/grids/g/grid.json": {"base": "C:\\Users\\anja1984\\models\\model.safetensors", "trigger": "word"},
    }.items():  # fmt: skip
        (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (run.folder / name).write_text(json.dumps(value), encoding="utf-8")
    page = f"<p>{Path.home()}/x</p><img src='data:image/webp;base64,/9j/4AAQ/home/x=='>"
    (run.folder / "evaluation" / "report.html").write_text(page, encoding="utf-8")
    private.append(str(Path.home()))
    (run.folder / "tensorboard" / "events.out.tfevents.1700000000.anjas-laptop.77.0").write_bytes(b"curve")
    home.bundle(project, run, tmp_path / "b.zip")
    inside = texts(tmp_path / "b.zip")
    for name, data in inside.items():
        found = [word for word in private if word.encode() in data or word in name or json.dumps(word)[1:-1].encode() in data]
        assert not found, (name, found)
    prefix = f"runs/{run.folder.name}/"
    assert inside[f"{prefix}tensorboard/events.out.tfevents.1700000000.machine.77.0"] == b"curve"
    assert b"base64,/9j/4AAQ/home/x==" in inside[f"{prefix}evaluation/report.html"]
    packed = json.loads(inside[f"{prefix}config.json"])
    assert (packed["base"], packed["output_dir"], packed["lora_dir"], packed["folders"][0]["path"]) == ("model.safetensors", "output", "", "dataset")
    report = json.loads(inside[f"{prefix}evaluation/report.json"])
    assert report["epochs"][0]["lora"] == "mira-01.safetensors" and report["prompts"][0]["text"] == "a, b/c, /x/, d"
    # and it is still all there is to go on with
    placed = away(tmp_path).unbundle(tmp_path / "b.zip", tmp_path / "home" / "model.safetensors", train=True)
    assert [e.type for e in Run(Path(placed.run)).status() and runs.read_events(Path(placed.run) / "events.jsonl")][-1] == "failed"
    # home again: the curve is not there twice
    away(tmp_path).bundle(away(tmp_path).open("米拉"), Run(Path(placed.run)), tmp_path / "back.zip")
    home.unbundle(tmp_path / "back.zip")
    assert [p.name for p in (run.folder / "tensorboard").iterdir()] == ["events.out.tfevents.1700000000.anjas-laptop.77.0"]


def test_texts_without_this_machine() -> None:
    for text, plain in {
        "The folder /home/me/my pictures/a does not exist.": "The folder a does not exist.",
        'File "C:\\Users\\me\\x y\\z.py", line 3': 'File "z.py", line 3',
        "\\\\nas\\private\\a.png: no": "a.png: no",
        "3/4 of 10/20 pictures, 1:2, and/or, word": "3/4 of 10/20 pictures, 1:2, and/or, word",
        "https://example.org/a/b": "https://example.org/a/b",
    }.items():
        assert plain_text(text) == plain
    more = {"n": 3, "text": "/a/b", "tags": ["1girl, /m/, :/", "\\m/", "/", "//"]}
    assert plain_value({"a": ["/home/me/x.png", "D:\\x\\y"], **more}) == {"a": ["x.png", "y"], **more}
    assert board_name("events.out.tfevents.17.a.b-c.9.0") == "events.out.tfevents.17.machine.9.0" and board_name("x.png") == "x.png"


def test_a_bundle_takes_no_files_that_are_no_training(home: Studio, tmp_path: Path) -> None:
    """A received run may name any file as the LoRA to begin with, and link to any: neither goes into a bundle that is then sent back."""
    run, project = make_run(home), project_of(home)
    (tmp_path / "passwords.txt").write_text("secret-1", encoding="utf-8")
    (tmp_path / "diary").mkdir()
    (tmp_path / "diary" / "a.txt").write_text("secret-2", encoding="utf-8")
    (tmp_path / "token.json").write_text('"secret-3"', encoding="utf-8")
    (run.folder / "samples" / "x.json").symlink_to(tmp_path / "token.json")
    os.symlink(tmp_path / "token.json", project.dataset_dir / "y.txt")
    for path in (tmp_path / "passwords.txt", tmp_path / "diary"):
        config = {**run.config().to_dict(), "network_weights": str(path)}
        (run.folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        packed = home.bundle(project, run, tmp_path / "b.zip")
        assert {path.name, "dataset/y.txt"} < {name for name, _ in packed["left_out"]} and len(packed["left_out"]) == 3
        assert not any(b"secret" in data for data in texts(tmp_path / "b.zip").values())
    lora = tmp_path / "start.safetensors"
    lora.write_bytes(save({"x": np.ones(2, np.float32)}))
    (run.folder / "config.json").write_text(json.dumps({**run.config().to_dict(), "network_weights": str(lora)}), encoding="utf-8")
    home.bundle(project, run, tmp_path / "b.zip")
    assert texts(tmp_path / "b.zip")["models/start_from/start.safetensors"] == lora.read_bytes() != WEIGHTS


def test_pictures_from_outside_are_said(home: Studio, tmp_path: Path) -> None:
    run = make_run(home)
    more = tmp_path / "reg"
    more.mkdir()
    config = run.config().to_dict()
    (run.folder / "config.json").write_text(json.dumps({**config, "folders": [*config["folders"], {"path": str(more)}]}), encoding="utf-8")
    assert home.bundle(project_of(home), run, tmp_path / "b.zip")["outside"] == [str(more)]
