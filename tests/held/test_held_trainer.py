"""The trainer itself with files that are held: it goes on with the same result, or waits, says so and can be stopped; nothing it has done is lost."""

from __future__ import annotations

import _io  # its open is the system's own
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_studio.trainer import state
from lora_studio.trainer.__main__ import main
from tests.held.faults import HOLDER, Faults
from tests.trainer.conftest import write_pictures, write_tiny_checkpoint
from tests.trainer.runs import diary, digest, make_run

pytestmark = pytest.mark.torch

OPTIONS: dict[str, Any] = {
    "epochs": 2, "sample_prompts": ["word"], "sample_steps": 2, "keep_last": 1, "validation_split": 0.2,
}  # fmt: skip
PATIENCE = 200.0  # seconds after which somebody stops a run that waits


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


class Trials:
    """A training from its beginning as often as wanted."""

    def __init__(self, faults: Faults, base: Path) -> None:
        self.faults, self.base, self.here = faults, base, faults.root / "training"
        faults.release()
        self.pictures = write_pictures(faults.root.parent / "pictures")
        run = self.fresh()
        faults.begin()
        assert main([str(run)]) == 0
        self.calls = list(faults.calls)
        self.good = digest(self.here / "output" / "word-02.safetensors")
        self.told = [e["type"] for e in diary(run) if e["type"] not in ("step", "phase", "warning")]

    def fresh(self) -> Path:
        self.faults.release()
        shutil.rmtree(self.here, ignore_errors=True)
        run = make_run(self.here, self.base, self.pictures, lora_dir=str(self.here / "models" / "Lora"), **OPTIONS)
        for name in ("save", "sample"):  # asked for before the first step
            (run / "control" / name).write_text(json.dumps({}), encoding="utf-8")
        return run

    def passing(self, number: int, hold: Callable[[int], None]) -> None:
        run = self.fresh()
        hold(number)
        code = main([str(run)])
        self.faults.release()
        where = f"call {number}: {self.calls[number]}"
        assert code == 0, f"{where}: {diary(run)[-1]}"
        self.finished(run, where)
        assert [e["type"] for e in diary(run) if e["type"] not in ("step", "phase", "warning")] == self.told, where

    def for_ever(self, hold: Callable[[], None], where: str) -> str:
        """How the run ended while the file was held."""
        run, faults = self.fresh(), self.faults
        hold()

        def stop(now: float) -> None:
            if now > PATIENCE and not (run / "control" / "stop").exists():
                with _io.open(run / "control" / "stop", "wb"):
                    pass

        faults.waited = stop
        code = main([str(run)])
        faults.release()
        last = diary(run)[-1]
        if any(call.paths[0].endswith("events.jsonl") for call in faults.refused):  # then nobody can hear of its end
            assert code == 0 and main([str(run)]) == 0, where
            self.finished(run, where)
            return "unheard"
        assert code == 0 and last["type"] in ("finished", "stopped"), f"{where}: {last}"
        if last["type"] == "stopped":
            assert any(HOLDER in e["message"] and "waits until" in e["message"] for e in diary(run) if e["type"] == "warning"), where
            assert main([str(run)]) == 0, f"{where}: {diary(run)[-1]}"
        self.finished(run, where)
        return str(last["type"])

    def finished(self, run: Path, where: str) -> None:
        events = diary(run)
        assert events[-1]["type"] == "finished" and [e["seq"] for e in events] == list(range(1, len(events) + 1)), f"{where}: {events[-1]}"
        for folder in (self.here / "output", self.here / "models" / "Lora"):
            assert digest(folder / "word-02.safetensors") == self.good and (folder / "word-02.json").is_file(), where
        found = state.load_state(run / "state")
        assert found is not None and found[0].step == events[-1]["step"], where
        assert not list((run / "control").iterdir()), where


def spread(trials: Trials, most: int, shift: int = 0) -> list[int]:
    """Calls of every kind, file and folder, and then others between them."""
    kinds: dict[tuple[str, str], int] = {}
    for number, call in enumerate(trials.calls):
        kinds.setdefault((call.kind, Path(call.paths[-1]).parent.name + Path(call.paths[-1]).suffix), number)
    first = list(kinds.values())[shift:]
    more = [n for n in range(shift, len(trials.calls), max(1, len(trials.calls) // most)) if n not in first]
    return sorted([*first, *more][:most])


def test_a_training_goes_on_or_waits(faults: Faults, base: Path) -> None:
    trials = Trials(faults, base)
    for number in (len(trials.calls) // 5, len(trials.calls) // 2, len(trials.calls) - 3):
        trials.passing(number, faults.second)
    kinds = {call.kind for call in trials.calls}
    assert {"open", "replace", "unlink"} <= kinds
    state_of_two = "step-00000002"
    assert trials.for_ever(lambda: faults.begin(lambda _, call: call.kind == "replace" and state_of_two in call.paths[-1]), state_of_two) == "stopped"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # TensorBoard's thread dies of a file that stays held
def test_every_kind_of_call_of_a_training(faults: Faults, base: Path) -> None:
    trials = Trials(faults, base)
    for number in spread(trials, 5):
        trials.passing(number, (lambda n: faults.some(n, 1), lambda n: faults.some(n, 3), faults.second)[number % 3])
    ended = [trials.for_ever(lambda n=n: faults.ever(n, target=True), f"call {n}: {trials.calls[n]}") for n in spread(trials, 8, shift=1)]
    assert "stopped" in ended
    print(f"\na training: {len(trials.calls)} calls, {faults.failed} refused, for ever: {ended}")
