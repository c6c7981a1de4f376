"""What was uploaded and waits to be imported: batches beside the projects, each imported as a whole, or kept until somebody gives it up.

    <projects>/_incoming/<project id>/<batch>/<copy>/<folders>/<file>

A batch is what was dropped at once, with its folders, so that a caption stays with its picture. ``copy`` is 1; further files of the same path go to
2, 3 … A file comes here when it is whole (until then it lies in ``_incoming/.parts`` under a name of its own), and goes when it is in the project.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import re
import threading
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from .. import patience
from ..errors import UserError
from ..files import TEMPORARY_PREFIX
from ..progress import Progress, silent
from ..project import Project
from .bringing import archives_in, bring, pictures_in
from .images import SUFFIXES
from .importing import ImportReport, _walk, portable_stem

INCOMING, BUNDLES, PARTS = "_incoming", "_bundles", ".parts"
OPEN = "open"  # the batch of uploads that name none
BATCH = re.compile(r"[0-9a-z]{8,40}")
UNCLEAR = ".unclear"
READ = "PNG, JPEG, WebP, AVIF, BMP and GIF are read."
KEPT = 2 * 24 * 3600.0  # seconds that something waits for somebody to come back to it
LONGEST_FOLDER = 120  # characters of the folders' names together: what is stored has to have a path that Windows takes
SHOWN = 5  # names of a batch that are told

_moving = threading.Lock()


@dataclass(frozen=True)
class Batch:
    """Files that wait. ``changed``: seconds since 1970; ``names``: some of them, as they were dropped."""

    batch: str
    files: int
    bytes: int
    changed: float
    names: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def home_of(projects_dir: Path, identity: str) -> Path:
    """Where the uploads of a project wait."""
    return projects_dir / INCOMING / identity


def batch_folder(home: Path, batch: str) -> Path:
    """Raises UserError for what names no batch."""
    if batch != OPEN and not BATCH.fullmatch(batch):
        raise UserError("This names no batch of uploads.", "A batch is called by 8 to 40 small letters and digits.")
    return home / batch


def temporary(projects_dir: Path) -> Path:
    """A path for an upload that comes in; no other one has it."""
    folder = projects_dir / INCOMING / PARTS
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}.part"


def stored_path(name: str) -> str:
    """Where in a batch a file goes that was dropped by this path: every part a name that all systems take, nothing that leads elsewhere.

    Raises UserError for a kind of file that is neither a picture, a caption nor a ZIP.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part.strip() not in ("", ".", "..")]
    last = PurePosixPath(parts[-1] if parts else "")
    folders = "/".join(portable_stem(part) for part in parts[:-1])
    if len(folders) > LONGEST_FOLDER:
        folders = f"{folders[:40].strip(' ./')}~{hashlib.sha256(folders.encode('utf-8')).hexdigest()[:16]}"
    return "/".join(filter(None, (folders, portable_stem(last.stem) + _suffix(last.suffix))))


def _suffix(suffix: str) -> str:
    found = suffix.lower()
    if found not in SUFFIXES and found not in (".txt", ".zip"):
        raise UserError(f"{suffix or 'A file without a suffix'} is not read.", "PNG, JPEG, WebP, AVIF, BMP and GIF, captions (.txt) and ZIPs are.")
    return found


def place(arrived: Path, folder: Path, path: str) -> Path:
    """Move a whole file into a batch, to `path`, beside others of the same path. The same file again is the same file."""
    with _moving:
        copy = 1
        while (target := folder / str(copy) / path).exists():
            if filecmp.cmp(arrived, target, shallow=False):
                patience.unlink(arrived)
                return target
            copy += 1
        target.parent.mkdir(parents=True, exist_ok=True)
        patience.replace(arrived, target)
    return target


def close(home: Path) -> str:
    """The uploads that named no batch become one of their own, which nothing is added to any more; its name, "" where there are none."""
    with _moving:
        _adopt(home)
        if not _is_own(home / OPEN):
            return ""
        batch = uuid.uuid4().hex
        patience.rename(home / OPEN, home / batch)
    return batch


def _adopt(home: Path) -> None:
    """Files that an older version left straight in the folder."""
    for path in sorted(home.iterdir()) if _is_own(home) else ():
        if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
            (home / OPEN / "1").mkdir(parents=True, exist_ok=True)
            if not (target := home / OPEN / "1" / path.name).exists():
                patience.rename(path, target)


def waiting(home: Path) -> list[Batch]:
    """The batches of a project, the newest first."""
    with _moving:
        _adopt(home)
    found = []
    for folder in _batches(home):
        files = [path for path in _files(folder) if UNCLEAR not in path.parts]
        if files:
            stats = [path.stat() for path in files]
            names = tuple(path.relative_to(folder).as_posix().split("/", 1)[-1] for path in files[:SHOWN])
            found.append(Batch(folder.name, len(files), sum(s.st_size for s in stats), max(s.st_mtime for s in stats), names))
    return sorted(found, key=lambda batch: -batch.changed)


def discard(home: Path, batch: str) -> None:
    """Throw a batch away: somebody said so. Raises UserError when there is none."""
    folder = batch_folder(home, batch)
    with _moving:
        if not _is_own(folder):
            raise UserError("These uploads are not there any more.", "They were imported or thrown away in another window; load the page again.")
        patience.rmtree(folder)


def follow(projects_dir: Path, before: str, now: str) -> None:
    """A project has another id: what waits for it goes with it."""
    with _moving:
        for root in (projects_dir / INCOMING, projects_dir / INCOMING / BUNDLES):
            for path in sorted((root / before).iterdir()) if before != now and _is_own(root / before) else ():
                target = root / now / path.name
                target.parent.mkdir(exist_ok=True)
                if not target.exists():
                    patience.rename(path, target)
            patience.rmdir_if_empty(root / before)


def clean(projects_dir: Path, now: float | None = None, busy: Collection[tuple[str, str]] = ()) -> None:
    """Throw away what nobody came back to for two days: only what has a name of our own form, in folders of our own, never behind a link.

    busy: (project id, batch) that something is being done with.
    """
    root, until = projects_dir / INCOMING, (time.time() if now is None else now) - KEPT
    with _moving, suppress(OSError):
        for home in _folders(root):
            if home.name == PARTS:
                _clean_files(home, TEMPORARY_PREFIX, until)
            elif home.name == BUNDLES:
                for folder in _folders(home):
                    _clean_files(folder, "bundle-", until)
            else:
                for batch in _batches(home):
                    times = [path.stat().st_mtime for path in (batch, *_files(batch))]
                    if max(times) < until and (home.name, batch.name) not in busy:
                        patience.rmtree(batch, ignore_errors=True)
            patience.rmdir_if_empty(home)


def _clean_files(folder: Path, prefix: str, until: float) -> None:
    for path in folder.iterdir():
        if path.name.startswith(prefix) and path.is_file() and not path.is_symlink() and path.stat().st_mtime < until:
            with suppress(OSError), patience.within(0):
                patience.unlink(path)
    patience.rmdir_if_empty(folder)


def _is_own(folder: Path) -> bool:
    """A folder that is there itself: neither a link nor, on Windows, a junction to another place."""
    here = os.path.join(os.path.realpath(folder.parent), folder.name)
    return folder.is_dir() and os.path.normcase(os.path.realpath(folder)) == os.path.normcase(here)


def _folders(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if _is_own(path)] if _is_own(folder) else []


def _batches(home: Path) -> list[Path]:
    return [folder for folder in _folders(home) if folder.name == OPEN or BATCH.fullmatch(folder.name)]


def _files(folder: Path) -> list[Path]:
    return sorted(Path(place) / name for place, _, names in os.walk(folder) for name in names)


# -- into the project ------------------------------------------------------------------------


def take(batch: Path, project: Project, progress: Progress = silent) -> ImportReport:
    """Import a batch; what is in the project afterwards, or named as unusable in the report, is gone from the batch. The rest stays for another try.

    Raises UserError when nothing could be taken in; then all of it stays.
    """
    if not _is_own(batch):
        raise UserError("Nothing was uploaded.", "Drop pictures first.")
    aside = _set_aside(batch)
    if not any(pictures_in(batch)) and not any(archives_in(batch)):
        raise UserError("There are no pictures among what was uploaded.", READ)
    report = bring([batch], project, progress)
    lonely = [(path, "There is no picture of this name beside it.") for path in _lonely(batch)]
    unclear = [(path, "Several files were uploaded by this name: it is not clear whose caption this is.") for path in aside]
    kept = {path for path, _ in report.skipped if path == batch or (path.suffix == ".zip" and batch in path.parents)}
    _taken(batch, kept)
    named = ((_shown(path, batch), reason) for path, reason in (*report.skipped, *lonely, *unclear))
    return replace(report, skipped=tuple(named))


def _set_aside(batch: Path) -> list[Path]:
    """Captions that may belong to several pictures: nobody gets them. They lie where an import does not look; all of them so far."""
    doubtful = {key for path in _files(batch) if (key := _key(path, batch)) is not None and key[0] != "1"}
    several = {key[1:] for key in doubtful}
    for path in [*_walk(batch)]:
        key = _key(path, batch)
        if path.suffix == ".txt" and key is not None and key[1:] in several:
            target = batch / UNCLEAR / path.relative_to(batch)
            target.parent.mkdir(parents=True, exist_ok=True)
            patience.replace(path, target)
    return _files(batch / UNCLEAR)


def _key(path: Path, batch: Path) -> tuple[str, str, str] | None:
    """(copy, folder, stem) of a file; None for what was set aside."""
    copy, *folders = path.relative_to(batch).parts[:-1]
    return None if copy == UNCLEAR else (copy, "/".join(folders).casefold(), path.stem.casefold())


def _lonely(batch: Path) -> Iterator[Path]:
    pictures = {(path.parent, path.stem) for path in pictures_in(batch)}
    return (path for path in _walk(batch) if path.suffix == ".txt" and (path.parent, path.stem) not in pictures)


def _taken(batch: Path, kept: Collection[Path]) -> None:
    if not kept:
        return patience.rmtree(batch)
    for path in _files(batch):
        if path not in kept and (batch not in kept or path.suffix == ".zip"):
            patience.unlink(path, missing_ok=True)
    return None


def _shown(path: Path, batch: Path) -> Path:
    """As it was dropped."""
    try:
        parts = path.relative_to(batch).parts
    except ValueError:  # out of a ZIP
        return path
    parts = parts[1:] if parts[:1] == (UNCLEAR,) else parts
    return Path(*parts[1:]) if len(parts) > 1 else Path(batch.name)
