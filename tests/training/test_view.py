"""What the page shows of runs: curves thinned, samples, the end of the log, the trash."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.errors import UserError
from lora_studio.training import view
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import EventWriter, read_events
from lora_studio.training.runs import PROCESS, Run

CONFIG = TrainingConfig.from_dict({"base": "models/base.safetensors", "folders": ["d"], "output_name": "hana", "output_dir": "o"})


def a_run(runs_dir: Path, steps: int = 6) -> Run:
    """A run that ended, as its events tell it."""
    run = Run.create(runs_dir, CONFIG)
    (run.folder / PROCESS).write_text('{"pid": 0, "created": 1.0}', encoding="utf-8")
    events = EventWriter(run.folder)
    events.write("started", pid=1, device="cuda", precision="bf16")
    events.write("phase", name="training", done=0, total=steps, epochs=2)
    (run.folder / "samples" / "epoch-01.png").write_bytes(b"png")
    for step in range(1, steps + 1):
        values = {"epoch": 1 + step // 4, "epochs": 2, "loss": step / 10, "loss_average": 0.5, "steps_per_second": 2.0, "lr": 1e-4, "eta": 1.0}
        events.write("step", step=step, total=steps, **values)
    events.write("sample", path="samples/epoch-01.png", epoch=1, step=3, index=0, prompt="hana")
    events.write("sample", path="samples/gone.png", epoch=2, step=6, index=0, prompt="hana")
    events.write("checkpoint", path="o/hana-01.safetensors", epoch=1, step=3)
    events.write("finished", step=steps, epoch=2)
    return run


def test_one_run_in_detail(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    found = view.detail(run)
    assert (found["state"], found["step"], found["total_steps"], found["epochs"], found["device"]) == ("finished", 6, 6, 2, "cuda")
    assert found["points"][0] == (1, 0.1, 0.5) and len(found["points"]) == 6 and found["marks"] == [{"step": 3, "epoch": 1}]
    assert [s["file"] for s in found["samples"]] == ["epoch-01.png"], "a picture that is gone is not shown"
    assert found["seq"] == read_events(run.events_path)[-1].seq and found["config"]["output_name"] == "hana"
    assert found["ended"] >= found["started"]


def test_the_list_is_newest_first_and_follows_what_changes(tmp_path: Path) -> None:
    first, second = a_run(tmp_path, 3), a_run(tmp_path, 5)
    lines = view.list_view(tmp_path)
    assert [x["name"] for x in lines] == [second.folder.name, first.folder.name]
    assert (lines[0]["state"], lines[0]["step"], lines[0]["base"], lines[0]["saved"]) == ("finished", 5, "base.safetensors", 1)
    EventWriter(first.folder).write("failed", message="no", hint="")
    assert view.list_view(tmp_path)[1]["state"] == "failed"
    assert view.list_view(tmp_path / "nothing") == []


def test_a_damaged_run_is_still_listed(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    (run.folder / "config.json").write_text("{", encoding="utf-8")
    run.events_path.write_bytes(b"\xff\xfe not json\n" + run.events_path.read_bytes())
    assert view.list_view(tmp_path)[0]["base"] == "" and view.detail(run)["config"] == {}


def test_steps_done_again_after_a_crash_count_once(tmp_path: Path) -> None:
    events = EventWriter(tmp_path)
    for step, loss in ((1, 0.1), (2, 0.2), (3, 0.9), (2, 0.5), (3, 0.6), (4, 0.7)):
        events.write("step", step=step, loss=loss, loss_average=loss)
    events.write("step", step="x", loss=None)
    assert view.loss_points(read_events(events.path)) == [(1, 0.1, 0.1), (2, 0.5, 0.5), (3, 0.6, 0.6), (4, 0.7, 0.7)]


@given(st.integers(0, 9000), st.integers(1, 300))
def test_thinned_curves_keep_ends_mean_and_order(n: int, limit: int) -> None:
    points = [(k + 1, float(k % 7), float(k)) for k in range(n)]
    found = view.thinned(points, limit)
    assert len(found) == min(n, limit)
    steps = [p[0] for p in found]
    assert steps == sorted(set(steps)) and (not n or found[-1][0] == n)
    if n:
        assert min(p[1] for p in points) <= min(p[1] for p in found) and max(p[1] for p in found) <= max(p[1] for p in points)
    if n and n % limit == 0:
        assert abs(sum(p[1] for p in found) / len(found) - sum(p[1] for p in points) / n) < 1e-6


def test_the_end_of_a_long_log(tmp_path: Path) -> None:
    run = a_run(tmp_path)
    assert view.log_tail(run) == ""
    (run.folder / "console.log").write_text("".join(f"第 {k} 行\n" for k in range(5000)), encoding="utf-8")
    text = view.log_tail(run)
    assert text.endswith("第 4999 行\n") and text.startswith("第 ") and len(text.encode()) <= view.LOG_BYTES


def test_a_run_goes_to_the_trash_and_back(tmp_path: Path) -> None:
    run = a_run(tmp_path / "runs")
    name = run.folder.name
    view.to_trash(run, tmp_path)
    assert view.list_view(tmp_path / "runs") == [] and view.trashed(tmp_path) == [name]
    with pytest.raises(UserError, match="no run nowhere in the trash"):
        view.from_trash(tmp_path, tmp_path / "runs", "nowhere")
    view.from_trash(tmp_path, tmp_path / "runs", name)
    assert view.trashed(tmp_path) == [] and view.list_view(tmp_path / "runs")[0]["state"] == "finished"


@pytest.mark.parametrize("name", ["..", "../../x", "", ".", "/etc"])
def test_nothing_else_comes_out_of_the_trash(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError):
        view.from_trash(tmp_path, tmp_path / "runs", name)


def test_a_running_run_is_not_thrown_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(tmp_path / "runs")
    monkeypatch.setattr(Run, "alive", lambda self: True)
    with pytest.raises(UserError, match="is running"):
        view.to_trash(run, tmp_path)
    assert run.folder.is_dir()
