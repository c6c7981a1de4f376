"""The words to choose tags from: the lists of the taggers on this machine and the tags of the dataset, by how often each is used."""

from __future__ import annotations

import csv
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..editing import classify
from ..editing.index import open_index
from .labels import CATEGORIES
from .names import Names
from .words import key, spell

Stamp = tuple[str, int, int]  # path, time of change, size: as long as they are the same, so is the file


@dataclass(frozen=True)
class Suggestion:
    """A tag to offer. count: uses on Danbooru by the tagger's list; here: pictures of the dataset with it; group: of trait, "" for none.

    alias: the other name by which it was found, "" when by its own. chinese: what it is called in Chinese, "" when that is not known.
    """

    tag: str
    count: int
    here: int
    group: str
    category: str
    alias: str = ""
    chinese: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Known:
    """A tag of a list: what is searched, how the list spells it."""

    plain: str
    name: str
    count: int
    category: str


def kind_of(tag: str) -> tuple[str, str]:
    """The tag's group of traits, worn things included, and "trait" or "state"; two empty texts for neither."""
    trait = classify(tag, optional=True)
    return ("", "") if trait is None else (trait.group, "state" if trait.is_state else "trait")


def tag_counts(dataset_dir: Path, now: bool = True) -> dict[str, int]:
    """{tag: pictures with it} of a dataset, the most frequent first; nothing for one that is not there yet. now False: half a second old will do."""
    if not dataset_dir.is_dir():
        return {}
    index = open_index(dataset_dir)
    index.refresh(now)
    return dict(index.counts())


def _known(row: dict[str, str]) -> _Known:
    count = row.get("count") or ""
    return _Known(key(row["name"]), row["name"], int(count) if count.isdecimal() else 0, CATEGORIES.get(row.get("category") or "", "general"))


def _read(path: Path) -> list[_Known]:
    """A tagger's list; nothing from one that cannot be read: it is only for suggestions."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [_known(row) for row in csv.DictReader(file) if row.get("name")]
    except (OSError, ValueError, csv.Error):
        return []


class _Lists:
    """All lists as one, the most used tag first; ratings are no tags to type.

    What is searched is one long text of all tags, a line each: Python finds a text in it faster than it can go through a list.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.by_plain: dict[str, _Known] = {}
        for path in files:
            for known in _read(path):
                before = self.by_plain.get(known.plain)
                if known.category != "rating" and (before is None or known.count > before.count):
                    self.by_plain[known.plain] = known
        self.ranked = sorted(self.by_plain.values(), key=lambda k: (-k.count, k.plain))
        self.text = "".join(f"\n{k.plain}" for k in self.ranked) + "\n"
        self.starts: list[int] = []
        at = 0
        for known in self.ranked:
            self.starts.append(at)
            at += len(known.plain) + 1

    def having(self, part: str) -> Iterator[_Known]:
        """The tags with this in their line ("\\nlong": those that begin so), the most used first."""
        at = self.text.find(part)
        while at >= 0:
            index = bisect_right(self.starts, at) - 1
            yield self.ranked[index]
            following = index + 1
            at = self.text.find(part, self.starts[following]) if following < len(self.starts) else -1


@lru_cache(maxsize=4)
def _merged(files: tuple[Stamp, ...]) -> _Lists:
    return _Lists(Path(path) for path, _, _ in files)


_loading = threading.Lock()


def _lists(files: Iterable[Path]) -> _Lists:
    stamps = _stamps(files)
    with _loading:  # two requests at once: read the lists once
        return _merged(tuple(sorted(stamps)))


@lru_cache(maxsize=2)
def _named(files: tuple[Stamp, ...]) -> Names:
    return Names(Path(path) for path, _, _ in files)


def _names(files: Iterable[Path]) -> Names:
    stamps = _stamps(files)
    with _loading:
        return _named(tuple(stamps))


def _stamps(files: Iterable[Path]) -> list[Stamp]:
    stamps = []
    for path in files:
        try:
            about = path.stat()
        except OSError:
            continue
        stamps.append((str(path), about.st_mtime_ns, about.st_size))
    return stamps


WORD_EDGES = " (-"


def _place(plain: str, wanted: str) -> int | None:
    """How well a tag fits what was typed: 0 the tag itself, 1 begins so, 2 one of its words does, 3 somewhere inside; None not at all."""
    if wanted not in plain:
        return None
    if plain.startswith(wanted):
        return 0 if plain == wanted else 1
    return 2 if any(f"{edge}{wanted}" in plain for edge in WORD_EDGES) else 3


def _of_lists(lists: _Lists, wanted: str, own: Mapping[str, str], limit: int) -> dict[str, _Known]:
    """Enough tags of the lists to have the best `limit` among them, by plain spelling."""
    found: dict[str, _Known] = {}
    for parts in ([f"\n{wanted}"], [f"{edge}{wanted}" for edge in WORD_EDGES], [wanted]):
        if len(found) >= limit:
            break  # what comes now would be ranked behind all of these
        before = set(found)
        for part in parts:
            fresh = 0
            for known in lists.having(part):
                if known.plain not in before and known.plain not in own:
                    found[known.plain] = known
                    fresh += 1
                    if fresh >= limit:
                        break
    if wanted in lists.by_plain and wanted not in own:
        found[wanted] = lists.by_plain[wanted]
    return found


def suggest(
    text: str, here: Mapping[str, int], files: Sequence[Path], limit: int = 20, underscores: bool = False, escape: bool = False,
    names: Sequence[Path] = (),
) -> list[Suggestion]:
    """Tags that fit what was typed: those beginning so before those with it inside, the most used first; words of the dataset's tags
    count as their beginning, and the dataset's come before others.

    here: {tag as the captions spell it: on how many pictures}. files: the taggers' lists. names: lists of other names, by which tags are
    found as well, after those that have the text in their own. Tags of the lists are spelled as
    `underscores` and `escape` want it; one that is in the captions keeps their spelling. No text: the dataset's tags.
    """
    wanted = key(text)
    lists = _lists(files)
    own: dict[str, str] = {}
    for tag in sorted(here, key=lambda t: (-here[t], t)):
        own.setdefault(key(tag), tag)
    found: list[tuple[int, int, int, str, str]] = []  # place, uses here and elsewhere (negative: the most first), tag, category
    for plain, tag in own.items():
        place = _place(plain, wanted)
        if place is not None:
            known = lists.by_plain.get(plain)
            found.append((1 if place == 2 else place, -here[tag], -known.count if known else 0, tag, known.category if known else ""))
    if wanted:
        for plain, known in _of_lists(lists, wanted, own, limit).items():
            found.append((_place(plain, wanted) or 0, 0, -known.count, spell(known.name, underscores, escape), known.category))
    found.sort()
    others = _names(names)
    rows = [(tag, -count, -times, category, "") for _, times, count, tag, category in found[:limit]]
    if len(rows) < limit:
        known_here = {key(row[0]) for row in rows}
        called = {plain: name for plain, name in reversed(list(others.having(wanted))) if plain not in known_here}
        more = [_called(plain, name, here, own, lists, (underscores, escape)) for plain, name in called.items()]
        rows += sorted(more, key=lambda row: (-row[2], -row[1], row[0]))[: limit - len(rows)]
    return [
        Suggestion(tag, count, times, kind_of(tag)[0], category, alias, others.chinese.get(key(tag), ""))
        for tag, count, times, category, alias in rows
    ]


def _called(
    plain: str, name: str, here: Mapping[str, int], own: Mapping[str, str], lists: _Lists, spelling: tuple[bool, bool]
) -> tuple[str, int, int, str, str]:
    """A tag that was found by another name, as the dataset or a tagger's list spells it: (tag, count, here, category, name)."""
    known = lists.by_plain.get(plain)
    count, category = (known.count, known.category) if known else (0, "")
    if plain in own:
        return own[plain], count, here[own[plain]], category, name
    return spell(known.name if known else plain, *spelling), count, 0, category, name
