"""A dataset's captions in memory: who has which tag, kept up to date with what is on disk.

One index serves every page and every edit of a process. Loading is linear; after that the folder's listing tells which captions
changed, whoever changed them, and only those are read again. No file is kept open. A picture is opened only when its size is
asked for.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..dataset import PictureError, image_size, parse_tags
from ..dataset.captions import CaptionError, caption_bytes, decode
from ..dataset.items import is_own, is_picture_name
from ..errors import UserError
from ..patience import TIDYING, within
from ..untrusted import leads_out
from . import journal
from .journal import Applied, Journal, Stamp
from .traits import normal_form

Tags = tuple[str, ...]
LOOK_EVERY = 0.5  # seconds: how old the look at the folder may be that an answer rests on
SURE_AFTER = 50_000_000  # nanoseconds: a file read this shortly after its change may change again under the same time
KEPT = 4  # datasets held in memory
_UNSURE: Stamp = (-1, -1)


@dataclass(frozen=True)
class Picture:
    """A picture and what its caption holds. data: the caption's bytes, None where there is no file; forms: the tags' normal forms;
    problem: why the caption is neither read nor written, "" for one like all others."""

    name: str
    caption: str
    data: bytes | None = None
    tags: Tags = ()
    forms: Tags = ()
    problem: str = ""

    @property
    def repeated(self) -> int:
        """How many of the tags stand further to the front already, in whatever spelling."""
        return len(self.forms) - len(set(self.forms))


@dataclass(frozen=True)
class Facts:
    """What a picture's file says. version: changes with the file; width, height: 0 when it cannot be read, and `problem` says why."""

    version: str = ""
    width: int = 0
    height: int = 0
    problem: str = ""


def _case(name: str) -> str:
    """Windows finds a file by its name in any case."""
    return name.lower() if os.name == "nt" else name


def caption_name(picture: str) -> str:
    """The caption file's name of a picture file's."""
    return os.path.splitext(picture)[0] + ".txt"


class DatasetIndex:
    """The captions of one folder. All methods may be called from any thread.

    revision: grows with every change that is noticed. pictures: by name, in order of name. by_tag: the names of the pictures that
    have a tag, as it is spelled. spellings: the tags in use by normal form.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        # By the clock: a page that outlives the program does not take an old number for the present one.
        self.revision = time.time_ns() // 1_000_000
        self.pictures: dict[str, Picture] = {}
        self.by_tag: dict[str, set[str]] = {}
        self.spellings: dict[str, set[str]] = {}
        self.lock = threading.RLock()
        self._owners: dict[str, list[str]] = {}
        self._stamps: dict[str, Stamp | None] = {}
        self._facts: dict[str, tuple[Stamp, Facts]] = {}
        self._known: dict[str, str] = {}
        self._looked = float("-inf")

    # -- keeping up ------------------------------------------------------------

    def refresh(self, now: bool = False) -> set[str]:
        """Notice what changed on disk; the names of the pictures concerned. now: even if the last look was a moment ago.

        Raises UserError when the folder cannot be read.
        """
        with self.lock:
            if not now and time.monotonic() - self._looked < LOOK_EVERY:
                return set()
            names, stamps = self._listing()
            first = not self._stamps
            changed = self._follow_pictures(names)
            with within(TIDYING):
                for caption, stamp in stamps.items():
                    known = self._stamps.get(caption, _UNSURE) == stamp
                    if known and not changed.intersection(self._owners[caption]):
                        continue
                    changed.update(self._read(caption, stamp))
            self._looked = time.monotonic()
            if changed and not first:
                self.revision += 1
            return changed

    def _listing(self) -> tuple[list[str], dict[str, Stamp | None]]:
        """The names of the pictures in order, and the stamps of their captions."""
        names, texts, pictures = [], {}, self.pictures
        try:
            for entry in os.scandir(self.folder):
                name = entry.name
                if name[-4:].lower() == ".txt":
                    found = entry.stat(follow_symlinks=not entry.is_symlink() or (is_own(entry, self.folder) and os.path.exists(entry.path)))
                    texts[_case(name)] = (found.st_mtime_ns, found.st_size)
                elif (name in pictures or (is_picture_name(name) and entry.is_file())) and is_own(entry, self.folder):
                    names.append(name)
        except OSError as error:
            raise UserError(f"The folder {self.folder} cannot be read: {error.strerror}.", "Check the path.") from error
        names.sort()
        captions = [pictures[name].caption if name in pictures else caption_name(name) for name in names]
        return names, {caption: texts.get(_case(caption)) for caption in captions}

    def _follow_pictures(self, names: list[str]) -> set[str]:
        """Take in what pictures came and went; their names. Those that came have no tags yet."""
        there = set(names)
        gone, fresh = self.pictures.keys() - there, there - self.pictures.keys()
        if not gone and not fresh:
            return set()
        for name in gone:
            self._put(Picture(name, caption_name(name)))
        self.pictures = {name: self.pictures.get(name) or Picture(name, caption_name(name)) for name in names}
        self._owners = {}
        for name in names:
            self._owners.setdefault(caption_name(name), []).append(name)
        self._stamps = {caption: stamp for caption, stamp in self._stamps.items() if caption in self._owners}
        return gone | fresh

    def _read(self, caption: str, stamp: Stamp | None) -> list[str]:
        """Read a caption; the names of the pictures that have other tags now."""
        began = time.time_ns()
        data, problem = None, ""
        try:
            data = None if stamp is None else caption_bytes(self.folder / caption)
        except CaptionError as error:
            problem = error.reason
        except UserError as error:  # the others are shown all the same
            problem = error.message
        sure = stamp is None or (stamp[0] < began - SURE_AFTER and not problem)
        return self._set(caption, data, stamp if sure else _UNSURE, problem)

    def _set(self, caption: str, data: bytes | None, stamp: Stamp | None, problem: str = "") -> list[str]:
        self._stamps[caption] = stamp
        changed = [name for name in self._owners.get(caption, ()) if (self.pictures[name].data, self.pictures[name].problem) != (data, problem)]
        if changed:
            tags = parse_tags(decode(data)[0]) if data else ()
            forms = tuple(map(self._form, tags))
            for name in changed:
                self._put(Picture(name, caption, data, tags, forms, problem))
        return changed

    def _form(self, tag: str) -> str:
        form = self._known.get(tag)
        if form is None:
            form = self._known[tag] = normal_form(tag)
        return form

    def _put(self, picture: Picture) -> None:
        had = set(self.pictures[picture.name].tags) if picture.name in self.pictures else set()
        for tag in had.difference(picture.tags):
            holders = self.by_tag[tag]
            holders.discard(picture.name)
            if not holders:
                del self.by_tag[tag]
                self._drop_spelling(tag)
        for tag in set(picture.tags) - had:
            holders = self.by_tag.get(tag)  # type: ignore[assignment]
            if holders is None:
                holders = self.by_tag[tag] = set()
                self.spellings.setdefault(self._form(tag), set()).add(tag)
            holders.add(picture.name)
        self.pictures[picture.name] = picture

    def _drop_spelling(self, tag: str) -> None:
        form = self._form(tag)
        self.spellings[form].discard(tag)
        if not self.spellings[form]:
            del self.spellings[form]

    def wrote(self, files: Mapping[str, tuple[bytes | None, Stamp | None]]) -> list[str]:
        """Take over captions that this program has just written: {file name: (bytes, stamp)}; the pictures concerned."""
        with self.lock:
            changed = [name for caption, (data, stamp) in files.items() for name in self._set(caption, data, stamp)]
            if changed:
                self.revision += 1
            return changed

    def peek(self, caption: str) -> tuple[bytes | None, Stamp] | None:
        """A caption's bytes as they were when the file had this stamp; None when that is not known for sure."""
        stamp, owners = self._stamps.get(caption), self._owners.get(caption)
        picture = self.pictures[owners[0]] if owners else None
        return (picture.data, stamp) if picture and not picture.problem and stamp is not None and stamp != _UNSURE else None

    def reread(self, caption: str) -> None:
        """Make sure of one caption: read it again, whatever its time of change says."""
        with self.lock:
            path = self.folder / caption
            try:
                found = path.stat() if os.path.exists(path) and not leads_out(path) else os.lstat(path)
                stamp: Stamp | None = (found.st_mtime_ns, found.st_size)
            except FileNotFoundError:
                stamp = None
            if self._read(caption, stamp):
                self.revision += 1

    # -- asking ------------------------------------------------------------------

    def holders(self, form: str) -> set[str]:
        """The names of the pictures that have a tag, given by its normal form, in any spelling."""
        spellings = self.spellings.get(form, ())
        return set().union(*(self.by_tag[tag] for tag in spellings))

    def captions(self, names: Iterable[str] | None = None) -> dict[str, Picture]:
        """{caption file name: a picture that has it}, of all pictures or of some. A name that is none of them is passed over."""
        found = self.pictures.values() if names is None else [self.pictures[name] for name in names if name in self.pictures]
        return {picture.caption: picture for picture in found}

    def owners(self, caption: str) -> list[str]:
        """The names of the pictures that share a caption file: one, or several of one stem."""
        return list(self._owners.get(caption, ()))

    def counts(self, names: Iterable[str] | None = None) -> list[tuple[str, int]]:
        """Every tag in its most usual spelling and on how many of the pictures it is, the most frequent first."""
        with self.lock:
            if names is None:
                rows = [(self.usual(form), len(self.holders(form))) for form in self.spellings]
            else:
                counter: Counter[str] = Counter()
                for name in names:
                    counter.update(set(self.pictures[name].forms))
                rows = [(self.usual(form), count) for form, count in counter.items()]
        return sorted(rows, key=lambda row: (-row[1], row[0]))

    def usual(self, form: str) -> str:
        """The spelling that most pictures have of a tag in use."""
        spellings = self.spellings[form]
        return min(spellings, key=lambda tag: (-len(self.by_tag[tag]), tag)) if len(spellings) > 1 else next(iter(spellings))

    def facts(self, name: str) -> Facts:
        """Size and version of a picture's file; it is opened once for each version."""
        path = self.folder / name
        try:
            found = path.stat()
        except OSError:
            return Facts(problem="the file is not there.")
        stamp = (found.st_mtime_ns, found.st_size)
        known = self._facts.get(name)
        if known is not None and known[0] == stamp:
            return known[1]
        version = f"{stamp[0]:x}-{stamp[1]:x}"
        try:
            facts = Facts(version, *image_size(path))
        except PictureError as error:
            facts = Facts(version, problem=error.reason)
        self._facts[name] = (stamp, facts)
        return facts


_indexes: OrderedDict[str, DatasetIndex] = OrderedDict()
_indexes_lock = threading.Lock()


def open_index(dataset_dir: str | Path) -> DatasetIndex:
    """The index of a folder, shared by all that ask for it in this process. It may be out of date: call its `refresh`."""
    key = str(Path(dataset_dir).resolve())
    with _indexes_lock:
        index = _indexes.setdefault(key, DatasetIndex(dataset_dir))
        _indexes.move_to_end(key)
        while len(_indexes) > KEPT:
            _indexes.popitem(last=False)
        return index


@contextmanager
def opened(dataset_dir: str | Path) -> Iterator[Journal]:
    """`journal.opened`, sparing it to read again what the index has read."""
    with journal.opened(dataset_dir) as found:
        found.peek = open_index(dataset_dir).peek
        yield found


def took(dataset_dir: str | Path, applied: Applied) -> tuple[list[str], int]:
    """Let the index know what the journal has written; the pictures concerned and the revision now."""
    index = open_index(dataset_dir)
    with index.lock:
        return index.wrote(applied.written), index.revision
