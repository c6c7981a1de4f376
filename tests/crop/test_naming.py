"""Names of crops: as the originals, by a pattern, and the same again the next time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.crop import CropOptions
from lora_studio.crop.naming import name_all
from lora_studio.errors import UserError

SIZE = (512, 768)


def names(crops: list[tuple[str, str]], pattern: str = "", start: int = 1, earlier: dict[tuple[str, str], str] | None = None) -> list[str]:
    return name_all([(source, part, SIZE) for source, part in crops], pattern, start, earlier or {})


def test_siblings_are_numbered_and_evade_originals() -> None:
    assert names([("a.png", ""), ("a.png", "face"), ("a.png", "upper"), ("b.jpg", "")]) == ["a", "a_2", "a_3", "b"]
    assert names([("a.png", ""), ("a.png", "3"), ("a.png", "face"), ("A_2.png", "")]) == ["a", "a_3", "a_4", "A_2"]


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("hana_{n:3}", ["hana_007", "hana_007_2", "hana_008"]),
        ("{n}", ["7", "7_2", "8"]),
        ("{name} {w}x{h}", ["a 512x768", "a 512x768_2", "b 512x768"]),
        ("x{w}{name}", ["x512a", "x512a_2", "x512b"]),
    ],
)
def test_patterns(pattern: str, wanted: list[str]) -> None:
    assert names([("a.png", ""), ("a.png", "face"), ("b.png", "")], pattern, 7) == wanted


def test_names_once_given_stay_when_pictures_are_added() -> None:
    first = [("b.png", ""), ("b.png", "face"), ("d.png", "")]
    given_names = dict(zip(first, names(first, "n{n}")))
    grown = [("a.png", ""), ("b.png", ""), ("b.png", "face"), ("c.png", ""), ("d.png", "")]
    assert names(grown, "n{n}", 1, given_names) == ["n3", "n1", "n1_2", "n4", "n2"]
    given_names = dict(zip(first, names(first)))
    assert names([("b.png", ""), ("b.png", "2"), ("b.png", "face")], "", 1, given_names) == ["b", "b_3", "b_2"]


@pytest.mark.parametrize("pattern", ["same", "{n", "{n:}", "{nn}", "{}", "../{n}", "a/{n}", "{n}?", "{n}.", " {n}", "con{n}:", "<img>{n}"])
def test_patterns_that_are_none(pattern: str) -> None:
    with pytest.raises(UserError, match="rename"):
        CropOptions(rename=pattern)


@given(
    st.lists(st.tuples(st.sampled_from(["a.png", "b.png", "A_2.png", "c.jpg", "7.png"]), st.sampled_from(["", "2", "face", "flip"])), unique=True),
    st.sampled_from(["", "{n}", "{name}", "{name}_{n:2}", "p{w}{n}"]),
    st.data(),
)
def test_no_two_crops_have_one_name_and_asking_again_changes_nothing(crops: list[tuple[str, str]], pattern: str, data: st.DataObject) -> None:
    crops = sorted(crops)
    found = names(crops, pattern)
    assert len({name.casefold() for name in found}) == len(crops)
    before = dict(zip(crops, found))
    some = data.draw(st.lists(st.sampled_from(crops), unique=True)) if crops else []
    again = names(crops, pattern, 1, {crop: before[crop] for crop in some} if pattern else before)
    assert all(after == before[crop] for crop, after in zip(crops, again) if crop in some or not pattern)
    assert len({name.casefold() for name in again}) == len(crops)
