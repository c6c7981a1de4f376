"""What captions say twice or cannot mean: tags that another tag implies, and tags that contradict each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from .traits import classify, normal_form

Tags = tuple[str, ...]

# What is said by every longer tag that ends so: Danbooru's own implications ("pleated_skirt" implies "skirt").
_HEADS = (
    "ponytail twintails braid bun bangs horns wings tail tails halo skirt dress shirt jacket coat kimono swimsuit bikini leotard bodysuit pants "
    "shorts sweater hoodie vest apron cape cloak sailor_collar gloves mittens boots shoes sandals high_heels socks thighhighs pantyhose hat cap "
    "beret helmet hairband hair_ornament hair_bow hair_ribbon hairclip ribbon bow bowtie necktie scarf choker necklace earrings glasses sunglasses "
    "bag backpack umbrella sword gun weapon flower rose background sky piercing mask armor panties bra"
).split()
_NOT_HEADED = re.compile(
    r"^(?:no|fake|missing|without|single|print|crossed|open|unworn|holding|adjusting|removing|hand_on|hand_in)_"
    r"|(?:^|_)(?:on|in|under|over|behind|between|through)_"
)
_HAIR = ("very_short_hair", "short_hair", "medium_hair", "long_hair", "very_long_hair", "absurdly_long_hair")
_MORE: dict[str, tuple[str, ...]] = {
    "very_long_hair": ("long_hair",),
    "absurdly_long_hair": ("very_long_hair", "long_hair"),
    "very_short_hair": ("short_hair",),
    "low_twintails": ("twintails",),
    "serafuku": ("school_uniform",),
    "school_swimsuit": ("swimsuit", "one-piece_swimsuit"),
    "bikini": ("swimsuit",),
    "multiple_girls": (),
    "2girls": ("multiple_girls",),
    "2boys": ("multiple_boys",),
    "twin_braids": ("braid",),
    "double_bun": ("hair_bun",),
    "cleavage": ("breasts",),
    "from_side": (),
}
_ANIMAL_EARS = re.compile(
    r"(?:cat|dog|fox|wolf|rabbit|bear|horse|cow|mouse|tiger|lion|sheep|goat|deer|raccoon|squirrel|panda|leopard|pig|monkey|bat|ferret)_ears"
)
_PEOPLE = re.compile(r"([1-6])\+?(girl|boy|other)s?|multiple_(girl|boy|other)s")
_PAIRS: tuple[tuple[str, str], ...] = (
    ("open_mouth", "closed_mouth"), ("day", "night"), ("indoors", "outdoors"), ("standing", "sitting"), ("standing", "lying"), ("sitting", "lying"),
    ("from_above", "from_below"), ("smile", "frown"), ("monochrome", "colorful"), ("full_body", "portrait"), ("full_body", "upper_body"),
    ("upper_body", "portrait"), ("cowboy_shot", "full_body"), ("barefoot", "shoes"), ("barefoot", "boots"), ("bald", "long_hair"),
    ("bald", "short_hair"), ("looking_at_viewer", "facing_away"), ("solo", "multiple_girls"), ("solo", "multiple_boys"), ("no_humans", "solo"),
)  # fmt: skip
_SEVERAL_HAIRS = re.compile(
    r"(?:multicolored|two-tone|gradient|streaked|split-color|colored_inner|rainbow)_hair|colored_tips|.*_highlights"
)
_COLOUR_HAIR = re.compile(r"(?:light_|dark_)?(?:black|blonde|blue|brown|green|grey|gray|orange|pink|purple|red|silver|white|aqua)_hair")
_COLOUR_EYES = re.compile(r"(?:black|blue|brown|green|grey|gray|orange|pink|purple|red|yellow|white|aqua|golden)_eyes")


@lru_cache(maxsize=65536)
def implications(form: str) -> tuple[str, ...]:
    """The tags (normal forms) that a tag says along with itself."""
    found = list(_MORE.get(form, ()))
    if _ANIMAL_EARS.fullmatch(form):
        found.append("animal_ears")
    if form.endswith("_breasts") and (trait := classify(form)) is not None and not trait.is_state:
        found.append("breasts")
    if form.startswith("holding_"):
        found.append("holding")
    if _NOT_HEADED.search(form) is None:
        found += [head for head in _HEADS if form.endswith("_" + head)]
        if form.endswith("_bun"):
            found.append("hair_bun")
    return tuple(dict.fromkeys(one for one in found if one != form))


def implied(forms: Sequence[str]) -> dict[str, str]:
    """{tag: the tag that says it already}, of the normal forms of one picture's tags."""
    have = set(forms)
    return {general: form for form in forms for general in implications(form) if general in have}


def without_implied(tags: Tags, keep: str = "") -> Tags:
    """The tags without those that another tag of the picture implies; `keep`, the trigger, stays."""
    forms = tuple(map(normal_form, tags))
    said = implied(forms)
    kept = normal_form(keep) if keep else ""
    return tuple(tag for tag, form in zip(tags, forms) if form not in said or form == kept) if said else tags


def contradictions(forms: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of tags (normal forms) of one picture that cannot both be true of it."""
    have = dict.fromkeys(forms)
    found = [pair for pair in _PAIRS if pair[0] in have and pair[1] in have]
    people: dict[str, list[str]] = {}
    several = False
    for form in have:
        if (match := _PEOPLE.fullmatch(form)) is not None:
            people.setdefault(match[2] or match[3], []).append(form)
            several = several or match[1] not in (None, "1") or match[1] is None
    several = several or len(people) > 1
    for counts in people.values():
        exact = [form for form in counts if form[0].isdigit()]
        found += _pairs(exact)
        if "1" in {form[0] for form in exact}:
            found += [(form, other) for form in exact if form[0] == "1" for other in counts if other.startswith("multiple_")]
    if "solo" in have:
        found += [("solo", form) for counts in people.values() for form in counts if form[0] in "23456"]
    if "no_humans" in have:
        found += [("no_humans", form) for counts in people.values() for form in counts]
    if not several:  # of two people, each may have hair of another colour
        if not any(_SEVERAL_HAIRS.fullmatch(form) for form in have):
            found += _pairs([form for form in have if _COLOUR_HAIR.fullmatch(form)])
        if "heterochromia" not in have and "multicolored_eyes" not in have:
            found += _pairs([form for form in have if _COLOUR_EYES.fullmatch(form)])
        lengths = [form for form in have if form in _HAIR]
        found += [pair for pair in _pairs(lengths) if pair[1] not in implications(pair[0]) and pair[0] not in implications(pair[1])]
    return list(dict.fromkeys(found))


def _pairs(forms: Sequence[str]) -> list[tuple[str, str]]:
    return [(a, b) for place, a in enumerate(forms) for b in forms[place + 1 :]]
