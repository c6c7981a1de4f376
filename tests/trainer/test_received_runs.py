"""A run that came from elsewhere, really trained: it writes where whoever starts it allows, and no file that is there is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from lora_studio.errors import UserError
from lora_studio.trainer import layout, plan, state
from lora_studio.trainer.__main__ import main
from lora_studio.trainer.export import read_metadata
from lora_studio.trainer.outputs import Session
from tests.hostile_runs import nothing_changes, victim
from tests.loras import write_lora
from tests.trainer.runs import diary, digest, make_run, start

pytestmark = pytest.mark.torch
SHORT = {"epochs": 3, "keep_last": 1, "max_steps": 0}


def told(run: Path, name: str, value: Any) -> None:
    (run / name).write_text(json.dumps(value), encoding="utf-8")


@pytest.mark.parametrize("change", [{"output_dir": "HERE/other"}, {"lora_dir": "HERE/other"}, {"output_name": "../../other/fin"}])
def test_the_trainer_itself_asks_who_allowed_it(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, change: dict[str, str]) -> None:
    run = make_run(tmp_path / "mira", tiny_checkpoint, pictures, **{k: v.replace("HERE", str(tmp_path)) for k, v in change.items()})
    victim(tmp_path / "other")
    with nothing_changes(tmp_path, run):
        assert main([str(run)]) == 1
    assert diary(run)[-1]["type"] == "failed"
    assert main(["--nonsense", str(run)]) == 2


@pytest.mark.parametrize("session", [
    {"id": "x", "started": 1.0, "stem": "../../other/fin"}, {"id": "x", "started": 1.0, "stem": "/tmp/fin"},
    {"id": "x", "started": 1.0, "stem": "a:b"}, {"id": 3, "started": 1.0, "stem": "a"},
    {"id": "x", "started": "1", "stem": "a"}, {"id": "x"}, [], "x",
])  # fmt: skip
def test_a_session_names_files_of_its_run_alone(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, session: Any) -> None:
    with pytest.raises(UserError):
        Session.from_dict(session)
    run = make_run(tmp_path / "mira", tiny_checkpoint, pictures, epochs=1)
    if not isinstance(session, dict) or "/" not in str(session.get("stem")):
        return
    told(run, "session.json", session)
    with nothing_changes(tmp_path, run):
        assert main([str(run)]) == 1
    assert "session.json" in diary(run)[-1]["message"]


def test_whoever_says_to_have_made_a_lora_may_not_take_it(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    """A finished LoRA tells its run's id to everybody who has the file: a run that claims this id neither overwrites nor deletes it."""
    run = make_run(tmp_path / "mira", tiny_checkpoint, pictures, **SHORT)
    output = victim(tmp_path / "mira" / "output")
    told(run, "session.json", {"id": "victim", "started": 1.0, "stem": "fin"})
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    events = start(run)
    assert {name: (output / name).read_bytes() for name in before} == before
    saved = [Path(e["path"]).name for e in events if e["type"] == "checkpoint"]
    assert saved == ["word-01.safetensors", "word-02.safetensors", "word-03.safetensors"]
    assert sorted(p.name for p in output.glob("word*.safetensors")) == ["word-03.safetensors"]  # keep_last is done with its own
    assert any("goes on as word" in e["message"] for e in events if e["type"] == "warning")


def test_what_lies_beside_is_not_overwritten_either(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    run = make_run(tmp_path, tiny_checkpoint, pictures, epochs=1)
    output = tmp_path / "output"
    output.mkdir()
    (output / "word-01.json").write_text("my notes", encoding="utf-8")
    (output / "word-01.png").write_bytes(b"my picture")
    told(run, "session.json", {"id": "x", "started": 1.0, "stem": "word"})
    start(run)
    assert (output / "word-01.json").read_text(encoding="utf-8") == "my notes" and (output / "word-01.png").read_bytes() == b"my picture"
    assert read_metadata(output / "word_2-01.safetensors")["ss_output_name"] == "word_2-01"


def test_an_epoch_done_twice_stays_one_file(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    """The same LoRA again: the file stays, with what somebody wrote beside it. Another one: replaced by a run of this machine alone."""
    run = make_run(tmp_path, tiny_checkpoint, pictures, epochs=1)
    start(run)
    lora = tmp_path / "output" / "word-01.safetensors"
    lora.with_suffix(".json").write_text('{"notes": "mine"}', encoding="utf-8")
    first = lora.read_bytes()

    def again() -> None:
        for old in (run / "state").iterdir():
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
        start(run, *words)

    words: list[str] = []
    again()
    assert lora.read_bytes() == first and "mine" in lora.with_suffix(".json").read_text(encoding="utf-8")
    write_lora(lora, ss_session_id=read_metadata(lora)["ss_session_id"])
    other = lora.read_bytes()
    again()
    assert lora.read_bytes() == other and digest(lora.with_name("word_2-01.safetensors"))
    told(run, "session.json", {**json.loads((run / "session.json").read_text(encoding="utf-8")), "stem": "word"})
    words = ["--own"]
    again()
    assert len(lora.read_bytes()) == len(first)


def test_numbers_of_a_run_are_numbers(tmp_path: Path) -> None:
    for value in (*({"parts": n, "checkpointing": False} for n in (0, 10**9, "2", 1e999)), [], {"parts": 1}, {"x": 1}):
        with pytest.raises(UserError):
            plan.Plan.from_dict(value)
    assert plan.Plan.from_dict({"parts": 2, "checkpointing": True}) == plan.Plan(2, True)
    for odd in ({}, {"channels_last": "yes"}, [1], None):
        with pytest.raises(UserError):
            layout.channels_last(odd)
    good = state.Position(step=3, scaler={"scale": 2.0, "_growth_tracker": 3})
    folder = state.save_state(tmp_path / "state", good, {})
    assert state.load_state(tmp_path / "state") == (good, {})
    facts = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    scalers = ({"scaler": {"scale": []}}, {"scaler": [1]})
    for change in ({"step": -1}, {"step": 1e999}, {"epoch": 0}, {"rate": "1"}, *scalers, {"x": 1}, {"processes": 10**12}):
        told(folder, "state.json", {**facts, **change})
        assert state.load_state(tmp_path / "state") is None
