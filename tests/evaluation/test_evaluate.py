"""The whole use case with a painter that draws what a model of known quality would draw."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_studio.demo.drawer import draw
from lora_studio.demo.scene import EXTRAS, GROUPS, TAGS, Scene, parse_character, sample_scene, scene_tags
from lora_studio.errors import UserError
from lora_studio.evaluation import EvaluateOptions, evaluate
from lora_studio.evaluation.prompts import TestPrompt
from lora_studio.evaluation.scores import Reader

CHARACTER = parse_character("purple hair, short hair, yellow eyes, cat ears, glasses")
SMALL = EvaluateOptions(trigger_pictures=3, flexibility_pictures=4, leakage_pictures=3, weights=(0.5, 1.0), steps=4)


class ScenePainter:
    """Draws each prompt's tags; with an epoch's LoRA the trigger brings the character, with "leaky" in its name anything does."""

    def __init__(self) -> None:
        self.scenes: dict[bytes, Scene] = {}
        self.asked: list[tuple[str, float, str, int]] = []

    def draw(
        self, prompts: Sequence[TestPrompt], lora: Path | None, weight: float, drawn: Callable[[int], None]
    ) -> list[Image.Image]:
        pictures = []
        for prompt in prompts:
            name = lora.stem if lora else ""
            self.asked.append((name, weight, prompt.text, prompt.seed))
            tags = prompt.text.split(", ")
            scene = sample_scene(random.Random(prompt.seed))
            scene = replace(scene, hair="red hair", eyes="blue eyes", length="long hair", extras=frozenset())
            if (lora and "mikuzu" in tags and "good" in name) or "leaky" in name:
                own = CHARACTER.scene
                scene = replace(scene, hair=own.hair, eyes=own.eyes, length=own.length, style=own.style, extras=own.extras)
            for field, group in (("mouth", "mouth"), ("shirt", "shirt"), ("background", "background")):
                named = [t for t in tags if t in GROUPS[group]]
                scene = replace(scene, **{field: named[0]}) if named and "deaf" not in name else scene
            picture = draw(scene, random.Random(prompt.seed), 64)
            self.scenes[picture.tobytes()] = scene
            pictures.append(picture)
            drawn(len(pictures))
        return pictures


class SceneJudge:
    reader = Reader(TAGS, (0.35,) * len(TAGS))

    def __init__(self, painter: ScenePainter) -> None:
        self.painter = painter

    def predict(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        known = [set(scene_tags(self.painter.scenes[p.tobytes()])) for p in pictures]
        return np.array([[0.9 if t in tags else 0.05 for t in TAGS] for tags in known], np.float32)


def make_run(folder: Path, epochs: Sequence[str], trigger: str = "mikuzu") -> Path:
    project = folder / "角色 one"
    run = project / "runs" / "2026-01-01"
    run.mkdir(parents=True)
    (project / "dataset").mkdir()
    (project / "output").mkdir()
    (project / "project.json").write_text(
        json.dumps({"version": 1, "trigger": trigger, "traits": list(CHARACTER.traits), "settings": {"tag": {"model": "demo"}}}),
        encoding="utf-8",
    )
    rng = random.Random(1)
    for n in range(6):
        scene = sample_scene(rng, CHARACTER)
        draw(scene, rng, 64).save(project / "dataset" / f"{n}.png")
        free = [t for t in scene_tags(scene) if t not in CHARACTER.traits and t not in EXTRAS]
        (project / "dataset" / f"{n}.txt").write_text(", ".join([trigger, *free]), encoding="utf-8")
    config = {"base": "model.safetensors", "trigger": trigger, "resolution": 64, "folders": [{"path": str(project / "dataset")}]}
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    events = [{"type": "started"}]
    for n, name in enumerate(epochs, 1):
        path = project / "output" / f"{name}.safetensors"
        path.write_bytes(b"weights")
        # the path as it was before the project was moved here
        events.append({"type": "checkpoint", "epoch": n, "step": n * 10, "path": f"/elsewhere/output/{path.name}"})
    lines = [json.dumps({"v": 1, "seq": k, "time": 5.0, **event}) for k, event in enumerate(events, 1)]
    (run / "events.jsonl").write_text("\n".join(lines) + '\n{"v":1,"seq":99,"type":"checkp', encoding="utf-8")
    return run


def run_evaluation(run: Path, options: EvaluateOptions = SMALL):  # type: ignore[no-untyped-def]
    painter = ScenePainter()
    said: list[tuple[int, int, str]] = []
    report = evaluate(run, options, lambda *a: said.append(a), painter=painter, judge=SceneJudge(painter))
    return report, painter, said


def test_scores_and_recommendation(tmp_path: Path) -> None:
    run = make_run(tmp_path, ["a-01", "a-02-good", "a-03-good-deaf", "a-04-good-leaky"])
    report, _, _ = run_evaluation(run)
    base, (nothing, good, deaf, leaky) = report["base"], report["epochs"]
    assert base["likeness"] == 0.0 and base["flexibility"] == 1.0 and base["leakage"] == 0.0
    assert nothing["likeness"] == 0.0 and nothing["score"] == 0.0
    assert (good["likeness"], good["flexibility"], good["leakage"]) == (1.0, 1.0, 0.0)
    assert deaf["likeness"] == 1.0 and deaf["flexibility"] < 0.7
    assert leaky["leakage"] == 1.0
    assert report["recommended"] == 2
    assert report["trigger"] == "mikuzu" and report["who"] == "1girl" and report["images"] == 6
    assert set(report["traits"]) == set(CHARACTER.traits)
    assert good["epoch"] == 2 and Path(good["lora"]).name == "a-02-good.safetensors"
    assert good["by_tag"]["trigger"]["cat ears"] == 1.0


def test_every_model_gets_the_same_prompts_and_seeds(tmp_path: Path) -> None:
    _, painter, _ = run_evaluation(make_run(tmp_path, ["a-01", "a-02-good"]))
    by_model: dict[str, list[tuple[str, int]]] = {}
    for name, weight, text, seed in painter.asked:
        if weight == 1.0:
            by_model.setdefault(name, []).append((text, seed))
    assert by_model[""] == by_model["a-01"] == by_model["a-02-good"]
    assert len(by_model[""]) == 10
    assert [a for a in painter.asked if a[1] == 0.5] == [(n, 0.5, "mikuzu, 1girl", 1000) for n in ("a-01", "a-02-good")]


def test_files_are_written(tmp_path: Path) -> None:
    run = make_run(tmp_path, ["a-01", "a-02-good"])
    report, _, said = run_evaluation(run)
    out = run / "evaluation"
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == report
    with Image.open(out / "grid.png") as grid:
        assert grid.width > 2 * 64 and grid.height > 2 * 64
    assert len(list((out / "pictures" / "epoch-02").iterdir())) == 10
    assert [p.name for p in out.iterdir() if p.name.startswith(".")] == []
    assert said[-1] == (32, 32, "done")  # three models with ten prompts, two epochs at one more weight
    counts = [done for done, total, _ in said if total]
    assert counts == sorted(counts)


def test_the_page_fetches_nothing_and_escapes_everything(tmp_path: Path) -> None:
    run = make_run(tmp_path, ["a-01", "a-02-good"], trigger="<b>x&y")
    run_evaluation(run)
    page = (run / "evaluation" / "report.html").read_text(encoding="utf-8")
    assert "<b>x&y" not in page and "&lt;b&gt;x&amp;y" in page
    assert re.findall(r'(?:src|href)="(?!data:image/)', page) == []
    assert "http:" not in page and "https:" not in page
    assert "prefers-color-scheme: dark" in page and "角色 one" in page
    assert page.count("<circle") == 9


def test_a_later_checkpoint_event_of_an_epoch_replaces_the_earlier(tmp_path: Path) -> None:
    run = make_run(tmp_path, ["a-01"])
    with (run / "events.jsonl").open("w", encoding="utf-8") as f:
        for k, name in enumerate(("gone", "a-01"), 1):
            f.write(json.dumps({"seq": k, "time": 5.0, "type": "checkpoint", "epoch": 1, "path": f"/x/{name}.safetensors"}) + "\n")
    report, _, _ = run_evaluation(run)
    assert [e["epoch"] for e in report["epochs"]] == [1]
    assert not any("left out" in note for note in report["notes"])


def test_a_deleted_epoch_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, ["a-01", "a-02-good"])
    (run.parent.parent / "output" / "a-01.safetensors").unlink()
    report, _, _ = run_evaluation(run)
    assert [e["epoch"] for e in report["epochs"]] == [2]
    assert any("Epoch 1 is left out" in note for note in report["notes"])


def test_chosen_epochs_and_traits(tmp_path: Path) -> None:
    run = make_run(tmp_path, ["a-01", "a-02-good", "a-03-good"])
    report, _, _ = run_evaluation(run, replace(SMALL, epochs=(3,), traits=("Cat_Ears", "monocle")))
    assert [e["epoch"] for e in report["epochs"]] == [3]
    assert report["traits"] == ["cat ears", "monocle"]
    assert report["epochs"][0]["likeness"] == 1.0
    assert any("monocle" in note for note in report["notes"])


def test_without_a_tagger_the_pictures_are_drawn_and_nothing_is_scored(tmp_path: Path) -> None:
    run = make_run(tmp_path, ["a-01", "a-02-good"])
    report = evaluate(run, replace(SMALL, tagger="none"), painter=ScenePainter())
    assert report["recommended"] == 2 and "choose by looking" in report["reason"] and "评分" in report["reason_zh"]
    assert [report["base"][k] for k in ("likeness", "flexibility", "leakage")] == [None, None, None]
    assert {p["kind"] for p in report["prompts"]} == {"trigger", "flexibility", "leakage"}
    assert report["by_tag"] == {} and len(list((run / "evaluation" / "pictures" / "epoch-02").iterdir())) == 10
    strangers = [p["text"] for p in report["prompts"] if p["kind"] == "leakage"]
    assert all(" hair" in text and "mikuzu" not in text and "purple hair" not in text for text in strangers)
    assert "choose by looking" in (run / "evaluation" / "report.html").read_text(encoding="utf-8")


def test_an_unknown_tagger_is_asked_for(tmp_path: Path) -> None:
    run = make_run(tmp_path, ["a-01"])
    (run.parent.parent / "project.json").write_text(json.dumps({"version": 1, "trigger": "mikuzu"}), encoding="utf-8")
    with pytest.raises(UserError, match="not known which tagger"):
        evaluate(run, SMALL, painter=ScenePainter())


def test_captions_of_a_project_that_was_moved_are_found(tmp_path: Path) -> None:
    run = make_run(tmp_path, ["a-01", "a-02-good"])
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config["folders"] = [{"path": "/where/it/was/dataset"}]
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    report, _, _ = run_evaluation(run)
    assert report["images"] == 6


def test_errors_for_people(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a training run"):
        run_evaluation(tmp_path)
    with pytest.raises(UserError, match="no saved epoch"):
        run_evaluation(make_run(tmp_path, []))


def test_options_round_trip_and_name_all_mistakes() -> None:
    options = EvaluateOptions(traits=("a",), epochs=(1, 2))
    assert EvaluateOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options
    with pytest.raises(UserError, match=r"batch_size.*steps.*weights.*multiples of 8"):
        EvaluateOptions(batch_size=0, steps=1, weights=(9.0,), width=65)
    with pytest.raises(UserError, match="speed"):
        EvaluateOptions.from_dict({"speed": 3})
