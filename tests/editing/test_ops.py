"""Edits of one picture's tags, and of two people who edit the same picture."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_studio.editing import Op, TagsChangedError, edit_pictures, normal_form, undo
from lora_studio.editing.lint import contradictions, implications, implied, without_implied
from lora_studio.editing.ops import apply_op
from lora_studio.editing.tokens import caption_tokens, count_tokens
from lora_studio.errors import UserError

from .datasets import TAGS, WORDS, state, write

BEFORE = ("1girl", "smile", "hat", "smile")


@pytest.mark.parametrize(
    ("op", "after"),
    [
        (Op("add", "a", "tree"), "1girl smile hat smile tree"),
        (Op("add", "a", "tree, SMILE, tree", to=0), "tree 1girl smile hat smile"),
        (Op("add", "a", "tree", to=99), "1girl smile hat smile tree"),
        (Op("remove", "a", "smile"), "1girl hat smile"),
        (Op("remove", "a", "smile", at=3), "1girl smile hat"),
        (Op("remove", "a", "smile", at=9), "1girl smile hat"),
        (Op("remove", "a", "bow"), "1girl smile hat smile"),
        (Op("move", "a", "hat", to=0), "hat 1girl smile smile"),
        (Op("move", "a", "1girl", to=3), "smile hat smile 1girl"),
        (Op("move", "a", "bow", to=0), "1girl smile hat smile"),
        (Op("replace", "a", "hat", new="cap, red"), "1girl smile cap red smile"),
        (Op("replace", "a", "HAT", new=""), "1girl smile smile"),
        (Op("set", "a", tags=("x, y", " ", "z")), "x y z"),
    ],
)
def test_what_an_edit_makes_of_the_tags(op: Op, after: str) -> None:
    assert apply_op(BEFORE, op) == tuple(after.split())


OPS = st.builds(
    Op,
    op=st.sampled_from(["add", "remove", "move", "replace"]),
    name=st.just("a.png"),
    tag=st.sampled_from(WORDS),
    new=st.sampled_from(("", *WORDS)),
    at=st.one_of(st.none(), st.integers(-2, 8)),
    to=st.integers(-2, 8),
)


@given(TAGS, OPS)
def test_an_edit_touches_no_other_tag(tags: list[str], op: Op) -> None:
    after = apply_op(tuple(tags), op)
    form = normal_form(op.tag)
    others = [tag for tag in tags if normal_form(tag) != form]
    left = list(after)
    for tag in others:
        left.remove(tag)  # raises when it is gone
    if op.op == "move":
        assert sorted(after) == sorted(tags)
    if op.op == "add":
        assert normal_form(op.tag) in map(normal_form, after) and len(after) - len(tags) in (0, 1)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TAGS, st.lists(OPS, min_size=1, max_size=6))
def test_two_windows_that_never_heard_of_each_other_lose_no_edit(tags: list[str], ops: list[Op]) -> None:
    """Every edit is sent with the tags as they were at the very first: each is applied to what the others have left."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = write(Path(temporary), {"a": ", ".join(tags)})
        seen, expected = tuple(tags), tuple(tags)
        for op in ops:
            before = expected
            expected = apply_op(expected, op)
            report = edit_pictures(folder, [Op(**{**op.__dict__, "seen": seen})])
            assert report.tags == {"a.png": expected}
            assert report.elsewhere == (() if before == seen else ("a.png",))
            assert (folder / "a.txt").read_text(encoding="utf-8") == ", ".join(expected)


def test_all_tags_anew_upon_outdated_ones_are_refused_and_nothing_of_that_step_is_done(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a": "1girl", "b": "1boy"})
    edit_pictures(folder, [Op("set", "a.png", tags=("x",), seen=("1girl",))])
    before = state(folder)
    with pytest.raises(TagsChangedError) as error:
        edit_pictures(folder, [Op("add", "b.png", "y"), Op("set", "a.png", tags=("z",), seen=("1girl",))])
    assert error.value.tags == {"a.png": ("x",)} and state(folder) == before


def test_edits_of_one_picture_in_a_row_are_one_step(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a": "1girl", "b": "1boy"})
    for tag in ("x", "y", "z"):
        edit_pictures(folder, [Op("add", "a.png", tag)])
    edit_pictures(folder, [Op("add", "b.png", "x")])
    assert undo(folder).changed == ("b.txt",) and undo(folder).changed == ("a.txt",) and state(folder)["a.txt"] == b"1girl"
    assert not undo(folder).done


@pytest.mark.parametrize(
    "op", [Op("add", "a.png", " , "), Op("move", "a.png", "1girl"), Op("add", "none.png", "x"), Op("add", "../a.png", "x"), Op("remove", "a.png")]
)
def test_edits_that_mean_nothing_are_refused(tmp_path: Path, op: Op) -> None:
    folder = write(tmp_path / "set", {"a": "1girl"})
    with pytest.raises(UserError):
        edit_pictures(folder, [op])
    assert state(folder) == {"a.txt": b"1girl"}


# -- what captions say twice or cannot mean -----------------------------------------


def test_what_another_tag_says_already() -> None:
    assert without_implied(("1girl", "long hair", "very long hair", "skirt", "pleated_skirt", "animal ears", "cat ears")) == (
        "1girl",
        "very long hair",
        "pleated_skirt",
        "cat ears",
    )
    assert implied(("holding_sword", "holding")) == {"holding": "holding_sword"}
    assert without_implied(("long hair", "very long hair"), keep="long_hair") == ("long hair", "very long hair")
    for tag in ("hat_on_back", "no_shoes", "hair_bow", "skirt_hold", "open_shirt", "holding_hat"):
        assert not {"hat", "shoes", "skirt", "shirt"} & set(implications(tag)), tag


@pytest.mark.parametrize(
    ("tags", "pairs"),
    [
        ("1girl, solo, black hair, blonde hair", 1),
        ("2girls, black hair, blonde hair", 0),
        ("1girl, black hair, blonde hair, multicolored hair", 0),
        ("1girl, 1boy, black hair, blonde hair", 0),
        ("1girl, black hair, streaked hair, red hair", 0),
        ("1girl, blue eyes, red eyes", 1),
        ("1girl, blue eyes, red eyes, heterochromia", 0),
        ("solo, 2girls", 1),
        ("1girl, 2girls", 1),
        ("1girl, multiple girls", 1),
        ("2girls, multiple girls", 0),
        ("long hair, very long hair", 0),
        ("1girl, long hair, short hair", 1),
        ("no humans, 1girl", 1),
        ("open mouth, closed mouth", 1),
        ("1girl, smile", 0),
    ],
)
def test_contradictions(tags: str, pairs: int) -> None:
    assert len(contradictions([normal_form(tag) for tag in tags.split(", ")])) == pairs


def test_tokens_are_counted_as_the_trainer_s_tokenizer_makes_them() -> None:
    pytest.importorskip("tokenizers")
    from lora_studio.trainer.clip_tokens import ClipTokenizer

    tokenizer = ClipTokenizer.bundled()
    texts = [
        "",
        "1girl",
        "hana_trigger",
        "^_^",
        "saber \\(fate\\)",
        "猫耳",
        "it's 3:00",
        "colour-coded",
        "a" * 100,
        "ÄRGER ß",
        ">_<",
        "@_@",
        "100% | x",
    ]
    for text in [*texts, ", ".join(WORDS)]:
        assert count_tokens(text) == len(tokenizer.encode(text)), text

    @given(st.text(alphabet="abcdefghij 123,_()-'\\éß猫:^<>", max_size=30))
    def any_text(text: str) -> None:
        assert count_tokens(text) == len(tokenizer.encode(text))

    any_text()


def test_commas_count_too() -> None:
    assert caption_tokens(("long hair", "smile")) == 4 and caption_tokens(()) == 0
