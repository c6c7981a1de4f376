"""Edits of captions as pure functions from tags to tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..errors import UserError
from .traits import GROUPS, OPTIONAL_GROUPS, Trait, classify, normal_form

Tags = tuple[str, ...]
Edit = Callable[..., Tags]
Sort = Literal[False, "alphabetical", "frequency"]


@dataclass(frozen=True)
class EditOptions:
    """One bulk edit, applied to every caption in this order: replace, remove, traits, add, dedupe, sort, trigger.

    dedupe: drop repeated tags, the first stays. remove_traits: None leaves traits alone, () takes every default group,
    names take those groups. include_states: take states (closed eyes, wet hair) of these groups too.
    trait_frequency: share of the pictures a trait must be on to be removed; 0 removes every trait.
    trigger: word put first in every caption. add: tags appended where missing (trait removal spares them). add_back: tags that trait removal
    spares, and that are appended again to the captions that had them before an earlier edit. remove: tags removed everywhere.
    replace: (old, new) pairs; an empty new removes. sort: tags behind the trigger "alphabetical" or by "frequency".
    dry_run: report only.
    """

    dedupe: bool = False
    remove_traits: tuple[str, ...] | None = None
    include_states: bool = False
    trait_frequency: float = 0.6
    trigger: str = ""
    add: tuple[str, ...] = ()
    add_back: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    replace: tuple[tuple[str, str], ...] = ()
    sort: Sort = False
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
        for name in ("add", "add_back", "remove"):
            wrong += [f"{name}: {tag!r} is not one tag" for tag in getattr(self, name) if not _is_tag(tag)]
        wrong += [f"replace: {old!r} is not one tag" for old, _ in self.replace if not _is_tag(old)]
        wrong += [f"replace: {new!r} is not one tag" for _, new in self.replace if new.strip() and not _is_tag(new)]
        if self.trigger and not _is_tag(self.trigger):
            wrong.append(f"the trigger {self.trigger!r} is not one tag")
        if wrong:
            raise UserError("The edit cannot be done: " + "; ".join(wrong) + ".", "A tag is a word or words without commas or line breaks.")
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
            "remove": list(self.remove),
            "replace": [list(pair) for pair in self.replace],
            "sort": self.sort,
            "dry_run": self.dry_run,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EditOptions:
        """The inverse of `to_dict`."""
        traits = data.get("remove_traits")
        known = {k: v for k, v in data.items() if k in cls.__dataclass_fields__}
        known["remove_traits"] = None if traits is None else tuple(traits)
        for name in ("add", "add_back", "remove"):
            known[name] = tuple(data.get(name, ()))
        known["replace"] = tuple((str(old), str(new)) for old, new in data.get("replace", ()))
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
    protected = {normal_form(options.trigger)} | {normal_form(tag) for tag in (*options.add, *options.add_back)}
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
    cleaned = [without(replaced(tags, options.replace), dropped, options.trigger) for tags in captions]
    traits = find_traits(cleaned, options)
    unwanted = {normal_form(trait.tag) for trait in traits if trait.removed}

    def body(tags: Tags, past: Collection[str]) -> Tags:
        result = without(without(replaced(tags, options.replace), dropped, options.trigger), unwanted, options.trigger)
        result = added(result, (*(tag for tag in options.add_back if normal_form(tag) in past), *options.add))
        return deduped(result) if options.dedupe else result

    counts: Counter[str] = Counter()
    if options.sort == "frequency":
        for tags in captions:
            counts.update({normal_form(tag) for tag in body(tags, ())})

    def edit(tags: Tags, past: Collection[str] = ()) -> Tags:
        return triggered(ordered(body(tags, past), options.sort, counts), options.trigger)

    return edit, traits
