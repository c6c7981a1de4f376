"""Texts with values in them, as the page fills them in too (t() in javascript/lora_studio_0_core.js)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_GAP = re.compile(r"\{(\w+)\}|\{([^{}|]*)\|([^{}|]*)\}")


def filled(text: str, values: Mapping[str, Any]) -> str:
    """``{name}`` is a value; ``{one|several}`` follows the number before it: "{n} {picture|pictures}"."""
    number: Any = None

    def value(gap: re.Match[str]) -> str:
        nonlocal number
        if gap[1] is None:
            return str(gap[2] if number == 1 else gap[3])
        found = values[gap[1]]
        if isinstance(found, (int, float)):
            number = found
        return str(found)

    return _GAP.sub(value, text)
