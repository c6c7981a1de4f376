"""Events and runs: a run is its folder, whatever happens to the processes around it."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lora_studio import files, patience
from lora_studio.errors import UserError
from lora_studio.training import runs
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import EventWriter, RunEvent, read_events, tail
from lora_studio.training.runs import Run, find_run, list_runs, summarize

CONFIG = TrainingConfig.from_dict({"base": "b", "folders": ["d"], "output_name": "n", "output_dir": "o"})

SPAWN = runs.spawn

CHILD = """
import sys, time
from pathlib import Path
from lora_studio.training.events import EventWriter
run = Path(sys.argv[1]); how = sys.argv[2]
events = EventWriter(run)
events.write("started")
for step in range(1, 400):
    events.write("step", step=step, total=400, epoch=1, epochs=1, loss_average=0.5, steps_per_second=10.0)
    if how == "crash" and step == 3: import os; os._exit(9)
    if how == "fail" and step == 3: events.write("failed", message="broken 坏", hint="mend it"); sys.exit(1)
    if how == "finish" and step == 3: break
    if (run / "control" / "stop").exists(): events.write("stopped", step=step, epoch=1); sys.exit(0)
    time.sleep(0.05)
events.write("finished", step=step, epoch=1)
"""


def start(run: Run, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start the run with a stand-in for the trainer that behaves as told."""
    monkeypatch.setattr(runs, "spawn", lambda command, log, variables: SPAWN([sys.executable, "-c", CHILD, command[-1], how], log, variables))
    run.start()


def test_a_run_finishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(tmp_path / "跑 runs", CONFIG)
    assert run.status().state == "created"
    start(run, "finish", monkeypatch)
    seen: list[RunEvent] = []
    status = run.follow(seen.append, pause=0.02)
    assert status.state == "finished" and status.step == 3 and status.total_steps == 400
    assert [e.type for e in seen] == ["started", "step", "step", "step", "finished"]
    assert [e.seq for e in seen] == [1, 2, 3, 4, 5]
    with pytest.raises(UserError, match="finished"):
        run.start()


def test_a_run_is_stopped_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(tmp_path, CONFIG)
    start(run, "wait", monkeypatch)
    deadline = time.monotonic() + 20
    while run.status().step < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run.status().state == "running"
    with pytest.raises(UserError, match="running already"):
        run.start()
    run.command("stop")
    assert run.follow(lambda e: None, pause=0.02).state == "stopped"
    start(run, "finish", monkeypatch)  # the old stop file must not stop it again
    assert run.follow(lambda e: None, pause=0.02).state == "finished"
    assert [e.seq for e in read_events(run.events_path)] == list(range(1, len(read_events(run.events_path)) + 1))


def test_a_run_can_be_stopped_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is where it waits for it; a file without content has room for ever."""
    run = Run.create(tmp_path, CONFIG)

    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(files, "opened", lambda *_, **__: Full())
        with pytest.raises(UserError, match="disk is full"):
            files.atomic_write_json(run.folder / "other.json", {})
        run.command("stop")
        assert (run.folder / "control" / "stop").is_file()
        full.setattr(patience, "opened", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(UserError, match="disk is full"):
            run.command("save")


def test_two_starts_at_one_moment_give_one_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(tmp_path, CONFIG)
    refused: list[str] = []

    def spawn(command: list[str], log: Path, environment: dict[str, str]) -> object:
        with pytest.raises(UserError) as error:  # someone else, just now
            Run(run.folder).start()
        refused.append(error.value.message)
        return SPAWN([sys.executable, "-c", CHILD, command[-1], "finish"], log, environment)

    monkeypatch.setattr(runs, "spawn", spawn)
    run.start()
    assert len(refused) == 1 and "being started already" in refused[0]
    assert run.follow(lambda e: None, pause=0.02).state == "finished"
    assert not (run.folder / runs.STARTING).exists()


def test_a_start_that_died_does_not_block_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(tmp_path, CONFIG)
    (run.folder / runs.STARTING).touch()
    with pytest.raises(UserError, match="being started"):
        run.start()
    long_ago = time.time() - runs.STALE_SECONDS - 1
    os.utime(run.folder / runs.STARTING, (long_ago, long_ago))
    start(run, "finish", monkeypatch)
    assert run.follow(lambda e: None, pause=0.02).state == "finished"


def test_a_crash_is_told_from_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crashed, failed = Run.create(tmp_path / "a", CONFIG), Run.create(tmp_path / "b", CONFIG)
    start(crashed, "crash", monkeypatch)
    assert crashed.follow(lambda e: None, pause=0.02).state == "crashed"
    assert "Resume" in crashed.status().hint
    start(failed, "fail", monkeypatch)
    status = failed.follow(lambda e: None, pause=0.02)
    assert (status.state, status.message, status.hint) == ("failed", "broken 坏", "mend it")


def test_another_process_sees_whether_a_run_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run.create(tmp_path, CONFIG)
    start(run, "wait", monkeypatch)
    child = runs._children.pop(str(run.folder.resolve()))  # as another process, which did not start it
    try:
        assert Run(run.folder).status().state == "running"
        known = json.loads((run.folder / runs.PROCESS).read_text(encoding="utf-8"))
        (run.folder / runs.PROCESS).write_text(json.dumps({**known, "created": known["created"] - 100}), encoding="utf-8")
        assert Run(run.folder).status().state == "crashed"  # the number belongs to another process by now
    finally:
        run.command("stop")
        child.wait(20)


def test_runs_are_listed_and_found(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs yet"):
        find_run(tmp_path, "last")
    first, second = Run.create(tmp_path, CONFIG), Run.create(tmp_path, CONFIG)
    assert first.folder != second.folder and len(list_runs(tmp_path)) == 2
    assert find_run(tmp_path, first.folder.name).folder == first.folder
    with pytest.raises(UserError, match="no run named"):
        find_run(tmp_path, "other")


def test_tail_leaves_an_unfinished_line_for_later(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path)
    writer.write("started")
    path = writer.path
    half = json.dumps({"v": 1, "seq": 2, "time": 0, "type": "step", "word": "词"}, ensure_ascii=False).encode("utf-8")
    for cut in range(1, len(half)):
        path.write_bytes(path.read_bytes().split(b"\n")[0] + b"\n" + half[:cut])
        events, offset = tail(path, 0)
        assert [e.seq for e in events] == [1]
        with path.open("ab") as f:
            f.write(half[cut:] + b"\n")
        assert [e.data["word"] for e in tail(path, offset)[0]] == ["词"]


def test_a_writer_goes_on_after_a_torn_line(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path)
    writer.write("started")
    with writer.path.open("ab") as f:
        f.write(b'{"v":1,"seq":2,"ty')
    EventWriter(tmp_path).write("warning", message="m")
    assert [(e.seq, e.type) for e in read_events(writer.path)] == [(1, "started"), (2, "warning")]


def test_a_full_disk_does_not_end_a_run_by_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = EventWriter(tmp_path)

    def full(*args: object, **more: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(io, "open", full)
        writer.write("step", step=1)
    assert read_events(writer.path) == []
    writer.write("step", step=2)
    assert [e.data["step"] for e in read_events(writer.path)] == [1, 2]


def test_an_event_that_was_written_in_part_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, real = EventWriter(tmp_path), io.open

    class Short(io.FileIO):
        """A disk that is full after ten bytes."""

        def write(self, data: bytes) -> int:
            if self.tell() >= 10:
                raise OSError(28, "No space left on device")
            return super().write(data[:10])

    with monkeypatch.context() as patch:
        patch.setattr(io, "open", lambda path, mode, **more: Short(path, mode) if mode == "ab" else real(path, mode, **more))
        writer.write("step", step=1)
        writer.write("step", step=2)
    assert writer.path.stat().st_size == 10
    writer.write("step", step=3)
    assert [(e.seq, e.data["step"]) for e in read_events(writer.path)] == [(1, 1), (2, 2), (3, 3)]


def test_only_the_last_start_decides(tmp_path: Path) -> None:
    events = [
        RunEvent(1, 0.0, "started"),
        RunEvent(2, 1.0, "failed", {"message": "old"}),
        RunEvent(3, 2.0, "started"),
        RunEvent(4, 3.0, "step", {"step": 7, "total": 9, "epoch": 2}),
    ]
    assert summarize(tmp_path, events, True, True).state == "running"
    after = summarize(tmp_path, events, False, True)
    assert (after.state, after.step, after.total_steps, after.epoch) == ("crashed", 7, 9, 2)
