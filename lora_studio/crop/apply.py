"""Carrying out a plan: raw/ is read, dataset/ is written, and what anybody else put there is kept."""

from __future__ import annotations

import filecmp
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from ..dataset import PictureError, read_caption, write_caption
from ..dataset.captions import problem
from ..errors import UserError
from ..files import TEMPORARY_PREFIX, atomic_path
from ..patience import rename, unlink, within
from ..patience import replace as put
from ..progress import Progress, silent
from ..project import Project, in_place
from .applied import Made, begin, load_applied, note, store
from .captionmoves import move_captions
from .cutting import Original, check_format, save
from .looks import files_in, stamp_of
from .options import FORMATS
from .parallel import each
from .plan import CropEntry, CropPlan

OWN = re.compile(rf"{re.escape(TEMPORARY_PREFIX)}[0-9a-f]{{12}}({'|'.join(map(re.escape, FORMATS.values()))})")  # as `atomic_path` names them
ABANDONED = 600.0  # seconds after which nobody writes on an unfinished file any more


@dataclass(frozen=True)
class CropReport:
    """written: pictures now in dataset/. unchanged: those that were there already as planned. skipped: (file name in raw/, reason);
    of a sibling its part stands behind the name.

    captions: how many came along from raw/. kept_aside: pictures that somebody else had put where a crop went, now in
    dataset/.lora_studio/replaced/. left_out: crops that the plan has no longer, now in dataset/.lora_studio/left_out/.
    """

    written: tuple[Path, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    captions: int = 0
    kept_aside: tuple[Path, ...] = ()
    unchanged: tuple[Path, ...] = ()
    left_out: tuple[Path, ...] = ()


def _put_aside(path: Path, project: Project) -> Path:
    folder = in_place(project.studio_dir / "replaced")
    folder.mkdir(parents=True, exist_ok=True)
    target, number = folder / path.name, 2
    while os.path.lexists(target):
        target, number = folder / f"{path.stem}_{number}{path.suffix}", number + 1
    rename(path, target)
    return target


def _sweep(folder: Path) -> None:
    """Take away the unfinished pictures of processes that were ended."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(OSError), within(0):
            if OWN.fullmatch(path.name) and time.time() - path.lstat().st_mtime > ABANDONED:
                unlink(path)


@dataclass(frozen=True)
class _Done:
    """What became of one entry: why it failed or "", the crop, whether it was written (else it was there), pictures put aside, caption brought
    (or why not)."""

    reason: str = ""
    made: Made | None = None
    path: Path = Path()
    written: bool = False
    aside: tuple[Path, ...] = ()
    caption: bool | str = False


class _Writer:
    """Writes crops, knowing which pictures in dataset/ earlier crops made."""

    def __init__(self, plan: CropPlan, project: Project, force: bool) -> None:
        self.plan = plan
        self.project = project
        self.force = force
        self.before = load_applied(project)
        self.ours = self.before.by_file()
        self.stems = {entry.key: entry.output_stem for entry in plan.entries}
        self.same_stem: dict[str, list[Path]] = {}
        for name in files_in(project.dataset_dir):
            path = project.dataset_dir / name
            self.same_stem.setdefault(path.stem, []).append(path)

    def clear(self, source: Path, keep: Path) -> tuple[tuple[Path, ...], list[Path]]:
        """Put aside the pictures with the stem of `keep` that were not made here, or changed since; returns them, and those of ours that can go."""
        aside, needless = [], []
        for path in self.same_stem.get(keep.stem, []):
            if not path.exists():
                continue
            mine, stamp = self.ours.get(path.name), stamp_of(path)
            begun = stamp is not None and stamp == self.before.begun.get(path.name)
            if begun or (mine is not None and not mine.is_retouched(stamp)) or filecmp.cmp(path, source, shallow=False):
                if path != keep:
                    needless.append(path)
            else:
                aside.append(_put_aside(path, self.project))
        return tuple(aside), needless

    def target(self, entry: CropEntry) -> Path:
        return self.project.dataset_dir / (entry.output_stem + self.plan.options.suffix)

    def all_of(self, entries: Sequence[CropEntry]) -> list[_Done]:
        """Every crop of one original, its main one first."""
        original = Original(self.project.raw_dir / entries[0].source, entries)
        return [self.one(entry, original) for entry in entries]

    def one(self, entry: CropEntry, original: Original) -> _Done:
        source = original.path
        options, target = self.plan.options, self.target(entry)
        stamp, made = stamp_of(source), self.before.made.get(entry.key)
        if made is not None and not self.force and self.before.is_current(entry, options, stamp, stamp_of(target)):
            return _Done(made=replace(made, entry=entry), path=target)
        try:
            picture = original.crop(entry)
        except UserError as error:
            return _Done(error.reason if isinstance(error, PictureError) else error.message)
        with atomic_path(target) as temporary:
            save(picture, temporary, options)
            begin(self.project, target.name, stamp_of(temporary))  # whoever ends us between the two lines below leaves no riddle
            aside, needless = self.clear(source, target)
        for path in needless:  # only now: the new crop is in its place
            unlink(path, missing_ok=True)
        made = Made(entry, target.name, options.quality, stamp, stamp_of(target))
        note(self.project, made)
        return _Done(made=made, path=target, written=True, aside=aside, caption=self.bring_caption(entry, source, target.with_suffix(".txt")))

    def bring_caption(self, entry: CropEntry, source: Path, caption: Path) -> bool | str:
        """The caption beside the original, for a crop that has none; a mirrored copy takes the one that its picture has by now.

        Returns whether one came, or why one that is there did not.
        """
        if caption.exists():
            return False
        origin = source.with_suffix(".txt")
        if entry.flip and (straight := self.stems.get(entry.key.removesuffix("flip").rstrip("-/"))):
            own = self.project.dataset_dir / f"{straight}.txt"
            origin = own if own.is_file() else origin
        if not origin.is_file():
            return False
        if reason := problem(origin):
            return f"{origin.name}: {reason}"
        write_caption(caption, read_caption(origin).tags)
        return True

    def move_captions(self) -> None:
        """Where crops get other names, their captions go with them; a caption that somebody else put under a new name stays."""
        move_captions(self.project, {
            f"{Path(made.name).stem}.txt": f"{self.stems[key]}.txt"
            for key, made in self.before.made.items()
            if key in self.stems and Path(made.name).stem != self.stems[key]
        })

    def leave_out(self, made_now: set[str]) -> tuple[list[Path], list[Path]]:
        """Crops that the plan has no longer, moved out of the dataset (their captions stay), and files of those that have another name now.

        Returns (moved out, put aside because changed since). Crops of originals that are gone stay.
        """
        moved, aside = [], []
        stems_now = {Path(name).stem for name in made_now}
        known = {entry.source for entry in self.plan.entries} | {name for name, _ in self.plan.skipped}
        for made in (*self.before.made.values(), *self.before.former):
            key, path = made.entry.key, self.project.dataset_dir / made.name
            if made.entry.source not in known or made.name in made_now or not path.is_file():
                continue
            if made.is_retouched(stamp_of(path)):
                aside.append(_put_aside(path, self.project))
            elif key in self.stems:  # it has another name, or could not be made anew
                if self.stems[key] in stems_now:
                    unlink(path)
            else:
                away = in_place(self.project.studio_dir / "left_out") / path.name
                away.parent.mkdir(parents=True, exist_ok=True)
                put(path, away)
                moved.append(away)
        return moved, aside

    def remember(self, done: list[Made]) -> None:
        """Store the plan as it now stands for dataset/: crops of originals that this plan does not know keep their entries."""
        now = {made.entry.key: made for made in done}
        known = {entry.source for entry in self.plan.entries} | {name for name, _ in self.plan.skipped}
        failed = {entry.key for entry in self.plan.entries} - set(now)
        for key, made in self.before.made.items():
            if key not in now and (made.entry.source not in known or key in failed) and Path(made.name).suffix == self.plan.options.suffix:
                now[key] = made
        entries = tuple(now[key].entry for key in sorted(now))
        store(self.project, replace(self.plan, entries=entries), now)


def apply_plan(plan: CropPlan, project: Project, progress: Progress = silent, force: bool = False) -> CropReport:
    """Write to dataset/ every crop that is not there as planned (force: every crop) and store the plan.

    Captions come along from raw/ where dataset/ has none yet. Crops of an earlier plan are replaced (also in another
    format; a picture now left out has its crop moved away, its caption stays); pictures from elsewhere are put aside.
    Raises UserError when nothing could be cropped, or for a full disk: what was written until then is whole and stays.
    """
    check_format(plan.options)
    stems = [entry.output_stem.casefold() for entry in plan.entries]
    if len(set(stems)) < len(stems):
        twice = Counter(stems)
        double = sorted({entry.output_stem for entry in plan.entries if twice[entry.output_stem.casefold()] > 1})
        raise UserError(f"Several pictures would become the same file: {', '.join(double[:5])}.", "Rename them in raw/ and crop again.")
    skipped = list(plan.skipped)
    made: list[Made] = []
    written: list[Path] = []
    unchanged: list[Path] = []
    aside: list[Path] = []
    captions = 0
    for folder in (project.studio_dir, project.studio_dir / "replaced", project.studio_dir / "left_out"):
        in_place(folder)
    project.studio_dir.mkdir(parents=True, exist_ok=True)
    _sweep(project.dataset_dir)
    writer = _Writer(plan, project, force)
    writer.move_captions()
    # What was written is noted at once, so that the next crop goes on from there.
    groups = [list(group) for _, group in groupby(plan.entries, lambda entry: entry.source)]
    sizes = [group[0].source_size[0] * group[0].source_size[1] for group in groups]
    number = 0
    for group, results in each(groups, sizes, writer.all_of):
        for entry, done in zip(group, results):
            number += 1
            if done.made is None:
                skipped.append((entry.source, done.reason))
            else:
                made.append(done.made)
                (written if done.written else unchanged).append(done.path)
            aside += done.aside
            captions += done.caption is True
            skipped += [(entry.source, f"The caption stayed behind. {done.caption}")] if isinstance(done.caption, str) else []
            progress(number, len(plan.entries), done.path.name or entry.source)
    if not made:
        listed = "; ".join(f"{name}: {reason}" for name, reason in skipped[:5])
        raise UserError(f"No picture could be cropped. {listed}", "Choose a smaller size, or allow enlarging with --upscale.")
    left_out, changed = writer.leave_out({one.name for one in made})
    writer.remember(made)
    return CropReport(tuple(written), tuple(skipped), captions, (*aside, *changed), tuple(unchanged), tuple(left_out))
