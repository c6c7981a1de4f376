"""What the words of a filter mean: from a dataset's captions to the names of pictures."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from ..dataset import format_tags
from ..errors import UserError
from .filter_tokens import FilterError, Token
from .index import DatasetIndex, Picture
from .lint import contradictions, implied
from .matching import WILD, Pattern, Wildcards, unescaped
from .tokens import caption_tokens
from .traits import GROUPS, OPTIONAL_GROUPS, classify, normal_form

Names = set[str]
LONGEST_LOOK = 5.0  # seconds that all but the regular expressions may take; it needs this long only where captions are absurd
T = TypeVar("T")

NUMBERS: dict[str, Callable[[Picture], int]] = {
    "count": lambda picture: len(picture.tags),
    "tokens": lambda picture: caption_tokens(picture.tags),
    "chars": lambda picture: len(format_tags(picture.tags)),
}
_STATES: dict[str, Callable[[Picture], bool]] = {
    "empty": lambda picture: not picture.tags,
    "repeated": lambda picture: picture.repeated > 0,
    "contradictory": lambda picture: bool(contradictions(picture.forms)),
    "implied": lambda picture: bool(implied(picture.forms)),
}
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    ">": lambda a, b: a > b, "<": lambda a, b: a < b, ">=": lambda a, b: a >= b, "<=": lambda a, b: a <= b,
    "=": lambda a, b: a == b, "": lambda a, b: a == b, "!=": lambda a, b: a != b,
}  # fmt: skip


@dataclass(frozen=True)
class Expression:
    """A regular expression of a filter and where it looks: "name", "caption" or "" for the tags."""

    pattern: Pattern
    where: str
    at: int = field(compare=False)

    def texts(self, look: Look) -> Iterable[str]:
        """What it is matched against."""
        if self.where == "name":
            return look.index.pictures
        return look.by_caption if self.where == "caption" else look.index.by_tag

    def ask(self, texts: Iterable[str], until: float) -> dict[str, bool]:
        """Which of the texts it is found in. Raises FilterError when it is none, or is not done `until` then (by time.monotonic)."""
        given = list(texts)
        try:
            found = self.pattern.matching(given, until - time.monotonic())
        except UserError as error:
            raise FilterError(error.message, self.at, error.hint) from error
        return {text: text in found for text in given}


@dataclass
class Look:
    """One look through the captions, while the index stands still. said: what its regular expressions say to each text."""

    index: DatasetIndex
    said: dict[Expression, dict[str, bool]] = field(default_factory=dict)
    until: float = field(default_factory=lambda: time.monotonic() + LONGEST_LOOK)

    @cached_property
    def by_caption(self) -> dict[str, Names]:
        """The names of the pictures by their whole caption."""
        found: dict[str, Names] = {}
        for picture in self.index.pictures.values():
            found.setdefault(format_tags(picture.tags), set()).add(picture.name)
        return found

    def among(self, values: Iterable[T]) -> Iterator[T]:
        """The values one by one, as long as there is time."""
        for value in values:
            if time.monotonic() > self.until:
                raise UserError("This filter takes too long.", "Look for less at once.")
            yield value

    def pictures(self, holds: Callable[[Picture], bool]) -> Names:
        return {picture.name for picture in self.among(self.index.pictures.values()) if holds(picture)}

    def named(self, fits: Callable[[str], bool]) -> Names:
        return {name for name in self.among(self.index.pictures) if fits(name)}

    def captioned(self, fits: Callable[[str], bool]) -> Names:
        return set().union(*(names for text, names in self.among(self.by_caption.items()) if fits(text)))

    def having(self, fits: Callable[[str], bool]) -> Names:
        """The pictures with a tag that fits as it is spelled."""
        return set().union(*(names for tag, names in self.among(self.index.by_tag.items()) if fits(tag)))

    def having_form(self, fits: Callable[[str], bool]) -> Names:
        """The pictures with a tag whose normal form fits."""
        return set().union(*(self.index.holders(form) for form in self.among(self.index.spellings) if fits(form)))

    def missing(self, expressions: Iterable[Expression]) -> dict[Expression, list[str]]:
        """The texts to which an expression was not asked yet."""
        rows = ((one, [text for text in one.texts(self) if text not in self.said.get(one, {})]) for one in expressions)
        return {one: texts for one, texts in rows if texts}


Term = Callable[[Look], Names]


def meaning(token: Token) -> tuple[Term, Expression | None]:
    """What a word of a filter means, and the regular expression that must be asked before. Raises FilterError."""
    text = token.text.strip()
    if not text:
        raise FilterError("There is nothing to look for.", token.at)
    if token.how == "regex" and token.field in ("", "tag", "name", "caption"):
        return _expression(token, text)
    if token.field in NUMBERS:
        return _number(token), None
    if token.field == "is":
        return _state(token), None
    if token.field == "trait":
        return _trait(token), None
    wild = token.how == "plain" and WILD.search(text) is not None
    if token.field in ("name", "caption"):
        fits = _wildcards(token, text) if wild else _holding(unescaped(text) if token.how == "plain" else text)
        return (lambda look: look.named(fits)) if token.field == "name" else (lambda look: look.captioned(fits)), None
    if wild:
        fits = _wildcards(token, text.replace(" ", "_"))
        return lambda look: look.having_form(fits), None
    form = normal_form(unescaped(text) if token.how == "plain" else text)
    if token.field == "tag":
        return lambda look: look.index.holders(form), None
    return lambda look: look.having_form(lambda one: form in one), None


def _expression(token: Token, text: str) -> tuple[Term, Expression]:
    where = "" if token.field == "tag" else token.field
    expression = Expression(Pattern(text), where, token.at)

    def term(look: Look) -> Names:
        among = {"name": look.named, "caption": look.captioned}.get(where, look.having)
        return among(look.said.get(expression, {}).__getitem__)

    return term, expression


def _holding(text: str) -> Callable[[str], bool]:
    plain = text.lower()
    return lambda value: plain in value.lower()


def _wildcards(token: Token, text: str) -> Callable[[str], bool]:
    try:
        return Wildcards(text).fits
    except UserError as error:
        raise FilterError(error.message, token.at, error.hint) from error


def _number(token: Token) -> Term:
    match = re.fullmatch(r"(>=|<=|!=|>|<|=|)\s*(\d{1,9})", token.text.strip())
    span = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", token.text.strip())
    number = NUMBERS[token.field]
    if span is not None:
        low, high = int(span[1]), int(span[2])
        return lambda look: look.pictures(lambda picture: low <= number(picture) <= high)
    if match is None:
        hint = f"For example {token.field}:>20 or {token.field}:5..20."
        raise FilterError(f"{token.field}: is followed by a number, not by {token.text}.", token.at, hint)
    compare, value = _COMPARE[match[1]], int(match[2])
    return lambda look: look.pictures(lambda picture: compare(number(picture), value))


def _state(token: Token) -> Term:
    state = _STATES.get(token.text.strip().lower())
    if state is None:
        raise FilterError(f"There is no is:{token.text}.", token.at, f"There are {', '.join('is:' + name for name in _STATES)}.")
    return lambda look: look.pictures(state)


def _trait(token: Token) -> Term:
    group = token.text.strip().lower()
    if group not in (*GROUPS, *OPTIONAL_GROUPS, "any"):
        hint = f"There are {', '.join(('any', *GROUPS, *OPTIONAL_GROUPS))}."
        raise FilterError(f"There is no trait group {token.text}.", token.at, hint)

    def belongs(form: str) -> bool:
        trait = classify(form, optional=group in OPTIONAL_GROUPS)
        return trait is not None and not trait.is_state and group in ("any", trait.group)

    return lambda look: look.having_form(belongs)
