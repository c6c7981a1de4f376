"""Tagging shared among processes or machines: each asks the model about its share of the pictures, one of them writes all captions.

A share's probabilities lie in a file of its own beside the store; whoever tags next takes them in. So several graphics cards, or several machines
with the folder in common, need no word between them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import parent, processes
from ..dataset import ImageItem
from ..dataset.listing import list_pictures
from ..endings import died
from ..errors import UserError
from ..patience import HeldError
from ..progress import Progress, silent
from .folder import SAVE_EVERY, _Lazy, _Picture, _pictures, _read
from .options import TagOptions
from .store import Store, content_hash, store_path
from .wd14 import TaggerFiles, find_files


class _Fresh:
    """Hashes without the shared file: shares would overwrite one another's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, name: str) -> bytes:
        return content_hash(self.folder / name)


def parse_shard(text: str) -> tuple[int, int]:
    """``2/3`` as (2, 3). Raises UserError for anything else."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count <= 1000:
        raise UserError(f"--shard {text} is no share.", "For example --shard 1/2 on one machine and --shard 2/2 on the other.")
    return number, count


@dataclass(frozen=True)
class Asked:
    """What a tagger was asked. predicted: for how many pictures. provider, explanation: what it ran on and why, "" when it was not needed.

    failed: (name, reason) of pictures that cannot be read.
    """

    predicted: int
    provider: str = ""
    explanation: str = ""
    warnings: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()


def predict_shard(dataset_dir: Path, options: TagOptions, number: int, count: int, progress: Progress = silent) -> int:
    """Keep the probabilities of every ``count``-th picture, beginning with the ``number``-th (from 1); returns how many were asked for.

    No caption is written. What is stored already is not asked for again; broken off, it goes on where it was.
    """
    files = find_files(options.model, progress)
    return max(asked.predicted for asked in predict(dataset_dir, files, options, (number, count), None, progress))


def predict(
    dataset_dir: Path, files: TaggerFiles, options: TagOptions, share: tuple[int, int], only: Collection[str] | None, progress: Progress
) -> list[Asked]:
    """Have a tagger, or each of an ensemble in turn, read its share of the pictures. only: of these names."""
    each = files.members or (files,)
    found = []
    for k, one in enumerate(each):

        def told(done: int, total: int, message: str, k: int = k, one: TaggerFiles = one) -> None:
            progress(k * total + done, len(each) * total, f"{one.name}: {message}" if files.members else message)

        found.append(_predict(dataset_dir, one, options, share, only, told))
    return found


def _predict(
    dataset_dir: Path, files: TaggerFiles, options: TagOptions, share: tuple[int, int], only: Collection[str] | None, progress: Progress
) -> Asked:
    number, count = share
    studio_dir = dataset_dir / ".lora_studio"
    base = store_path(studio_dir, files.name)
    known = Store(base, files.fingerprint(), len(files.labels))
    own = Store(base.with_name(f"{base.stem}.share-{number}-of-{count}.npz"), files.fingerprint(), len(files.labels))
    known.take(own)
    mine = [p for p in list_pictures(dataset_dir, studio_dir).pictures if only is None or p.name in only][number - 1 :: count]
    items = [ImageItem(dataset_dir / p.name, (dataset_dir / p.name).with_suffix(".txt"), p.width, p.height) for p in mine]
    model = _Lazy(files, options, progress)
    batch: list[_Picture] = []
    failed: list[tuple[str, str]] = []
    asked, saved = 0, time.monotonic()

    def ask() -> None:
        nonlocal asked, saved
        for picture, row in zip(batch, model.open().predict_prepared([p.pixels for p in batch if p.pixels is not None]), strict=True):
            own.put(picture.digest, row)
        asked += len(batch)
        batch.clear()
        if time.monotonic() - saved > SAVE_EVERY:
            with suppress(HeldError):  # the next time, then
                own.save()
            saved = time.monotonic()

    try:
        fresh: Any = _Fresh(dataset_dir)
        for done, picture in enumerate(_pictures(items, lambda item: _read(item, fresh, known, model), 2 * (options.batch_size or 16)), 1):
            if picture.reason:
                failed.append((picture.item.path.name, picture.reason))
            elif picture.pixels is not None:
                batch.append(picture)
                if len(batch) >= (options.batch_size or model.open().best_batch):
                    ask()
            progress(done, len(items), picture.item.path.name)
        if batch:
            ask()
    finally:
        model.close()
        own.save()
    tagger = model.tagger if asked else None
    if tagger is None:
        return Asked(asked, failed=tuple(failed))
    return Asked(asked, tagger.provider, model.explanation(), tuple(tagger.warnings), tuple(failed))


def run_shards(commands: Sequence[tuple[Sequence[str], Mapping[str, str]]], progress: Progress) -> None:
    """Run one command a share, all at once, each telling its progress as JSON on standard error. Ends them all when one fails.

    Raises:
        UserError: the first share's message.
    """
    children: list[subprocess.Popen[str]] = []
    seen = [(0, 0)] * len(commands)
    lock = threading.Lock()

    def follow(number: int, child: subprocess.Popen[str]) -> None:
        assert child.stderr is not None
        for line in child.stderr:
            with suppress(ValueError, KeyError, TypeError):
                told = json.loads(line)
                with lock:
                    seen[number] = int(told["done"]), int(told["total"])
                    progress(sum(d for d, _ in seen), sum(t for _, t in seen), str(told["message"]))

    try:
        for command, variables in commands:
            options: dict[str, Any] = {"text": True, "encoding": "utf-8", "errors": "replace", **processes.hidden()}
            own = {**variables, **parent.helper()}
            children.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=own, **options))
        with ThreadPoolExecutor(len(children)) as pool:
            following = [pool.submit(follow, number, child) for number, child in enumerate(children)]
            try:
                answers = [child.stdout.read() if child.stdout else "" for child in children]
                for future in following:
                    future.result()
            except BaseException:
                _end(children)
                raise
        for child, answer in zip(children, answers, strict=True):
            if code := child.wait():
                raise _told(answer, code)
    finally:
        _end(children)


def _end(children: Sequence[subprocess.Popen[str]]) -> None:
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(10)
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()


def _told(answer: str, code: int) -> UserError:
    try:
        told = json.loads(answer)
        return UserError(str(told["error"]), str(told.get("hint", "")))
    except (ValueError, KeyError, TypeError):
        return died(message="One of the tagging processes ended without a word.", code=code, hint="Tag with one process to see why.")


def card_of(number: int, cards: int) -> dict[str, str]:
    """The variable that gives a share a graphics card of its own, where there are several; of those that CUDA_VISIBLE_DEVICES names, if it does."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = [str(k) for k in range(cards)] if named is None else [one.strip() for one in named.split(",") if one.strip()]
    return {"CUDA_VISIBLE_DEVICES": there[number % len(there)]} if len(there) > 1 else {}
