"""Tagging a dataset: every picture read once, asked once, its caption written."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dataset import ImageItem, read_caption, scan_folder, write_caption
from ..errors import UserError
from ..progress import Progress, silent
from .catalogue import thresholds_of
from .options import TagOptions
from .preprocess import read_picture
from .select import Selector
from .store import Store, content_hash, floored, store_path
from .wd14 import Tagger, TaggerFiles, find_files
from .words import combine

SAVE_EVERY = 60.0  # seconds of inference that a crash may cost


@dataclass(frozen=True)
class TagReport:
    """What tagging did. tagged: captions written. kept: pictures left alone because they have a caption (on_existing skip).

    skipped: (file name, reason). predicted: pictures the model was asked about; the others' probabilities were stored.
    provider: what the model ran on, "" when it was not needed. counts: in how many captions each written tag is,
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

    def __init__(self, files: TaggerFiles, options: TagOptions) -> None:
        self.files = files
        self.options = options
        self.tagger: Tagger | None = None
        self._lock = threading.Lock()

    def open(self) -> Tagger:
        with self._lock:  # the reading threads ask at the same moment
            if self.tagger is None:
                self.tagger = Tagger(self.files, self.options.providers)
            return self.tagger

    def close(self) -> None:
        if self.tagger is not None:
            self.tagger.close()


def _to_do(dataset_dir: Path, options: TagOptions) -> tuple[list[ImageItem], int, list[tuple[str, str]]]:
    """The pictures to tag, how many keep their captions, and (name, reason) of those that cannot be tagged."""
    scan = scan_folder(dataset_dir)
    if not scan.items:
        why = f" Unreadable: {', '.join(path.name for path, _ in scan.unreadable[:5])}." if scan.unreadable else ""
        raise UserError(f"There is no picture to tag in {dataset_dir}.{why}", "Import and crop pictures first.")
    skipped = [(path.name, reason) for path, reason in scan.unreadable]
    chosen: dict[Path, ImageItem] = {}
    kept = 0
    for item in scan.items:
        if item.caption_path in chosen:
            other = chosen[item.caption_path].path.name
            skipped.append((item.path.name, f"It shares the caption {item.caption_path.name} with {other}; rename one of them."))
        elif options.on_existing == "skip" and read_caption(item.caption_path).tags:
            kept += 1
        else:
            chosen[item.caption_path] = item
    return list(chosen.values()), kept, skipped


def _read(item: ImageItem, store: Store, model: _Lazy) -> _Picture:
    """Runs in the reading threads."""
    try:
        digest = content_hash(item.path)
    except OSError as error:
        return _Picture(item, reason=f"The picture {item.path} cannot be read: {error.strerror}.")
    if digest in store:
        return _Picture(item, digest)
    size = model.open().size  # a model that does not open is no fault of the picture
    try:
        return _Picture(item, digest, read_picture(item.path, size))
    except UserError as error:
        return _Picture(item, reason=error.message)


def _pictures(items: list[ImageItem], store: Store, model: _Lazy, ahead: int) -> Iterator[_Picture]:
    """Pictures in order, `ahead` of them read in parallel: memory stays bounded however long the list is."""
    workers = max(1, min(4, os.cpu_count() or 1))
    with ThreadPoolExecutor(workers, thread_name_prefix="read") as pool:
        waiting: deque[Future[_Picture]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(_read, item, store, model))
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
            self.store.save()
            self.saved = time.monotonic()


def tag_folder(dataset_dir: str | Path, options: TagOptions, progress: Progress = silent) -> TagReport:
    """Write a caption beside every picture directly in `dataset_dir`; changed captions can be had back with `editing.undo`.

    Probabilities are kept in dataset_dir/.lora_studio, so that other thresholds need no inference. Pictures that cannot
    be read are listed, not fatal. When it breaks off, the captions and probabilities so far stay.
    Raises UserError when there is no picture, no such tagger, or the disk is full.
    """
    dataset_dir = Path(dataset_dir)
    started = time.monotonic()
    items, kept, skipped = _to_do(dataset_dir, options)
    files = find_files(options.model, progress)
    store = Store(store_path(dataset_dir / ".lora_studio", files.name), files.fingerprint(), len(files.labels))
    selector = Selector(files.labels, options, *thresholds_of(options.model))
    model = _Lazy(files, options)
    warnings = [store.problem] if store.problem else []
    run = _Run(model, store, selector, options, progress, len(items))
    try:
        run_warnings, failed = _all(run, items)
    finally:
        model.close()
        store.save()
        refused = _replace_captions(dataset_dir, run.replaced, options)
    skipped += [*failed, *refused]
    warnings += run_warnings
    if items and not run.tagged:
        raise UserError(f"No picture in {dataset_dir} could be tagged. " + "; ".join(reason for _, reason in skipped[:5]), "Replace the pictures.")
    seconds = max(time.monotonic() - started, 1e-9)
    provider = model.tagger.provider if model.tagger is not None and run.predicted else ""
    return TagReport(
        tagged=run.tagged,
        kept=kept,
        skipped=tuple(skipped),
        predicted=run.predicted,
        provider=provider,
        model=files.name,
        general_threshold=selector.general,
        character_threshold=selector.character,
        counts=dict(sorted(run.counts.items(), key=lambda pair: (-pair[1], pair[0]))),
        images_per_second=run.tagged / seconds,
        warnings=tuple(warnings),
    )


def _replace_captions(dataset_dir: Path, captions: dict[str, tuple[str, ...]], options: TagOptions) -> tuple[tuple[str, str], ...]:
    """Change captions that were there, as one step that `undo` takes back; (name, reason) of those left alone."""
    if not captions:
        return ()
    from ..editing import record_captions

    return record_captions(dataset_dir, "tag", captions, options.to_dict()).refused


def _all(run: _Run, items: list[ImageItem]) -> tuple[list[str], list[tuple[str, str]]]:
    """Go through the pictures; (warnings of the model, pictures that failed)."""
    failed: list[tuple[str, str]] = []
    batch: list[_Picture] = []
    fixed = run.options.batch_size
    for picture in _pictures(items, run.store, run.model, ahead=2 * (fixed or 16)):
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
