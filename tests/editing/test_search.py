"""Search and replace, and the filter's language."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.dataset import parse_tags
from lora_studio.editing import FilterError, Search, Wanted
from lora_studio.editing.index import DatasetIndex
from lora_studio.editing.query import FIELDS, SORTS, parse
from lora_studio.errors import UserError

from .datasets import TAGS, WORDS, write

CAPTIONS = {
    "a": "1girl, long hair, smile, smile",
    "b": "1girl, very_long_hair, long_hair, red eyes",
    "c": "1boy, Red Hat, saber \\(fate\\)",
    "hana 1": "",
    "e": "solo, 2girls, ^_^, :d",
}


@pytest.fixture
def index(tmp_path: Path) -> DatasetIndex:
    found = DatasetIndex(write(tmp_path, CAPTIONS))
    found.refresh(now=True)
    return found


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", "a b c e hana"),
        ("smile", "a"),
        ("hair", "a b"),
        ("HAIR", "a b"),
        ('"long hair"', "a b"),
        ("tag:long_hair", "a b"),
        ('tag:"long hair"', "a b"),
        ("tag:hair", ""),
        ("tag:*hair", "a b"),
        ("tag:?girls", "e"),
        ("*_hair -smile", "b"),
        ("-tag:smile", "b c e hana"),
        ("NOT smile hair", "b"),
        ("smile OR 1boy", "a c"),
        ("hair AND smile OR 1boy", "a c"),
        ("hair (smile OR 1boy)", "a"),
        ("NOT (hair OR 1boy)", "e hana"),
        ("-(hair OR 1boy)", "e hana"),
        ("tag:/^(red e|very)/", "b"),
        ("tag:/^red/", "b c"),
        ("tag:/[0-9]boy$/", "c"),
        ("/_/", "b e"),
        ("count:>3", "a b e"),
        ("count:4", "a b e"),
        ("tags:>=4", "a b e"),
        ("count:<4", "c hana"),
        ("count:1..3", "c"),
        ("count:!=4", "c hana"),
        ("tokens:>8", "a b c e"),
        ("chars:0", "hana"),
        ("name:han", "hana"),
        ("name:hana*", "hana"),
        ("name:?.png", "a b c e"),
        ('caption:"hair, smile"', "a"),
        ("caption:/smile, smile$/", "a"),
        ("is:empty", "hana"),
        ("is:repeated", "a"),
        ("is:contradictory", "e"),
        ("is:implied", "b"),
        ("trait:hair_length", "a b"),
        ("trait:any -trait:eye_color", "a"),
        ("trait:worn", "c"),
        ("tag:saber_(fate)", "c"),
        ("(tag:saber_(fate))", "c"),
        ("fate", "c"),
        ("^_^", "e"),
        ('":d"', "e"),
        (":d", "e"),
        ('tag:"1boy" 1girl', ""),
        ("!smile hair", "b"),
        ("smile or hair", ""),
        ("“long hair”", "a b"),
        ('"red" "eyes"', "b"),
    ],
)
def test_which_pictures_a_filter_means(index: DatasetIndex, text: str, names: str) -> None:
    assert [name.split(" ")[0].removesuffix(".png") for name in Wanted(text).names(index)] == names.split()


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("smile colour:red", 6),
        ("smile (hair", 11),
        ("smile )", 6),
        ("smile AND", 9),
        ("OR smile", 0),
        ('tag:"long hair', 0),
        ("count:many", 0),
        ("hat is:old", 4),
        ("trait:colour", 0),
        ("NOT", 3),
        ("tag:/(/", 0),
        (r"hat tag:/(a)\2/", 4),
        ('tag:""', 0),
        ("()", 1),
        ("(" * 60 + "a", 41),
        ("count:>99999999999", 0),
        ("tag:/a", 0),
        ("smile count:", 6),
        ("tag: smile", 0),
    ],
)
def test_a_wrong_filter_says_where(text: str, at: int) -> None:
    with pytest.raises(FilterError) as error:
        parse(text)
    assert error.value.data == {"at": at} and error.value.hint


@given(st.text(alphabet='ab :"/()-*?\\>123_ORANDTtagcounis,=.!“”', max_size=40))
def test_any_text_is_a_filter_or_a_friendly_error(text: str) -> None:
    index = DatasetIndex(".")
    try:
        assert Wanted(text).names(index) == []
    except FilterError as error:
        assert 0 <= error.data["at"] <= len(text)


@given(st.lists(TAGS, min_size=1, max_size=6), st.sampled_from(WORDS), st.sampled_from(WORDS))
def test_a_filter_finds_what_going_through_all_captions_finds(captions: list[list[str]], one: str, other: str) -> None:
    from lora_studio.editing import normal_form
    from lora_studio.editing.index import Picture

    index = DatasetIndex(".")
    for k, tags in enumerate(captions):
        index._put(Picture(f"{k}.png", f"{k}.txt", b"", tuple(tags), tuple(map(normal_form, tags))))

    def has(tags: list[str], tag: str) -> bool:
        return normal_form(tag) in map(normal_form, tags)

    quoted, second = (f'tag:"{tag}"' for tag in (one, other))
    expect = {
        f"{quoted} -{second}": lambda tags: has(tags, one) and not has(tags, other),
        f"{quoted} OR NOT {second}": lambda tags: has(tags, one) or not has(tags, other),
        f"NOT ({quoted} AND {second})": lambda tags: not (has(tags, one) and has(tags, other)),
    }
    for text, holds in expect.items():
        assert Wanted(text).names(index) == [f"{k}.png" for k, tags in enumerate(captions) if holds(tags)]
    assert Wanted(include=(one,), exclude=(other,)).names(index) == Wanted(f"{quoted} -{second}").names(index)


@pytest.mark.parametrize("sort", SORTS)
def test_pictures_sorted(index: DatasetIndex, sort: str) -> None:
    names = Wanted(sort=sort).names(index)
    assert sorted(names) == sorted(index.pictures)
    lengths = [len(index.pictures[name].tags) for name in names]
    if sort.endswith("count"):
        assert lengths == sorted(lengths, reverse=sort.startswith("-"))
    if sort.endswith("name"):
        assert names == sorted(names, reverse=sort.startswith("-"))
    with pytest.raises(UserError, match="sorted"):
        Wanted(sort="size").names(index)


def test_all_fields_are_explained_to_who_mistypes_one() -> None:
    with pytest.raises(FilterError) as error:
        parse("foo:bar")
    assert all(field in error.value.hint for field in FIELDS)


# -- search and replace ----------------------------------------------------------


def replace(tags: str, **search: object) -> tuple[str, int]:
    found, count = Search(**search).function()(parse_tags(tags))  # type: ignore[arg-type]
    return ", ".join(found), count


@pytest.mark.parametrize(
    ("tags", "search", "after", "count"),
    [
        ("long hair, Long_Hair, hair", {"find": "long hair", "new": "short hair"}, "short hair, short hair, hair", 2),
        ("long hair, Long_Hair", {"find": "long hair", "new": "x", "match_case": True}, "x, Long_Hair", 1),
        ("long hair, hair bow", {"find": "hair", "new": "fur", "scope": "part"}, "long fur, fur bow", 2),
        ("a, b, c", {"find": "b", "new": ""}, "a, c", 1),
        ("a, b", {"find": "b", "new": "x, y"}, "a, x, y", 1),
        ("blue eyes, red eyes, eyes", {"find": r"(\w+) eyes", "new": "$1 iris", "regex": True}, "blue iris, red iris, eyes", 2),
        ("blue eyes", {"find": r"(\w+) eyes", "new": r"\1 iris", "regex": True}, "blue iris", 1),
        ("1girl, solo, hat", {"find": "1girl, solo", "new": "pair", "scope": "caption"}, "pair, hat", 1),
        ("slime (creature)", {"find": "slime (creature)", "new": "slime"}, "slime", 1),
        ("a.b, axb", {"find": "a.b", "new": "c", "scope": "part"}, "c, axb", 1),
        ("100%", {"find": "100%", "new": r"\1 $1"}, r"\1 $1", 1),
        ("ÄRGER", {"find": "ärger", "new": "x", "scope": "part"}, "x", 1),
    ],
)
def test_search_and_replace(tags: str, search: dict[str, object], after: str, count: int) -> None:
    assert replace(tags, **search) == (after, count)


@pytest.mark.parametrize(
    "search",
    [
        {"find": " "},
        {"find": "(", "regex": True},
        {"find": "a", "scope": "all"},
        {"find": "a", "new": "$2", "regex": True},
    ],
)
def test_searches_that_mean_nothing(search: dict[str, object]) -> None:
    with pytest.raises(UserError):
        Search(**search).check()  # type: ignore[arg-type]
