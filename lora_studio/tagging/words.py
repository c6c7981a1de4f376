"""How tags are spelled in captions, and when two spellings are one tag."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

# Danbooru's emoticon tags with an underscore in them: a space would make another word of them.
KAOMOJI = frozenset(
    (
        "0_0",
        "(o)_(o)",
        "+_+",
        "+_-",
        "._.",
        "<o>_<o>",
        "<|>_<|>",
        "=_=",
        ">_<",
        "3_3",
        "6_9",
        ">_o",
        "@_@",
        "^_^",
        "o_o",
        "u_u",
        "x_x",
        "|_|",
        "||_||",
    )
)
_KAOMOJI_SPACED = {face.replace("_", " "): face for face in KAOMOJI}
_BRACKET = re.compile(r"(?<!\\)([()])")


@lru_cache(maxsize=65536)
def key(tag: str) -> str:
    r"""What two spellings of one tag have in common: ``Blue_Hair`` and ``blue hair``, ``saber \(fate\)`` and ``saber_(fate)``."""
    plain = " ".join(tag.replace("\\(", "(").replace("\\)", ")").replace("_", " ").split()).lower()
    return _KAOMOJI_SPACED.get(plain, plain)


def spell(tag: str, underscores: bool = False, escape: bool = False) -> str:
    r"""A tag of the model's list as a caption has it.

    Underscores become spaces except in emoticons; with `escape` parentheses become ``\(`` and ``\)``,
    which a prompt needs and a caption for training does not.
    """
    if not underscores and tag not in KAOMOJI:
        tag = tag.replace("_", " ")
    return _BRACKET.sub(r"\\\1", tag) if escape else tag


def unique(tags: Iterable[str]) -> tuple[str, ...]:
    """The first of each tag, whatever the spelling of the others."""
    firsts: dict[str, str] = {}
    for tag in tags:
        firsts.setdefault(key(tag), tag)
    return tuple(firsts.values())


def combine(existing: Iterable[str], new: Iterable[str], mode: str) -> tuple[str, ...]:
    """The caption that `new` tags make of an `existing` one.

    overwrite: the new tags. append: the existing ones, then the new ones not spelled out there. prepend: the new
    ones, then the existing ones not spelled out among them. merge: as append, but a tag that is there
    in another spelling is not added. Doing it twice changes nothing more. Raises ValueError for another mode.
    """
    existing, new = tuple(existing), tuple(new)
    if mode == "overwrite":
        return new
    if mode == "append":
        there = set(existing)
        return existing + tuple(tag for tag in new if tag not in there)
    if mode == "prepend":
        there = set(new)
        return new + tuple(tag for tag in existing if tag not in there)
    if mode == "merge":
        keys = {key(tag) for tag in existing}
        return existing + tuple(tag for tag in new if key(tag) not in keys)
    raise ValueError(f"unknown mode {mode!r}")
