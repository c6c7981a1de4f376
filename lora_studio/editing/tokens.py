"""How many of CLIP's tokens a caption takes: the text encoders of SD1, SD2 and SDXL read 75 at a time."""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

_MERGES = Path(__file__).resolve().parents[1] / "trainer" / "configs" / "clip_bpe_vocab_16e6.txt.gz"
_COUNT = 49152 - 256 - 2
_ESCAPED = re.compile(r"\\([()\[\]\\])")  # what the trainer reads as the character itself
LONGEST = 100  # letters of a word; joining its parts takes the square of that, so what is longer (no language has it) is counted in pieces
_WORD = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+")


@lru_cache(maxsize=1)
def _ranks() -> dict[tuple[str, str], int]:
    lines = gzip.decompress(_MERGES.read_bytes()).decode("utf-8").split("\n")[1 : _COUNT + 1]
    return {(pair[0], pair[1]): rank for rank, pair in enumerate(line.split() for line in lines)}


@lru_cache(maxsize=1)
def _symbols() -> list[str]:
    """A printable character for every byte, as GPT-2's byte-level vocabulary has them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(others)) for byte in range(256)]


@lru_cache(maxsize=65536)
def _pieces(word: str) -> int:
    """How many tokens a word is cut into: its two most usual neighbours are joined until no pair is known."""
    ranks = _ranks()
    parts = [_symbols()[byte] for byte in word.encode("utf-8")]
    parts[-1] += "</w>"
    while len(parts) > 1:
        rank, place = min((ranks.get(pair, _COUNT), k) for k, pair in enumerate(pairwise(parts)))
        if rank == _COUNT:
            break
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return len(parts)


@lru_cache(maxsize=65536)
def count_tokens(text: str) -> int:
    """The number of tokens of a text, start and end not counted; escaped brackets count as plain ones."""
    words = _WORD.findall(_ESCAPED.sub(r"\1", text).lower())
    return sum(_pieces(word[at : at + LONGEST]) for word in words for at in range(0, len(word), LONGEST))


def caption_tokens(tags: Sequence[str]) -> int:
    """The number of tokens of a caption: its tags and the commas between them."""
    return sum(map(count_tokens, tags)) + max(0, len(tags) - 1)
