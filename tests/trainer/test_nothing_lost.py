"""Numbers that are none, too little memory, a full disk, a wish to stop: the run goes on or can be resumed, and says what it did."""

from __future__ import annotations

import errno
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lora_studio.errors import UserError
from lora_studio.trainer import data, guard, loop, outputs, plan, prepared, sampling, state
from lora_studio.trainer.__main__ import main
from lora_studio.trainer.plan import Plan, candidates, choose, smaller
from tests.trainer.runs import diary, digest, make_run, start

pytestmark = pytest.mark.torch


def break_loss(monkeypatch: pytest.MonkeyPatch, wrong: Any) -> list[int]:
    """Let `wrong(call number)` change the loss, or raise."""
    original, calls = loop.Objective.loss, []

    def loss(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(1)
        factor = wrong(len(calls))
        return original(self, *args, **kwargs) * (1.0 if factor is None else factor)

    monkeypatch.setattr(loop.Objective, "loss", loss)
    return calls


def test_a_loss_that_is_no_number_goes_back_and_slows_down(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    run = make_run(tmp_path, tiny_checkpoint, pictures)
    break_loss(monkeypatch, lambda call: float("nan") if call == 5 else None)  # in the second epoch
    events = start(run)
    said = [e for e in events if e["type"] == "warning" and "not a number" in e["message"]]
    assert len(said) == 1 and said[0]["step"] == 3 and said[0]["rate"] == 0.5
    assert events[-1]["type"] == "finished" and events[-1]["step"] == 6
    assert state.load_state(run / "state")[0].rate == 0.5
    late = [e for e in events if e["type"] == "step" and e["seq"] > said[0]["seq"]]
    assert late and all(e["lr"] == pytest.approx(0.5e-3) for e in late)
    assert all(torch.isfinite(t).all() for t in load_file(tmp_path / "output" / "word-02.safetensors").values())


def test_weights_that_are_no_numbers_are_never_saved(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    """The last step of an epoch may spoil the weights: no loss after it tells."""
    run = make_run(tmp_path, tiny_checkpoint, pictures, max_grad_norm=0)
    original, calls = loop.TrainingRun._step, []

    def step(self: Any, *args: Any) -> None:
        original(self, *args)
        calls.append(1)
        if len(calls) == 3:
            self.network.flat["unet"].data[0] = float("inf")

    monkeypatch.setattr(loop.TrainingRun, "_step", step)
    events = start(run)
    assert [e["step"] for e in events if e["type"] == "warning" and "not a number" in e["message"]] == [0]
    assert events[-1]["step"] == 6


def test_it_gives_up_after_some_halvings_and_keeps_the_last_state(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    run = make_run(tmp_path, tiny_checkpoint, pictures)
    break_loss(monkeypatch, lambda call: float("nan") if call > 4 else None)
    assert main([str(run)]) == 1
    events = diary(run)
    assert events[-1]["type"] == "failed" and "not a number" in events[-1]["message"] and "0.0625" in events[-1]["message"] and events[-1]["hint"]
    assert sum(e["type"] == "warning" for e in events) == guard.MOST_ROLLBACKS
    position, tensors = state.load_state(run / "state")
    assert position.step == 3 and all(torch.isfinite(t).all() for t in tensors.values())


def test_too_little_memory_splits_the_batch_with_the_same_result(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    options = {"batch_size": 4, "epochs": 1, "repeats": 1, "prior_weight": 0.5}
    options.pop("repeats")
    start(make_run(tmp_path / "a", tiny_checkpoint, pictures, **options))
    run = make_run(tmp_path / "b", tiny_checkpoint, pictures, **options)

    def short(call: int) -> None:
        if call == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        if call == 3:  # the second half of the second try
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    break_loss(monkeypatch, short)
    events = start(run)
    said = [e["message"] for e in events if e["type"] == "warning"]
    assert len(said) == 2 and "parts of 2" in said[0] and "parts of 1" in said[1]
    whole, split = (load_file(tmp_path / n / "output" / "word-01.safetensors") for n in "ab")
    assert all(torch.allclose(whole[k], split[k], atol=2e-4) for k in whole)
    assert (run / "plan.json").is_file()


def test_no_memory_at_all_is_said_in_words(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    run = make_run(tmp_path, tiny_checkpoint, pictures)

    def short(call: int) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    calls = break_loss(monkeypatch, short)
    assert main([str(run)]) == 1
    last = diary(run)[-1]
    assert len(calls) == 4 and last["type"] == "failed" and "not enough memory" in last["message"] and "resolution" in last["hint"]


def test_plans_go_from_quick_to_small_and_a_dry_run_picks_the_first_that_fits() -> None:
    plans = candidates(4, False)
    assert [(p.parts, p.checkpointing) for p in plans] == [(1, False), (2, False), (4, False), (1, True), (2, True), (4, True)]
    assert candidates(1, False) == [Plan(1, False), Plan(1, True)] and candidates(3, True) == [Plan(1, True), Plan(2, True), Plan(3, True)]
    assert smaller(plans[1], 4, False) == plans[2] and smaller(plans[-1], 4, False) is None
    asked = []

    def measure(p: Plan) -> float:
        asked.append(p)
        return {1: float("inf"), 2: 9e9, 4: 5e9}[p.parts] / (2 if p.checkpointing else 1)

    assert choose(plans, measure, 6e9) == (Plan(4, False), 5e9) and asked == plans[:3]
    assert choose(plans, measure, 4.6e9) == (Plan(2, True), 4.5e9)
    assert choose(plans, measure, 1.0)[0] == plans[-1]  # nothing fits: tried all the same
    assert [list(range(5))[s] for s in Plan(2).slices(5)] == [[0, 1], [2, 3, 4]] and len(list(Plan(4).slices(2))) == 2


def test_memory_that_spills_over_is_noticed(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    assert plan.spills(11, 5, 10, lends=False) and not plan.spills(9, 0, 10, lends=False)
    assert plan.spills(900, 9, 1000, lends=True) and not plan.spills(900, 20, 1000, lends=True)

    start(make_run(tmp_path / "a", tiny_checkpoint, pictures))
    run = make_run(tmp_path / "b", tiny_checkpoint, pictures)
    monkeypatch.setattr(loop, "LOOK_EVERY", 1)
    monkeypatch.setattr(prepared.Prepared, "spills", lambda self: True)
    events = start(run)
    said = [e["message"] for e in events if e["type"] == "warning"]
    # batches of 2: in one, in parts, both with checkpointing; then there is nothing left to do but to say so, once
    assert len(said) == 4 and all("lends main memory" in words for words in said)
    assert "parts of 1" in said[0] and "Close other programs" in said[3] and events[-1]["type"] == "finished"
    whole, split = (load_file(tmp_path / n / "output" / "word-02.safetensors") for n in "ab")
    assert all(torch.allclose(whole[k], split[k], atol=2e-4) for k in whole)


def test_a_full_disk_waits_until_there_is_room(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    monkeypatch.setattr(guard, "DISK_PAUSE", 0.01)
    start(make_run(tmp_path / "a", tiny_checkpoint, pictures))
    run = make_run(tmp_path / "b", tiny_checkpoint, pictures)
    writing, full = state.atomic_write_bytes, []

    def write(path: Path, data: bytes) -> None:
        if "00000003" in str(path) and len(full) < 5:
            full.append(1)
            path.write_bytes(data[:100])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        writing(path, data)

    exporting, refused = outputs.export.write_lora, []

    def write_lora(*args: Any) -> list[Path]:
        if not refused:
            refused.append(1)
            raise UserError("The disk is full: x could not be written.") from OSError(errno.ENOSPC, "No space left on device")
        return exporting(*args)

    monkeypatch.setattr(state, "atomic_write_bytes", write)
    monkeypatch.setattr(outputs.export, "write_lora", write_lora)
    events = start(run)
    said = [e["message"] for e in events if e["type"] == "warning"]
    assert ["waits until" in m for m in said] == [True, False, True, False] and len(full) == 5 and events[-1]["type"] == "finished"
    assert digest(tmp_path / "a" / "output" / "word-02.safetensors") == digest(tmp_path / "b" / "output" / "word-02.safetensors")


def test_a_run_that_waits_for_room_can_be_stopped_and_resumed(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    monkeypatch.setattr(guard, "DISK_PAUSE", 0.01)
    run = make_run(tmp_path, tiny_checkpoint, pictures)
    with monkeypatch.context() as patch:
        writing = state.atomic_write_bytes

        def write(path: Path, data: bytes) -> None:
            if "00000000" not in str(path):
                (run / "control" / "stop").touch()
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            writing(path, data)

        patch.setattr(state, "atomic_write_bytes", write)
        events = start(run)
    assert events[-1]["type"] == "stopped" and "could not be saved" in events[-2]["message"]
    assert [p.name for p in (run / "state").iterdir()] == ["step-00000000"]
    assert start(run)[-1]["type"] == "finished"


def test_a_state_of_two_processes_is_gone_on_with_by_one(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    run = make_run(tmp_path, tiny_checkpoint, pictures, epochs=2)
    start(run)
    position, tensors = state.load_state(run / "state")
    state.save_state(run / "state", replace(position, step=position.step + 1, epoch=2, batch=1, processes=2), tensors)
    events = start(run)
    assert any("began with 2 processes" in e.get("message", "") for e in events) and events[-1]["type"] == "finished"
    assert state.Position(step=10, batch=3, processes=2).among(1) == state.Position(step=20, batch=6)
    assert state.Position(step=9, batch=4, processes=1).among(4) == state.Position(step=2, batch=1, processes=4)


def test_a_wrong_disk_is_no_full_disk(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    def write(path: Path, data: bytes) -> None:
        raise OSError(errno.EIO, "Input/output error", str(path))

    monkeypatch.setattr(state, "atomic_write_bytes", write)
    run = make_run(tmp_path, tiny_checkpoint, pictures)
    assert main([str(run)]) == 1 and diary(run)[-1]["type"] == "failed"


def test_stop_is_read_while_latents_are_cached(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    run = make_run(tmp_path, tiny_checkpoint, pictures)
    loading, loaded = data.load_pixels, []

    def load(example: Any) -> torch.Tensor:
        loaded.append(example)
        if len(loaded) == 2:
            (run / "control" / "stop").touch()
        return loading(example)

    monkeypatch.setattr(data, "load_pixels", load)
    events = start(run)
    assert len(loaded) == 2 and events[-1]["type"] == "stopped" and events[-1]["step"] == 0
    assert not (run / "control" / "stop").exists() and start(run)[-1]["type"] == "finished"


def test_stop_is_read_while_samples_are_drawn_and_the_epoch_is_kept(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    run = make_run(tmp_path, tiny_checkpoint, pictures, sample_prompts=["word"], sample_steps=4, epochs=3)
    predicting, drawn = sampling.predict, []

    def predict(*args: Any) -> torch.Tensor:
        drawn.append(1)
        if len(drawn) == 3 + 2:  # the second step of the first epoch's sample
            (run / "control" / "stop").touch()
        return predicting(*args)

    monkeypatch.setattr(sampling, "predict", predict)
    events = start(run)
    assert len(drawn) == 5 and events[-1]["type"] == "stopped" and events[-1]["step"] == 3
    assert (tmp_path / "output" / "word-01.safetensors").is_file()
    assert start(run)[-1]["type"] == "finished" and (tmp_path / "output" / "word-03.safetensors").is_file()


def test_killed_between_the_last_step_and_the_last_file(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch) -> None:
    """The state of the last step may be there and its LoRA not: resuming writes it."""
    run = make_run(tmp_path, tiny_checkpoint, pictures, epochs=1, state_every_minutes=0.01)
    monkeypatch.setattr(time, "monotonic", lambda: time.perf_counter() * 1000)  # a state after every step

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop.TrainingRun, "_end_epoch", dies)
        assert main([str(run)]) == 1
    assert state.load_state(run / "state")[0].step == 3 and not (tmp_path / "output").exists()
    assert start(run)[-1]["type"] == "finished" and (tmp_path / "output" / "word-01.safetensors").is_file()
    assert plan.Plan() == Plan(1, False)
