"""The states of a run: written without renaming folders, and whatever ends the writing, one of them can be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lora_studio.errors import UserError
from lora_studio.trainer import state
from lora_studio.trainer.state import Position, load_state, save_state
from tests.held.faults import Call, Faults

pytestmark = pytest.mark.torch


class PowerCutError(BaseException):
    """Nothing catches it, and nothing is tidied up after it."""


def weights(number: int) -> dict[str, torch.Tensor]:
    return {"w": torch.full((3,), float(number))}


def found(folder: Path) -> tuple[int, float, float] | None:
    read = load_state(folder)
    return None if read is None else (read[0].step, read[0].rate, float(read[1]["w"][0]))


def killed(faults: Faults, at: int) -> None:
    def dies(number: int, call: Call) -> bool:
        if number >= at:
            raise PowerCutError
        return False

    faults.begin(dies)


@pytest.mark.parametrize("again", [False, True])
def test_killed_at_any_write_a_state_is_left(faults: Faults, again: bool) -> None:
    """Also where the same step is saved a second time, with another rate."""
    at, ended = 0, False
    while not ended:
        folder = faults.root / f"state-{at}"
        faults.release()
        for step in (1, 2, 3):
            save_state(folder, Position(step=step), weights(step))
        killed(faults, at)
        try:
            save_state(folder, Position(step=3 if again else 4, rate=0.5), weights(9))
            ended = True
        except PowerCutError:
            pass
        faults.release()
        new, before = (3 if again else 4, 0.5, 9.0), (3, 1.0, 3.0)
        assert found(folder) == new or (not ended and found(folder) == before), at
        for step in (5, 6):
            save_state(folder, Position(step=step), weights(step))
        assert found(folder) == (6, 1.0, 6.0) and len(list(folder.iterdir())) == 2, at
        assert all(len(list(one.iterdir())) == 2 for one in folder.iterdir()), at
        at += 1
    assert at > 5


def test_what_is_saved_last_is_the_newest_also_with_a_smaller_number(tmp_path: Path) -> None:
    """A run that goes on with more processes counts fewer steps."""
    for step in (9, 10):
        save_state(tmp_path, Position(step=step), weights(step))
    for step in (6, 7, 8):
        save_state(tmp_path, Position(step=step, processes=2), weights(step))
        assert found(tmp_path) == (step, 1.0, float(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000007", "step-00000008"]


def test_a_state_that_is_damaged_does_not_take_the_place_of_later_ones(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_state(tmp_path, Position(step=step), weights(step))
    for step in (2, 3):
        (tmp_path / f"step-0000000{step}" / "tensors.safetensors").write_bytes(b"damaged")
    save_state(tmp_path, Position(step=1, rate=0.5), weights(1))
    assert found(tmp_path) == (1, 0.5, 1.0)


def test_no_folder_is_renamed(faults: Faults) -> None:
    faults.begin()
    for step in range(4):
        save_state(faults.root / "state", Position(step=step), weights(step))
    moved = [call for call in faults.calls if call.kind in ("replace", "rename")]
    assert moved and all(Path(call.paths[1]).suffix in (".json", ".safetensors") for call in moved)


def test_states_of_earlier_versions_are_read_and_their_leftovers_go(tmp_path: Path) -> None:
    old = tmp_path / "step-00000007"
    old.mkdir()
    save_file(weights(7), old / "tensors.safetensors")
    facts = {"format": 1, "step": 7, "epoch": 2, "batch": 1, "loss_average": 0.5, "scaler": None}
    (old / "state.json").write_text(json.dumps(facts), encoding="utf-8")
    (tmp_path / ".writing-00000008").mkdir()
    (tmp_path / ".writing-00000008" / "tensors.safetensors").write_bytes(b"half")
    assert found(tmp_path) == (7, 1.0, 7.0)
    save_state(tmp_path, Position(step=8), weights(8))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000007", "step-00000008"]
    assert json.loads((tmp_path / "step-00000008" / "state.json").read_text(encoding="utf-8")).keys() == {"format", *Position.__dataclass_fields__}


def test_a_state_that_names_a_file_elsewhere_is_not_followed(tmp_path: Path) -> None:
    save_file(weights(1), tmp_path / "mine.safetensors")
    one = tmp_path / "state" / "step-00000001"
    one.mkdir(parents=True)
    (one / "state.json").write_text(json.dumps({"format": 1, "step": 1, "tensors": "../../mine.safetensors"}), encoding="utf-8")
    assert load_state(tmp_path / "state") is None


def test_a_held_state_is_not_passed_over_for_an_older_one(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = faults.root / "state"
    for step in (1, 2):
        save_state(folder, Position(step=step), weights(step))
    real = Path.read_bytes

    def read(path: Path) -> bytes:
        if "step-00000002" in str(path):
            raise PermissionError(13, "Permission denied", str(path))  # as Windows says it of open()
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read)
        with pytest.raises(UserError, match="step-00000002"):
            load_state(folder)
    assert found(folder) == (2, 1.0, 2.0) and state.KEEP == 2
