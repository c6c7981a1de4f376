from __future__ import annotations

import io

from lora_studio.progress import ConsoleProgress, duration, silent


def test_durations_as_people_say_them() -> None:
    assert [duration(s) for s in (-1, 8.4, 59.6, 185, 7620)] == ["0s", "8s", "1m00s", "3m05s", "2h07m"]


def test_rate_and_time_left() -> None:
    now = [100.0]
    progress = ConsoleProgress("crop", io.StringIO(), clock=lambda: now[0])
    now[0] = 110.0
    assert progress.line(50, 200, "a.png") == "crop: 50/200  5.0/s  30s left  a.png"
    assert progress.line(5, 0, "") == "crop: 5  2.0s each"
    assert "took 10s" in progress.line(200, 200, "")


def test_a_log_gets_few_lines_and_always_the_last() -> None:
    stream, now = io.StringIO(), [0.0]
    progress = ConsoleProgress("tag", stream, clock=lambda: now[0])
    for done in range(1, 101):
        now[0] += 0.1
        progress(done, 100, "")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[-1].startswith("tag: 100/100")
    silent(1, 2, "nothing to see")


def test_a_console_of_another_code_page_does_not_fail() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    ConsoleProgress("crop", stream)(1, 1, "名前.png")
    assert raw.getvalue().endswith(b"??.png\n")


def test_each_stage_has_its_own_rate() -> None:
    stream, now = io.StringIO(), [0.0]
    progress = ConsoleProgress("demo", stream, clock=lambda: now[0])
    progress(20, 20, "crop")
    now[0] = 100.0
    progress(1, 400, "training")
    now[0] = 110.0
    progress(21, 400, "training")
    assert "2.0/s  3m10s left" in stream.getvalue().splitlines()[-1]
