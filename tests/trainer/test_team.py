"""Two processes that train together make the steps of one with twice the batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from lora_studio.trainer.export import read_metadata
from lora_studio.trainer.team import Team, machines_command
from tests.trainer.runs import diary, make_run, start

pytestmark = [pytest.mark.torch, pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]


def launch(run: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        environment.pop(name, None)
    with (run / "console.log").open("ab") as out:
        return subprocess.Popen([sys.executable, "-m", "lora_studio.trainer", str(run)], env=environment, stdout=out, stderr=out, cwd=ROOT)


def losses(run: Path) -> list[float]:
    """Of every step: tests make each step report."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(run / "tensorboard"))
    board.Reload()
    return [event.value for event in board.Scalars("loss")]


def finish(run: Path) -> None:
    assert launch(run).wait(300) == 0, (run / "console.log").read_text(encoding="utf-8")[-3000:]


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 2, "ema_decay": 0.9},
        {"epochs": 1, "prior_weight": 0.5, "gradient_accumulation": 2, "flip": True, "multires_noise_iterations": 3, "text_lr": 0},
    ],
)
def test_two_processes_are_one_with_twice_the_batch(tmp_path: Path, tiny_checkpoint: Path, pictures: Path, changes: dict[str, Any]) -> None:
    one = make_run(tmp_path / "one", tiny_checkpoint, pictures, batch_size=4, **changes)
    two = make_run(tmp_path / "two", tiny_checkpoint, pictures, batch_size=2, processes=2, **changes)
    start(one)
    finish(two)
    events = diary(two)
    assert events[-1]["type"] == "finished" and events[-1]["step"] == diary(one)[-1]["step"]
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert events[0]["processes"] == 2 and "--num_machines 2" in events[0]["machines_command"]
    assert losses(two) == pytest.approx(losses(one), abs=1e-5) and len(losses(one)) == events[-1]["step"]
    files = [tmp_path / n / "output" / f"word-{changes['epochs']:02d}.safetensors" for n in ("one", "two")]
    a, b = map(load_file, files)
    assert set(a) == set(b)
    assert len(list((two / "tensorboard").iterdir())) == 1  # the second process writes nothing
    assert read_metadata(files[1])["ss_total_batch_size"] == read_metadata(files[0])["ss_total_batch_size"]


def test_two_processes_stop_and_go_on_together(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    run = make_run(tmp_path, tiny_checkpoint, pictures, processes=2, batch_size=1, epochs=60)
    process = launch(run)
    deadline = time.monotonic() + 120
    while not any(e["type"] == "step" for e in diary(run)) and time.monotonic() < deadline:
        time.sleep(0.05)
    (run / "control" / "stop").touch()
    assert process.wait(120) == 0
    stopped = diary(run)[-1]
    assert stopped["type"] == "stopped" and 0 < stopped["step"] < 180
    values = json.loads((run / "config.json").read_text(encoding="utf-8"))
    (run / "config.json").write_text(json.dumps({**values, "max_steps": stopped["step"] + 5}), encoding="utf-8")
    finish(run)
    assert diary(run)[-1]["type"] == "finished" and diary(run)[-1]["step"] == stopped["step"] + 5


def test_a_failure_of_the_second_process_is_told(tmp_path: Path, tiny_checkpoint: Path, pictures: Path) -> None:
    run = make_run(tmp_path, tmp_path / "nowhere.safetensors", pictures, processes=2)
    assert launch(run).wait(120) == 1
    assert diary(run)[-1]["type"] == "failed" and diary(run)[-1]["message"]


def test_alone_a_team_does_nothing() -> None:
    team = Team()
    assert team.main and team.share(5) == slice(0, 5) and team.agree(3) == 3 and team.tell("x") == "x" and team.gather(1) == [1]
    shares = [Team(rank, 3).share(7) for rank in range(3)]
    assert [i for s in shares for i in range(7)[s]] == list(range(7))
    assert "accelerate launch" in machines_command(Path("a b"), 4) and '"a b"' in machines_command(Path("a b"), 4)
