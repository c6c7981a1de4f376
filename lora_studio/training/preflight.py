"""What a run will be, before it starts: exact steps, disk, time, and everything that would go wrong."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import backends
from ..dataset import bucket_sizes
from ..dataset.buckets import place
from ..dataset.masks import has_mask
from ..dataset.split import held_out
from ..errors import UserError
from ..files import new_name, validate_name
from . import memory
from .basefile import family_of
from .config import TrainingConfig
from .events import FILE, read_events
from .options import FINDS_RATE, USUAL_SCALE
from .pictures import caption_lengths, scan
from .presets import SIZES
from .runs import Run

MANY_STEPS = 10_000
MASKS_LOOKED_FOR = 200  # pictures: this is asked whenever somebody changes a setting
#: LoRA parameters per unit of rank, UNet and text encoders: counted on the published shapes
PARAMETERS_PER_RANK = {"sd1": 1_182_000, "sd2": 1_300_000, "sdxl": 3_560_000}
BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}
#: enlarged by more than this, a picture trains blur
BLURRED = 1.25
#: what is smaller is no published checkpoint
TINY_BASE = 500_000_000


@dataclass(frozen=True)
class Preflight:
    """``problems`` stop the run, ``warnings`` do not. Sizes in bytes, times in seconds.

    ``vram_needed`` is an estimate, 0 where there is none; ``enlarged``: pictures that are much smaller than what they are trained at.
    """

    family: str
    images: int
    images_with_repeats: int
    buckets: tuple[tuple[str, int], ...]
    batches_per_epoch: int
    steps_per_epoch: int
    steps: int
    epochs: int
    disk_needed: int
    disk_free: int
    vram_needed: int
    seconds: float | None
    captions_missing: int
    long_captions: int
    enlarged: int
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def raise_problems(self) -> None:
        """Raises UserError naming all of them."""
        if self.problems:
            raise UserError("The training cannot start:\n  " + "\n  ".join(self.problems), "Nothing was changed.")


def count_batches(pictures: Sequence[tuple[tuple[int, int], int]], batch_size: int) -> int:
    """Batches of an epoch: ``pictures`` are (bucket, repeats); a bucket's last batch may be smaller."""
    per_bucket: Counter[tuple[int, int]] = Counter()
    for bucket, repeats in pictures:
        per_bucket[bucket] += repeats
    return sum(math.ceil(n / batch_size) for n in per_bucket.values())


def preflight(config: TrainingConfig, earlier_runs: Sequence[Path] = ()) -> Preflight:
    """Check a configuration against the disk. ``earlier_runs``: run folders whose speed tells the time of this one."""
    problems: list[str] = []
    warnings: list[str] = []
    family = _check_base(config, problems)
    try:
        # a project of before may be called so
        (validate_name if config.output_name in Path(config.output_dir).parts else new_name)(config.output_name)
    except UserError as error:
        problems.append(f"output_name: {error.message}")

    placed: list[tuple[tuple[int, int], int]] = []
    pictures: list[tuple[Path, str]] = []
    regular = images = missing = long = enlarged = 0
    sizes = bucket_sizes(config.resolution, config.bucket_min, config.bucket_max, config.bucket_step) if config.buckets else None
    for k, folder in enumerate(config.folders):
        if not Path(folder.path).is_dir():
            problems.append(f"The folder {folder.path} does not exist.")
            continue
        if folder.conditioning_data_dir and not Path(folder.conditioning_data_dir).is_dir():
            problems.append(f"folders[{k}].conditioning_data_dir: The folder {folder.conditioning_data_dir} does not exist.")
        found = scan(Path(folder.path))
        warnings += [f"{path.name} is left out: {reason}" for path, reason in found.unreadable]
        stems = Counter(item.path.stem for item in found.items)
        shared = sorted(s for s, n in stems.items() if n > 1)
        if shared:
            problems.append(f"{folder.path}: pictures share one caption file: {', '.join(shared[:5])}. Rename them.")
        for item, tokens in zip(found.items, caption_lengths(found.items)):
            bucket = place(
                item.width, item.height, sizes, config.resolution, no_upscale=config.bucket_no_upscale, step=config.bucket_step
            )
            if folder.is_reg:
                regular += 1
            else:
                images += 1
                pictures.append((item.path, folder.conditioning_data_dir))
                placed.append((bucket.size, folder.repeats))
                enlarged += bucket.resized[0] / item.width > BLURRED
            missing += not tokens
            long += tokens > config.max_tokens
    if not images:
        problems.append("There is no readable picture to train on.")
    if missing:
        what = f"trained with the trigger word {config.trigger} alone" if config.trigger else "there is no trigger word either"
        warnings.append(f"{missing} {'picture has' if missing == 1 else 'pictures have'} no caption: {what}.")
    if enlarged:
        warnings.append(f"Much smaller than the resolution: {enlarged} of {images}. Enlarged pictures teach blur.")
    if size_mistake := _size_mistake(config, family):
        warnings.append(size_mistake)
    if long:
        which = "caption is" if long == 1 else "captions are"
        warnings.append(f"About {long} {which} longer than {config.max_tokens} tokens; what is beyond is not learned.")
    if config.masked_loss and pictures and not any(has_mask(*one) for one in pictures[:MASKS_LOOKED_FOR]):
        warnings.append("Masked loss is on, but no picture is transparent or has a mask: every picture is learned as a whole.")
    if config.device == "auto" and (backend := backends.found()) is not None and backend.slow:
        warnings.append(backend.note)
    if scaled := _scale_hint(config):
        warnings.append(scaled)
    if regular:
        ones = "picture is" if regular == 1 else "pictures are"
        warnings.append(f"{regular} regularisation {ones} repeated or left out to match; the step count is about twice this one.")

    measured = held_out(len(placed), config.validation_split, config.validation_seed)
    placed = [entry for k, entry in enumerate(placed) if k not in measured]
    batches = count_batches(placed, config.batch_size * config.processes)
    per_epoch = math.ceil(batches / config.gradient_accumulation)
    steps = config.max_steps or per_epoch * config.epochs
    epochs = math.ceil(steps / per_epoch) if per_epoch else 0
    if steps > MANY_STEPS:
        warnings.append(f"{steps} steps is a lot: 1,000 to 3,000 are enough for most characters. Lower repeats or epochs.")
    needed, free = _disk(config, family, epochs)
    if needed > free:
        problems.append(f"The disk needs {needed / 1e6:.0f} MB and has {free / 1e6:.0f} MB free at {config.output_dir}.")
    speed = measured_speed(earlier_runs, config)
    return Preflight(
        family=family,
        images=images,
        images_with_repeats=sum(r for _, r in placed),
        buckets=tuple((f"{w}x{h}", n) for (w, h), n in sorted(Counter(b for b, _ in placed).items())),
        batches_per_epoch=batches,
        steps_per_epoch=per_epoch,
        steps=steps,
        epochs=epochs,
        disk_needed=needed,
        disk_free=free,
        vram_needed=0 if _tiny(config) else memory.needed(config, family, _lora_parameters(config, family)),
        seconds=steps / speed if speed else None,
        captions_missing=missing,
        long_captions=long,
        enlarged=enlarged,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _check_base(config: TrainingConfig, problems: list[str]) -> str:
    try:
        return family_of(Path(config.base))
    except UserError as error:
        problems.append(f"{error.message} {error.hint}".strip())
        return ""


def _disk(config: TrainingConfig, family: str, epochs: int) -> tuple[int, int]:
    """Bytes needed for LoRA files and resumable state, and bytes free where they go."""
    parameters = _lora_parameters(config, family)
    if config.resolution[0] < 256:
        parameters //= 8  # only tiny models train this small
    files = math.ceil(epochs / config.save_every_epochs)
    if config.keep_last:
        files = min(files, config.keep_last + 1)
    places = 2 if config.lora_dir else 1
    # State: the LoRA in fp32 and AdamW's two averages, the last two kept and one being written.
    needed = parameters * BYTES[config.save_precision] * files * places + parameters * 4 * 3 * 3
    existing = next(p for p in (Path(config.output_dir).absolute(), *Path(config.output_dir).absolute().parents) if p.exists())
    return needed, shutil.disk_usage(existing).free


def _lora_parameters(config: TrainingConfig, family: str) -> int:
    return PARAMETERS_PER_RANK.get(family, PARAMETERS_PER_RANK["sdxl"]) * config.network_dim


def _tiny(config: TrainingConfig) -> bool:
    base = Path(config.base)
    return base.is_file() and base.stat().st_size < TINY_BASE


def _size_mistake(config: TrainingConfig, family: str) -> str:
    """A warning where the resolution is far from what the base model was made for."""
    own = SIZES.get(family, 0)
    share = config.resolution[0] * config.resolution[1] / (own * own) if own else 1.0
    if _tiny(config) or 0.5 <= share <= 2.5:
        return ""
    w, h = config.resolution
    return f"This base model was made for pictures of {own}x{own}; {w}x{h} is far from that, and what is learned gets worse."


def _scale_hint(config: TrainingConfig) -> str:
    """A warning where the rate that an optimizer finds is scaled far up or down. It has one for all; the UNet's counts."""
    rate = config.unet_lr or config.text_lr
    low, high = USUAL_SCALE
    if config.optimizer not in FINDS_RATE or low <= rate <= high:
        return ""
    return f"{config.optimizer} finds the learning rate by itself and multiplies it by {rate:g}: 1 is usual, 0.5 where it overshoots."


def measured_speed(runs: Sequence[Path], config: TrainingConfig) -> float | None:
    """Steps a second of the newest earlier run with the same base, size and batch; None if there is none."""
    for run in sorted(runs, reverse=True):
        known, _ = Run(run).told()
        alike = ("base", "batch_size", "gradient_accumulation", "network_dim", "gradient_checkpointing", "prior_weight", "prior_every")
        ours = config.to_dict()
        if any(known.get(k) != ours[k] for k in alike) or known.get("resolution") != ours["resolution"]:
            continue
        speeds = [float(e.data.get("steps_per_second") or 0) for e in read_events(run / FILE) if e.type == "step"]
        if any(speeds):
            return next(s for s in reversed(speeds) if s)
    return None
