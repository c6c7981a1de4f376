"""The test prompts: made from the dataset's own vocabulary, the same for the base model and every epoch."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .families import families, family, plain

SUBJECTS = ("1girl", "1boy", "1other", "solo", "no humans")
PLACES = frozenset("outdoors indoors sky night beach forest city street room classroom bedroom ocean snow sunset".split())
CLOTHES = frozenset(
    "apron armor bikini blazer bodysuit bra cape cardigan cloak coat dress hoodie jacket jeans kimono leotard pajamas pants robe "
    "sailor serafuku shirt shorts skirt suit sweater swimsuit t-shirt tank top uniform vest yukata".split()
)
EXPRESSIONS = frozenset(
    (
        "smile", "open mouth", "closed mouth", "grin", "frown", "laughing", "crying", "angry", "sad", "pout", "surprised",
        "expressionless", "closed eyes", "one eye closed", "tongue out", "light smile", "parted lips", ":d", ":o", ":3",
    )
)  # fmt: skip
KINDS = ("trigger", "flexibility", "leakage")


@dataclass(frozen=True)
class TestPrompt:
    """One picture to be drawn with every model. ``looked_for``: the tags whose presence is scored."""

    __test__ = False  # not a test class, whatever its name suggests to pytest
    kind: str
    text: str
    seed: int
    looked_for: tuple[str, ...]


def count_tags(captions: Iterable[Sequence[str]]) -> Counter[str]:
    """How many captions each tag is in; tags in plain form."""
    return Counter(tag for caption in captions for tag in dict.fromkeys(plain(t) for t in caption) if tag)


def subject(counts: Counter[str]) -> str:
    """The most common tag that says who is in the pictures, ``""`` if none is used."""
    used = [tag for tag in SUBJECTS if counts[tag]]
    return max(used, key=lambda tag: counts[tag]) if used else ""


def category(tag: str) -> str:
    """``background``, ``clothes`` or ``expression``; ``other`` for the rest."""
    tag = plain(tag)
    last = tag.split(" ")[-1] if tag else ""
    if last == "background" or tag in PLACES:
        return "background"
    if tag in EXPRESSIONS:
        return "expression"
    return "clothes" if last in CLOTHES else "other"


def free_tags(counts: Counter[str], traits: Sequence[str], trigger: str, known: Iterable[str]) -> dict[str, list[str]]:
    """What may be varied in a prompt, by category: the captions' tags that are no trait, no trigger and known to the tagger.

    Where the captions have no background, clothes or expression, the other tags take their place.
    """
    mine = {plain(t) for t in (*traits, trigger)}
    usable = [t for t, _ in counts.most_common() if t not in mine and t not in SUBJECTS]
    readable = {plain(t) for t in known}
    groups: dict[str, list[str]] = {}
    for tag in usable:
        if tag in readable:
            groups.setdefault(category(tag), []).append(tag)
    others = groups.pop("other", [])
    return groups or ({"other": others} if others else {})


def other_traits(traits: Sequence[str], known: Iterable[str], rng: random.Random) -> list[str]:
    """Somebody else: for every trait that has alternatives (colours, lengths), another one of its family."""
    mine = {plain(t) for t in traits}
    members = families(known)
    picked: dict[str, str] = {}
    for trait in traits:
        name = family(trait)
        choices = [t for t in members.get(name, ()) if t not in mine]
        if choices and name not in picked:
            picked[name] = rng.choice(choices)
    return list(picked.values())


def make_prompts(
    counts: Counter[str],
    trigger: str,
    traits: Sequence[str],
    known: Sequence[str],
    pictures: tuple[int, int, int],
    seed: int,
) -> list[TestPrompt]:
    """The three sets, ``pictures`` of each kind in the order of KINDS.

    - trigger: the trigger word and who it is, nothing else; the removed traits are looked for (likeness).
    - flexibility: the same with a background, clothes and an expression; these are looked for.
    - leakage: somebody else spelled out, no trigger, none of the traits named; the traits are looked for.

    A set that the dataset gives nothing to look for is left out, except the first, which is worth seeing anyway.
    """
    rng = random.Random(seed)
    who = subject(counts)
    start = [t for t in (trigger.strip(), who) if t]
    readable = {plain(t) for t in known}
    looked = tuple(plain(t) for t in traits if plain(t) in readable)
    groups = free_tags(counts, traits, trigger, known)
    prompts = [TestPrompt("trigger", ", ".join(start), seed + k, looked) for k in range(pictures[0])]
    decks = {name: _deck(tags, pictures[1], rng) for name, tags in sorted(groups.items())}
    for k in range(pictures[1] if decks else 0):
        tags = [deck[k] for deck in decks.values()]
        prompts.append(TestPrompt("flexibility", ", ".join([*start, *tags]), seed + 1000 + k, tuple(tags)))
    for k in range(pictures[2] if looked else 0):
        tags = [t for t in (who, *other_traits(traits, known, rng)) if t]
        tags += [rng.choice(group) for group in groups.values()]
        prompts.append(TestPrompt("leakage", ", ".join(tags), seed + 2000 + k, looked))
    return prompts


def _deck(tags: Sequence[str], n: int, rng: random.Random) -> list[str]:
    """``n`` tags, every one used once before any is used again."""
    deck: list[str] = []
    while len(deck) < n:
        deck += rng.sample(list(tags), len(tags))
    return deck[:n]
