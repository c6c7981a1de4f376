"""The filter's small language: which pictures of a dataset are meant.

    tag:"long hair"   -tag:smile   hair   *_eyes   tag:/^(red|blue) /   count:>30   tokens:>75   name:hana*
    trait:hair_color  is:empty  is:repeated  is:contradictory  AND OR NOT ( )

Terms side by side must all hold; NOT binds closer than AND, AND closer than OR.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..dataset import format_tags
from ..errors import UserError
from .index import DatasetIndex, Picture
from .lint import contradictions, implied
from .search import Search
from .tokens import caption_tokens
from .traits import GROUPS, OPTIONAL_GROUPS, classify, normal_form

Names = set[str]
Term = Callable[[DatasetIndex], Names]
DEEPEST = 40
HINT = "Write for example: tag:smile -tag:hat count:>20, with AND, OR, NOT and brackets."

_NUMBERS: dict[str, Callable[[Picture], int]] = {
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
_WORDS = {"AND", "OR", "NOT"}
FIELDS = ("tag", "name", "caption", "count", "tokens", "chars", "trait", "is")
SORTS = ("name", "-name", "count", "-count", "tokens", "-tokens")


class FilterError(UserError):
    """A filter that cannot be read. data["at"]: the place of the mistake in it."""

    def __init__(self, message: str, at: int, hint: str = HINT) -> None:
        super().__init__(message, hint)
        self.data = {"at": at}


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
        if self.sort not in SORTS:
            raise UserError(f"The pictures cannot be sorted by {self.sort!r}.", f"Take one of {', '.join(SORTS)}.")
        term = parse(self.filter)
        with index.lock:
            if self.everything:
                found = list(index.pictures)
            else:
                wanted = term(index) if term is not None else set(index.pictures)
                for tag in self.include:
                    wanted = wanted & index.holders(normal_form(tag))
                for tag in self.exclude:
                    wanted = wanted - index.holders(normal_form(tag))
                found = [name for name in index.pictures if name in wanted]
            return _sorted(found, index, self.sort)


def _sorted(names: list[str], index: DatasetIndex, sort: str) -> list[str]:
    field, back = sort.lstrip("-"), sort.startswith("-")
    if field == "name":
        return names[::-1] if back else names
    number = _NUMBERS[field]
    return sorted(names, key=lambda name: number(index.pictures[name]), reverse=back)


# -- reading ---------------------------------------------------------------------


@dataclass(frozen=True)
class _Token:
    """kind: "(", ")", "-", AND, OR, NOT or "term"; how: of a term, "plain", "quoted" or "regex"."""

    kind: str
    at: int
    field: str = ""
    text: str = ""
    how: str = "plain"


_FIELD = re.compile(r"([A-Za-z]+):")


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char.isspace():
            at += 1
        elif char in "()":
            found.append(_Token(char, at))
            at += 1
        elif char in "-!" and at + 1 < len(text) and (text[at + 1] in '("/' or text[at + 1].isalnum() or text[at + 1] in "*:"):
            found.append(_Token("-", at))
            at += 1
        else:
            token, at = _term(text, at)
            found.append(token)
    return found


def _term(text: str, at: int) -> tuple[_Token, int]:
    start, field = at, ""
    if (match := _FIELD.match(text, at)) is not None:
        field = match[1].lower()
        if field == "tags":
            field = "count"
        ended = match.end() == len(text) or text[match.end()].isspace()
        if field not in FIELDS and not ended:
            hint = f"There are {', '.join(FIELDS)}. Text with a colon in it goes in quotation marks."
            raise FilterError(f"There is no filter {match[1]}:.", start, hint)
        if field not in FIELDS:
            field = ""  # a word that ends with a colon
        elif ended:
            raise FilterError("There is nothing to look for.", start)
        else:
            at = match.end()
    if text[at] in "\"'/“" and (field or text[at] != "'"):
        end = {"“": "”"}.get(text[at], text[at])
        content, after = _until(text, at + 1, end)
        if after >= 0:
            return _Token("term", start, field, content, "regex" if end == "/" else "quoted"), after
        if end != "'":
            raise FilterError(f"{text[at:]} has no end: {end} is missing.", start)
    depth, begin = 0, at
    while at < len(text) and not text[at].isspace():
        if text[at] == "\\" and at + 1 < len(text):
            at += 1
        elif text[at] == "(":
            depth += 1
        elif text[at] == ")":
            if not depth:
                break
            depth -= 1
        at += 1
    word = text[begin:at]
    return (_Token(word, start) if not field and word in _WORDS else _Token("term", start, field, word)), at


def _until(text: str, at: int, end: str) -> tuple[str, int]:
    """The text up to an unescaped `end`, and the place behind it; -1 when there is none."""
    out = []
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text):
            if text[at + 1] != end:
                out.append("\\")
            out.append(text[at + 1])
            at += 2
        elif text[at] == end:
            return "".join(out), at + 1
        else:
            out.append(text[at])
            at += 1
    return "", -1


def parse(text: str) -> Term | None:
    """The filter as a function from an index to the names it means; None for an empty one. Raises FilterError."""
    tokens = _tokens(text)
    if not tokens:
        return None
    reader = _Reader(tokens, len(text))
    term = reader.either(0)
    if (left := reader.next()) is not None:
        raise FilterError("There is a ) too many.", left.at)
    return term


class _Reader:
    def __init__(self, tokens: Sequence[_Token], end: int) -> None:
        self.tokens, self.end, self.place = tokens, end, 0

    def next(self) -> _Token | None:
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
        return terms[0] if len(terms) == 1 else lambda index: set().union(*(term(index) for term in terms))

    def both(self, depth: int) -> Term:
        terms = [self.one(depth)]
        while (token := self.next()) is not None and token.kind not in (")", "OR"):
            self.take("AND")
            terms.append(self.one(depth))
        return terms[0] if len(terms) == 1 else lambda index: set.intersection(*(term(index) for term in terms))

    def one(self, depth: int) -> Term:
        token = self.next()
        if token is None:
            raise FilterError("The filter ends where something should follow.", self.end)
        if depth > DEEPEST:
            raise FilterError("The filter has too many brackets.", token.at)
        self.place += 1
        if token.kind in ("NOT", "-"):
            inner = self.one(depth + 1)
            return lambda index: set(index.pictures) - inner(index)
        if token.kind == "(":
            inner = self.either(depth + 1)
            if not self.take(")"):
                raise FilterError("A ) is missing.", self.end)
            return inner
        if token.kind != "term":
            raise FilterError(f"Something is missing before {token.kind}.", token.at)
        return _meaning(token)


# -- meaning -----------------------------------------------------------------------


def _meaning(token: _Token) -> Term:
    text = token.text.strip()
    if not text:
        raise FilterError("There is nothing to look for.", token.at)
    if token.field in _NUMBERS:
        return _number(token)
    if token.field == "is":
        return _state(token)
    if token.field == "trait":
        return _trait(token)
    if token.field == "name":
        fits = _matcher(token, whole=False)
        return lambda index: {name for name in index.pictures if fits(name)}
    if token.field == "caption":
        fits = _matcher(token, whole=False)
        return lambda index: {p.name for p in index.pictures.values() if fits(format_tags(p.tags))}
    if token.how == "regex":
        fits = _matcher(token, whole=False)
        return lambda index: _having(index, (tag for tag in index.by_tag if fits(tag)))
    if token.how == "plain" and _WILD.search(text):
        fits = _matcher(token, whole=True)
        return lambda index: _having_forms(index, (form for form in index.spellings if fits(form)))
    form = normal_form(_unescaped(text) if token.how == "plain" else text)
    if token.field == "tag":
        return lambda index: index.holders(form)
    return lambda index: _having_forms(index, (one for one in index.spellings if form in one))


def _having(index: DatasetIndex, tags: Iterable[str]) -> Names:
    return set().union(*(index.by_tag[tag] for tag in tags))


def _having_forms(index: DatasetIndex, forms: Iterable[str]) -> Names:
    return set().union(*(index.holders(form) for form in forms))


_WILD = re.compile(r"(?<!\\)[*?]")


def _unescaped(text: str) -> str:
    return re.sub(r"\\([*?])", r"\1", text)


def _matcher(token: _Token, whole: bool) -> Callable[[str], bool]:
    """Whether a text fits: a regular expression somewhere in it, a pattern with * and ? as a whole, other text somewhere or as a whole."""
    text = token.text.strip()
    if token.how == "regex":
        try:
            pattern = Search(find=text, regex=True).compiled()
        except UserError as error:
            raise FilterError(error.message, token.at, error.hint) from error
        return lambda value: pattern.search(value) is not None
    wild = token.how == "plain" and _WILD.search(text) is not None
    if wild:
        text = text.replace(" ", "_") if whole else text
        parts = re.split(r"(?<!\\)([*?])", text)
        source = "".join({"*": ".*", "?": "."}.get(part) or re.escape(_unescaped(part)) for part in parts)
        pattern = re.compile(re.sub(r"(?:\.\*)+", ".*", source), re.IGNORECASE | re.DOTALL)
        return lambda value: pattern.fullmatch(value) is not None
    plain = (_unescaped(text) if token.how == "plain" else text).lower()
    return (lambda value: value.lower() == plain) if whole else (lambda value: plain in value.lower())


def _number(token: _Token) -> Term:
    match = re.fullmatch(r"(>=|<=|!=|>|<|=|)\s*(\d{1,9})", token.text.strip())
    span = re.fullmatch(r"(\d{1,9})\.\.(\d{1,9})", token.text.strip())
    number = _NUMBERS[token.field]
    if span is not None:
        low, high = int(span[1]), int(span[2])
        return lambda index: {p.name for p in index.pictures.values() if low <= number(p) <= high}
    if match is None:
        hint = f"For example {token.field}:>20 or {token.field}:5..20."
        raise FilterError(f"{token.field}: is followed by a number, not by {token.text}.", token.at, hint)
    compare, value = _COMPARE[match[1]], int(match[2])
    return lambda index: {p.name for p in index.pictures.values() if compare(number(p), value)}


def _state(token: _Token) -> Term:
    state = _STATES.get(token.text.strip().lower())
    if state is None:
        raise FilterError(f"There is no is:{token.text}.", token.at, f"There are {', '.join('is:' + name for name in _STATES)}.")
    return lambda index: {p.name for p in index.pictures.values() if state(p)}


def _trait(token: _Token) -> Term:
    group = token.text.strip().lower()
    if group not in (*GROUPS, *OPTIONAL_GROUPS, "any"):
        hint = f"There are {', '.join(('any', *GROUPS, *OPTIONAL_GROUPS))}."
        raise FilterError(f"There is no trait group {token.text}.", token.at, hint)

    def belongs(form: str) -> bool:
        trait = classify(form, optional=group in OPTIONAL_GROUPS)
        return trait is not None and not trait.is_state and group in ("any", trait.group)

    return lambda index: _having_forms(index, [form for form in index.spellings if belongs(form)])
