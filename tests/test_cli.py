"""The command line: one JSON object, errors for people, and the whole way from pictures to a run."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_studio.cli import main
from lora_studio.demo.raw_pictures import raw_picture
from lora_studio.demo.scene import parse_character, sample_scene


class Run:
    """Runs commands in one projects folder; gives exit code and the JSON object that was printed."""

    def __init__(self, projects: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.projects, self.capsys = projects, capsys

    def __call__(self, *words: str) -> tuple[int, dict[str, Any]]:
        self.capsys.readouterr()
        code = main([*words, "--json", "--projects", str(self.projects)])
        return code, json.loads(self.capsys.readouterr().out)

    def good(self, *words: str) -> dict[str, Any]:
        code, result = self(*words)
        assert code == 0, result
        return result


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(tmp_path / "项目 projects", capsys)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "my pictures"
    folder.mkdir()
    rng = random.Random(1)
    who = parse_character("purple hair, short hair, yellow eyes, cat ears, glasses")
    for k in range(4):
        raw_picture(sample_scene(rng, who), rng).image.save(folder / f"{k}.png")
    (folder / "broken.png").write_text("no picture", encoding="utf-8")
    return folder


def prepared(run: Run, pictures: Path) -> str:
    run.good("new", "héro 🎨", "--images", str(pictures))
    run.good("crop", "héro 🎨", "--size", "128x128", "--upscale")
    run.good("tag", "héro 🎨", "--model", "demo")
    return "héro 🎨"


def test_help_is_there_at_once() -> None:
    code = "import sys, lora_studio.cli as c; c.build_parser(); print(sorted({'numpy', 'PIL', 'torch', 'onnxruntime'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "[]"


def test_mistakes_are_one_json_object_too(run: Run, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for words, expected in (
        (("crop", "nowhere"), "no project folder"),
        (("new", "a/b", "--images", str(tmp_path)), "cannot be used"),
        (("inspect", str(tmp_path / "absent.safetensors")), "does not exist"),
        (("crop",), "required"),
        (("fly",), "fly"),
    ):
        code, result = run(*words)
        assert code == 2 and set(result) == {"error", "hint"} and expected in result["error"], words
    assert main(["crop", "nowhere"]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and "no project folder" in shown.err


def test_an_unexpected_error_is_short_and_names_the_log(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*words: object) -> None:
        raise RuntimeError("oh")

    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("lora_studio.studio.Studio.doctor", broken)
    code, result = run("doctor")
    assert code == 1 and "RuntimeError: oh" in result["error"]
    assert "Traceback" in (tmp_path / f"lora_studio_error_{os.getpid()}.log").read_text(encoding="utf-8")


def test_tags_are_classified_as_they_were_given(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("purple_hair\nclosed eyes\nstanding\n"))
    assert main(["tags", "classify"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [r[0] for r in rows] == ["purple_hair", "closed eyes", "standing"]
    assert rows[1][1] == "STATE" and rows[2][1] == "-" and rows[0][1] not in ("STATE", "-")


def test_from_pictures_to_the_check_before_training(run: Run, pictures: Path) -> None:
    name = "héro 🎨"
    report = run.good("new", name, "--images", str(pictures))
    assert len(report["added"]) == 4 and "broken.png" in report["skipped"][0][0]
    assert len(run.good("crop", name, "--size", "128x128", "--upscale")["written"]) == 4
    dataset = run.projects / name / "dataset"
    for path in dataset.glob("*.png"):
        with Image.open(path) as picture:
            assert picture.size == (128, 128)
    assert run.good("tag", name, "--model", "demo")["tagged"] == 4
    before = {p.name: p.read_bytes() for p in dataset.glob("*.txt")}

    run.good("edit", name, "--remove-traits", "--trigger", "hero", "--dry-run")
    assert {p.name: p.read_bytes() for p in dataset.glob("*.txt")} == before
    report = run.good("edit", name, "--remove-traits", "--trigger", "hero")
    project = json.loads((run.projects / name / "project.json").read_text(encoding="utf-8"))
    assert project["trigger"] == "hero" and project["traits"] == list(report["removed_traits"]) != []
    after = {p.name: p.read_bytes() for p in dataset.glob("*.txt")}
    assert all(text.startswith(b"hero") for text in after.values())
    run.good("undo", name)
    assert json.loads((run.projects / name / "project.json").read_text(encoding="utf-8"))["traits"] == []
    assert {p.name: p.read_bytes() for p in dataset.glob("*.txt")} == before
    run.good("redo", name)
    assert {p.name: p.read_bytes() for p in dataset.glob("*.txt")} == after
    again = json.loads((run.projects / name / "project.json").read_text(encoding="utf-8"))
    assert set(again["traits"]) == set(project["traits"])
    assert run.good("redo", name)["done"] is False
    run.good("edit", name, "--remove", "smile, watermark")
    assert set(json.loads((run.projects / name / "project.json").read_text(encoding="utf-8"))["traits"]) == set(project["traits"])

    check = run.good("train", name, "--base", "demo", "--check", "--set", "repeats=5", "batch_size=4", "epochs=3")
    assert (check["images"], check["steps_per_epoch"], check["steps"], check["family"]) == (4, 5, 15, "sd1")
    assert run.good("runs", name) == {"runs": []}


def test_all_mistakes_of_a_run_are_named_at_once(run: Run, pictures: Path) -> None:
    name = prepared(run, pictures)
    code, result = run("train", name, "--base", "demo", "--preset", "charcter", "--set", "epocs=3", "unet_lr=fast", "batch_size=0")
    assert code == 2
    for part in ("no preset named charcter", "do you mean epochs", "unet_lr", "batch_size"):
        assert part in result["error"]
    assert not (run.projects / name / "runs").exists()


@pytest.mark.slow
@pytest.mark.torch
def test_a_run_is_trained_inspected_and_listed(run: Run, pictures: Path) -> None:
    name = prepared(run, pictures)
    run.good("edit", name, "--remove-traits", "--trigger", "hero")
    small = ["repeats=1", "epochs=1", "sample_every_epochs=0", "prior_weight=0", "threads=1"]
    status = run.good("train", name, "--base", "demo", "--set", *small)
    assert status["state"] == "finished" and status["step"] == status["total_steps"] == 1
    assert [r["state"] for r in run.good("runs", name)["runs"]] == ["finished"]
    found = run.good("inspect", status["checkpoints"][0], "--base", "demo")
    assert found["matched"] == sum(found["modules"].values()) and not found["unmatched"]
    code, result = run("runs", "resume", name)
    assert code == 2 and "finished" in result["error"]
