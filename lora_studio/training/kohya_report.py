"""What an import of kohya's settings gave: values of ours, and lists of everything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .kohya_not_here import NEUTRAL, SECRETS, UNNEEDED, UNSUPPORTED
from .kohya_table import COMBINED, Key

Rows = list[tuple[str, str]]


@dataclass
class Imported:
    """What files say. ``values``: our options, still unchecked; ``folders`` and ``base`` only where a file names them.

    ``unknown``: keys that kohya's trainer does not know either. ``unsupported`` and ``unneeded``: (key = value, reason) of what is not
    done here and of what makes no difference to the LoRA. ``notes``: what was decided on the way.
    """

    values: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    unsupported: Rows = field(default_factory=list)
    unneeded: Rows = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def sort_out(out: Imported, name: str, value: Any, shown: str, known: Mapping[str, Key]) -> None:
    """List a key that is none of ours."""
    if name in known or name in COMBINED:
        return
    for table, rows in ((UNSUPPORTED, out.unsupported), (UNNEEDED, out.unneeded)):
        if name in table:
            neutral, reason = table[name]
            if value not in NEUTRAL and not any(equal(value, n) for n in neutral):
                rows.append((f"{shown} = {'…' if name in SECRETS else shown_as(value)}", reason))
            return
    out.unknown.append(f"{shown} = {shown_as(value)}")


def equal(value: Any, other: Any) -> bool:
    if isinstance(other, (int, float)) and not isinstance(other, bool):
        try:
            return float(value) == float(other)
        except (TypeError, ValueError):
            return False
    return bool(value == other)


def shown_as(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def put(out: Imported, name: str, value: Any, key: Key, shown: str) -> None:
    if value is None or value == "":
        out.values.setdefault(key.option, key.default)
        return
    try:
        out.values[key.option] = key.read(value)
    except ValueError as error:
        out.values.setdefault(key.option, key.default)
        out.unsupported.append((f"{shown} = {shown_as(value)}", str(error)))


def pairs(values: Any) -> dict[str, str]:
    """``["a=1", "b = 2"]`` (or one text of them) as a dict."""
    rows = values.split() if isinstance(values, str) else values or ()
    return {k.strip(): v.strip() for k, _, v in (str(row).partition("=") for row in rows) if k.strip()}


def bare(value: Any) -> Any:
    """A value as TOML would give it back: no nulls, lists for tuples, whole numbers as they are equal to floats anyway."""
    if isinstance(value, dict):
        return {k: bare(v) for k, v in value.items() if v is not None}
    return [bare(v) for v in value] if isinstance(value, (list, tuple)) else value
