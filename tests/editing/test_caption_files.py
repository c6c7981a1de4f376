"""Odd encodings, kohya's metadata, pictures moved with their captions, and tags that seem to be missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.dataset import parse_tags
from lora_studio.dataset.captions import decode
from lora_studio.editing import encodings, kohya, undo
from lora_studio.editing.transfer import transfer
from lora_studio.errors import UserError

from .datasets import state, write

ODD = {
    "bom": b"\xef\xbb\xbf1girl, smile",
    "gbk": "少女, 头发很长".encode("gbk"),
    "jis": "こんにちは, 1girl".encode("cp932"),
    "lines": b"1girl\r\nsmile, hat",
    "wide": "1girl，smile".encode(),
    "utf16": "1girl, 猫耳".encode("utf-16"),
    "plain": "1girl, 猫耳".encode(),
    "end": b"1girl, smile\n",
    "none": None,
}


def test_odd_captions_are_found_shown_and_repaired(tmp_path: Path) -> None:
    folder = write(tmp_path, ODD)
    before = state(folder)
    found = {one.file.removesuffix(".txt"): one for one in encodings.find(folder)}
    assert sorted(found) == ["bom", "gbk", "jis", "lines", "utf16", "wide"]
    assert found["gbk"].text == "少女, 头发很长" and found["jis"].text == "こんにちは, 1girl" and found["lines"].problems == ("several lines",)
    assert found["bom"].problems == ("byte order mark",) and found["utf16"].text == "1girl, 猫耳" and state(folder) == before
    report = encodings.repair(folder)
    assert report.changed == 6 and encodings.find(folder) == [] and (folder / "wide.txt").read_bytes() == b"1girl, smile"
    assert (folder / "end.txt").read_bytes() == before["end.txt"] and not (folder / "none.txt").exists()
    undo(folder)
    assert state(folder) == before


def test_an_encoding_that_somebody_knows_better(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a": "黑髮, 貓".encode("big5")})
    assert encodings.find(folder, "big5")[0].text == "黑髮, 貓"
    assert encodings.find(folder, "utf-8")[0].encoding != "utf-8"  # it is not: as if nothing had been said
    with pytest.raises(UserError, match="no encoding"):
        encodings.find(folder, "rot13")
    assert encodings.find(tmp_path / "none") == []


@given(st.binary(max_size=60))
def test_whatever_the_bytes_a_repair_keeps_the_tags_that_were_read(data: bytes) -> None:
    found = encodings.examine("a.txt", data)
    if found is None:
        assert data.decode("utf-8") is not None
    else:
        assert parse_tags(found.text) == parse_tags(decode(data)[0]) or found.encoding == "utf-8"
        again = encodings.examine("a.txt", found.text.encode("utf-8"))
        assert again is None or again.problems == ("characters that are no text",)


def test_metadata_goes_out_and_comes_back(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", {"a": "1girl, smile", "b 花": "hat", "c": None})
    file = tmp_path / "meta.json"
    file.write_text(json.dumps({"other.png": {"tags": "x"}, str(folder.resolve() / "a.png"): {"train_resolution": [512, 512]}}), encoding="utf-8")
    assert kohya.write(file, folder) == 3
    data = json.loads(file.read_text(encoding="utf-8"))
    assert data[str(folder.resolve() / "a.png")] == {"train_resolution": [512, 512], "tags": "1girl, smile"} and data["other.png"] == {"tags": "x"}
    copy = write(tmp_path / "copy", {"a": "old", "b 花": None, "c": None})
    report, incoming = kohya.take(kohya.read(file), copy)
    assert (
        incoming.unknown == ("other.png",) and report.changed == 3 and state(copy)["b 花.txt"] == b"hat" and state(copy)["a.txt"] == b"1girl, smile"
    )
    undo(copy)
    assert state(copy) == {"a.txt": b"old"}


@pytest.mark.parametrize(
    ("existing", "after"),
    [("overwrite", b"hat, Smile"), ("append", b"1girl, smile, hat"), ("prepend", b"hat, Smile, 1girl"), ("skip", b"1girl, smile")],
)
def test_what_is_there_already(tmp_path: Path, existing: kohya.Existing, after: bytes) -> None:
    folder = write(tmp_path, {"a": "1girl, smile"})
    kohya.take({"a.png": {"tags": "hat, Smile"}}, folder, existing)
    assert state(folder)["a.txt"] == after


def test_pictures_of_one_name_in_two_folders_are_not_confused(tmp_path: Path) -> None:
    """By the stem alone, as other tools do it, the second entry would overwrite the first."""
    folder = write(tmp_path / "one", {"a": "old", "b": "old"})
    (folder / "b.jpg").write_bytes(b"")
    here = str(folder.resolve() / "a.png")
    for order in ([here, "/elsewhere/a.png"], ["/elsewhere/a.png", here]):
        incoming = kohya.match({key: {"tags": "mine" if key == here else "theirs"} for key in order}, folder)
        assert incoming.tags["a.txt"] == ("mine",)
    assert kohya.match({"b": {"caption": "x"}}, folder).tags == {"b.txt": ("x",)}  # both pictures share that caption
    assert kohya.match({"A:\\x\\a.png": {"tags": "w"}, "no": {"tags": "y"}}, folder) == kohya.Incoming({"a.txt": ("w",)}, ("no",), ())


@pytest.mark.parametrize("data", [[], {"a": "1girl"}, {"a": {"tags": ["1girl"]}}, "x", None])
def test_what_is_no_metadata(tmp_path: Path, data: object) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(UserError, match="metadata"):
        kohya.read(path)
    with pytest.raises(UserError):
        kohya.read(tmp_path / "none.json")


def test_pictures_go_with_their_captions_and_nothing_is_overwritten(tmp_path: Path) -> None:
    folder, target = write(tmp_path / "here", {"a": "1girl", "b": "hat", "c": None}), write(tmp_path / "there", {"a": "mine"})
    done = transfer(folder, ["a.png", "c.png", "none.png", "../x.png"], target)
    assert done.pictures == (("a.png", "a-2.png"), ("c.png", "c.png")) and [name for name, _ in done.skipped] == ["none.png", "../x.png"]
    assert state(target) == {"a.txt": b"mine", "a-2.txt": b"1girl"} and state(folder)["a.txt"] == b"1girl"
    transfer(folder, ["b.png"], target, move=True)
    assert not (folder / "b.png").exists() and "b.txt" not in state(folder) and state(target)["b.txt"] == b"hat"
    with pytest.raises(UserError, match="already"):
        transfer(folder, ["a.png"], folder)


def test_a_shared_caption_stays_with_the_other_picture(tmp_path: Path) -> None:
    folder = write(tmp_path / "here", {"a": "1girl"})
    (folder / "a.jpg").write_bytes(b"")
    transfer(folder, ["a.jpg"], tmp_path / "there", move=True)
    assert (folder / "a.txt").exists() and (tmp_path / "there" / "a.txt").read_bytes() == b"1girl"
