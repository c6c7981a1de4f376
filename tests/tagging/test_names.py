"""Tags found by other names: Chinese ones, and those of lists that people have."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_studio.editing import classify
from lora_studio.tagging.names import TABLE, Names, lists, read
from lora_studio.tagging.vocabulary import suggest
from lora_studio.tagging.words import key

VOCABULARY = "tag_id,name,category,count\n1,long_hair,0,3645082\n2,very_long_hair,0,783428\n3,saber_(fate),4,16702\n4,twintails,0,900000\n"


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    path = tmp_path / "selected_tags.csv"
    path.write_text(VOCABULARY, encoding="utf-8")
    return [path]


def test_the_table_is_sound() -> None:
    rows = [line.split("\t") for line in TABLE.read_text(encoding="utf-8").splitlines()]
    assert len(rows) > 500 and all(len(row) == 2 and row[0] == key(row[0]) and row[1].strip() for row in rows)
    tags = [row[0] for row in rows]
    assert len(tags) == len(set(tags))
    called = {tag: names.split("|")[0] for tag, names in rows}
    first = list(called.values())
    assert sorted({name for name in first if first.count(name) > 1}) == [], "each tag has a name of its own"
    # What a colour is called is the same everywhere.
    for tag, name in called.items():
        trait = classify(tag)
        if trait is not None and trait.group in ("hair_color", "eye_color") and tag.startswith("blue "):
            assert "蓝" in name, tag


def test_typed_in_chinese(files: list[Path]) -> None:
    found = suggest("长发", {"Long_Hair": 3}, files, names=lists(files[0].parent))
    assert [(s.tag, s.alias) for s in found[:2]] == [("Long_Hair", "长发"), ("very long hair", "超长发")]
    assert (found[0].here, found[0].count, found[0].group) == (3, 3645082, "hair_length")
    assert suggest("长发", {}, files, underscores=True, names=[TABLE])[0].tag == "long_hair"
    assert suggest("双马", {}, files, names=[TABLE])[0].tag == "twintails"
    assert suggest("long", {}, files, names=[TABLE])[0].chinese == "长发", "what it is called is told as well"
    assert suggest("猫耳", {}, [], names=[TABLE])[0].tag == "cat ears", "though no tagger's list is here"
    assert suggest("长发", {}, files) == []


def test_lists_of_people(files: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "_tags"
    folder.mkdir()
    (folder / "danbooru.csv").write_text('twintails,0,2000000,"twin_tails,pigtails,ツインテール"\nlong_hair,0,5,\nbroken', encoding="utf-8")
    (folder / "chinese.csv").write_text("saber_(fate),阿尔托莉雅\nlong_hair,12345\n", encoding="utf-8")
    (folder / "note.txt").write_text("x,y", encoding="utf-8")
    (folder / "rubbish.csv").write_bytes(bytes(range(256)) * 20)
    known = lists(tmp_path)
    assert known[0] == TABLE and len(known) == 4
    assert [(s.tag, s.alias) for s in suggest("pig", {}, files, names=known)] == [("twintails", "pigtails")]
    assert suggest("Twin_T", {}, files, names=known)[0].alias == "twin_tails"
    assert suggest("ツイン", {}, files, names=known)[0].tag == "twintails"
    assert suggest("莉雅", {}, files, names=known)[0].tag == "saber (fate)"
    assert suggest("12345", {}, files, names=known) == [], "a count is no name"
    assert suggest("阿尔", {}, files, escape=True, names=known)[0].tag == "saber \\(fate\\)"
    assert suggest("", {"1girl": 2}, files, names=known)[0].tag == "1girl"
    assert [s.tag for s in suggest("twin", {}, files, names=known)] == ["twintails"], "a tag is offered once"


def test_what_cannot_be_read_gives_nothing(tmp_path: Path) -> None:
    assert list(read(tmp_path / "nothing.csv")) == []
    (tmp_path / "empty.csv").write_bytes(b"")
    assert list(Names([tmp_path / "empty.csv", tmp_path]).having("a")) == []
