"""Tagging pictures wherever they lie: single files, folders with what is below them, patterns. No project is needed."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dataset import read_caption
from ..dataset.captions import problem
from ..dataset.items import is_picture_name
from ..errors import UserError
from ..progress import Progress, silent
from .ensemble import EnsembleStore
from .options import TagOptions
from .preprocess import read_picture
from .select import Selector
from .store import Store
from .wd14 import Tagger, find_files
from .words import combine

AT_ONCE = 500  # pictures whose probabilities are held together
READERS = 4
_HIDDEN = "."


@dataclass(frozen=True)
class Seen:
    """A picture and the tags for it. rating: the likeliest, "" without ratings. reason: why it could not be read. written: its caption was changed.
    """

    path: str
    tags: tuple[str, ...] = ()
    rating: str = ""
    reason: str = ""
    written: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def find(places: Sequence[str], recursive: bool = False) -> list[Path]:
    """The pictures of these files, folders and patterns ("**" goes into folders), each once. Raises UserError for a place without any."""
    found: dict[Path, None] = {}
    for place in places:
        path = Path(place).expanduser()
        here: Iterable[Path]
        if path.is_dir():
            here = _below(path) if recursive else sorted(p for p in path.iterdir() if is_picture_name(p.name) and p.is_file())
        elif path.is_file():
            here = (path,)
        else:
            matched = [Path(p) for p in glob.iglob(str(path), recursive=True)]
            here = sorted(p for p in matched if is_picture_name(p.name) and p.is_file())
        before = len(found)
        known = [p for p in here if not p.name.startswith(_HIDDEN)]
        found.update(dict.fromkeys(p.absolute() for p in known))
        if len(found) == before and not known:
            raise UserError(f"There is no picture at {place}.", "Name pictures, folders or patterns; --recursive goes into folders inside folders.")
    return list(found)


def _below(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(_HIDDEN))
        yield from (Path(here) / name for name in sorted(names) if is_picture_name(name))


def see(paths: Sequence[Path], options: TagOptions, write: bool = False, progress: Progress = silent) -> list[Seen]:
    """Ask the tagger (or several joined by "+") about pictures, in their order.

    write: captions are written beside them by `options.on_existing`, each folder's as one step that can be undone.
    Raises UserError for an unknown tagger or a full disk; pictures that cannot be read say so in their `reason`.
    """
    files = find_files(options.model, progress)
    selector = Selector(files.labels, options, *files.thresholds)
    with ExitStack() as opened:
        taggers = [opened.enter_context(Tagger(one, options.providers)) for one in files.members or (files,)]
        pool = opened.enter_context(ThreadPoolExecutor(READERS, thread_name_prefix="read"))
        seen: list[Seen] = []
        for start in range(0, len(paths), AT_ONCE):
            portion = list(paths[start : start + AT_ONCE])
            stores, reasons = [], dict[Path, str]()
            for k, tagger in enumerate(taggers):
                stores.append(Store(None, "", len(tagger.labels)))
                for done, batch in _asked([p for p in portion if p not in reasons], tagger, options.batch_size, pool):
                    for path, row in batch:
                        if isinstance(row, str):
                            reasons[path] = row
                        else:
                            stores[-1].put(os.fsencode(path), row)
                    progress(start + (k * len(portion) + done) // len(taggers), len(paths), portion[0].parent.name)
            store = EnsembleStore(files, stores) if files.members else stores[0]
            seen += [Seen(str(p), reason=reasons[p]) if p in reasons else _seen(p, store.get(os.fsencode(p)), selector) for p in portion]
    return _written(seen, options) if write else seen


def _asked(
    paths: Sequence[Path], tagger: Tagger, asked: int, pool: ThreadPoolExecutor
) -> Iterator[tuple[int, list[tuple[Path, NDArray[np.float32] | str]]]]:
    """(pictures done, [(picture, its probabilities or why there are none)]), a batch at a time; the next is read meanwhile."""
    size = asked or tagger.best_batch
    batches = [paths[start : start + size] for start in range(0, len(paths), size)]

    def read(path: Path) -> NDArray[np.uint8] | str:
        try:
            return read_picture(path, tagger.size)
        except UserError as error:
            return error.message

    ahead = [pool.submit(read, path) for path in paths[: 2 * size]]
    done = 0
    for batch in batches:
        ahead += [pool.submit(read, path) for path in paths[done + len(ahead) : done + 2 * size + len(batch)]]
        found, ahead = [future.result() for future in ahead[: len(batch)]], ahead[len(batch) :]
        rows = iter(tagger.predict_prepared([pixels for pixels in found if not isinstance(pixels, str)]))
        done += len(batch)
        yield done, [(path, pixels if isinstance(pixels, str) else next(rows)) for path, pixels in zip(batch, found, strict=True)]


def _seen(path: Path, row: NDArray[np.float32], selector: Selector) -> Seen:
    ratings = selector.columns["rating"]
    rating = selector.names[ratings[int(np.argmax(row[ratings]))]] if len(ratings) else ""
    return Seen(str(path), selector.tags(row), rating)


def _written(seen: Sequence[Seen], options: TagOptions) -> list[Seen]:
    """Write the captions, folder by folder; of two pictures with one caption file the first has it."""
    from ..editing import record_captions

    folders: dict[Path, dict[str, tuple[str, ...]]] = {}
    told = []
    for one in seen:
        caption = Path(one.path).with_suffix(".txt")
        captions = folders.setdefault(caption.parent, {})
        if one.reason or caption.name in captions:
            told.append(one)
            continue
        if why := problem(caption):
            told.append(replace(one, reason=f"Its caption {caption.name} cannot be used: {why}"))
            continue
        before = read_caption(caption).tags
        skip = options.on_existing == "skip"
        after = before if before and skip else combine(before, one.tags, "overwrite" if skip else options.on_existing)
        if after != before:
            captions[caption.name] = after
        told.append(replace(one, written=after != before))
    for folder, captions in folders.items():
        if captions:
            record_captions(folder, "tag", captions, options.to_dict())
    return told
