"""Sample prompts of kohya's trainer: lines with flags, or the same as TOML or JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .kohya_report import Imported, shown_as

FILES = (".txt", ".toml", ".json")
#: names in TOML and JSON -> flags in a line
FLAGS = {"width": "w", "height": "h", "sample_steps": "s", "scale": "l", "seed": "d", "negative_prompt": "n", "sample_sampler": "ss"}
REASONS = {
    "n": "Samples have no negative prompt here.",
    "ss": "Samples are drawn with one sampler here.",
    "d": "Each sample has the seed of the one before and one more.",
}
SHARED = "Samples share steps, guidance and size."


def as_lines(values: Any) -> str:
    """Prompts as lines: from a text, a list of texts or objects, or a file of ``[prompt]`` with ``[[prompt.subset]]``."""
    if isinstance(values, str):
        return values
    if isinstance(values, Mapping):
        common = values.get("prompt")
        if not isinstance(common, Mapping):
            return as_lines(common or [])
        shared = {name: value for name, value in common.items() if name != "subset"}
        return as_lines([{**shared, **one} for one in common.get("subset") or [{}]])
    return "".join(f"{_line(one)}\n" for one in values)


def _line(prompt: Any) -> str:
    if not isinstance(prompt, Mapping):
        return " ".join(str(prompt).split())
    flags = [f" --{FLAGS.get(name, name)} {' '.join(str(value).split())}" for name, value in prompt.items() if name != "prompt"]
    return " ".join(str(prompt.get("prompt", "")).split()) + "".join(flags)


def take_samples(out: Imported, given: Mapping[str, Any], prompts: str) -> None:
    """Prompts, and the steps, guidance and seed of the first one for all."""
    if given.get("sample_prompts") and not prompts.strip():
        out.unsupported.append((f"sample_prompts = {shown_as(given['sample_prompts'])}", "The file is not there; give it beside the config."))
    texts: list[str] = []
    first: dict[str, str] = {}
    for line in prompts.splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        text, *flags = re.split(r"\s--(?=[A-Za-z_]+\s)", line)
        texts.append(text.strip())
        said = {name.lower(): value.strip() for name, value in (flag.split(None, 1) for flag in flags if " " in flag.strip())}
        first = first or {name: said.get(name, "") for name in ("s", "l", "d")}
        width, height = map(str, _both(out.values["resolution"]))
        ours = {**first, "w": width, "h": height, "d": str(int(first["d"]) + len(texts) - 1) if first["d"].isdigit() else ""}
        for name, value in said.items():
            row = (f"sample_prompts: --{name} {value}", REASONS.get(name, SHARED))
            if value != ours.get(name) and row not in out.unsupported:
                out.unsupported.append(row)
    if texts:
        out.values["sample_prompts"] = texts
        for flag, option in (("s", "sample_steps"), ("l", "sample_cfg"), ("d", "sample_seed")):
            if first[flag]:
                out.values[option] = first[flag]


def _both(size: Any) -> tuple[Any, Any]:
    return (size[0], size[-1]) if isinstance(size, (list, tuple)) else (size, size)
