"""Carrying out a plan: raw/ is read, dataset/ is written, and what anybody else put there is kept."""

from __future__ import annotations

import filecmp
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ..dataset import PictureError, load_image, read_caption, write_caption
from ..errors import UserError
from ..files import atomic_path
from ..progress import Progress, silent
from ..project import Project
from .applied import Made, load_applied, note, store
from .looks import files_in, stamp_of
from .options import CropOptions
from .plan import CropEntry, CropPlan


@dataclass(frozen=True)
class CropReport:
    """written: pictures now in dataset/. unchanged: those that were there already as planned. skipped: (file name in raw/, reason).

    captions: how many came along from raw/. kept_aside: pictures that somebody else had put where a crop went, now in
    dataset/.lora_studio/replaced/. left_out: crops of pictures that the plan leaves out, now in dataset/.lora_studio/left_out/.
    """

    written: tuple[Path, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    captions: int = 0
    kept_aside: tuple[Path, ...] = ()
    unchanged: tuple[Path, ...] = ()
    left_out: tuple[Path, ...] = ()


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


@dataclass(frozen=True)
class _Done:
    """What became of one entry: why it failed or "", the crop, whether it was written (else it was there), pictures put aside, caption brought."""

    reason: str = ""
    made: Made | None = None
    path: Path = Path()
    written: bool = False
    aside: tuple[Path, ...] = ()
    caption: bool = False


class _Writer:
    """Writes crops, knowing which pictures in dataset/ earlier crops made."""

    def __init__(self, plan: CropPlan, project: Project, force: bool) -> None:
        self.plan = plan
        self.project = project
        self.force = force
        self.before = load_applied(project)
        self.ours = self.before.by_file()
        self.same_stem: dict[str, list[Path]] = {}
        for name in files_in(project.dataset_dir):
            path = project.dataset_dir / name
            self.same_stem.setdefault(path.stem, []).append(path)

    def clear(self, source: Path, keep: Path | None) -> tuple[Path, ...]:
        """Take away the pictures with this stem other than `keep`'s content to come; those not made here, or changed since, are put aside."""
        aside = []
        for path in self.same_stem.get(source.stem, []):
            if not path.exists():
                continue
            mine = self.ours.get(path.name)
            if (mine is not None and not mine.is_retouched(stamp_of(path))) or filecmp.cmp(path, source, shallow=False):
                if path != keep:
                    path.unlink()
            else:
                aside.append(_put_aside(path, self.project))
        return tuple(aside)

    def one(self, entry: CropEntry) -> _Done:
        source = self.project.raw_dir / entry.source
        options = self.plan.options
        target = self.project.dataset_dir / (source.stem + options.suffix)
        stamp, made = stamp_of(source), self.before.made.get(entry.source)
        if made is not None and not self.force and made.is_current(entry, options, stamp, stamp_of(target)):
            return _Done(made=replace(made, entry=entry), path=target)
        try:
            picture = crop_picture(source, entry)
        except UserError as error:
            return _Done(error.reason if isinstance(error, PictureError) else error.message)
        with atomic_path(target) as temporary:
            _save(picture, temporary, options)
            aside = self.clear(source, target)
        made = Made(entry, target.name, options.quality, stamp, stamp_of(target))
        note(self.project, made)
        caption = target.with_suffix(".txt")
        brought = source.with_suffix(".txt").is_file() and not caption.exists()
        if brought:
            write_caption(caption, read_caption(source.with_suffix(".txt")).tags)
        return _Done(made=made, path=target, written=True, aside=aside, caption=brought)

    def leave_out(self) -> tuple[list[Path], list[Path]]:
        """Crops of pictures that the plan leaves out: moved out of the dataset (their captions stay); (moved, put aside because changed since)."""
        moved, aside = [], []
        for name, _ in self.plan.skipped:
            made = self.before.made.get(name)
            path = self.project.dataset_dir / made.name if made is not None else None
            if made is None or path is None or not path.is_file():
                continue
            if made.is_retouched(stamp_of(path)):
                aside.append(_put_aside(path, self.project))
                continue
            away = self.project.studio_dir / "left_out" / path.name
            away.parent.mkdir(parents=True, exist_ok=True)
            moved.append(path.replace(away))
        return moved, aside

    def remember(self, done: list[Made]) -> None:
        """Store the plan as it now stands for dataset/: pictures that this plan does not name keep their entries."""
        now = {made.entry.source: made for made in done}
        left_out = {name for name, _ in self.plan.skipped}
        for name, made in self.before.made.items():
            if name not in now and name not in left_out and made.name == Path(name).stem + self.plan.options.suffix:
                now[name] = made
        entries = tuple(now[name].entry for name in sorted(now))
        store(self.project, replace(self.plan, entries=entries), now)


def apply_plan(plan: CropPlan, project: Project, progress: Progress = silent, force: bool = False) -> CropReport:
    """Write to dataset/ every crop that is not there as planned (force: every crop) and store the plan.

    Captions come along from raw/ where dataset/ has none yet. Crops of an earlier plan are replaced (also in another
    format; a picture now left out has its crop moved away, its caption stays); pictures from elsewhere are put aside.
    Raises UserError when nothing could be cropped, or for a full disk: what was written until then is whole and stays.
    """
    stems = [Path(entry.source).stem for entry in plan.entries]
    if len(set(stems)) < len(stems):
        double = sorted({stem for stem in stems if stems.count(stem) > 1})
        raise UserError(f"Several pictures would become the same file: {', '.join(double[:5])}.", "Rename them in raw/ and crop again.")
    skipped = list(plan.skipped)
    made: list[Made] = []
    written: list[Path] = []
    unchanged: list[Path] = []
    aside: list[Path] = []
    captions = 0
    project.studio_dir.mkdir(parents=True, exist_ok=True)
    writer = _Writer(plan, project, force)
    pool = ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1))
    try:
        for number, (entry, done) in enumerate(zip(plan.entries, pool.map(writer.one, plan.entries), strict=True), 1):
            if done.made is None:
                skipped.append((entry.source, done.reason))
            else:
                made.append(done.made)
                (written if done.written else unchanged).append(done.path)
            aside += done.aside
            captions += done.caption
            progress(number, len(plan.entries), done.path.name or entry.source)
    finally:  # what was written is noted, so that the next crop goes on from there
        pool.shutdown(wait=True, cancel_futures=True)
    if not made:
        listed = "; ".join(f"{name}: {reason}" for name, reason in skipped[:5])
        raise UserError(f"No picture could be cropped. {listed}", "Choose a smaller size, or allow enlarging with --upscale.")
    left_out, changed = writer.leave_out()
    writer.remember(made)
    return CropReport(tuple(written), tuple(skipped), captions, (*aside, *changed), tuple(unchanged), tuple(left_out))
