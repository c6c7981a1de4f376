"""Search and replace in captions: whole tags, parts of tags or whole captions, as plain text or by regular expression."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ..dataset import format_tags, parse_tags
from ..errors import UserError
from .matching import Pattern, replaced_plain
from .traits import normal_form

Tags = tuple[str, ...]
PATIENCE = 3.0  # seconds that a regular expression may take over all captions
MOST = 1_000_000  # characters of a caption after a replacement


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
        if self.regex:
            self._pattern.check(self._template)

    @property
    def _template(self) -> str:
        return re.sub(r"\$(\d)", r"\\g<\1>", self.new)

    @property
    def _pattern(self) -> Pattern:
        return Pattern(self.find, self.match_case)

    def function(self, captions: Iterable[Tags] = ()) -> Callable[[Tags], tuple[Tags, int]]:
        """From tags to the tags after the replacement and the number of matches. captions: what it will be used for, to be looked through at once.

        Raises UserError when a regular expression takes too long, as the function does for tags that are none of those.
        """
        self.check()
        within = Known(self)
        if self.scope == "caption":
            within.learn(map(format_tags, captions))

            def edit(tags: Tags) -> tuple[Tags, int]:
                text, count = within[format_tags(tags)]
                return (parse_tags(text), count) if count else (tags, 0)

            return edit
        within.learn(tag for tags in captions for tag in tags)
        known: dict[str, tuple[Tags, int]] = {}

        def becomes(tag: str) -> tuple[Tags, int]:
            if tag not in known:
                text, count = within[tag]
                known[tag] = (parse_tags(text) if count else (tag,), count)
            return known[tag]

        def edit_tags(tags: Tags) -> tuple[Tags, int]:
            results = [becomes(tag) for tag in tags]
            count = sum([n for _, n in results])
            return (tuple(one for some, _ in results for one in some), count) if count else (tags, 0)

        return edit_tags

    def one(self, text: str) -> tuple[str, int]:
        """What becomes of one text, and the number of matches; not for regular expressions."""
        if self.scope != "tag":
            return replaced_plain(text, self.find, self.new, self.match_case, max(MOST, len(text)))
        found = text == self.find.strip() if self.match_case else normal_form(text) == normal_form(self.find)
        return (self.new, 1) if found else (text, 0)

    def expressed(self, texts: list[str], seconds: float) -> dict[str, tuple[str, int]]:
        """The same of several by the regular expression."""
        found = self._pattern.replaced(texts, self._template, self.scope == "tag", seconds)
        return {text: found.get(text, (text, 0)) for text in texts}


class Known(dict[str, tuple[str, int]]):
    """What becomes of a text and the number of matches; the same few thousand tags stand in ten thousand captions."""

    def __init__(self, search: Search) -> None:
        super().__init__()
        self.search = search
        self.until = time.monotonic() + PATIENCE

    def learn(self, texts: Iterable[str]) -> None:
        """Ask the regular expression about all of them at once."""
        if self.search.regex:
            self.update(self.search.expressed(list(dict.fromkeys(texts)), self.until - time.monotonic()))
            if any(len(after) > max(MOST, len(text)) for text, (after, _) in self.items()):
                raise UserError("The replacement makes a caption too long.", "Replace less at once.")

    def __missing__(self, text: str) -> tuple[str, int]:
        if self.search.regex:
            self.learn([text])
        else:
            self[text] = self.search.one(text)
        return self[text]
