"""The filter's small language: which pictures of a dataset are meant.

    tag:"long hair"   -tag:smile   hair   *_eyes   tag:/^(red|blue) /   count:>30   tokens:>75   name:hana*
    trait:hair_color  is:empty  is:repeated  is:contradictory  AND OR NOT ( )

Terms side by side must all hold; NOT binds closer than AND, AND closer than OR.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import UserError
from .filter_terms import NUMBERS, Expression, Look, Term, meaning
from .filter_tokens import FIELDS, FilterError, Token, tokens
from .index import DatasetIndex
from .matching import LIMIT
from .traits import normal_form

__all__ = ["FIELDS", "SORTS", "Filter", "FilterError", "Wanted", "parse"]

DEEPEST = 40
SORTS = ("name", "-name", "count", "-count", "tokens", "-tokens")


@dataclass(frozen=True)
class Filter:
    """A filter that was read. term: None where it is empty; expressions: the regular expressions to be asked before."""

    term: Term | None
    expressions: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """The pictures that are asked for. include, exclude: tags that must or must not be there, besides the filter; sort: one of SORTS."""

    filter: str = ""
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    sort: str = "name"

    @property
    def everything(self) -> bool:
        return not (self.filter.strip() or self.include or self.exclude)

    def names(self, index: DatasetIndex) -> list[str]:
        """The names of the pictures, sorted. Raises FilterError."""
        with self.found(index) as names:
            return names

    @contextmanager
    def found(self, index: DatasetIndex) -> Iterator[list[str]]:
        """The names of the pictures, sorted, and the index standing still meanwhile. Raises FilterError.

        Others can use the index while regular expressions are matched; what came into it by then is matched as well.
        """
        if self.sort not in SORTS:
            raise UserError(f"The pictures cannot be sorted by {self.sort!r}.", f"Take one of {', '.join(SORTS)}.")
        until = time.monotonic() + LIMIT
        wanted = parse(self.filter, until)
        said: dict[Expression, dict[str, bool]] = {}
        while True:
            with index.lock:
                look = Look(index, said)
                missing = look.missing(wanted.expressions)
                if not missing:
                    yield self._sorted(self._names(look, wanted.term), index)
                    return
            for expression, texts in missing.items():
                said.setdefault(expression, {}).update(expression.ask(texts, until))

    def _names(self, look: Look, term: Term | None) -> list[str]:
        index = look.index
        if self.everything:
            return list(index.pictures)
        wanted = term(look) if term is not None else set(index.pictures)
        for tag in self.include:
            wanted = wanted & index.holders(normal_form(tag))
        for tag in self.exclude:
            wanted = wanted - index.holders(normal_form(tag))
        return [name for name in index.pictures if name in wanted]

    def _sorted(self, names: list[str], index: DatasetIndex) -> list[str]:
        field, back = self.sort.lstrip("-"), self.sort.startswith("-")
        if field == "name":
            return names[::-1] if back else names
        number = NUMBERS[field]
        return sorted(names, key=lambda name: number(index.pictures[name]), reverse=back)


def parse(text: str, until: float | None = None) -> Filter:
    """What a filter means. until: when its regular expressions must be done. Raises FilterError."""
    words = tokens(text)
    if not words:
        return Filter(None)
    reader = _Reader(words, len(text))
    term = reader.either(0)
    if (left := reader.next()) is not None:
        raise FilterError("There is a ) too many.", left.at)
    expressions = tuple(dict.fromkeys(reader.expressions))
    for expression in expressions:
        expression.ask((), time.monotonic() + LIMIT if until is None else until)
    return Filter(term, expressions)


class _Reader:
    def __init__(self, words: Sequence[Token], end: int) -> None:
        self.tokens, self.end, self.place = words, end, 0
        self.expressions: list[Expression] = []

    def next(self) -> Token | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def take(self, kind: str) -> bool:
        token = self.next()
        if token is None or token.kind != kind:
            return False
        self.place += 1
        return True

    def either(self, depth: int) -> Term:
        terms = [self.both(depth)]
        while self.take("OR"):
            terms.append(self.both(depth))
        return terms[0] if len(terms) == 1 else lambda look: set().union(*(term(look) for term in terms))

    def both(self, depth: int) -> Term:
        terms = [self.one(depth)]
        while (token := self.next()) is not None and token.kind not in (")", "OR"):
            self.take("AND")
            terms.append(self.one(depth))
        return terms[0] if len(terms) == 1 else lambda look: set.intersection(*(term(look) for term in terms))

    def one(self, depth: int) -> Term:
        token = self.next()
        if token is None:
            raise FilterError("The filter ends where something should follow.", self.end)
        if depth > DEEPEST:
            raise FilterError("The filter has too many brackets.", token.at)
        self.place += 1
        if token.kind in ("NOT", "-"):
            inner = self.one(depth + 1)
            return lambda look: set(look.index.pictures) - inner(look)
        if token.kind == "(":
            inner = self.either(depth + 1)
            if not self.take(")"):
                raise FilterError("A ) is missing.", self.end)
            return inner
        if token.kind != "term":
            raise FilterError(f"Something is missing before {token.kind}.", token.at)
        term, expression = meaning(token)
        if expression is not None:
            self.expressions.append(expression)
        return term
