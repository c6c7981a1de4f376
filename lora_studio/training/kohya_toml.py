"""Files of kohya's trainer (config TOML, dataset TOML, the JSON and TOML of its windows) read into our options: see ``kohya_take``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..reading import is_deep, parse_json, read_bytes
from ..untrusted import is_network
from . import kohya_easy, kohya_gui
from .kohya_report import Imported, Rows, shown_as
from .kohya_samples import FILES, as_lines
from .kohya_take import take

LARGEST = 16 * 2**20  # bytes of a file of settings


def reads_toml() -> bool:
    """Whether this Python has what reads and writes TOML."""
    return find_spec("tomlkit") is not None


def parse_toml(text: str, name: str) -> dict[str, Any]:
    """A TOML text as plain values. Raises UserError naming the line of a mistake."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        found = dict(tomlkit.parse(text).unwrap())
        if is_deep(found):
            raise ValueError("it is nested too deeply")
        return found
    except (TOMLKitError, ValueError, RecursionError) as error:
        raise UserError(f"{name} is not TOML: {error}", "Correct the line, or export the file again.") from error


def read(files: Sequence[Path]) -> Imported:
    """Read config, dataset and prompt files; a later one of a kind goes over an earlier one. What a config names is read too, if it is there.

    Raises:
        UserError: a file is not there, or is neither TOML nor JSON.
    """
    config: dict[str, Any] = {}
    dataset: dict[str, Any] | None = None
    prompts, twice = "", []
    for path in map(Path, files):
        if path.suffix.lower() == ".txt" and config:
            prompts = _text(path)
            continue
        values = _parsed(path)
        if isinstance(values, list) or "prompt" in values:
            prompts = as_lines(values)
            continue
        if kohya_easy.is_easy(values):
            found, dataset = kohya_easy.plain(values)
        elif kohya_gui.is_gui(values):
            found = kohya_gui.plain(values)
        else:
            if isinstance(values.get("datasets"), (list, dict)) or set(values) <= {"general", "datasets"}:
                dataset = {name: values.pop(name) for name in ("general", "datasets") if name in values}
            found, twice = flat(values), said_twice(values)
        config.update(found)
        if dataset is None and (named := beside(path, config.get("dataset_config"))) is not None:
            dataset = dict(_parsed(named))
        if "sample_prompts" in found:
            prompts = _prompts(path, found["sample_prompts"]) or prompts
    imported = take(config, dataset, prompts)
    imported.unsupported += twice
    return imported


def beside(config: Path, named: Any) -> Path | None:
    """The file that a config names: as it says, or of the same name beside the config."""
    if not isinstance(named, str) or not named or "\n" in named:
        return None
    near = config.parent / re.split(r"[\\/]", named)[-1]
    return next((p for p in (*([] if is_network(named) else [Path(named)]), near) if os.path.isfile(p)), None)


def _prompts(config: Path, named: Any) -> str:
    """Sample prompts as lines: of the file that a config names, or the prompts themselves, as windows keep them. "" where the file is not there."""
    if (path := beside(config, named)) is not None:
        return _text(path) if path.suffix.lower() == ".txt" else as_lines(_parsed(path))
    return "" if isinstance(named, str) and named.strip().lower().endswith(FILES) else as_lines(named)


def _text(path: Path) -> str:
    try:
        return read_bytes(path, LARGEST).decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} cannot be read: {error}", "Save it as UTF-8 text.") from error


def _parsed(path: Path) -> Any:
    """The values of a file; a list is one of sample prompts."""
    text = _text(path)
    if path.suffix.lower() != ".json":
        return parse_toml(text, path.name)
    try:
        values = parse_json(text)
    except ValueError as error:
        raise UserError(f"{path.name} is not JSON: {error}", "Export the file again.") from error
    if not isinstance(values, dict) and not (isinstance(values, list) and values and all(isinstance(v, (str, dict)) for v in values)):
        raise UserError(f"{path.name} holds no settings.", "Give a config of kohya's trainer or of its GUI.")
    return values


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config without its sections, as kohya's trainer reads it."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        found.update(value if isinstance(value, dict) else {name: value})
    return found


def said_twice(config: Mapping[str, Any]) -> Rows:
    """What a config names again further down with another value."""
    last, rows = flat(config), []
    for section, values in config.items():
        for name, value in (values if isinstance(values, dict) else {section: values}).items():
            if value != last[name]:
                where = f"{section}.{name}" if isinstance(values, dict) else name
                rows.append((f"{where} = {shown_as(value)}", "The file names it twice; what comes last counts, as in kohya's trainer."))
    return rows
