"""Search and replace in captions: whole tags, parts of tags or whole captions, as plain text or by regular expression."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from ..dataset import format_tags, parse_tags
from ..errors import UserError
from .traits import normal_form

try:
    from re import _constants, _parser  # type: ignore[attr-defined]
except ImportError:  # Python 3.10
    import sre_constants as _constants
    import sre_parse as _parser

Tags = tuple[str, ...]
PATIENCE = 5.0  # seconds that a search over all captions may take
MANY = 25  # repeats from which on two of them inside each other may take forever


@dataclass(frozen=True)
class Search:
    """find: what to look for; new: what comes in its place (commas in it make several tags, nothing removes).

    scope: "tag" compares whole tags, "part" looks inside each tag, "caption" inside the whole text. regex: `find` is a regular
    expression, and `new` may take its groups as $1 or \\1. match_case: capitals and small letters differ; without regex and
    match_case, a whole tag is found in every spelling of it.
    """

    find: str
    new: str = ""
    scope: Literal["tag", "part", "caption"] = "tag"
    regex: bool = False
    match_case: bool = False

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def check(self) -> None:
        """Raise UserError for a search that means nothing."""
        if self.scope not in ("tag", "part", "caption"):
            raise UserError(f"{self.scope!r} is neither tag nor part nor caption.")
        if not self.find.strip():
            raise UserError("There is nothing to look for.", "Write the text to be replaced.")
        pattern = self.compiled()
        try:
            if self.regex:
                _parser.parse_template(self._template(), pattern)
        except (re.error, IndexError) as error:
            raise UserError(f"The replacement {self.new!r} cannot be used: {error}.", "Groups are written $1, $2, …") from error

    def _template(self) -> str:
        return re.sub(r"\$(\d)", r"\\g<\1>", self.new)

    def compiled(self) -> re.Pattern[str]:
        """The pattern. Raises UserError for one that is none, or that could take forever."""
        flags = 0 if self.match_case else re.IGNORECASE
        if not self.regex:
            return re.compile(re.escape(self.find), flags)
        try:
            parsed = _parser.parse(self.find, flags)
            pattern = re.compile(self.find, flags)
        except (re.error, RecursionError, OverflowError) as error:
            hint = "To look for the text as it is, untick the box for regular expressions."
            raise UserError(f"{self.find!r} is not a regular expression: {error}.", hint) from error
        if _nested(parsed):
            raise UserError(
                f"{self.find!r} repeats something that is repeated itself: that can take forever.", "Take one of the two + or * away, as in (a+)+."
            )
        return pattern

    def function(self) -> Callable[[Tags], tuple[Tags, int]]:
        """From tags to the tags after the replacement and the number of matches. Raises UserError when matching takes too long."""
        self.check()
        pattern = self.compiled()
        literal = self.new
        new: Any = self._template() if self.regex else lambda match: literal
        until = time.monotonic() + PATIENCE
        form = normal_form(self.find)

        def in_text(text: str) -> tuple[str, int]:
            if time.monotonic() > until:
                raise UserError("This search takes too long.", "Use a simpler regular expression.")
            return pattern.subn(new, text)

        def in_tag(tag: str) -> tuple[str, int]:
            if self.scope == "part":
                return in_text(tag)
            if not self.regex:
                found = tag == self.find.strip() if self.match_case else normal_form(tag) == form
                return (literal, 1) if found else (tag, 0)
            match = pattern.fullmatch(tag)
            return (match.expand(new), 1) if match else (tag, 0)

        class Known(dict[str, tuple[Tags, int]]):
            """What becomes of a tag; the same few thousand stand in ten thousand captions."""

            def __missing__(self, tag: str) -> tuple[Tags, int]:
                text, count = in_tag(tag)
                self[tag] = found = (parse_tags(text) if count else (tag,), count)
                return found

        known = Known()

        def edit(tags: Tags) -> tuple[Tags, int]:
            if self.scope == "caption":
                text, count = in_text(format_tags(tags))
                return (parse_tags(text), count) if count else (tags, 0)
            results = [known[tag] for tag in tags]
            count = sum([n for _, n in results])
            return (tuple(one for some, _ in results for one in some), count) if count else (tags, 0)

        return edit


def _nested(parsed: Any, inside: bool = False) -> bool:
    """Whether an unlimited repeat contains another one."""
    repeats = {getattr(_constants, name, None) for name in ("MAX_REPEAT", "MIN_REPEAT")}
    for operation, value in parsed:
        long = operation in repeats and value[1] >= MANY
        if long and inside:
            return True
        if any(_nested(part, inside or long) for part in _parts(value)):
            return True
    return False


def _parts(value: Any) -> list[Any]:
    """The patterns within an operation's arguments."""
    if isinstance(value, _parser.SubPattern):
        return [value]
    if isinstance(value, (list, tuple)):
        return [part for item in value for part in _parts(item)]
    return []
