"""Tagging a dataset: every picture read once, asked once, its caption written."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..dataset import ImageItem, read_caption, write_caption
from ..dataset.captions import problem
from ..dataset.listing import list_pictures
from ..errors import UserError
from ..patience import HeldError
from ..progress import Progress, silent
from ..project import STUDIO, in_place
from . import providers
from .ensemble import EnsembleStore, open_store
from .hashes import Hashes
from .options import TagOptions
from .preprocess import read_picture
from .select import Selector
from .store import Store, floored, take_shards
from .wd14 import Tagger, TaggerFiles, find_files
from .words import combine

if TYPE_CHECKING:
    from .shards import Asked

SAVE_EVERY = 60.0  # seconds of inference that a crash may cost


@dataclass(frozen=True)
class TagReport:
    """What tagging did. tagged: captions written. kept: pictures left alone because they have a caption (on_existing skip).

    skipped: (file name, reason). predicted: pictures the model was asked about; the others' probabilities were stored.
    provider: what the model ran on, "" when it was not needed; explanation: why, in a sentence. counts: in how many captions each written tag is,
    the most frequent first. images_per_second: over everything, from decoding to writing.
    """

    tagged: int
    kept: int
    skipped: tuple[tuple[str, str], ...]
    predicted: int
    provider: str
    model: str
    general_threshold: float
    character_threshold: float
    counts: dict[str, int] = field(default_factory=dict, hash=False)
    images_per_second: float = 0.0
    warnings: tuple[str, ...] = ()
    explanation: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Picture:
    """A picture on its way: `pixels` is None when its probabilities are stored or it failed (`reason`)."""

    item: ImageItem
    digest: bytes = b""
    pixels: NDArray[np.uint8] | None = None
    reason: str = ""


class _Lazy:
    """The model, opened when the first picture needs it: stored probabilities alone do without."""

    def __init__(self, files: TaggerFiles, options: TagOptions, progress: Progress) -> None:
        self.files = files
        self.options = options
        self.progress = progress
        self.tagger: Tagger | None = None
        self._lock = threading.Lock()

    def open(self) -> Tagger:
        with self._lock:  # the reading threads ask at the same moment
            if self.tagger is None:
                self.progress(0, 0, f"The tagger {self.files.name} is being opened.")
                self.tagger = Tagger(self.files, self.options.providers)
            return self.tagger

    def close(self) -> None:
        if self.tagger is not None:
            self.tagger.close()

    def explanation(self) -> str:
        """Why the model ran where it did; "" when it was not needed."""
        if self.tagger is None:
            return ""
        return providers.explain(self.tagger.provider, providers.runtime().get_available_providers(), self.options.providers, self.tagger.warnings)


def _to_do(dataset_dir: Path, options: TagOptions, only: Collection[str] | None) -> tuple[list[ImageItem], int, list[tuple[str, str]]]:
    """The pictures to tag, how many keep their captions, and (name, reason) of those that cannot be tagged."""
    listing = list_pictures(dataset_dir, dataset_dir / ".lora_studio")
    unreadable = dict(listing.unreadable)
    names = [p.name for p in listing.pictures]
    if missing := [name for name in only or () if name not in unreadable and name not in names]:
        raise UserError(f"{missing[0]} is not a picture of this dataset.", "Look at the names in the folder: it may have been renamed.")
    if not names or (only is not None and not only):
        why = f" Unreadable: {', '.join(list(unreadable)[:5])}." if unreadable else ""
        raise UserError(f"There is no picture to tag in {dataset_dir}.{why}", "Import and crop pictures first.")
    skipped = list(unreadable.items())
    chosen: dict[Path, ImageItem] = {}
    kept = []
    for picture in listing.pictures:
        path = dataset_dir / picture.name
        item = ImageItem(path, path.with_suffix(".txt"), picture.width, picture.height)
        if reason := problem(item.caption_path):
            skipped.append((picture.name, f"Its caption {item.caption_path.name} cannot be used: {reason}"))
        elif item.caption_path in chosen:
            other = chosen[item.caption_path].path.name
            skipped.append((picture.name, f"It shares the caption {item.caption_path.name} with {other}; rename one of them."))
        elif options.on_existing == "skip" and read_caption(item.caption_path).tags:
            kept.append(picture.name)
        else:
            chosen[item.caption_path] = item
    if only is None:
        return list(chosen.values()), len(kept), skipped
    wanted = set(only)
    items = [item for item in chosen.values() if item.path.name in wanted]
    return items, sum(name in wanted for name in kept), [row for row in skipped if row[0] in wanted]


def _read(item: ImageItem, hashes: Hashes, store: Store, model: _Lazy | None) -> _Picture:
    """Runs in the reading threads."""
    try:
        digest = hashes.of(item.path.name)
    except OSError as error:
        return _Picture(item, reason=f"The picture {item.path} cannot be read: {error.strerror}.")
    if digest in store:
        return _Picture(item, digest)
    if model is None:
        return _Picture(item, reason="Its probabilities are not stored yet.")
    size = model.open().size  # a model that does not open is no fault of the picture
    try:
        return _Picture(item, digest, read_picture(item.path, size))
    except UserError as error:
        return _Picture(item, reason=error.message)


def _pictures(items: list[ImageItem], read: Callable[[ImageItem], _Picture], ahead: int) -> Iterator[_Picture]:
    """Pictures in order, `ahead` of them read in parallel: memory stays bounded however long the list is."""
    workers = max(1, min(4, os.cpu_count() or 1))
    with ThreadPoolExecutor(workers, thread_name_prefix="read") as pool:
        waiting: deque[Future[_Picture]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(read, item))
                if len(waiting) > ahead + workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


class _Run:
    """One pass over a dataset."""

    def __init__(self, model: _Lazy, store: Store, selector: Selector, options: TagOptions, progress: Progress, total: int) -> None:
        self.model, self.store, self.selector, self.options, self.progress, self.total = model, store, selector, options, progress, total
        self.counts: Counter[str] = Counter()
        self.replaced: dict[str, tuple[str, ...]] = {}
        self.tagged = self.done = self.predicted = 0
        self.saved = time.monotonic()

    def write(self, picture: _Picture, row: NDArray[np.float32]) -> None:
        """`row` as the store gives it, so that stored and fresh probabilities make the same caption."""
        tags = self.selector.tags(row)
        before = read_caption(picture.item.caption_path)
        mode = "overwrite" if self.options.on_existing == "skip" else self.options.on_existing
        after = combine(before.tags, tags, mode)
        if not picture.item.caption_path.exists():
            write_caption(picture.item.caption_path, after)
        elif after != before.tags:
            self.replaced[picture.item.caption_path.name] = after
        self.counts.update(tags)
        self.tagged += 1
        self.step(picture)

    def step(self, picture: _Picture) -> None:
        self.done += 1
        self.progress(self.done, self.total, picture.item.path.name)

    def predict(self, batch: list[_Picture]) -> None:
        rows = self.model.open().predict_prepared([p.pixels for p in batch if p.pixels is not None])
        self.predicted += len(batch)
        for picture, row in zip(batch, rows, strict=True):
            self.store.put(picture.digest, row)
            self.write(picture, floored(row))
        if time.monotonic() - self.saved > SAVE_EVERY:
            with suppress(HeldError):  # the next time, then
                self.store.save()
            self.saved = time.monotonic()


def tag_folder(
    dataset_dir: str | Path, options: TagOptions, progress: Progress = silent, only: Collection[str] | None = None, infer: bool = True
) -> TagReport:
    """Write a caption beside every picture directly in `dataset_dir`; changed captions can be had back with `editing.undo`.

    Probabilities are kept in dataset_dir/.lora_studio, so that other thresholds need no inference. Pictures that cannot
    be read are listed, not fatal. When it breaks off, the captions and probabilities so far stay.
    only: the names of the pictures to tag. infer False: do without the model; pictures not stored are left out.
    Raises UserError when there is no picture, no such tagger, or the disk is full.
    """
    dataset_dir = Path(dataset_dir)
    in_place(dataset_dir / STUDIO)
    started = time.monotonic()
    items, kept, skipped = _to_do(dataset_dir, options, only)
    files = find_files(options.model, progress)
    studio_dir = dataset_dir / ".lora_studio"
    asked = _ask_members(dataset_dir, files, options, [item.path.name for item in items], progress) if infer else []
    store = open_store(studio_dir, files)
    for one in store.stores if isinstance(store, EnsembleStore) else (store,):
        take_shards(one)
    hashes = Hashes(dataset_dir, studio_dir)
    selector = Selector(files.labels, options, *files.thresholds)
    model = _Lazy(files, options, progress)
    warnings = [store.problem] if store.problem else []
    run = _Run(model, store, selector, options, progress, len(items))
    try:
        run_warnings, failed = _all(run, items, lambda item: _read(item, hashes, store, model if infer and not files.members else None))
    finally:
        model.close()
        try:
            refused, note = _replace_captions(dataset_dir, run.replaced, options)
            warnings += [note] if note else []
        finally:
            hashes.save()
            store.save()
    why = {name: reason for one in asked for name, reason in one.failed}
    skipped += [*((name, why.get(name, reason)) for name, reason in failed), *refused]
    warnings += [*run_warnings, *(text for one in asked for text in one.warnings)]
    ran_on = next((one for one in asked if one.provider), None)
    if items and not run.tagged:
        raise UserError(f"No picture in {dataset_dir} could be tagged. " + "; ".join(reason for _, reason in skipped[:5]), "Replace the pictures.")
    seconds = max(time.monotonic() - started, 1e-9)
    ran = model.tagger is not None and run.predicted > 0
    return TagReport(
        tagged=run.tagged,
        kept=kept,
        skipped=tuple(skipped),
        predicted=max([run.predicted, *(one.predicted for one in asked)]),
        provider=model.tagger.provider if model.tagger is not None and ran else ran_on.provider if ran_on else "",
        model=files.name,
        general_threshold=selector.general,
        character_threshold=selector.character,
        counts=dict(sorted(run.counts.items(), key=lambda pair: (-pair[1], pair[0]))),
        images_per_second=run.tagged / seconds,
        warnings=tuple(warnings),
        explanation=model.explanation() if ran else ran_on.explanation if ran_on else "",
    )


def _ask_members(dataset_dir: Path, files: TaggerFiles, options: TagOptions, names: list[str], progress: Progress) -> list[Asked]:
    """Have each tagger of an ensemble read the pictures; one tagger alone reads them as they are written."""
    if not files.members:
        return []
    from .shards import predict

    return predict(dataset_dir, files, options, (1, 1), set(names), progress)


def _replace_captions(dataset_dir: Path, captions: dict[str, tuple[str, ...]], options: TagOptions) -> tuple[tuple[tuple[str, str], ...], str]:
    """Change captions that were there, as one step that `undo` takes back; (name, reason) of those left alone, and what else to tell."""
    if not captions:
        return (), ""
    from ..editing import record_captions

    report = record_captions(dataset_dir, "tag", captions, options.to_dict())
    return report.refused, report.note


def _all(run: _Run, items: list[ImageItem], read: Callable[[ImageItem], _Picture]) -> tuple[list[str], list[tuple[str, str]]]:
    """Go through the pictures; (warnings of the model, pictures that failed)."""
    failed: list[tuple[str, str]] = []
    batch: list[_Picture] = []
    fixed = run.options.batch_size
    for picture in _pictures(items, read, ahead=2 * (fixed or 16)):
        if picture.reason:
            failed.append((picture.item.path.name, picture.reason))
            run.step(picture)
        elif picture.digest in run.store:
            run.write(picture, run.store.get(picture.digest))
        else:
            batch.append(picture)
            if len(batch) >= (fixed or run.model.open().best_batch):
                run.predict(batch)
                batch = []
    if batch:
        run.predict(batch)
    return (run.model.tagger.warnings if run.model.tagger else []), failed
