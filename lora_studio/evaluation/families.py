"""Which tags speak of the same thing, so that at most one of them is true of a picture."""

from __future__ import annotations

from collections.abc import Iterable

COLOURS = frozenset(
    "aqua beige black blonde blue brown dark-blue gold green grey gray lavender light-blue maroon orange pink purple red "
    "silver tan teal white yellow".split()
)
LENGTHS = frozenset(("short hair", "medium hair", "long hair"))
MOUTH = frozenset(("open mouth", "closed mouth"))


def plain(tag: str) -> str:
    r"""A tag as people say it: lower case, spaces, ``\(`` unescaped. ``Blue_Hair`` -> ``blue hair``."""
    words = tag.replace("\\(", "(").replace("\\)", ")").strip().lower()
    return " ".join(words.split()) if len(words) <= 3 else " ".join(words.replace("_", " ").split())


def family(tag: str) -> str:
    """The name of the tag's exclusive family, ``""`` for a tag that excludes no other.

    Colours of one thing exclude each other (``red hair`` / ``blue hair``, ``white shirt`` / ``black shirt``), so do
    the lengths of hair and an open and a closed mouth. Finer tags that go together with these on Danbooru
    (``very long hair``, ``collared shirt``, ``simple background``, ``smile``) belong to no family.
    """
    tag = plain(tag)
    if tag in LENGTHS:
        return "hair length"
    if tag in MOUTH:
        return "mouth"
    first, _, rest = tag.partition(" ")
    if first in ("light", "dark") and rest.partition(" ")[0] in COLOURS:
        first, _, rest = rest.partition(" ")
    return f"colour of {rest}" if first in COLOURS and rest and " " not in rest else ""


def alternatives(tags: Iterable[str]) -> list[str]:
    """What could stand in the place of each tag: the other lengths of hair, other colours of the same thing."""
    found: list[str] = []
    for tag in tags:
        name = family(tag)
        if name == "hair length":
            found += sorted(LENGTHS)
        elif name.startswith("colour of "):
            found += [f"{colour} {name.removeprefix('colour of ')}" for colour in ("black", "brown", "blue", "green", "red", "purple")]
    return list(dict.fromkeys(found))


def families(tags: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Family name -> its members among ``tags``, in their order; tags without a family are left out."""
    found: dict[str, list[str]] = {}
    for tag in tags:
        if name := family(tag):
            found.setdefault(name, []).append(plain(tag))
    return {name: tuple(members) for name, members in found.items()}
