"""What crops are called: like their originals, siblings `name_2`, `name_3` …, or by a pattern. Names once given stay. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..dataset.importing import portable_stem

FIELD = re.compile(r"\{(name|n(?::(\d))?|w|h)\}")
NUMBER = re.compile(r"\{n(?::\d)?\}")


def pattern_problem(pattern: str) -> str:
    """Why this is no pattern for names, or ""."""
    rest = FIELD.sub("", pattern)
    if any(c in rest for c in "{}"):
        return f"rename {pattern!r} may hold {{name}}, {{n}}, {{n:3}} (so many digits), {{w}} and {{h}}"
    if portable_stem(FIELD.sub("1", pattern)) != FIELD.sub("1", pattern):
        return f"rename {pattern!r} would make names that not every system takes"
    if not FIELD.search(pattern):
        return f"rename {pattern!r} would give every picture the same name; put {{n}} in it"
    return ""


def filled_in(pattern: str, source: str, number: int, size: tuple[int, int]) -> str:
    """The name of one crop by the pattern."""

    def value(match: re.Match[str]) -> str:
        if match[1] == "name":
            return Path(source).stem
        if match[1] in "wh":
            return str(size["wh".index(match[1])])
        return f"{number:0{int(match[2] or 0)}d}"

    return portable_stem(FIELD.sub(value, pattern))


def key_of(stem: str) -> str:
    # Windows and macOS take A and a for the same name.
    return stem.casefold()


def name_all(
    crops: Sequence[tuple[str, str, tuple[int, int]]], pattern: str, start: int, earlier: Mapping[tuple[str, str], str], reserved: Iterable[str] = ()
) -> list[str]:
    """A file stem for each (source, part, size); part "" is the picture's main crop, which comes before its siblings.

    earlier: the names that crops of the same pattern have. reserved: stems that originals without a crop keep for theirs.
    Two originals of one stem get one name: that is for whoever asks to find out.
    """
    if not pattern:
        return _by_source(crops, earlier, reserved)
    taken = {key_of(stem) for stem in earlier.values()}
    names: dict[tuple[str, str], str] = {}
    number = start
    for source, part, size in crops:
        stem = earlier.get((source, part), "")
        if not stem:
            main = names.get((source, ""))
            if part and main:
                stem = _free(main, taken, part)
            else:
                stem = filled_in(pattern, source, number, size)
                while key_of(stem) in taken and NUMBER.search(pattern):
                    number += 1
                    stem = filled_in(pattern, source, number, size)
                if key_of(stem) in taken:
                    stem = _free(stem, taken)
        names[source, part] = stem
        taken.add(key_of(stem))
    return list(names.values())


def _by_source(crops: Sequence[tuple[str, str, tuple[int, int]]], earlier: Mapping[tuple[str, str], str], reserved: Iterable[str]) -> list[str]:
    mains = {key_of(Path(source).stem) for source, _, _ in crops} | {key_of(stem) for stem in reserved}
    taken = mains | {key_of(stem) for (_, part), stem in earlier.items() if part}
    names = []
    for source, part, _ in crops:
        stem = Path(source).stem
        if part:
            kept = earlier.get((source, part), "")
            stem = kept if kept and key_of(kept) not in mains else _free(stem, taken, part)
            taken.add(key_of(stem))
        names.append(stem)
    return names


def _free(stem: str, taken: set[str], part: str = "") -> str:
    number = int(part) if part.isdigit() else 2
    while key_of(f"{stem}_{number}") in taken:
        number += 1
    return f"{stem}_{number}"
