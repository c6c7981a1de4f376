"""A file that another program holds for a moment ends nothing."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_studio import patience
from lora_studio.errors import UserError


class BusyError(PermissionError):
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
    assert patience.patient(failing(times, BusyError(winerror))) == "done"


def test_what_is_held_for_ever_is_an_error_in_the_end(no_time_passes: list[float]) -> None:
    with pytest.raises(patience.HeldError) as caught:
        patience.patient(failing(float("inf"), BusyError(32)), path="a/b.png")
    assert 30 <= no_time_passes[0] < 32
    error = caught.value
    assert isinstance(error, UserError) and isinstance(error, PermissionError) and "a/b.png" in str(error) and error.hint
    assert (error.winerror, error.errno, error.filename) == (32, errno.EACCES, "a/b.png") and patience.is_held(error)


def test_the_program_that_holds_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "holders", lambda path: ("Krita (process 7)",))
    with pytest.raises(UserError, match=r"Another program holds a/b\.png: Krita \(process 7\)\."):
        patience.patient(failing(float("inf"), BusyError(5)), path="a/b.png")


def test_windows_does_not_say_why_a_file_cannot_be_opened(monkeypatch: pytest.MonkeyPatch, no_time_passes: list[float]) -> None:
    """open() there knows the C library's error number alone: 13 for all three."""
    monkeypatch.setattr(patience, "WINDOWS", True)
    assert patience.patient(failing(3, BusyError(None))) == "done"
    with pytest.raises(UserError, match="denies access"):
        patience.patient(failing(float("inf"), BusyError(None)), path="a")
    assert 10 <= no_time_passes[0] < 13


def test_a_block_waits_only_so_long_in_all(no_time_passes: list[float]) -> None:
    with patience.within(3):
        for _ in range(5):
            with pytest.raises(patience.HeldError):
                patience.patient(failing(float("inf"), BusyError(32)))
        assert no_time_passes[0] == pytest.approx(3)
        with patience.within(60), pytest.raises(patience.HeldError):
            patience.patient(failing(1, BusyError(32)))
        assert no_time_passes[0] == pytest.approx(3)
        assert patience.patient(lambda: "done") == "done"
    assert patience.patient(failing(3, BusyError(32))) == "done"


def test_waiting_is_not_multiplied(no_time_passes: list[float]) -> None:
    with pytest.raises(patience.HeldError):
        patience.patient(lambda: patience.patient(failing(float("inf"), BusyError(32))))
    assert no_time_passes[0] < 32


def test_who_tidies_up_deletes_all_but_what_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_time_passes: list[float]) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "tree" / name).mkdir(parents=True)
        (tmp_path / "tree" / name / "file").write_bytes(b"x")
    real = os.unlink

    def unlink(path: str, **options: int) -> None:
        if held and Path(path).parent.name == "a":
            raise BusyError(32)
        real(path, **options)

    held = True
    monkeypatch.setattr(os, "unlink", unlink)
    monkeypatch.setattr(shutil, "_use_fd_functions", False)
    patience.rmtree(tmp_path / "tree", ignore_errors=True)
    assert [p.name for p in (tmp_path / "tree").iterdir()] == ["a"] and no_time_passes[0] < 4
    with pytest.raises(UserError):
        patience.rmtree(tmp_path / "tree")
    held = False
    patience.rmtree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


@pytest.mark.parametrize("error", [BusyError(None), OSError(errno.ENOSPC, "full"), FileNotFoundError(errno.ENOENT, "gone")])
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
            raise BusyError(145)
        real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "rmdir", rmdir)
    patience.rmtree(tree)
    assert not tree.exists() and (kept / "mine.txt").exists()
    patience.rmtree(tree)
    assert not patience.rmdir_if_empty(kept) and (kept / "mine.txt").exists() and patience.rmdir_if_empty(tree)
    patience.unlink(tree, missing_ok=True)
    with pytest.raises(FileNotFoundError):
        patience.unlink(tree)


def test_an_error_that_is_its_own_cause_is_looked_at_once() -> None:
    error = OSError(errno.EIO, "Input/output error")
    error.__cause__ = error
    assert not patience.is_held(error)
