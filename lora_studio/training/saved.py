"""The LoRA files that a run saved. Its events tell their names; where they lie is looked up here, never believed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PureWindowsPath
from typing import Any

from ..errors import UserError
from ..reading import read_object
from ..untrusted import file_name, is_inside, is_network
from .basefile import read_header
from .places import home_of

RUN_KEY = "ss_session_id"


def name_of(event: Mapping[str, Any]) -> str:
    """The LoRA file's name that a checkpoint event tells, on whatever system it was written; "" where it tells none."""
    name = PureWindowsPath(str(event.get("path", ""))).name
    with suppress(UserError):
        return file_name(name, "events.jsonl") if name.endswith(".safetensors") else ""
    return ""


def saved_file(run_dir: Path, event: Mapping[str, Any], config: Mapping[str, Any]) -> Path | None:
    """The file of a checkpoint event: in the project's output, or wherever it was put, if it says itself that this run made it."""
    name = name_of(event)
    if not name:
        return None
    home = home_of(run_dir)
    if os.path.isfile(beside := home / "output" / name) and is_inside(home, beside):
        return beside
    session = _session(run_dir)
    for place in _told(name, event, config):
        if (is_inside(home, place) or (session and _made_by(place) == session)) and os.path.isfile(place):
            return place
    return None


def _told(name: str, event: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[Path]:
    """Where run and settings say the file is; nothing of another machine, which a mere look would tell who we are."""
    folders = [config.get(key) for key in ("output_dir", "lora_dir")]
    texts = [event.get("path"), event.get("lora_path"), *(str(Path(folder) / name) for folder in folders if isinstance(folder, str) and folder)]
    for text in texts:
        if isinstance(text, str) and "\0" not in text and not is_network(text) and Path(text).is_absolute() and text.endswith(".safetensors"):
            yield Path(text)


def _session(run_dir: Path) -> str:
    with suppress(UserError):
        return str(read_object(run_dir / "session.json").get("id", ""))
    return ""


def _made_by(path: Path) -> str:
    with suppress(UserError):
        return read_header(path).metadata.get(RUN_KEY, "")
    return ""
