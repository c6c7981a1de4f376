from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.dataset import Caption, format_tags, parse_tags, read_caption, write_caption
from lora_studio.dataset.captions import decode
from lora_studio.errors import UserError


def test_parse_keeps_order_and_duplicates() -> None:
    assert parse_tags(" 1girl,  red hair ,,solo,1girl,\n") == ("1girl", "red hair", "solo", "1girl")
    assert parse_tags("") == parse_tags(" , ,\r\n") == ()
    assert parse_tags("one\r\ntwo\nthree，four") == ("one", "two", "three", "four")
    assert parse_tags(r"saber \(fate\), ^_^, (red hair:1.2)") == (r"saber \(fate\)", "^_^", "(red hair:1.2)")


TAG = st.text(st.characters(exclude_characters=",，\r\n\ufeff\x00", exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)


@given(st.lists(TAG))
def test_format_and_parse_are_inverse(tags: list[str]) -> None:
    assert parse_tags(format_tags(tags)) == tuple(tags)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("1girl, solo", "utf-8"),
        ("青い目, 金髪", "utf-8"),
        ("red hair", "utf-8-sig"),
        ("少女, 金髪ロング", "cp932"),
        ("髪", "cp932"),
        ("ショートカット, 笑顔, 猫耳", "cp932"),
        ("1girl, 眼鏡", "cp932"),
        ("女孩, 长发, 微笑", "gbk"),
        ("蓝色眼睛", "gbk"),
        ("1girl, 眼镜, 白色背景", "gbk"),
        ("café, naïve", "cp1252"),
    ],
)
def test_encodings_met_in_the_wild(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    assert read_caption(path) == Caption(parse_tags(text), encoding)


def test_notepad_s_unicode() -> None:
    for data in ("猫耳, hat".encode("utf-16"), b"\xfe\xff" + "猫耳, hat".encode("utf-16-be")):
        assert decode(data) == ("猫耳, hat", "utf-16")


@given(st.binary())
def test_any_bytes_read_as_something(data: bytes) -> None:
    text, _ = decode(data)
    assert isinstance(parse_tags(text), tuple)


def test_writing_is_utf8_and_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    write_caption(path, ("猫耳", "red hair"))
    assert path.read_bytes() == "猫耳, red hair".encode()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lora_studio.files.os.replace", full)
    with pytest.raises(UserError, match="disk is full"):
        write_caption(path, ("lost",))
    assert path.read_bytes() == "猫耳, red hair".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_no_caption_is_an_empty_one(tmp_path: Path) -> None:
    assert read_caption(tmp_path / "missing.txt") == Caption()
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        read_caption(tmp_path / "folder.txt")
