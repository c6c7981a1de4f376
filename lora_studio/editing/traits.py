"""Is this tag a trait of the character, a passing state, or neither?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from .vocabulary import TABLE, WORDS

GROUPS: tuple[str, ...] = tuple(group.name for group in TABLE if not group.optional)
"""The groups that trait removal takes when none is named."""
OPTIONAL_GROUPS: tuple[str, ...] = tuple(group.name for group in TABLE if group.optional)
"""Groups taken only when named."""
DESCRIPTIONS: dict[str, str] = {group.name: group.about for group in TABLE}

LONGEST = 1000  # characters of a tag in brackets; taking them off takes the square of that
_WEIGHT = re.compile(r":[\s_]*[-+]?[\d.]+[\s_]*$")
_SPACES = re.compile(r"[\s_]+")
_ESCAPED = re.compile(r"\\([()\[\]{}])")


@dataclass(frozen=True)
class Trait:
    """What a tag says of the character. group: one of GROUPS or OPTIONAL_GROUPS. is_state: only for the moment so."""

    group: str
    is_state: bool = False


def _unwrap(text: str) -> str:
    """The tag inside `(tag)`, `((tag:1.2))`, `[tag]` and `{tag}`; brackets that belong to the tag (`slime_(creature)`) stay."""
    while len(text) > 2 and (text[0], text[-1]) in (("(", ")"), ("[", "]"), ("{", "}")):
        depth = 0
        for place, char in enumerate(text):
            depth += char in "([{"
            depth -= char in ")]}"
            if depth == 0 and place < len(text) - 1:
                return text
        inner = text[1:-1].strip("_ ")
        text = _WEIGHT.sub("", inner)
    return text


@lru_cache(maxsize=65536)
def normal_form(tag: str) -> str:
    """The tag as the vocabulary spells it: lower case, underscores, no `\\(` escapes, no prompt weight."""
    text = tag.strip().lower().replace(" ", "_")
    if text.replace("_", "").replace("-", "").isalnum() and "__" not in text:  # most tags: nothing else to undo
        return text.strip("_")
    if text[:1] + text[-1:] in ("()", "[]", "{}") and len(text) <= LONGEST:
        # Escaped brackets are the tag's own: hide them while weights are unwrapped.
        text = _unwrap(text.replace("\\(", "\x01").replace("\\)", "\x02")).replace("\x01", "(").replace("\x02", ")")
    return _SPACES.sub("_", _ESCAPED.sub(r"\1", text)).strip("_")


def _expand(pattern: str) -> str:
    return re.sub(r"\{([a-z]+)\}", lambda m: WORDS[m[1]], pattern)


def _compile(optional: bool) -> re.Pattern[str]:
    """All patterns as one alternation; states first, for they are the exceptions of their group's patterns."""
    states: list[str] = []
    traits: list[str] = []
    for group in TABLE:
        if group.optional == optional:
            if group.states:
                states.append(f"(?P<S_{group.name}>{'|'.join(map(_expand, group.states))})")
            traits.append(f"(?P<T_{group.name}>{'|'.join(map(_expand, group.traits))})")
    return re.compile("|".join(states + traits))


_DEFAULT = _compile(optional=False)
_OPTIONAL = _compile(optional=True)


@lru_cache(maxsize=65536)
def _classify(normal: str, optional: bool) -> Trait | None:
    found = _DEFAULT.fullmatch(normal)
    if found is None and optional:
        found = _OPTIONAL.fullmatch(normal)
    if found is None or found.lastgroup is None:
        return None
    return Trait(found.lastgroup[2:], found.lastgroup.startswith("S_"))


def classify(tag: str, optional: bool = False) -> Trait | None:
    """What kind of trait a tag is, or None. Spaces or underscores, escapes and prompt weights do not matter.

    optional: also recognise the groups of OPTIONAL_GROUPS (what is worn), which are no traits otherwise.
    """
    return _classify(normal_form(tag), optional)


def label(tag: str) -> str:
    """`classify` as one word: the group's name, `STATE`, or `-`."""
    trait = classify(tag)
    return "-" if trait is None else "STATE" if trait.is_state else trait.group


def classify_lines(lines: Iterable[str]) -> Iterator[str]:
    """`tag<TAB>group|STATE|-` for each line, the tag exactly as it was given (only its line end taken off)."""
    for line in lines:
        tag = line.rstrip("\r\n")
        yield f"{tag}\t{label(tag)}"
