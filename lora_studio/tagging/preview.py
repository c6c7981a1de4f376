"""What tagging would write, from stored probabilities alone: counted for all pictures, shown in full for a few."""

from __future__ import annotations

import random
import threading
from collections import OrderedDict
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dataset.listing import list_pictures
from ..editing.index import caption_name, open_index
from .ensemble import EnsembleStore
from .hashes import Hashes
from .many import ManySelector, Rows
from .options import TagOptions
from .select import Selector
from .store import Store, store_path
from .vocabulary import kind_of
from .wd14 import TaggerFiles
from .words import combine, spell

DATASETS = 4  # of which hashes and probabilities stay in memory
SHOWN_TAGS = 500
NEAR = 0.5  # of the threshold: what is less likely is not shown as nearly written
SHOWN_BELOW = 12


@dataclass(frozen=True)
class Target:
    """A picture that tagging is about: its caption's present tags, the hash of its content, whether its caption stays as it is."""

    name: str
    tags: tuple[str, ...]
    digest: bytes
    kept: bool


class Known:
    """What stays in memory of one dataset: the hashes of its pictures and the stored probabilities of its models."""

    def __init__(self, dataset_dir: Path) -> None:
        self.folder = dataset_dir
        self.studio_dir = dataset_dir / ".lora_studio"
        self.hashes = Hashes(dataset_dir, self.studio_dir)
        self.lock = threading.Lock()
        self._ensembles: dict[str, EnsembleStore] = {}
        self._stores: dict[str, tuple[tuple[int, int], str, Store]] = {}

    def store(self, files: TaggerFiles) -> Store:
        """The stored probabilities of a model, read anew when somebody has written them since."""
        if files.members:
            return self._ensemble(files)
        path = store_path(self.studio_dir, files.name)
        try:
            about = path.stat()
            stamp = (about.st_mtime_ns, about.st_size)
        except OSError:
            stamp = (0, 0)
        known = self._stores.get(files.name)
        if known is None or known[:2] != (stamp, files.fingerprint()):
            known = self._stores[files.name] = (stamp, files.fingerprint(), Store(path, files.fingerprint(), len(files.labels)))
        return known[2]

    def _ensemble(self, files: TaggerFiles) -> Store:
        stores = tuple(self.store(one) for one in files.members)
        known = self._ensembles.get(files.name)
        if known is None or known.stores != stores or known.fingerprint != files.fingerprint():
            known = self._ensembles[files.name] = EnsembleStore(files, stores)
        return known

    def digests(self, names: Sequence[tuple[str, str]]) -> dict[str, bytes]:
        """{name: hash} of these (name, stamp); pictures that cannot be read are left out."""
        self.hashes.refresh()
        found = {name: self.hashes.known(name, stamp) for name, stamp in names}
        missing = [name for name, digest in found.items() if digest is None]
        if missing:
            with ThreadPoolExecutor(4, thread_name_prefix="hash") as pool:
                found.update(zip(missing, pool.map(self._hash, missing)))
            self.hashes.save({name for name, _ in names})
        return {name: digest for name, digest in found.items() if digest is not None}

    def _hash(self, name: str) -> bytes | None:
        try:
            return self.hashes.of(name)
        except OSError:
            return None


_known: OrderedDict[Path, Known] = OrderedDict()
_lock = threading.Lock()


def known_of(dataset_dir: Path) -> Known:
    """What is in memory of a dataset, kept for the next time."""
    folder = Path(dataset_dir).absolute()
    with _lock:
        found = _known.pop(folder, None) or Known(folder)
        _known[folder] = found
        while len(_known) > DATASETS:
            _known.popitem(last=False)
        return found


def targets(known: Known, on_existing: str, only: Collection[str] | None = None) -> list[Target]:
    """The pictures that tagging is about, by name: one for each caption. only: of these names."""
    if not known.folder.is_dir():
        return []
    listing = list_pictures(known.folder, known.studio_dir)
    index = open_index(known.folder)
    index.refresh(now=True)
    first: dict[str, Any] = {}
    for picture in listing.pictures:
        first.setdefault(caption_name(picture.name), picture)
    chosen = [p for p in first.values() if only is None or p.name in only]
    digests = known.digests([(p.name, p.stamp) for p in chosen])
    found = []
    for picture in chosen:
        entry = index.pictures.get(picture.name)
        tags = entry.tags if entry is not None else ()
        if picture.name in digests:
            found.append(Target(picture.name, tags, digests[picture.name], on_existing == "skip" and bool(tags)))
    return found


def stored(dataset_dir: Path, files: Sequence[TaggerFiles]) -> dict[str, int]:
    """{tagger: pictures whose probabilities are stored}, of taggers on this machine."""
    known = known_of(dataset_dir)
    here = [f for f in files if store_path(known.studio_dir, f.name).is_file()]
    if not here:
        return {}
    with known.lock:
        pictures = targets(known, "overwrite")
        return {f.name: sum(p.digest in store for p in pictures) for f in here for store in [known.store(f)]}


def summary(dataset_dir: Path) -> dict[str, int]:
    """How many captions there can be, and how many have tags."""
    if not dataset_dir.is_dir():
        return {"pictures": 0, "captioned": 0}
    index = open_index(dataset_dir)
    index.refresh(now=True)
    captions = index.captions()
    return {"pictures": len(captions), "captioned": sum(bool(p.tags) for p in captions.values())}


def preview(
    dataset_dir: Path, files: TaggerFiles, options: TagOptions, only: Collection[str] | None = None, names: Sequence[str] = (),
    count: int = 6, seed: int = 0,
) -> dict[str, Any]:
    """What tagging with these options would do, by the probabilities stored for the tagger.

    Counts are of all pictures with stored probabilities, whether their captions would be written or kept. names: pictures to
    show in full; those of them that are none are replaced, up to `count` in all, by others drawn with `seed`.
    """
    known = known_of(dataset_dir)
    with known.lock:
        pictures = targets(known, options.on_existing, only)
        store = known.store(files)
        ready = [p for p in pictures if p.digest in store]
        selector = Selector(files.labels, options, *files.thresholds)
        many = ManySelector(selector)
        chosen = many.choose(Rows.of(store, [p.digest for p in ready]))
        shown = _shown(ready, names, count, seed)
        samples = [_sample(p, store, selector, files, options) for p in shown]
    write = [p for p in pictures if not p.kept]
    categories = _categories(many, files)
    rows = [[tag, n, *kind_of(tag), categories.get(tag, "added")] for tag, n in list(chosen.counts.items())[:SHOWN_TAGS]]
    return {
        "model": files.name,
        "pictures": len(pictures),
        "stored": len(ready),
        "write": len(write),
        "kept": len(pictures) - len(write),
        "instant": all(p.digest in store for p in write),
        "thresholds": [selector.general, selector.character],
        "tags": rows,
        "distinct": len(chosen.counts),
        "average": float(chosen.lengths.mean()) if len(ready) else None,
        "histogram": _histogram(chosen.lengths.tolist()),
        "samples": samples,
    }


def is_instant(dataset_dir: Path, files: TaggerFiles | None, options: TagOptions, only: Collection[str] | None = None) -> bool:
    """Whether the probabilities of every picture to be tagged are stored: no model is needed then."""
    if files is None or not dataset_dir.is_dir():
        return False
    known = known_of(dataset_dir)
    with known.lock:
        store = known.store(files)
        write = [p for p in targets(known, options.on_existing, only) if not p.kept]
        return bool(write) and all(p.digest in store for p in write)


def _histogram(lengths: Sequence[int]) -> list[list[int]]:
    """[tags, captions with so many], from the shortest to the longest."""
    if not lengths:
        return []
    counts = dict.fromkeys(range(min(lengths), max(lengths) + 1), 0)
    for n in lengths:
        counts[n] += 1
    return [[tags, captions] for tags, captions in counts.items()]


def _categories(many: ManySelector, files: TaggerFiles) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, label in zip(many.number.tolist(), files.labels):
        if number >= 0:
            found.setdefault(many.tags[number], label.category)
    return found


def _shown(ready: Sequence[Target], names: Sequence[str], count: int, seed: int) -> list[Target]:
    by_name = {p.name: p for p in ready}
    wanted = [by_name[name] for name in dict.fromkeys(names) if name in by_name][:count]
    others = [p for p in ready if p not in wanted] if len(wanted) < count else []
    drawn = random.Random(seed).sample(others, min(len(others), count - len(wanted)))
    return [*wanted, *sorted(drawn, key=lambda p: p.name)]


def _sample(picture: Target, store: Store, selector: Selector, files: TaggerFiles, options: TagOptions) -> dict[str, Any]:
    """One picture's tags with their probabilities: those that would be written, and those just below the threshold."""
    row = store.get(picture.digest)
    general, character = selector.thresholds(row)
    tags = selector.tags(row)
    written = dict.fromkeys(tags)
    limits = {"general": general, "character": character, "rating": float("inf")}
    columns, values = store.sparse(picture.digest)
    entries: list[list[Any]] = []
    below = 0
    for column, value in sorted(zip(columns.tolist(), values.astype(float).tolist()), key=lambda pair: (-pair[1], pair[0])):
        label, name = files.labels[column], selector.names[column]
        if name in written:
            if written[name] is None:
                written[name] = value
                entries.append([name, value, label.category, "written"])
        elif label.category != "rating" and value > NEAR * limits[label.category]:
            spelled = name or spell(label.name, options.underscores, options.escape)
            if value > limits[label.category]:
                entries.append([spelled, value, label.category, "excluded"])
            elif below < SHOWN_BELOW:
                below += 1
                entries.append([spelled, value, label.category, "below"])
    added = [[tag, None, "added", "written"] for tag, value in written.items() if value is None]
    mode = "overwrite" if options.on_existing == "skip" else options.on_existing
    after = picture.tags if picture.kept else combine(picture.tags, tags, mode)
    return {
        "name": picture.name, "tags": [*added, *entries], "thresholds": [general, character], "before": list(picture.tags), "after": list(after),
        "kept": picture.kept,
    }  # fmt: skip
