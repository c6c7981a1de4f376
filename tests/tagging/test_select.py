"""Thresholds, MCut and spelling, on made-up probabilities and on the published vocabulary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.errors import UserError
from lora_studio.tagging import Label, TagOptions, read_labels
from lora_studio.tagging.options import MODES
from lora_studio.tagging.select import Selector, mcut
from lora_studio.tagging.words import KAOMOJI, combine, key, spell, unique

VOCABULARY = next((p for up in Path(__file__).resolve().parents if (p := up / "shared/data/wd14_v3_selected_tags.csv").is_file()), Path("absent"))
LABELS = (
    Label("general", "rating"),
    Label("explicit", "rating"),
    Label("long_hair", "general"),
    Label("cat_ears", "general"),
    Label("^_^", "general"),
    Label("slime_(substance)", "general"),
    Label("saber_(fate)", "character"),
    Label("miku", "character"),
)


def _tags(values: list[float], **options: object) -> tuple[str, ...]:
    return Selector(LABELS, TagOptions(**options), 0.35, 0.85).tags(np.array(values, dtype=np.float32))  # type: ignore[arg-type]


ROW = [0.9, 0.1, 0.5, 0.6, 0.36, 0.7, 0.86, 0.84]


def test_characters_then_general_tags_by_probability() -> None:
    assert _tags(ROW) == ("saber (fate)", "slime (substance)", "cat ears", "long hair", "^_^")
    assert _tags(ROW, underscores=True)[0] == "saber_(fate)"
    assert _tags(ROW, escape=True)[:2] == (r"saber \(fate\)", r"slime \(substance\)")
    assert _tags(ROW, ratings=True)[-1] == "general"


def test_a_threshold_itself_is_not_above_it() -> None:
    assert _tags([0, 0, 0.5, 0.5000001, 0, 0, 0, 0], general_threshold=0.5) == ("cat ears",)


def test_exclude_rename_and_add() -> None:
    assert _tags(ROW, exclude=("Slime (substance)", "long_hair", "^_^")) == ("saber (fate)", "cat ears")
    renamed = _tags(ROW, rename=(("saber_(fate)", "artoria"), ("cat ears", "long hair")), add=("mychar", "long_hair"))
    assert renamed == ("mychar", "long_hair", "artoria", "slime (substance)", "^_^")


@pytest.mark.parametrize(("values", "middle"), [([0.9, 0.8, 0.2, 0.1], 0.5), ([0.1, 0.9], 0.5), ([0.3], 0.0), ([], 0.0), ([1.0, 0.5, 0.0], 0.75)])
def test_mcut_is_the_middle_of_the_largest_gap(values: list[float], middle: float) -> None:
    assert mcut(np.array(values, dtype=np.float32)) == pytest.approx(middle, abs=1e-6)


def test_mcut_of_characters_has_a_floor() -> None:
    row = [0.9, 0.1, 0.9, 0.05, 0.02, 0.8, 0.14, 0.0]
    assert _tags(row, mcut=True) == ("long hair", "slime (substance)")
    assert _tags([*row[:6], 0.16, 0.01], mcut=True) == ("saber (fate)", "long hair", "slime (substance)")


def test_all_mistakes_in_the_options_are_named_at_once() -> None:
    with pytest.raises(UserError) as caught:
        TagOptions(model="", general_threshold=1.5, on_existing="replace", batch_size=-1, rename=(("a", ""),), add=())
    for word in ("1.5", "replace", "-1", "rename", "model"):
        assert word in caught.value.message
    options = TagOptions(model="demo", exclude="a, b", rename={"x": "y"}, providers=["cpu"])  # type: ignore[arg-type]
    assert TagOptions.from_dict(options.to_dict()) == options
    assert options.exclude == ("a", "b")


words = st.lists(st.sampled_from(["blue hair", "blue_hair", "Blue Hair", "1girl", "solo", r"a \(b\)", "a (b)", "^_^"]), unique=True)


@given(words, words, st.sampled_from([m for m in MODES if m != "skip"]))
def test_combining_loses_nothing_and_can_be_repeated(existing: list[str], new: list[str], mode: str) -> None:
    once = combine(existing, new, mode)
    assert combine(once, new, mode) == once
    assert {key(t) for t in new} <= {key(t) for t in once}
    if mode == "overwrite":
        assert once == tuple(new)
    elif mode == "prepend":
        assert once[: len(new)] == tuple(new) and set(existing) <= set(once)
    else:
        assert once[: len(existing)] == tuple(existing)
    if mode == "append":
        assert set(new) <= set(once)
    if mode == "merge":
        added = once[len(existing) :]
        assert not {key(t) for t in added} & {key(t) for t in existing}
    assert len(set(once)) == len(once)


def test_combine_examples() -> None:
    assert combine(["a_b", "c"], ["a b", "d", "c"], "merge") == ("a_b", "c", "d")
    assert combine(["a_b", "c"], ["a b", "d", "c"], "append") == ("a_b", "c", "a b", "d")
    assert combine(["x", "c"], ["d", "c"], "prepend") == ("d", "c", "x")
    assert unique(["A b", "a_b", "^_^", "^ ^"]) == ("A b", "^_^")


@pytest.mark.skipif(not VOCABULARY.is_file(), reason="the published tag list is not on this machine")
class TestPublishedVocabulary:
    labels = read_labels(VOCABULARY) if VOCABULARY.is_file() else ()

    def test_categories_have_their_published_sizes(self) -> None:
        kinds = [label.category for label in self.labels]
        assert [kinds.count(kind) for kind in ("rating", "general", "character")] == [4, 8106, 2751]

    def test_only_emoticons_keep_their_underscore(self) -> None:
        kept = {label.name for label in self.labels if "_" in spell(label.name)}
        assert " ".join(sorted(kept)) == "+_+ ._. 0_0 <o>_<o> <|>_<|> =_= >_< >_o @_@ ^_^ o_o u_u x_x |_|"
        assert kept <= KAOMOJI

    def test_escaping_touches_exactly_the_tags_with_parentheses(self) -> None:
        counts = {"general": 0, "character": 0, "rating": 0}
        for label in self.labels:
            escaped = spell(label.name, escape=True)
            if escaped != spell(label.name):
                counts[label.category] += 1
            assert escaped.replace("\\(", "(").replace("\\)", ")") == spell(label.name)
            assert spell(escaped, escape=True) == escaped, "escaping twice is escaping once"
        # the two counts include emoticons such as :( and (o)_(o)-like faces
        assert counts["rating"] == 0
        assert counts["character"] == sum("(" in x.name or ")" in x.name for x in self.labels if x.category == "character")
        assert counts["general"] >= 204 and counts["character"] >= 1392

    def test_every_spelling_is_known_as_the_same_tag(self) -> None:
        keys = {key(label.name) for label in self.labels}
        assert len(keys) == len(self.labels)
        for label in self.labels:
            for underscores in (False, True):
                for escape in (False, True):
                    assert key(spell(label.name, underscores, escape)) == key(label.name)
