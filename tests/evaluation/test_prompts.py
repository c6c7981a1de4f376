from __future__ import annotations

from collections import Counter

from lora_studio.demo.scene import BACKGROUND, MOUTH, SHIRT, TAGS
from lora_studio.evaluation.prompts import category, count_tags, free_tags, make_prompts, subject

TRAITS = ("purple hair", "short hair", "yellow eyes", "cat ears", "glasses")
CAPTIONS = [
    ("mikuzu", "1girl", "smile", "white shirt", "blue background"),
    ("mikuzu", "1girl", "open mouth", "red shirt", "grey background"),
    ("mikuzu", "1girl", "closed mouth", "red shirt", "blue background", "blush"),
]


def prompts(seed: int = 5):  # type: ignore[no-untyped-def]
    return make_prompts(count_tags(CAPTIONS), "mikuzu", TRAITS, TAGS, (4, 9, 6), seed)


def test_categories() -> None:
    assert {category(t) for t in BACKGROUND} == {"background"}
    assert {category(t) for t in SHIRT} == {"clothes"}
    assert {category(t) for t in MOUTH} == {"expression"}
    assert category("hair bow") == "other"
    assert category("school uniform") == "clothes"


def test_counts_and_subject() -> None:
    counts = count_tags([("1boy", "1boy", "Red_Shirt"), ("1boy",), ("1girl",)])
    assert counts["1boy"] == 2 and counts["red shirt"] == 1
    assert subject(counts) == "1boy"
    assert subject(Counter()) == ""


def test_trigger_prompts_name_nothing_else() -> None:
    own = [p for p in prompts() if p.kind == "trigger"]
    assert [p.text for p in own] == ["mikuzu, 1girl"] * 4
    assert len({p.seed for p in own}) == 4
    assert set(own[0].looked_for) == set(TRAITS)


def test_flexibility_prompts_vary_and_look_for_what_they_name() -> None:
    own = [p for p in prompts() if p.kind == "flexibility"]
    assert len(own) == 9
    for p in own:
        assert p.text.split(", ") == ["mikuzu", "1girl", *p.looked_for]
        assert sorted(category(t) for t in p.looked_for) == ["background", "clothes", "expression"]
    shirts = Counter(t for p in own for t in p.looked_for if t.endswith("shirt"))
    assert abs(shirts["red shirt"] - shirts["white shirt"]) <= 1


def test_leakage_prompts_are_somebody_else_without_the_trigger() -> None:
    own = [p for p in prompts() if p.kind == "leakage"]
    assert len(own) == 6
    for p in own:
        tags = p.text.split(", ")
        assert tags[0] == "1girl" and "mikuzu" not in tags
        assert not set(tags) & set(TRAITS)
        assert "long hair" in tags
        assert any(t.endswith(" eyes") for t in tags) and sum(t.endswith(" hair") for t in tags) == 2
        assert set(p.looked_for) == set(TRAITS)


def test_same_seed_same_prompts() -> None:
    assert prompts() == prompts()
    assert prompts(5) != prompts(6)


def test_without_categories_other_tags_take_their_place() -> None:
    counts = count_tags([("thing", "1girl", "glasses"), ("thing", "1girl", "blush")])
    assert free_tags(counts, ["glasses"], "thing", TAGS) == {"other": ["blush"]}


def test_nothing_to_look_for_leaves_only_the_trigger() -> None:
    made = make_prompts(count_tags([("thing",)]), "thing", (), TAGS, (2, 3, 3), 1)
    assert [p.kind for p in made] == ["trigger", "trigger"]
    assert made[0].looked_for == ()
