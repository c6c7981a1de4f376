"""The demo from end to end, as short as it can be: every step really runs on the embedded models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_studio.demo import pipeline
from lora_studio.demo.pipeline import TRIGGER, draw_pictures, run_demo
from lora_studio.demo.scene import parse_character
from lora_studio.errors import UserError


def test_the_same_seed_draws_the_same_pictures(tmp_path: Path) -> None:
    her = parse_character("red hair, glasses")
    first, again = (draw_pictures(tmp_path / name, her, 5, 3) for name in ("a", "b"))
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]
    assert draw_pictures(tmp_path / "c", her, 6, 1)[0].read_bytes() != first[0].read_bytes()


def test_a_character_that_cannot_be_drawn_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="moustache"):
        run_demo(tmp_path / "out", "moustache", 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.torch
def test_from_drawn_pictures_to_a_scored_lora(tmp_path: Path) -> None:
    short = {"max_steps": 4, "sample_prompts": []}
    report = run_demo(tmp_path / "演示 demo", "blue hair, long hair, hat", 2, images=6, steps=3, settings=short)
    out = tmp_path / "演示 demo"
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == report
    assert (report["images"], report["steps"], report["trigger"]) == (6, 4, TRIGGER)
    assert {"blue hair", "long hair", "hat"} <= set(report["character"])
    for scores in (report["base"], *report["epochs"]):
        assert all(0 <= scores[name] <= 1 for name in ("likeness", "flexibility", "leakage"))
    lora = Path(report["epochs"][-1]["lora"])
    assert lora.is_file() and (out / "models" / "Lora" / "demo" / lora.name).is_file()
    assert (out / "report.html").is_file() and (out / "grid.png").is_file()
    captions = [p.read_text(encoding="utf-8") for p in (out / "projects" / "demo" / "dataset").glob("*.txt")]
    assert len(captions) == 6 and all(c.startswith(TRIGGER) and "blue hair" not in c and "hat" not in c.split(", ") for c in captions)


@pytest.mark.parametrize(("keep", "more", "dropout"), [(False, None, None), (True, None, 0.0), (True, {"tag_dropout": 0.3}, 0.3)])
def test_captions_left_whole_are_shown_whole(keep: bool, more: dict[str, float] | None, dropout: float | None) -> None:
    """The preset leaves out tags at random: what stays away, the trigger word learns, which is what the comparison asks about."""
    asked: list[dict[str, object]] = []

    class AskedError(Exception):
        pass

    class Desk:
        def configure(self, project: object, base: str, preset: str, settings: dict[str, object]) -> None:
            asked.append(settings)
            raise AskedError

    with pytest.raises(AskedError):
        pipeline._train(Desk(), None, 3, pipeline.DemoOptions(settings=more), pipeline.silent, keep)  # type: ignore[arg-type]
    assert asked[0].get("tag_dropout") == dropout and asked[0]["seed"] == 3
