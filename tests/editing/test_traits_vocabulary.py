"""The trait vocabulary on tags a person checked one by one, and on the tagger's whole vocabulary where it lies beside the repository."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import pytest

from lora_studio.editing import GROUPS, OPTIONAL_GROUPS, classify, classify_lines, normal_form
from lora_studio.editing import traits as traits_module

VOCABULARY = Path(__file__).parents[3] / "shared" / "data" / "wd14_v3_selected_tags.csv"

# group, trait or state, tag: everything of the tagger's 8,106 general tags that is one, read through by a person group by group.
REVIEWED = Path(__file__).parent / "reviewed_traits.tsv"

TRAITS = {
    "hair_color": "black_hair light_brown_hair multicolored_hair two-tone_hair gradient_hair streaked_hair split-color_hair colored_inner_hair",
    "hair_length": "short_hair very_short_hair medium_hair long_hair absurdly_long_hair bald",
    "hair_style": "ponytail twintails low_twintails twin_braids hair_bun drill_hair ahoge sidelocks wavy_hair hair_intakes bob_cut hime_cut",
    "bangs": "blunt_bangs swept_bangs asymmetrical_bangs hair_between_eyes hair_over_one_eye center-flap_bangs",
    "eye_color": "blue_eyes heterochromia black_sclera multicolored_eyes",
    "eye_shape": "slit_pupils star-shaped_pupils tsurime tareme jitome sanpaku third_eye",
    "brows_lashes": "thick_eyebrows forked_eyebrows long_eyelashes colored_eyelashes",
    "nose_mouth_teeth": "dot_nose fang fangs sharp_teeth tusks",
    "species_parts": "cat_ears fox_tail animal_ears horns dragon_wings halo panther_ears pointy_ears",
    "skin_marks": "dark_skin mole_under_eye scar_across_eye arm_tattoo facial_mark freckles",
    "facial_body_hair": "beard mustache goatee chest_hair arm_hair pubic_hair",
    "body_build": "large_breasts flat_chest muscular petite curvy",
    "age_species": "mature_female aged_down elf cat_girl",
}
STATES = "wet_hair messy_hair floating_hair bangs_pinned_back closed_eyes one_eye_closed raised_eyebrow furrowed_brow teeth parted_lips"
STATES += " tail_wagging shiny_skin"
NEITHER = (
    "blue_hairband hair_bow hair_ornament hair_tubes hair_ribbon hairclip short_dress long_sleeves blue_eyeshadow black-framed_eyewear "
    "eye_contact v_over_eye "
    "eyebrow_piercing nose_blush nosebleed fake_animal_ears fake_tail fake_horns ear_piercing earrings coattails scarf red_scarf foreskin "
    "skindentation "
    "fake_mustache breast_press between_breasts magical_girl 1girl solo 1boy smile glasses hat playing_with_own_hair hand_in_own_hair "
    "holding_hair wings_of_liberty "
    "hat_with_ears red_lips lipstick eyepatch swinging underwear large_bow small_frame picture_frame horned_helmet winged_footwear "
    "bare_shoulders animal hair_dryer "
    "pubic_hair_peek armchair scared wing_collar eyeball hairy_sweater polar_bear rabbit white_shirt blue_sky simple_background "
    "hourglass big huge thin chicken_wings french_horn hat_wings cinnamon_bun animal_print bandaid_on_face bite_mark watermark bookmark hand_drill "
    "cat dragon fox_mask claw_pose horn_ornament tail_ornament ear_tag wing_ornament cat_ear_headphones animal_ear_headwear lipstick_mark crew_neck"
)


@pytest.mark.parametrize(("group", "tags"), TRAITS.items())
def test_traits_are_found_in_their_group(group: str, tags: str) -> None:
    found = {tag: classify(tag) for tag in tags.split()}
    assert {tag: (t.group, t.is_state) if t else None for tag, t in found.items()} == dict.fromkeys(tags.split(), (group, False))


def test_states_are_told_apart() -> None:
    assert [tag for tag in STATES.split() if not ((t := classify(tag)) and t.is_state)] == []


def test_false_friends_are_left_alone() -> None:
    assert {tag: found for tag in NEITHER.split() if (found := classify(tag))} == {}


def test_groups_are_the_thirteen_and_worn_only_when_asked() -> None:
    assert tuple(TRAITS) == GROUPS
    assert OPTIONAL_GROUPS == ("worn",)
    worn = "glasses sunglasses hat black_headwear hair_bow hairband hair_ornament earrings"
    assert [tag for tag in worn.split() if classify(tag) is not None] == []
    assert {tag: getattr(classify(tag, True), "group", None) for tag in worn.split()} == dict.fromkeys(worn.split(), "worn")
    assert [tag for tag in ("adjusting_eyewear", "holding_hat", "hand_on_headwear", "wine_glass", "no_eyewear") if classify(tag, True)] == []


@pytest.mark.parametrize("spelling", ["Cat Ears", " cat  ears ", "(cat ears:1.2)", "((cat_ears))", "[cat ears]", "{cat ears}", "(Cat_Ears : .8)"])
def test_spelling_and_weights_do_not_matter(spelling: str) -> None:
    assert normal_form(spelling) == "cat_ears"


def test_brackets_of_the_tag_itself_stay() -> None:
    assert normal_form(r"slime \(creature\)") == normal_form("slime_(creature)") == normal_form(r"(slime \(creature\):1.3)") == "slime_(creature)"
    assert normal_form("(o)_(o)") == "(o)_(o)"


def test_lines_keep_the_tag_as_given() -> None:
    lines = ["Purple Hair\n", "closed_eyes\r\n", " 1girl", "", r"(blue eyes:1.2)"]
    assert list(classify_lines(lines)) == ["Purple Hair\thair_color", "closed_eyes\tSTATE", " 1girl\t-", "\t-", "(blue eyes:1.2)\teye_color"]


@pytest.mark.skipif(not VOCABULARY.exists(), reason="the tagger's vocabulary is not beside the repository")
def test_the_whole_vocabulary() -> None:
    with VOCABULARY.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    general = [row["name"] for row in rows if row["category"] == "0"]
    assert len(general) == 8106
    for cached in (traits_module.normal_form, traits_module._classify):
        cached.cache_clear()
    started = time.process_time()
    labels = dict(line.split("\t") for line in classify_lines(general))
    assert time.process_time() - started < 0.6  # 0.1 s on a free core
    counts = {group: sum(label == group for label in labels.values()) for group in GROUPS}
    reference = (29, 10, 98, 19, 26, 51, 14, 29, 228, 95, 36, 60, 105)
    for (group, count), expected in zip(counts.items(), reference, strict=True):
        assert 0.8 * expected <= count <= 1.2 * expected, (group, count, expected)
    assert 60 <= sum(label == "STATE" for label in labels.values()) <= 130
    # Actions and things begin or end in ways no trait does.
    doing = ("holding_", "hand_on_", "hands_on_", "adjusting_", "fake_", "covering_", "playing_with_", "unworn_", "licking_", "grabbing_", "cum_")
    assert [tag for tag, label in labels.items() if label != "-" and tag.startswith(doing)] == []
    things = ("wear", "hairband", "ornament", "ribbon", "bow", "hat", "earrings", "piercing", "shadow", "print", "hood", "costume", "shirt", "dress")
    assert [tag for tag, label in labels.items() if label != "-" and tag.endswith(things)] == []


def reviewed() -> dict[str, tuple[str, bool]]:
    with REVIEWED.open(encoding="utf-8", newline="") as file:
        return {row["tag"]: (row["group"], row["kind"] == "state") for row in csv.DictReader(file, delimiter="\t")}


def test_every_reviewed_tag_is_in_its_group() -> None:
    table = reviewed()
    assert len(table) == 919 and {group for group, _ in table.values()} == set(GROUPS)
    assert {tag: found for tag, expected in table.items() if (found := (t.group, t.is_state) if (t := classify(tag)) else None) != expected} == {}


@pytest.mark.skipif(not VOCABULARY.exists(), reason="the tagger's vocabulary is not beside the repository")
def test_nothing_but_the_reviewed_tags_is_a_trait() -> None:
    with VOCABULARY.open(encoding="utf-8", newline="") as file:
        names = [row["name"] for row in csv.DictReader(file) if row["category"] == "0"]
    assert {name for name in names if classify(name)} == set(reviewed())
