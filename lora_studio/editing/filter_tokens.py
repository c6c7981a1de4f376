"""The words of a filter: fields, quotation marks, slashes and brackets."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..errors import UserError

HINT = "Write for example: tag:smile -tag:hat count:>20, with AND, OR, NOT and brackets."
WORDS = {"AND", "OR", "NOT"}
FIELDS = ("tag", "name", "caption", "count", "tokens", "chars", "trait", "is")
LONGEST, MOST = 10_000, 200  # characters of a filter; things it looks for


class FilterError(UserError):
    """A filter that cannot be read. data["at"]: the place of the mistake in it."""

    def __init__(self, message: str, at: int, hint: str = HINT) -> None:
        super().__init__(message, hint)
        self.data = {"at": at}



@dataclass(frozen=True)
class Token:
    """kind: "(", ")", "-", AND, OR, NOT or "term"; how: of a term, "plain", "quoted" or "regex"."""

    kind: str
    at: int
    field: str = ""
    text: str = ""
    how: str = "plain"


_FIELD = re.compile(r"([A-Za-z]+):")


def tokens(text: str) -> list[Token]:
    """What a filter says, in order. Raises FilterError."""
    if len(text) > LONGEST:
        raise FilterError(f"A filter has at most {LONGEST} characters.", LONGEST, "Look for less at once.")
    found: list[Token] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char.isspace():
            at += 1
        elif char in "()":
            found.append(Token(char, at))
            at += 1
        elif char in "-!" and at + 1 < len(text) and (text[at + 1] in '("/' or text[at + 1].isalnum() or text[at + 1] in "*:"):
            found.append(Token("-", at))
            at += 1
        else:
            token, at = _term(text, at)
            found.append(token)
    if sum(token.kind == "term" for token in found) > MOST:
        raise FilterError(f"A filter looks for at most {MOST} things.", 0, "Take fewer words, or a pattern with *.")
    return found


def _term(text: str, at: int) -> tuple[Token, int]:
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
            return Token("term", start, field, content, "regex" if end == "/" else "quoted"), after
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
    return (Token(word, start) if not field and word in WORDS else Token("term", start, field, word)), at


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


