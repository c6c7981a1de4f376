"""What a bundle says of itself, and which of its files may be written where. A bundle may come from anywhere: nothing in it is believed."""

from __future__ import annotations

import hashlib
import re
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from ..dataset import SUFFIXES
from ..dataset.archive import BROKEN
from ..errors import UserError
from ..files import FORBIDDEN, RESERVED, validate_name
from ..reading import parse_json
from ..untrusted import RefusedError, relative

FORMAT = 1
MANIFEST = "bundle.json"
BLOCK = 1 << 20
LIMIT = 64_000_000  # bytes of a manifest
#: what reading a manifest of another form, in a ZIP of any state, ends with
ODD: tuple[type[Exception], ...] = (*BROKEN, KeyError, TypeError, AttributeError)
NOT_ONE = "Give a file that `bundle` made."
#: folder in the bundle → what may be in it. Nothing that could be run.
ALLOWED: dict[str, frozenset[str]] = {
    "dataset": frozenset({*SUFFIXES, ".txt"}),
    "folders": frozenset({*SUFFIXES, ".txt"}),
    "masks": frozenset(SUFFIXES),
    "output": frozenset({".safetensors", ".json", ".png"}),
    "models": frozenset({".safetensors", ".yaml", ".json", ".txt", ".model"}),
    "runs": frozenset({".safetensors", ".json", ".jsonl", ".log", ".png", ".jpg", ".webp", ".html"}),
}
BOARD = re.compile(r"runs/[^/]+/tensorboard/(?:[^/]+/)?events\.out\.tfevents\.[^/]+")


@dataclass(frozen=True)
class Model:
    """A model that the training needs. ``sha256`` of the file (of a folder: of all its files'); ``member``: where it is in the bundle, if it is."""

    name: str
    size: int
    sha256: str
    member: str = ""


@dataclass(frozen=True)
class Manifest:
    """``folders``: the training's folders as in its configuration, with paths inside the bundle. ``files``: path → [bytes, SHA-256]."""

    project: str
    run: str
    program: str
    made: float
    base: Model
    vae: Model | None = None
    start_from: Model | None = None
    folders: tuple[dict[str, Any], ...] = ()
    files: dict[str, tuple[int, str]] = field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    def below(self, *parts: str) -> list[str]:
        """The files in one of the bundle's folders, in order."""
        start = "/".join(parts) + "/"
        return sorted(name for name in self.files if name.startswith(start))


def read_manifest(archive: zipfile.ZipFile, name: str) -> Manifest:
    """Raises UserError for a file that is no bundle, or one whose list of files is not sound."""
    try:
        info = archive.getinfo(MANIFEST)
        if info.file_size > LIMIT:
            raise ValueError("its list of files is too long")
        data = parse_json(archive.read(info))
        if data.pop("format") > FORMAT:
            raise UserError(f"{name} was made by a newer Lora Studio.", "Update Lora Studio on this machine.")
        files = {str(k): (int(v[0]), str(v[1])) for k, v in data.pop("files").items()}
        models = {k: Model(**data.pop(k)) for k in ("base", "vae", "start_from") if data.get(k)}
        if "base" not in models:
            raise ValueError("it names no base")
        folders = tuple(dict(f) for f in data.pop("folders"))
        found = Manifest(**{**data, **models, "folders": folders, "files": files})
    except UserError:
        raise
    except ODD as error:
        raise UserError(f"{name} is no bundle of Lora Studio: {error}", NOT_ONE) from error
    if not isinstance(found.project, str) or not isinstance(found.run, str) or not all(_is_sound(m) for m in models.values()):
        raise UserError(f"{name} is no bundle of Lora Studio: it names {found.project!r}.", NOT_ONE)
    for part in (found.project, found.run, *(model.name for model in (found.base, found.vae, found.start_from) if model)):
        if validate_name(part) != part:
            raise UserError(f"{name} is no bundle of Lora Studio: it names {part!r}.", NOT_ONE)
    _check_names(found, archive, name)
    return found


def _is_sound(model: Model) -> bool:
    return all(isinstance(text, str) for text in (model.name, model.sha256, model.member)) and type(model.size) is int


def _check_names(found: Manifest, archive: zipfile.ZipFile, name: str) -> None:
    seen: set[str] = set()
    for path, (size, _) in found.files.items():
        if key_of(path) in seen or not is_safe(path, found.run):
            raise UserError(f"{name} holds a file that does not belong there: {path}", "Nothing was written: do not use this file.")
        seen.add(key_of(path))
        try:
            info = archive.getinfo(path)
        except KeyError:
            raise UserError(f"{name} is not whole: {path} is missing.", "Copy the file again.") from None
        if info.file_size != size:
            raise UserError(f"{name} is not whole: {path} has another size.", "Copy the file again.")
    for key, model in (("base", found.base), ("vae", found.vae), ("start_from", found.start_from)):
        if model and model.member and model.member != f"models/{key}/{model.name}":
            raise UserError(f"{name} names a file that does not belong there: {model.member}", "Do not use it.")
    for folder in found.folders:
        for place in (folder.get("path"), folder.get("conditioning_data_dir")):
            if place and not re.fullmatch(r"dataset|(folders|masks)/\d+", str(place)):
                raise UserError(f"{name} names a folder that does not belong there: {place}", "Do not use it.")


def key_of(path: str) -> str:
    """The same for names that are one file on some system: there small and capital letters, or ways to write an accent, do not differ."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def is_safe(path: str, run: str) -> bool:
    """Whether a file of this path may be written into a project's folder."""
    if path == "project.json":
        return True
    parts = path.split("/")
    if len(parts) < 2 or len(path) > 400 or str(PurePosixPath(path)) != path:
        return False
    for part in parts:
        if part in ("", ".", "..") or part[-1] in ". " or any(c in FORBIDDEN or ord(c) < 32 for c in part) or part.split(".")[0].lower() in RESERVED:
            return False
    if parts[0] == "runs" and (parts[1] != run or len(parts) < 3 or parts[2] in ("control", "process.json")):
        return False
    if BOARD.fullmatch(path):
        return True
    try:
        relative(path, "A bundle")
    except RefusedError:
        return False
    return parts[0] in ALLOWED and not parts[-1].startswith(".") and Path(parts[-1]).suffix.lower() in ALLOWED[parts[0]]


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """A file in pieces, so that its size does not matter."""
    while block := file.read(BLOCK):
        yield block


def hash_of(path: Path) -> str:
    """SHA-256 of a file; of a folder, of its files' names and hashes."""
    whole = hashlib.sha256()
    if path.is_dir():
        for part in sorted(p for p in path.rglob("*") if p.is_file()):
            whole.update(f"{part.relative_to(path).as_posix()} {hash_of(part)}\n".encode())
        return whole.hexdigest()
    with path.open("rb") as file:
        for block in blocks(file):
            whole.update(block)
    return whole.hexdigest()


def size_of(path: Path) -> int:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else path.stat().st_size


