"""The WebUI's way to weigh words in a prompt: `(word)`, `[word]`, `(word:1.3)`, and `BREAK` for a new run of 75 tokens."""

from __future__ import annotations

import re

ROUND, SQUARE = 1.1, 1 / 1.1
#: stands for the word BREAK among the pieces
BREAK = ("BREAK", -1.0)
_PIECES = re.compile(r"\\[()\[\]\\]|\\|\(|\[|:\s*([+-]?[.\d]+)\s*\)|\)|]|[^\\()\[\]:]+|:")
_BREAK = re.compile(r"\s*\bBREAK\b\s*")


def parse(prompt: str) -> list[tuple[str, float]]:
    """Pieces of text with their weights, in order; an escaped bracket (`\\(`) is a bracket. An unclosed one holds to the end."""
    pieces: list[tuple[str, float]] = []
    rounds: list[int] = []
    squares: list[int] = []

    def weigh(start: int, factor: float) -> None:
        pieces[start:] = [(text, weight if (text, weight) == BREAK else weight * factor) for text, weight in pieces[start:]]

    for match in _PIECES.finditer(prompt):
        text, number = match[0], match[1]
        if text.startswith("\\") and len(text) == 2:
            pieces.append((text[1], 1.0))
        elif text == "(":
            rounds.append(len(pieces))
        elif text == "[":
            squares.append(len(pieces))
        elif number is not None and rounds:
            weigh(rounds.pop(), _number(number))
        elif text == ")" and rounds:
            weigh(rounds.pop(), ROUND)
        elif text == "]" and squares:
            weigh(squares.pop(), SQUARE)
        else:
            for k, part in enumerate(_BREAK.split(text)):
                if k:
                    pieces.append(BREAK)
                pieces.append((part, 1.0))
    for start in rounds:
        weigh(start, ROUND)
    for start in squares:
        weigh(start, SQUARE)
    return _joined(pieces)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # such as 1.2.3
        return 1.0


def _joined(pieces: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Neighbours of one weight as one piece, without empty ones."""
    joined: list[tuple[str, float]] = []
    for text, weight in pieces:
        if not text:
            continue
        if joined and joined[-1][1] == weight and (text, weight) != BREAK:
            joined[-1] = (joined[-1][0] + text, weight)
        else:
            joined.append((text, weight))
    return joined or [("", 1.0)]
