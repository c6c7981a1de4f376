"""Random filters and captions, harmless and nasty ones, from a seed."""

from __future__ import annotations

import random

from lora_studio.editing import normal_form
from lora_studio.editing.index import DatasetIndex, Picture

NASTY = (
    "/(.|a)+!/", r"/(a|b|.)+\1!/", "caption:/.*.*.*.*.*!/", "*a*a*a*a*a*a!", "tag:/(a+)+$/", r"caption:/(\w+\s?)+!$/", "name:/(.*)*x/",
    r"/^(([a-z])+.)+[A-Z]([a-z])+$/", "caption:*a*a*a*a*a*a*a*a*a*a*b?c", "tag:/(?=(a+))\\1+b(?<!a)/", "caption:/(.+)+(.+)+(.+)+!/",
    "name:*?*?*?*?*?*?*!", "/" + "a?" * 40 + "a" * 40 + "/",
    "tag:/[" + "".join(map(chr, range(256, 400))) + "]{3,900}(x|xx)*y/",
)  # fmt: skip
ATOMS = (
    "a", "b", ".", "smile", "hair", "_", " ", r"\w", r"\s", r"\d", "[ab]", "[^a]", "(a|b)", "(?:a|.)", "(a)", r"\1", "^", "$", "花", "é",
    "(?i:A)", "(", "[",
)  # fmt: skip
REPEATS = ("", "", "", "", "*", "+", "?", "{2}", "{1,3}", "*?", "+?")
PLAIN = (
    "smile", "1girl", "hair", '"long hair"', "*", "?", "*hair", "s?i*e", r"\*", "花*", "saber_(fate)", "^_^", ":d", "-", "*" * 20, "a?" * 8,
    "“a”", "x" * 300,
)  # fmt: skip
FIELDS = ("", "", "", "tag:", "name:", "caption:")
OTHERS = (
    "count:>2", "tokens:<9", "chars:5..90", "is:empty", "is:repeated", "is:contradictory", "is:implied", "trait:any", "trait:hair_color",
    "count:x", "foo:1", '"',
)  # fmt: skip


def expression(rng: random.Random) -> str:
    return "/" + "".join(rng.choice(ATOMS) + rng.choice(REPEATS) for _ in range(rng.randint(1, 6))).replace("/", "") + "/"


def word(rng: random.Random, nasty: float) -> str:
    found = rng.random()
    if found < nasty:
        return rng.choice(NASTY)
    kind = rng.randrange(4)
    return rng.choice(OTHERS) if kind == 0 else rng.choice(FIELDS) + (expression(rng) if kind == 1 else rng.choice(PLAIN))


def a_filter(rng: random.Random, nasty: float = 0.01) -> str:
    """nasty: how often a word is one that would match for ever."""
    before, after = ("", "", "", "-", "NOT ", "(", "(("), ("", "", "", ")", "))")
    words = [rng.choice(before) + word(rng, nasty) + rng.choice(after) for _ in range(rng.randint(1, 4))]
    return "".join(one + rng.choice((" ", " ", " AND ", " OR ")) for one in words).strip()


def an_index(rng: random.Random, pictures: int = 12) -> DatasetIndex:
    """Captions of usual tags, of hundreds of the same sign, and of one endless word."""
    index = DatasetIndex(".")
    tags = ["1girl", "long hair", "smile", "red_eyes", "saber \\(fate\\)", "^_^", "花"]
    tags += ["a" * 40, "ab" * 30, "a" * 3000, " a" * 200, "(" * 50 + "x" + ")" * 50, "É" * 20]
    for number in range(pictures):
        own = tuple(rng.sample(tags, rng.randint(0, 6)))
        name = f"{'a' * rng.choice((1, 1, 30))}{number}.png"
        index._put(Picture(name, name[:-3] + "txt", b"", own, tuple(map(normal_form, own))))
    return index
