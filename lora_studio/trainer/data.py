"""From folders of captioned pictures to batches: buckets, repeats, captions, cached latents."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from lora_studio.dataset import Bucket, bucket_sizes, load_image, read_caption, scan_folder
from lora_studio.dataset.buckets import place
from lora_studio.dataset.masks import mask_beside
from lora_studio.dataset.split import held_out
from lora_studio.errors import UserError
from lora_studio.trainer.masks import load_mask
from lora_studio.trainer.seeds import python_generator
from lora_studio.training.config import TrainingConfig

ALL = slice(None)


@dataclass(frozen=True)
class Example:
    """One picture of the training set. `bucket` and `resized` are (width, height); the picture is scaled to `resized`,
    which covers the bucket, and cropped to it around the centre.
    """

    path: Path
    tags: tuple[str, ...]
    width: int
    height: int
    bucket: tuple[int, int]
    resized: tuple[int, int]
    repeats: int
    keep_tokens: int
    flip: bool
    is_reg: bool
    mask: Path | None = None

    @property
    def crop(self) -> tuple[int, int]:
        """Left and top of the crop in the resized picture."""
        return (self.resized[0] - self.bucket[0]) // 2, (self.resized[1] - self.bucket[1]) // 2


@dataclass(frozen=True)
class Dataset:
    """`examples` are trained on, `held_out` only measured, `skipped` could not be read (and why)."""

    examples: tuple[Example, ...]
    skipped: tuple[tuple[Path, str], ...] = ()
    held_out: tuple[Example, ...] = ()


def build_dataset(config: TrainingConfig) -> Dataset:
    """Read every folder of the configuration; UserError where no picture is left to train on.

    Regularisation pictures are repeated or left out until there are as many as training pictures, as in sd-scripts.
    """
    examples: list[Example] = []
    skipped: list[tuple[Path, str]] = []
    sizes = bucket_sizes(config.resolution, config.bucket_min, config.bucket_max, config.bucket_step)
    for folder in config.folders:
        scan = scan_folder(Path(folder.path))
        skipped += scan.unreadable
        for item in scan.items:
            bucket = _bucket(item.width, item.height, config, sizes)
            caption = read_caption(item.caption_path).tags if item.caption_path.is_file() else ()
            if not caption and (alone := folder.class_tokens or config.trigger):
                caption = tuple(tag.strip() for tag in alone.split(",") if tag.strip())
            examples.append(
                Example(
                    path=item.path,
                    tags=tuple(caption),
                    width=item.width,
                    height=item.height,
                    bucket=bucket.size,
                    resized=bucket.resized,
                    repeats=folder.repeats,
                    keep_tokens=config.keep_tokens if folder.keep_tokens is None else folder.keep_tokens,
                    flip=config.flip if folder.flip is None else folder.flip,
                    is_reg=folder.is_reg,
                    mask=mask_beside(item.path, folder.conditioning_data_dir) if config.masked_loss else None,
                )
            )
    if not any(not e.is_reg for e in examples):
        raise UserError(
            "There is no readable picture to train on in " + ", ".join(str(f.path) for f in config.folders) + ".",
            "Add pictures to the dataset folder.",
        )
    examples, measured = hold_out(examples, config.validation_split, config.validation_seed)
    return Dataset(tuple(_balance_regularisation(examples)), tuple(skipped), tuple(measured))


def hold_out(examples: list[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """Examples to train on and to measure with; regularisation pictures are never held out."""
    own = [k for k, e in enumerate(examples) if not e.is_reg]
    chosen = {own[k] for k in held_out(len(own), share, seed)}
    return [e for k, e in enumerate(examples) if k not in chosen], [e for k, e in enumerate(examples) if k in chosen]


def _bucket(width: int, height: int, config: TrainingConfig, sizes: list[tuple[int, int]]) -> Bucket:
    return place(
        width,
        height,
        sizes if config.buckets else None,
        config.resolution,
        no_upscale=config.bucket_no_upscale,
        step=config.bucket_step,
    )


def _balance_regularisation(examples: list[Example]) -> list[Example]:
    wanted = sum(e.repeats for e in examples if not e.is_reg)
    regular = [e for e in examples if e.is_reg]
    counts = [0] * len(regular)
    left = wanted
    while regular and left > 0:
        for index, example in enumerate(regular):
            take = min(example.repeats, left)
            counts[index] += take
            left -= take
    kept = [replace(e, repeats=count) for e, count in zip(regular, counts, strict=True) if count > 0]
    return [e for e in examples if not e.is_reg] + kept


@dataclass(frozen=True)
class Draw:
    """One picture in a batch: which example, flipped or not, and its caption with and without the trigger word."""

    example: int
    flipped: bool
    caption: str
    plain_caption: str


def batches_of_epoch(dataset: Dataset, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Example numbers of every batch of an epoch: one bucket a batch, the last of a bucket may be smaller, all shuffled."""
    buckets: dict[tuple[int, int], list[int]] = {}
    for index, example in enumerate(dataset.examples):
        buckets.setdefault(example.bucket, []).extend([index] * example.repeats)
    rng = python_generator(seed, "batches", epoch)
    batches = []
    for size in sorted(buckets):
        members = buckets[size]
        rng.shuffle(members)
        batches += [members[i : i + batch_size] for i in range(0, len(members), batch_size)]
    rng.shuffle(batches)
    return batches


def draw_batch(
    dataset: Dataset, batch: Sequence[int], config: TrainingConfig, epoch: int, number: int, step: int = 0, total: int = 0
) -> list[Draw]:
    """Captions and flips of a batch, from the seed, the epoch and the batch's number; `step` of `total` for the token warm-up."""
    draws = []
    without = config.caption_dropout_every_n_epochs > 0 and epoch % config.caption_dropout_every_n_epochs == 0
    for slot, index in enumerate(batch):
        example = dataset.examples[index]
        rng = python_generator(config.seed, "draw", epoch, number, slot)
        flipped = example.flip and rng.random() < 0.5
        shown = warmed_up(example.tags, example.keep_tokens, step, total, config)
        tags = caption_tags(shown, example.keep_tokens, rng, shuffle=config.shuffle_captions, dropout=config.tag_dropout)
        if without or (config.caption_dropout > 0 and rng.random() < config.caption_dropout):
            tags = []
        plain = [tag for tag in tags if tag != config.trigger]
        draws.append(Draw(index, flipped, ", ".join(tags), ", ".join(plain)))
    return draws


def warmed_up(tags: Sequence[str], keep: int, step: int, total: int, config: TrainingConfig) -> Sequence[str]:
    """The first tags of a caption: ever more behind the kept ones until the warm-up's last step (sd-scripts' rule)."""
    end = config.token_warmup_step
    end = math.floor(end * total) if 0 < end < 1 else end
    if step >= end:
        return tags
    free = max(0, len(tags) - keep)
    return tags[: keep + math.floor(step * ((free - config.token_warmup_min) / end)) + config.token_warmup_min]


def caption_tags(tags: Sequence[str], keep: int, rng: random.Random, *, shuffle: bool, dropout: float = 0.0) -> list[str]:
    """The first `keep` tags in place, the others shuffled, then each of those left out with probability `dropout` (sd-scripts' order)."""
    fixed, rest = list(tags[:keep]), list(tags[keep:])
    if shuffle:
        rng.shuffle(rest)
    return fixed + ([tag for tag in rest if rng.random() >= dropout] if dropout > 0 else rest)


def load_pixels(example: Example) -> torch.Tensor:
    """The picture as the model sees it: (3, height, width), -1 .. 1, scaled to cover its bucket and cropped."""
    image = load_image(example.path)
    if image.size != example.resized:
        shrink = example.resized[0] <= image.size[0]
        # area averaging when shrinking keeps fine lines from flickering, Lanczos keeps edges when enlarging
        image = image.resize(example.resized, Image.Resampling.BOX if shrink else Image.Resampling.LANCZOS)
    left, top = example.crop
    image = image.crop((left, top, left + example.bucket[0], top + example.bucket[1]))
    pixels = torch.from_numpy(np.array(image, dtype=np.float32))
    return pixels.permute(2, 0, 1) / 127.5 - 1.0


class LatentCache:
    """Mean and standard deviation of each picture's latent, flipped ones too; a fresh latent is drawn every time."""

    def __init__(self, encode: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]], dataset: Dataset) -> None:
        self._encode = encode
        self._dataset = dataset
        self._stored: dict[tuple[int, bool], tuple[torch.Tensor, torch.Tensor]] = {}
        self._masks: dict[int, torch.Tensor | None] = {}

    def keys(self) -> list[tuple[int, bool]]:
        """Everything there is to encode: (example, flipped)."""
        return [(i, f) for i, e in enumerate(self._dataset.examples) for f in ((False, True) if e.flip else (False,))]

    def fill(self, keys: Sequence[tuple[int, bool]] | None = None) -> Iterator[tuple[int, int]]:
        """Encode everything (or `keys`) once; yields (done, total). UserError for a picture that gives no finite latent."""
        wanted = self.keys() if keys is None else keys
        for done, key in enumerate(wanted, start=1):
            self._stored[key] = self._compute(*key)
            yield done, len(wanted)

    def share(self, gather: Callable[[dict[tuple[int, bool], tuple[torch.Tensor, torch.Tensor]]], list[Any]]) -> None:
        """Take in what the other processes encoded; `gather` gives every process's."""
        for stored in gather(self._stored):
            self._stored.update(stored)

    def get(self, index: int, flipped: bool) -> tuple[torch.Tensor, torch.Tensor]:
        return self._stored.get((index, flipped)) or self._compute(index, flipped)

    def _compute(self, index: int, flipped: bool) -> tuple[torch.Tensor, torch.Tensor]:
        example = self._dataset.examples[index]
        pixels = load_pixels(example)
        mean, std = self._encode((pixels.flip(-1) if flipped else pixels)[None])
        if not (torch.isfinite(mean).all() and torch.isfinite(std).all()):
            raise UserError(
                f"The VAE gives no usable numbers for {example.path.name}.", "Use another VAE, or remove this picture."
            )
        return mean[0], std[0]

    def batch(self, draws: Sequence[Draw], generator: torch.Generator, rows: slice = ALL) -> torch.Tensor:
        """Unscaled latents (batch, 4, h, w) drawn from the pictures' distributions, on the CPU; only those of `rows`, as in the whole batch."""
        stored = [self.get(draw.example, draw.flipped) for draw in draws[rows]]
        mean = torch.stack([m for m, _ in stored])
        std = torch.stack([s for _, s in stored])
        return mean + std * torch.randn((len(draws), *mean.shape[1:]), generator=generator)[rows]

    def masks(self, draws: Sequence[Draw], size: tuple[int, int]) -> torch.Tensor | None:
        """(batch, 1, h, w), 0 .. 1, at the latents' (h, w); None where every picture is learned from as a whole."""
        found = [self._mask(draw.example) for draw in draws]
        if all(mask is None for mask in found):
            return None
        ones = torch.ones(1, 1, *size)
        small = [ones if m is None else F.interpolate(m[None, None], size=size, mode="area") for m in found]
        return torch.cat([m.flip(-1) if draw.flipped else m for m, draw in zip(small, draws, strict=True)])

    def _mask(self, index: int) -> torch.Tensor | None:
        if index not in self._masks:
            e = self._dataset.examples[index]
            left, top = e.crop
            self._masks[index] = load_mask(e.path, e.mask, e.resized, (left, top, left + e.bucket[0], top + e.bucket[1]))
        return self._masks[index]
