"""Edits of captions as pure functions from tags to tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import UserError
from .lint import without_implied
from .search import Search
from .tokens import count_tokens
from .traits import GROUPS, OPTIONAL_GROUPS, Trait, classify, normal_form

Tags = tuple[str, ...]
Edit = Callable[..., Tags]
Sort = Literal[False, "alphabetical", "frequency"]
MOST_SEARCHES = 50


@dataclass(frozen=True)
class EditOptions:
    """One bulk edit, applied to every caption in this order: search, replace, remove, traits, implied, add, dedupe, sort, add_front, trigger,
    add_after, limits.

    dedupe: drop repeated tags, the first stays. remove_traits: None leaves traits alone, () takes every default group,
    names take those groups. include_states: take states (closed eyes, wet hair) of these groups too.
    trait_frequency: share of the pictures a trait must be on to be removed; 0 removes every trait.
    trigger: word put first in every caption. add: tags appended where missing (trait removal spares them). add_back: tags that trait removal
    spares, and that are appended again to the captions that had them before an earlier edit. keep: tags that trait removal spares.
    remove: tags removed everywhere. implied: remove tags that another tag of the picture says already (`long hair` under `very long hair`).
    replace: (old, new) pairs; an empty new removes. sort: tags behind the trigger "alphabetical" or by "frequency".
    search: searches and replacements, one after the other. add_front, add_after: tags put in front or right behind the trigger,
    also where they are in the caption already. leader: the tag that counts as trigger for `add_after` and `sort` where the edit
    itself sets none. max_tags, max_tokens: what is beyond is cut off (0: no limit; CLIP's tokens, commas counted).
    dry_run: report only.
    """

    dedupe: bool = False
    remove_traits: tuple[str, ...] | None = None
    include_states: bool = False
    trait_frequency: float = 0.6
    trigger: str = ""
    add: tuple[str, ...] = ()
    add_back: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    implied: bool = False
    remove: tuple[str, ...] = ()
    replace: tuple[tuple[str, str], ...] = ()
    sort: Sort = False
    search: tuple[Search, ...] = ()
    add_front: tuple[str, ...] = ()
    add_after: tuple[str, ...] = ()
    leader: str = ""
    max_tags: int = 0
    max_tokens: int = 0
    dry_run: bool = False

    def groups(self) -> tuple[str, ...]:
        """The trait groups this edit takes. Raises UserError for a name that is none."""
        if self.remove_traits is None:
            return ()
        unknown = [name for name in self.remove_traits if name not in GROUPS and name not in OPTIONAL_GROUPS]
        if unknown:
            raise UserError(
                f"There is no trait group {', '.join(unknown)}.",
                f"The groups are: {', '.join(GROUPS)}; only when named: {', '.join(OPTIONAL_GROUPS)}.",
            )
        return self.remove_traits or GROUPS

    def check(self) -> None:
        """Raise UserError for values that mean nothing, all at once."""
        wrong = []
        if not 0.0 <= self.trait_frequency <= 1.0:
            wrong.append(f"trait frequency {self.trait_frequency} is not between 0 and 1")
        if self.sort not in (False, "alphabetical", "frequency"):
            wrong.append(f"sort {self.sort!r} is neither alphabetical nor frequency")
        if self.max_tags < 0 or self.max_tokens < 0:
            wrong.append("a limit is below 0")
        for name in ("add", "add_back", "keep", "remove", "add_front", "add_after"):
            wrong += [f"{name}: {tag!r} is not one tag" for tag in getattr(self, name) if not _is_tag(tag)]
        wrong += [f"replace: {old!r} is not one tag" for old, _ in self.replace if not _is_tag(old)]
        wrong += [f"replace: {new!r} is not one tag" for _, new in self.replace if new.strip() and not _is_tag(new)]
        if self.trigger and not _is_tag(self.trigger):
            wrong.append(f"the trigger {self.trigger!r} is not one tag")
        if wrong:
            raise UserError("The edit cannot be done: " + "; ".join(wrong) + ".", "A tag is a word or words without commas or line breaks.")
        if len(self.search) > MOST_SEARCHES:
            raise UserError(f"An edit has at most {MOST_SEARCHES} searches.", "Do the others in a second one.")
        for search in self.search:
            search.check()
        self.groups()

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "dedupe": self.dedupe,
            "remove_traits": None if self.remove_traits is None else list(self.remove_traits),
            "include_states": self.include_states,
            "trait_frequency": self.trait_frequency,
            "trigger": self.trigger,
            "add": list(self.add),
            "add_back": list(self.add_back),
            "keep": list(self.keep),
            "implied": self.implied,
            "remove": list(self.remove),
            "replace": [list(pair) for pair in self.replace],
            "sort": self.sort,
            "search": [search.to_dict() for search in self.search],
            "add_front": list(self.add_front),
            "add_after": list(self.add_after),
            "leader": self.leader,
            "max_tags": self.max_tags,
            "max_tokens": self.max_tokens,
            "dry_run": self.dry_run,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EditOptions:
        """The inverse of `to_dict`."""
        traits = data.get("remove_traits")
        known = {k: v for k, v in data.items() if k in cls.__dataclass_fields__}
        known["remove_traits"] = None if traits is None else tuple(traits)
        for name in ("add", "add_back", "keep", "remove", "add_front", "add_after"):
            known[name] = tuple(data.get(name, ()))
        known["replace"] = tuple((str(old), str(new)) for old, new in data.get("replace", ()))
        known["search"] = tuple(s if isinstance(s, Search) else Search(**s) for s in data.get("search", ()))
        return cls(**known)


def _is_tag(text: str) -> bool:
    return bool(text.strip()) and not any(c in text for c in ",，\r\n")


def replaced(tags: Iterable[str], pairs: Sequence[tuple[str, str]]) -> Tags:
    """Every tag equal to an `old` (whatever its spelling) becomes its `new`; all pairs at once, so A=B, B=A swaps."""
    table: dict[str, str] = {}
    for old, new in pairs:
        table.setdefault(normal_form(old), new.strip())
    return tuple(new for tag in tags if (new := table.get(normal_form(tag), tag)))


def without(tags: Iterable[str], unwanted: Collection[str], keep: str = "") -> Tags:
    """The tags whose normal form is not in `unwanted` (normal forms); the tag `keep` always stays."""
    kept = normal_form(keep)
    return tuple(tag for tag in tags if (form := normal_form(tag)) not in unwanted or (kept and form == kept))


def added(tags: Tags, extra: Iterable[str]) -> Tags:
    """The tags, then those of `extra` that are missing."""
    have = {normal_form(tag) for tag in tags}
    result = list(tags)
    for tag in extra:
        if (form := normal_form(tag)) not in have:
            have.add(form)
            result.append(tag.strip())
    return tuple(result)


def deduped(tags: Iterable[str]) -> Tags:
    """Each tag once, where it first stood; spellings of one tag count as the same."""
    first: dict[str, str] = {}
    for tag in tags:
        first.setdefault(normal_form(tag), tag)
    return tuple(first.values())


def ordered(tags: Iterable[str], sort: Sort, counts: Mapping[str, int] | None = None) -> Tags:
    """Sorted by name, or by `counts` (of normal forms, most frequent first, then by name)."""
    if sort == "alphabetical":
        return tuple(sorted(tags, key=lambda tag: (normal_form(tag), tag)))
    if sort == "frequency":
        known = counts or {}
        return tuple(sorted(tags, key=lambda tag: (-known.get(normal_form(tag), 0), normal_form(tag), tag)))
    return tuple(tags)


def triggered(tags: Tags, trigger: str) -> Tags:
    """The trigger first, once, spelled as given; no trigger, no change."""
    if not trigger.strip():
        return tags
    form = normal_form(trigger)
    return (trigger.strip(), *(tag for tag in tags if normal_form(tag) != form))


def fronted(tags: Tags, front: Iterable[str], leader: str = "") -> Tags:
    """`front` (each tag once) before all others; with a `leader` that stands first, right behind it."""
    front = deduped(tag.strip() for tag in front)
    if not front:
        return tags
    forms = {normal_form(tag) for tag in front}
    rest = tuple(tag for tag in tags if normal_form(tag) not in forms)
    at = 1 if leader and rest and normal_form(rest[0]) == normal_form(leader) else 0
    return (*rest[:at], *front, *rest[at:])


def limited(tags: Tags, max_tags: int, max_tokens: int) -> Tags:
    """The first tags, as many as the limits let through (0: no limit)."""
    if max_tags:
        tags = tags[:max_tags]
    if max_tokens:
        used = 0
        for place, tag in enumerate(tags):
            used += count_tokens(tag) + (place > 0)
            if used > max_tokens:
                return tags[:place]
    return tags


@dataclass(frozen=True)
class TraitCount:
    """A trait found in captions. tag: its most usual spelling; pictures: on how many it is; frequency: their share."""

    tag: str
    group: str
    is_state: bool
    pictures: int
    frequency: float
    removed: bool

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


def find_traits(captions: Sequence[Tags], options: EditOptions) -> tuple[TraitCount, ...]:
    """The traits of the edit's groups in these captions, most frequent first, and whether the edit removes each.

    The frequency rule: what only a minority of the pictures shows is an outfit's variant or a mistake of the tagger, not the character.
    """
    groups = options.groups()
    if not groups:
        return ()
    protected = {normal_form(options.trigger)} | {normal_form(tag) for tag in (*options.add, *options.add_back, *options.keep)}
    optional = any(name in OPTIONAL_GROUPS for name in groups)
    pictures: Counter[str] = Counter()
    spellings: dict[str, Counter[str]] = {}
    for tags in captions:
        forms = set()
        for tag in tags:
            form = normal_form(tag)
            forms.add(form)
            spellings.setdefault(form, Counter())[tag] += 1
        pictures.update(forms)
    found = []
    total = max(1, len(captions))
    for form, count in pictures.items():
        trait: Trait | None = classify(form, optional)
        if trait is None or trait.group not in groups or form in protected:
            continue
        share = count / total
        # A share a hair under the rule through floating point is on the rule.
        wanted = share + 1e-9 >= options.trait_frequency and (options.include_states or not trait.is_state)
        spelling = min(spellings[form].items(), key=lambda item: (-item[1], item[0]))[0]
        found.append(TraitCount(spelling, trait.group, trait.is_state, count, share, wanted))
    return tuple(sorted(found, key=lambda t: (-t.pictures, t.tag)))


def make_edit(captions: Sequence[Tags], options: EditOptions) -> tuple[Edit, tuple[TraitCount, ...]]:
    """The function from tags to tags that `options` mean for these captions, and the traits that were found.

    The function's second argument is the set of tags (normal forms) that the caption had in the past, for `add_back`.

    What is removed and what is frequent depends on all captions, so both are settled here, once.
    """
    options.check()
    dropped = {normal_form(tag) for tag in options.remove}
    searches = _searches(captions, options)
    protected = options.trigger

    def start(tags: Tags) -> Tags:
        for search in searches:
            tags = search(tags)[0]
        return without(replaced(tags, options.replace), dropped, protected) if options.replace or dropped else tags

    traits = find_traits([start(tags) for tags in captions] if options.remove_traits is not None else (), options)
    unwanted = {normal_form(trait.tag) for trait in traits if trait.removed}

    def body(tags: Tags, past: Collection[str]) -> Tags:
        result = start(tags)
        if unwanted:
            result = without(result, unwanted, protected)
        if options.implied:
            result = without_implied(result, protected)
        extra = (*(tag for tag in options.add_back if normal_form(tag) in past), *options.add)
        result = added(result, extra) if extra else result
        return deduped(result) if options.dedupe else result

    counts: Counter[str] = Counter()
    if options.sort == "frequency":
        for tags in captions:
            counts.update({normal_form(tag) for tag in body(tags, ())})

    def edit(tags: Tags, past: Collection[str] = ()) -> Tags:
        result = body(tags, past)
        if options.sort:
            leader = next((tag for tag in result if normal_form(tag) == normal_form(options.leader)), "") if options.leader else ""
            result = triggered(ordered(result, options.sort, counts), leader)
        result = fronted(triggered(fronted(result, options.add_front), options.trigger), options.add_after, options.trigger or options.leader)
        return limited(result, options.max_tags, options.max_tokens)

    return edit, traits


def count_matches(captions: Iterable[Tags], options: EditOptions) -> int:
    """How often the searches of an edit find something, one after the other as they are applied."""
    given = list(captions)
    functions = _searches(given, options)
    total = 0
    for tags in given:
        for function in functions:
            tags, count = function(tags)
            total += count
    return total


def _searches(captions: Sequence[Tags], options: EditOptions) -> list[Callable[[Tags], tuple[Tags, int]]]:
    """The searches of an edit, each prepared for what those before it make of these captions."""
    functions = []
    for place, search in enumerate(options.search, 1):
        functions.append(function := search.function(captions))
        if place < len(options.search):
            captions = [function(tags)[0] for tags in captions]
    return functions
