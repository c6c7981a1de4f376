"""Bringing a user's pictures into a project: copied byte for byte, renamed where needed, each one tried."""

from __future__ import annotations

import filecmp
import os
import unicodedata
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..files import FORBIDDEN, LONGEST_NAME, RESERVED, atomic_path
from ..patience import copy
from ..progress import Progress, silent
from ..project import Project
from ..untrusted import leads_out
from .captions import LARGEST, TOO_LARGE, problem
from .images import PictureError, load_image
from .items import OUTSIDE, is_picture_name

OTHER_PICTURES = {".heic", ".heif", ".tif", ".tiff", ".jxl", ".svg", ".psd"}


@dataclass(frozen=True)
class ImportReport:
    """added: the new files in raw/. renamed: (source, name in raw/). skipped: (path, reason)."""

    added: tuple[Path, ...] = ()
    renamed: tuple[tuple[Path, str], ...] = ()
    skipped: tuple[tuple[Path, str], ...] = ()
    captions: int = 0


def portable_stem(stem: str) -> str:
    """A file stem every system and every trainer takes: no leading dots (trainers pass over such files), no forbidden characters."""
    stem = unicodedata.normalize("NFC", stem)
    stem = "".join("_" if c in FORBIDDEN or ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF else c for c in stem)
    stem = stem.strip(" ").lstrip(".").rstrip(". ").strip() or "picture"
    while len(stem.encode("utf-8")) > LONGEST_NAME:
        stem = stem[:-1]
    first, dot, rest = stem.partition(".")  # Windows looks at what stands before the first dot
    return f"{first}_{dot}{rest}" if first.strip().lower() in RESERVED else stem


def _walk(source: Path) -> list[Path]:
    """Files under a folder in order of name; hidden folders (caches, version control) are left out."""
    found = []
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder) / name for name in sorted(names)]
    return found


def _find(sources: Iterable[str | Path]) -> tuple[list[Path], list[tuple[Path, str]]]:
    pictures: list[Path] = []
    skipped: list[tuple[Path, str]] = []
    for source in map(Path, sources):
        if source.is_dir():
            for path in _walk(source):
                if is_picture_name(path.name):
                    pictures.append(path)
                elif path.suffix.lower() in OTHER_PICTURES:
                    skipped.append((path, f"{path.suffix} pictures are not read; save it as PNG or JPEG."))
        elif source.is_file():
            pictures.append(source)
        else:
            raise UserError(f"There is no file or folder {source}.", "Check the path.")
    return list(dict.fromkeys(pictures)), skipped


def _problem(path: Path) -> str:
    """Why a picture cannot be used, or "": decoded whole, since only that finds truncated files."""
    try:
        load_image(path)
    except PictureError as error:
        return error.reason
    return ""


def _too_large(caption: Path) -> str:
    return TOO_LARGE if caption.is_file() and caption.stat().st_size > LARGEST else ""


def name_key(stem: str) -> str:
    """The same for names that are one on some system: Windows and macOS take A and a for the same."""
    return unicodedata.normalize("NFC", stem).casefold()


def _free_stem(stem: str, taken: set[str]) -> str:
    candidate, number = stem, 2
    while name_key(candidate) in taken:
        candidate, number = f"{stem}_{number}", number + 1
    return candidate


def _already(path: Path, raw: Path, stem: str, taken: set[str]) -> Path | None:
    """The same picture under its name, or under one of the numbered names that it got because others had it."""
    candidate, number = stem, 2
    while name_key(candidate) in taken:
        same = raw / (candidate + path.suffix)
        if same.is_file() and filecmp.cmp(path, same, shallow=False):
            return same
        candidate, number = f"{stem}_{number}", number + 1
    return None


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        copy(source, temporary)


def import_images(sources: Iterable[str | Path], project: Project, progress: Progress = silent) -> ImportReport:
    """Copy pictures (and the .txt caption beside each) from files, folders (recursively) and ZIPs into the project's raw/.

    A source is one that its owner chose: links in it are followed, and what they lead to is copied. A caption that is too large to be one
    is named and stays behind, its picture comes.

    Every picture is decoded once; those that fail are listed, not fatal. Same stems are
    told apart by `_2`, `_3`, ...; a picture that raw/ has already under its name is skipped.
    Raises UserError when a source is missing, nothing in them is a readable picture, or the disk is full.
    """
    from .archive import with_archives_unpacked

    with with_archives_unpacked(sources) as (folders, left_out):
        return _import(folders, project, progress, left_out)


def _import(
    sources: Sequence[Path], project: Project, progress: Progress, left_out: Sequence[tuple[Path, str]] = (), chosen: bool = True
) -> ImportReport:
    """chosen: the sources are their owner's choice; else they are a project's own, and links that lead out of it are left out."""
    pictures, skipped = _find(sources)
    skipped += left_out
    if not chosen:
        skipped += [(path, OUTSIDE) for path in pictures if leads_out(path)]
        pictures = [path for path in pictures if not leads_out(path)]
    raw = project.own(project.raw_dir)
    inside = raw.resolve()
    if any(inside == path.resolve().parent for path in pictures):
        raise UserError(f"These pictures are in the project already: {raw}", "Give the folder they came from.")
    if not pictures:
        others = f" ({len(skipped)} in formats that are not read)" if skipped else ""
        raise UserError(f"There are no pictures in {', '.join(str(s) for s in sources)}{others}.", "PNG, JPEG, WebP, AVIF, BMP and GIF are read.")
    present = {name_key(path.stem): path for path in raw.iterdir()} if raw.is_dir() else {}
    taken = set(present)
    added: list[Path] = []
    renamed: list[tuple[Path, str]] = []
    captions = known = 0
    # Decoding leaves the interpreter free; two at a time bound the memory of huge pictures.
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        for done, (path, reason) in enumerate(zip(pictures, pool.map(_problem, pictures), strict=True), 1):
            progress(done, len(pictures), path.name)
            if reason:
                skipped.append((path, reason))
                continue
            wanted, caption = portable_stem(path.stem), path.with_suffix(".txt")
            same = _already(path, raw, wanted, taken)
            if same is not None:
                known += 1
                skipped.append((path, "The same picture is in the project already."))
                usable = caption.is_file() and not (_too_large(caption) if chosen else problem(caption))
                if usable and not same.with_suffix(".txt").exists():  # an import that was broken off between the two
                    _copy(caption, same.with_suffix(".txt"))
                    captions += 1
                continue
            stem = _free_stem(wanted, taken)
            taken.add(name_key(stem))
            target = raw / (stem + path.suffix)
            _copy(path, target)
            added.append(target)
            if stem != path.stem:
                renamed.append((path, target.name))
            if why := _too_large(caption) if chosen else problem(caption):
                skipped.append((caption, why))
            elif caption.is_file():
                _copy(caption, target.with_suffix(".txt"))
                captions += 1
    if not added and not known:
        listed = "; ".join(f"{path.name}: {reason}" for path, reason in skipped[:5])
        raise UserError(f"None of the {len(pictures)} pictures can be read. {listed}", "Replace them, or give another folder.")
    return ImportReport(tuple(added), tuple(renamed), tuple(skipped), captions)


def adopt_dataset(project: Project, progress: Progress = silent) -> ImportReport:
    """For a `Loras/<name>/` folder whose only pictures are in dataset/: copy them to raw/, so that cropping has originals to start from.

    Does nothing when raw/ has pictures. Raises UserError when dataset/ has none either.
    """
    if project.raw_dir.is_dir() and any(is_picture_name(path.name) for path in project.raw_dir.iterdir()):
        return ImportReport()
    pictures = sorted(p for p in project.dataset_dir.iterdir() if is_picture_name(p.name)) if project.dataset_dir.is_dir() else []
    if not pictures:
        raise UserError(f"The project {project.folder} has no pictures.", "Bring some in with: new NAME --images DIR")
    return _import([path for path in pictures if path.is_file()], project, progress, chosen=False)
