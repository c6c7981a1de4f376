"""Other names of tags: Chinese ones, and the aliases of lists that people have. For finding a tag, never written into a caption.

Beside our own table of Chinese names (names_zh.tsv), every .csv of the folder `_tags` beside the projects counts, and those of the WebUI's tag
completion extension where it is installed. Two forms of such lists are known: ``tag,category,count,"alias, alias"`` and ``tag,name``.
"""

from __future__ import annotations

import csv
import io
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import UserError
from ..reading import read_bytes
from .words import key

FOLDER = "_tags"
TABLE = Path(__file__).with_name("names_zh.tsv")
LARGEST = 32 * 2**20  # bytes of a list
HAN = re.compile("[\u3400-\u9fff]")


def lists(projects_dir: Path, more: Iterable[Path] = ()) -> list[Path]:
    """The lists that are here: our own table first, then those of people."""
    own = projects_dir / FOLDER
    dropped = sorted(p for p in own.glob("*.csv") if p.is_file()) if own.is_dir() else []
    return [TABLE, *more, *dropped]


def read(path: Path) -> Iterator[tuple[str, str]]:
    """(tag in plain spelling, another name) of a list; nothing from one that cannot be read: it is only for suggestions."""
    try:
        lines = io.StringIO(read_bytes(path, LARGEST).decode("utf-8-sig", "replace"), newline="")
        if path.suffix == ".tsv":
            yield from _pairs(line.rstrip("\r\n").partition("\t")[::2] for line in lines)
        else:
            yield from _pairs(_columns(row) for row in csv.reader(lines))
    except (UserError, csv.Error):
        return


def _columns(row: list[str]) -> tuple[str, str]:
    """(tag, other names joined by "|") of a row."""
    if len(row) >= 4:
        return row[0], row[3].replace(",", "|")
    # Of two columns the other is a name in another language; a number of the tag's uses is none.
    return (row[0], row[1].replace(",", "|")) if len(row) == 2 and HAN.search(row[1]) else ("", "")


def _pairs(rows: Iterable[tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for tag, names in rows:
        plain = key(tag)
        for name in names.split("|"):
            if plain and (name := name.strip()) and key(name) != plain:
                yield plain, name


class Names:
    """All other names. What is searched is one long text, a line each, as in vocabulary.py."""

    def __init__(self, files: Iterable[Path]) -> None:
        rows = dict.fromkeys(pair for path in files for pair in read(path))
        self.rows = list(rows)
        self.text = "".join(f"\n{key(name)}" for _, name in self.rows) + "\n"
        self.lines: list[int] = []
        at = 0
        for _, name in self.rows:
            self.lines.append(at)
            at += len(key(name)) + 1
        self.chinese: dict[str, str] = {}
        for plain, name in self.rows:
            if HAN.search(name):
                self.chinese.setdefault(plain, name)

    def having(self, wanted: str) -> Iterator[tuple[str, str]]:
        """(tag in plain spelling, its name) of the names that begin with a text, or, if it is Chinese, have it anywhere."""
        if not wanted:
            return
        for part in (f"\n{wanted}", wanted) if HAN.search(wanted) else (f"\n{wanted}",):
            at = self.text.find(part)
            while at >= 0:
                index = bisect_right(self.lines, at) - 1
                yield self.rows[index]
                at = self.text.find(part, self.lines[index + 1]) if index + 1 < len(self.lines) else -1
