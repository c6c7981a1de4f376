"""Captions in the metadata JSON of kohya's sd-scripts: {picture: {"tags": "a, b", "caption": …, …}}.

A picture is named by its full path or by its file name with ending: never by the stem alone, which two pictures may share.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ..dataset import format_tags, parse_tags
from ..errors import UserError
from ..files import atomic_write_json, read_json
from .dataset_edits import record_captions
from .edits import Tags, added
from .index import DatasetIndex, open_index
from .reports import EditReport

Existing = Literal["overwrite", "append", "prepend", "skip"]
EXISTING = ("overwrite", "append", "prepend", "skip")


@dataclass(frozen=True)
class Incoming:
    """What a metadata file says of this folder. tags: by caption file; unknown: entries of no picture here; unclear: of several."""

    tags: dict[str, Tags] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()


def export(dataset_dir: str | Path, full_path: bool = True, names: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
    """The metadata of all pictures, or of those named."""
    folder = Path(dataset_dir)
    index = _index(folder)
    chosen = list(index.pictures) if names is None else [name for name in names if name in index.pictures]
    return {str(folder.resolve() / name) if full_path else name: {"tags": format_tags(index.pictures[name].tags)} for name in chosen}


def write(path: str | Path, dataset_dir: str | Path, full_path: bool = True, names: Iterable[str] | None = None) -> int:
    """Write the metadata; what a file that is there says of other pictures, and of these besides tags, stays. Returns the pictures written."""
    path = Path(path)
    metadata = dict(read(path)) if path.exists() else {}
    fresh = export(dataset_dir, full_path, names)
    for key, entry in fresh.items():
        metadata[key] = {**metadata.get(key, {}), **entry}
    atomic_write_json(path, metadata)
    return len(fresh)


def read(path: str | Path) -> dict[str, dict[str, Any]]:
    """A metadata file. Raises UserError for one that is none."""
    try:
        return check(read_json(path), str(path))
    except UserError as error:
        raise UserError(error.message, "Give a metadata file as kohya's scripts write it.") from error


def check(data: Any, where: str = "The file") -> dict[str, dict[str, Any]]:
    """Raises UserError unless this is such metadata."""
    fits = isinstance(data, dict) and all(
        isinstance(key, str) and isinstance(value, dict) and all(isinstance(value.get(name, ""), (str, type(None))) for name in ("tags", "caption"))
        for key, value in data.items()
    )
    if not fits:
        raise UserError(f"{where} is no caption metadata.", 'It should look like {"picture.png": {"tags": "1girl, smile"}}.')
    return dict(data)


def match(metadata: Mapping[str, Mapping[str, Any]], dataset_dir: str | Path) -> Incoming:
    """Which captions the entries are for: by path, else by file name, else by a stem that only one picture has."""
    folder = Path(dataset_dir)
    index = _index(folder)
    by_stem: dict[str, list[str]] = {}
    for name in index.pictures:
        by_stem.setdefault(Path(name).stem, []).append(name)
    here = str(folder.resolve()).replace("\\", "/").rstrip("/") + "/"
    found: dict[str, Tags] = {}
    unknown, unclear, certain = [], [], set()
    for key, entry in metadata.items():
        text = entry.get("tags") or entry.get("caption") or ""
        plain = key.replace("\\", "/")
        name = PurePosixPath(plain).name
        exact = plain.startswith(here)
        candidates = [name] if name in index.pictures else by_stem.get(name, [])
        captions = {index.pictures[one].caption for one in candidates}
        if not captions:
            unknown.append(key)
        elif len(captions) > 1:
            unclear.append(key)
        else:
            caption = captions.pop()
            if caption in found and caption in certain and not exact:
                unclear.append(key)  # a picture of this name in another folder
                continue
            if caption in found and not exact:
                unclear.append(key)
                continue
            found[caption] = parse_tags(text)
            certain.update([caption] if exact else [])
    return Incoming(found, tuple(unknown), tuple(unclear))


def take(metadata: Mapping[str, Mapping[str, Any]], dataset_dir: str | Path, existing: Existing = "overwrite") -> tuple[EditReport, Incoming]:
    """Write the tags of a metadata file into the captions, as one undoable step."""
    if existing not in EXISTING:
        raise UserError(f"{existing!r} is none of {', '.join(EXISTING)}.")
    incoming = match(metadata, dataset_dir)
    now = _index(Path(dataset_dir)).captions()
    wanted = {caption: _joined(now[caption].tags, tags, existing) for caption, tags in incoming.tags.items()}
    report = record_captions(dataset_dir, "import", wanted, {"existing": existing, "files": len(wanted)}) if wanted else EditReport()
    return report, incoming


def _joined(old: Tags, new: Tags, existing: Existing) -> Tags:
    if existing == "overwrite" or not old:
        return new
    if existing == "skip":
        return old
    return added(old, new) if existing == "append" else added(new, old)


def _index(folder: Path) -> DatasetIndex:
    index = open_index(folder)
    index.refresh(now=True)
    return index
