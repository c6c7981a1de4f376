from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.errors import UserError
from lora_studio.files import FORBIDDEN, atomic_path, atomic_write_bytes, atomic_write_json, atomic_write_text, read_json, validate_name


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "名前 🎀.txt"
    atomic_write_text(path, "one\r\ntwo\n")
    atomic_write_bytes(path, path.read_bytes() + "日".encode())
    assert path.read_bytes() == b"one\r\ntwo\n" + "日".encode()
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "permission"), (errno.EROFS, "can only be read")])
def test_full_disk_and_missing_permission_are_told_plainly(tmp_path: Path, number: int, words: str) -> None:
    path = tmp_path / "a.json"
    atomic_write_json(path, {"old": True})
    with pytest.raises(UserError, match=words) as caught, atomic_path(path) as temporary:
        temporary.write_bytes(b"x")
        raise OSError(number, "told by the system")
    assert caught.value.hint
    assert read_json(path) == {"old": True}
    assert list(tmp_path.iterdir()) == [path]


def test_other_errors_of_the_system_are_not_hidden(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="broken"), atomic_path(tmp_path / "a"):
        raise OSError(errno.EIO, "broken")


def test_json_keeps_any_script_readable(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic_write_json(path, {"trigger": "名前"})
    assert "名前" in path.read_text(encoding="utf-8")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_json(path) == {"trigger": "名前"}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00"])
def test_what_is_not_json_is_told_with_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.json"):
        read_json(path)
    with pytest.raises(UserError, match="does not exist"):
        read_json(tmp_path / "missing.json")


@pytest.mark.parametrize("name", ["my character", "名前", "emoji 🎀", "v1.5-a_b", "  trimmed  ", "conan", "(x)"])
def test_names_people_use_are_fine(name: str) -> None:
    assert validate_name(name) == name.strip()


@pytest.mark.parametrize(
    "name", ["", "  ", ".", "..", ".hidden", "end.", "a/b", "a\\b", "a:1", "<lora>", "nul", "COM1", "con.txt", "a\nb", "a" * 201, "名" * 67, "\ud800"]
)
def test_names_that_break_somewhere_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="cannot be used"):
        validate_name(name)


@given(st.text(max_size=40))
def test_an_accepted_name_is_one_safe_path_part(text: str) -> None:
    try:
        name = validate_name(text)
    except UserError:
        return
    assert Path(name).parts == (name,)
    assert not set(name) & set(FORBIDDEN)
    assert validate_name(name) == name
