"""A file that another program holds for a moment ends nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_studio import patience


class HeldError(PermissionError):
    """As Windows says that a file is in use."""

    def __init__(self, winerror: int | None) -> None:
        super().__init__(errno.EACCES, "The process cannot access the file")
        self.winerror = winerror


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(patience, "sleep", sleep)
    monkeypatch.setattr(patience, "clock", lambda: now[0])
    return now


def failing(times: float, error: OSError) -> Callable[[], str]:
    left = [times]

    def action() -> str:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        return "done"

    return action


@pytest.mark.parametrize("winerror", [5, 32, 33])
@pytest.mark.parametrize("times", [0, 1, 3, 10])
def test_what_is_held_for_a_moment_is_waited_for(times: int, winerror: int) -> None:
    assert patience.patient(failing(times, HeldError(winerror))) == "done"


def test_what_is_held_for_ever_is_an_error_in_the_end(no_time_passes: list[float]) -> None:
    with pytest.raises(HeldError):
        patience.patient(failing(float("inf"), HeldError(32)))
    assert 30 <= no_time_passes[0] < 32


@pytest.mark.parametrize("error", [HeldError(None), OSError(errno.ENOSPC, "full"), FileNotFoundError(errno.ENOENT, "gone")])
def test_what_does_not_pass_by_itself_comes_at_once(error: OSError, no_time_passes: list[float]) -> None:
    with pytest.raises(OSError):
        patience.patient(failing(1, error))
    assert no_time_passes[0] == 0


def test_a_tree_is_deleted_with_what_is_read_only_and_without_what_links_lead_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "mine.txt").write_text("x", encoding="utf-8")
    tree = tmp_path / "tree"
    (tree / "deep").mkdir(parents=True)
    (tree / "deep" / "a").write_text("x", encoding="utf-8")
    (tree / "link").symlink_to(kept, target_is_directory=True)
    real, calls = os.rmdir, [0]

    def rmdir(*arguments: object, **options: object) -> None:
        calls[0] += 1
        if calls[0] == 1:
            raise HeldError(145)
        real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "rmdir", rmdir)
    patience.rmtree(tree)
    assert not tree.exists() and (kept / "mine.txt").exists()
    patience.rmtree(tree)
    patience.unlink(tree, missing_ok=True)
    with pytest.raises(FileNotFoundError):
        patience.unlink(tree)


def test_an_error_that_is_its_own_cause_is_looked_at_once() -> None:
    error = OSError(errno.EIO, "Input/output error")
    error.__cause__ = error
    assert not patience.is_held(error)
