"""What an edit means for the project: which trigger word it has and which traits that word must bring back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..project import LONGEST_TRIGGER
from .edits import EditOptions
from .traits import classify, normal_form


@dataclass(frozen=True)
class Carried:
    """A change of a project. trigger: (before, after), None where it stays; added, dropped: traits taken out of the captions, or back in them."""

    trigger: tuple[str, str] | None = None
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As the history keeps it."""
        return {"trigger": list(self.trigger) if self.trigger else None, "added": list(self.added), "dropped": list(self.dropped)}

    @classmethod
    def from_dict(cls, data: Any) -> Carried:
        """The inverse of `to_dict`; nothing from what an older version, or somebody else, wrote."""
        data = data if isinstance(data, dict) else {}
        trigger = _words(data.get("trigger"))
        return cls((trigger[0], trigger[1]) if len(trigger) == 2 else None, _words(data.get("added")), _words(data.get("dropped")))

    def inverse(self) -> Carried:
        return Carried(self.trigger[::-1] if self.trigger else None, self.dropped, self.added)

    def apply(self, trigger: str, traits: Sequence[str]) -> tuple[str, tuple[str, ...]]:
        """Trigger word and traits after the change. A trigger word that somebody set since stays."""
        if self.trigger is not None and trigger == self.trigger[0]:
            trigger = self.trigger[1]
        dropped = set(map(normal_form, self.dropped))
        return trigger, tuple(dict.fromkeys([*(tag for tag in traits if normal_form(tag) not in dropped), *self.added]))


def _words(value: Any) -> tuple[str, ...]:
    """A list of words; () for anything else."""
    fits = isinstance(value, (list, tuple)) and all(isinstance(word, str) and len(word) <= LONGEST_TRIGGER for word in value)
    return tuple(value) if fits else ()


def carried_by(options: EditOptions, removed: Sequence[str], trigger: str, traits: Sequence[str]) -> Carried:
    """What a bulk edit that removed these traits means for a project of this trigger word and these traits."""
    # A trait removed by name is one for the trigger word to carry; a removed "watermark" is not.
    by_name = [tag for tag in options.remove if (trait := classify(tag, optional=True)) is not None and not trait.is_state]
    fresh = tuple(tag for tag in dict.fromkeys([*removed, *by_name]) if tag not in traits)
    new = options.trigger.strip()
    return Carried((trigger, new) if new and new != trigger else None, fresh)
