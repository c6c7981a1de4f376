"""Carrying out a plan: raw/ is read, dataset/ is written, and what anybody else put there is kept."""

from __future__ import annotations

import filecmp
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ..dataset import PictureError, load_image, read_caption, write_caption
from ..dataset.items import is_picture_name
from ..errors import UserError
from ..files import atomic_path, atomic_write_json
from ..progress import Progress, silent
from ..project import Project
from .options import CropOptions
from .plan import CropEntry, CropPlan, read_plan


@dataclass(frozen=True)
class CropReport:
    """written: pictures in dataset/. skipped: (file name in raw/, reason).

    captions: how many came along from raw/. kept_aside: pictures that somebody else had put
    where a crop went, now in dataset/.lora_studio/replaced/.
    """

    written: tuple[Path, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    captions: int = 0
    kept_aside: tuple[Path, ...] = ()


def plan_path(project: Project) -> Path:
    """Where the plan last applied is kept."""
    return project.studio_dir / "crop_plan.json"


def load_plan(project: Project) -> CropPlan | None:
    """The plan last applied, or None when there is none or it is damaged (it can be made again)."""
    try:
        return read_plan(plan_path(project))
    except UserError:
        return None


def cut(image: Image.Image, box: tuple[float, float, float, float], size: tuple[int, int]) -> Image.Image:
    """The box of the picture at this size: Lanczos, and no resampling at all where nothing is scaled."""
    if (box[2] - box[0], box[3] - box[1]) == size and all(float(v).is_integer() for v in box):
        left, top, right, bottom = (int(v) for v in box)
        return image.crop((left, top, right, bottom))
    return image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)


def crop_picture(path: Path, entry: CropEntry) -> Image.Image:
    """Read one original and cut it as the plan says; RGB. Raises UserError when it cannot be read or is not the one planned."""
    box_width, box_height = entry.box[2] - entry.box[0], entry.box[3] - entry.box[1]
    shrink = max(entry.size[0] / box_width, entry.size[1] / box_height)
    # Twice the pixels needed leave the final filter enough to work on.
    enough = (round(entry.source_size[0] * shrink * 2), round(entry.source_size[1] * shrink * 2))
    image = load_image(path, at_least=enough)
    scale = image.width / entry.source_size[0]
    expected = entry.source_size[1] * scale
    if abs(image.height - expected) > 1 or scale > 1:
        raise UserError(f"{path.name} is no longer the picture the plan was made for.", "Crop again to make a new plan.")
    if image.size == entry.source_size:
        return cut(image, entry.box, entry.size)
    # A JPEG decoded smaller rounds its sides up, each in its own way.
    across, down = image.width / entry.source_size[0], image.height / entry.source_size[1]
    left, top, right, bottom = entry.box
    return cut(image, (left * across, top * down, min(right * across, image.width), min(bottom * down, image.height)), entry.size)


def _save(image: Image.Image, path: Path, options: CropOptions) -> None:
    settings: dict[str, dict[str, Any]] = {
        "png": {"format": "PNG"},
        "jpg": {"format": "JPEG", "quality": options.quality, "subsampling": 0},
        "webp": {"format": "WEBP", "quality": options.quality},
    }
    image.save(path, **settings[options.format])


def _put_aside(path: Path, project: Project) -> Path:
    folder = project.studio_dir / "replaced"
    folder.mkdir(parents=True, exist_ok=True)
    target, number = folder / path.name, 2
    while target.exists():
        target, number = folder / f"{path.stem}_{number}{path.suffix}", number + 1
    return path.replace(target)


class _Writer:
    """Writes crops, knowing which pictures in dataset/ earlier crops made."""

    def __init__(self, plan: CropPlan, project: Project) -> None:
        self.plan = plan
        self.project = project
        self.before = load_plan(project)
        suffix = self.before.options.suffix if self.before else ""
        self.ours = {Path(entry.source).stem + suffix for entry in self.before.entries} if self.before else set()
        self.same_stem: dict[str, list[Path]] = {}
        for path in sorted(project.dataset_dir.iterdir()):
            if is_picture_name(path.name):
                self.same_stem.setdefault(path.stem, []).append(path)

    def clear(self, source: Path, keep: Path | None) -> list[Path]:
        """Take away the pictures with this stem other than `keep`'s content to come; those not made here are put aside and returned."""
        aside = []
        for path in self.same_stem.get(source.stem, []):
            if not path.exists():
                continue
            if path.name in self.ours or filecmp.cmp(path, source, shallow=False):
                if path != keep:
                    path.unlink()
            else:
                aside.append(_put_aside(path, self.project))
        return aside

    def one(self, entry: CropEntry) -> tuple[CropEntry, str, Path, list[Path], bool]:
        """Entry, reason it failed or "", the picture written, pictures put aside, whether a caption came along."""
        source = self.project.raw_dir / entry.source
        target = self.project.dataset_dir / (source.stem + self.plan.options.suffix)
        try:
            picture = crop_picture(source, entry)
        except UserError as error:
            return entry, error.reason if isinstance(error, PictureError) else error.message, target, [], False
        with atomic_path(target) as temporary:
            _save(picture, temporary, self.plan.options)
            aside = self.clear(source, target)
        caption = target.with_suffix(".txt")
        brought = source.with_suffix(".txt").is_file() and not caption.exists()
        if brought:
            write_caption(caption, read_caption(source.with_suffix(".txt")).tags)
        return entry, "", target, aside, brought

    def remember(self, done: list[CropEntry]) -> None:
        """Store the plan as it now stands for dataset/: pictures that this plan does not name keep their entries."""
        named = {entry.source for entry in done} | {name for name, _ in self.plan.skipped}
        same_format = self.before is not None and self.before.options.suffix == self.plan.options.suffix
        kept = [entry for entry in self.before.entries if entry.source not in named] if self.before and same_format else []
        entries = tuple(sorted([*kept, *done], key=lambda entry: entry.source))
        atomic_write_json(plan_path(self.project), replace(self.plan, entries=entries).to_dict())


def apply_plan(plan: CropPlan, project: Project, progress: Progress = silent) -> CropReport:
    """Write every crop to dataset/ and store the plan. Captions come along from raw/ where dataset/ has none yet.

    Crops of an earlier plan are replaced (also in another format; a picture now left out loses its
    crop, its caption stays); pictures from elsewhere are put aside. Raises UserError when nothing could be cropped, or
    for a full disk: what was written until then is whole and stays.
    """
    stems = [Path(entry.source).stem for entry in plan.entries]
    if len(set(stems)) < len(stems):
        double = sorted({stem for stem in stems if stems.count(stem) > 1})
        raise UserError(f"Several pictures would become the same file: {', '.join(double[:5])}.", "Rename them in raw/ and crop again.")
    skipped = list(plan.skipped)
    done: list[CropEntry] = []
    written: list[Path] = []
    aside: list[Path] = []
    captions = 0
    project.dataset_dir.mkdir(parents=True, exist_ok=True)
    writer = _Writer(plan, project)
    pool = ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1))
    try:
        for number, (entry, reason, path, moved, brought) in enumerate(pool.map(writer.one, plan.entries), 1):
            if reason:
                skipped.append((entry.source, reason))
            else:
                done.append(entry)
                written.append(path)
            aside += moved
            captions += brought
            progress(number, len(plan.entries), path.name)
    except BaseException:
        pool.shutdown(wait=True, cancel_futures=True)
        with suppress(UserError, OSError):
            writer.remember(done)
        raise
    pool.shutdown(wait=True)
    if not written:
        listed = "; ".join(f"{name}: {reason}" for name, reason in skipped[:5])
        raise UserError(f"No picture could be cropped. {listed}", "Choose a smaller size, or allow enlarging with --upscale.")
    for name, _ in plan.skipped:
        stale = project.dataset_dir / (Path(name).stem + (writer.before.options.suffix if writer.before else ""))
        if stale.name in writer.ours and stale.is_file():
            stale.unlink()
    writer.remember(done)
    return CropReport(tuple(written), tuple(skipped), captions, tuple(aside))
