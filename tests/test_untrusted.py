"""Names, paths and numbers that others wrote: what passes, what never does."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.untrusted import RefusedError, file_name, inside, is_inside, number, own_folder, relative, whole

HOSTILE = [
    "", ".", "..", "../a", "a/../b", "/etc/passwd", "C:\\x", "c:x", "\\\\host\\share", "a\\b", "a/b", "a:b", "a.txt:stream", "NUL", "con.txt", "COM1",
    "lpt9.png", "a.", "a ", "a\0b", "a\nb", "x" * 256, "\ud800", None, 3, ["a"], {},
]  # fmt: skip
FINE = ["a.txt", ".hidden", "花子 1.png", "🦊.webp", "a..b", "nullable.txt", "[x]{y}'\".txt", "e\u0301.txt", " a"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused(name: object) -> None:
    with pytest.raises(RefusedError) as caught:
        file_name(name, "the history of hanako")
    assert caught.value.message.startswith("the history of hanako") and len(caught.value.message) < 300


@pytest.mark.parametrize("name", FINE)
def test_a_plain_name_passes(name: str) -> None:
    assert file_name(name, "x") == name


@given(st.text())
def test_whatever_passes_stays_in_its_folder(name: str) -> None:
    try:
        passed = file_name(name, "x")
    except RefusedError:
        return
    joined = Path("/folder", passed)
    assert joined.parent == Path("/folder") and os.path.normpath(joined) == str(joined)


@pytest.mark.parametrize("path", ["../a", "a/../../b", "/a", "a//b", "a/", "C:/a", "a/NUL/b", "a\\..\\b"])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(RefusedError):
        relative(path, "x")
    assert relative("a/b\\c.txt", "x") == "a/b/c.txt"


def test_links_that_leave_the_folder_are_seen(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "own").mkdir(parents=True)
    outside.mkdir()
    (root / "link").symlink_to(outside, target_is_directory=True)
    (root / "loop").symlink_to(root / "own", target_is_directory=True)
    assert inside(root, "own/a.txt", "x") == root / "own" / "a.txt"
    assert inside(root, "loop/a.txt", "x")
    with pytest.raises(RefusedError):
        inside(root, "link/a.txt", "x")
    with pytest.raises(RefusedError):
        own_folder(root, root / "link" / "deeper", "x")
    assert own_folder(root, root / "new" / "folder", "x")
    assert not is_inside(root, tmp_path / "root2")


@pytest.mark.parametrize("value", [True, "3", None, 1.5, 11, -1, math.inf, math.nan, 10**400])
def test_numbers_out_of_bounds_are_refused(value: object) -> None:
    with pytest.raises(RefusedError):
        whole(value, "x", 0, 10)
    if value != 1.5:
        with pytest.raises(RefusedError):
            number(value, "x", 0, 10)
    assert whole(3.0, "x", 0, 10) == 3 and number(3, "x") == 3.0
