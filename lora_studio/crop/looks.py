"""What cropping has to know of each original, looked at once and kept: its size, where the eye goes for every shape of crop, its faces."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..dataset import PictureError, image_size, load_image
from ..dataset.items import OUTSIDE, is_own, is_picture_name
from ..errors import UserError
from ..files import atomic_write_text, read_json
from ..progress import Progress, silent
from ..project import Project, in_place
from ..untrusted import leads_out, number, text, whole
from .choices import FARTHEST
from .detectors import SIDE, Detector
from .focal import features, find, is_whole, thumbnail_size
from .parallel import each
from .siblings import Face

Stamp = tuple[int, int]  # time of the last change in ns, bytes

VERSION = 2
MOST_FACES = 1000
CACHE = "What is known of the pictures"
RECENT = 3.0  # seconds
_recent: dict[str, tuple[tuple[Stamp | None, Stamp | None], float, dict[str, Look]]] = {}
# Shapes of crop (width : height) for which every picture's focal point is found at once: the decoding costs more than all of them.
SHAPES = tuple(a / b for a, b in ((1, 3), (2, 5), (1, 2), (9, 16), (5, 8), (2, 3), (3, 4), (4, 5), (8, 9), (1, 1)))
SHAPES += tuple(1 / s for s in reversed(SHAPES[:-1]))


@dataclass(frozen=True)
class Look:
    """One original. stamp: which file this is true of. problem: why it cannot be read, or "".

    centres: for each of SHAPES where the best crop's centre lies (0..1) along the side that it is shorter on; () before it was looked for.
    faces: what the detector of the id `detector` found; () with "" before one looked.
    """

    width: int
    height: int
    stamp: Stamp
    centres: tuple[float, ...] = ()
    problem: str = ""
    faces: tuple[Face, ...] = ()
    detector: str = ""

    def faces_by(self, detector: str) -> tuple[Face, ...] | None:
        """The faces by this detector; None when it has not looked."""
        return self.faces if self.detector == detector else None

    @property
    def size(self) -> tuple[int, int]:
        return self.width, self.height

    def focal(self, aspect: float) -> tuple[float, float] | None:
        """Where to centre a largest crop of this ratio; None when the picture has to be looked at first."""
        if is_whole(self.width, self.height, aspect):
            return 0.5, 0.5
        if not self.centres:
            return None
        own = self.width / self.height
        # Of the shapes that leave out the same sides, the one most like it.
        same = [k for k, shape in enumerate(SHAPES) if (shape < own) == (aspect < own)]
        if not same:
            return 0.5, 0.5
        centre = self.centres[min(same, key=lambda k: abs(math.log(SHAPES[k] / aspect)))]
        return (centre, 0.5) if aspect < own else (0.5, centre)


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of a file as it is now; None when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def files_in(folder: Path, outside: bool = False) -> dict[str, Stamp]:
    """Pictures directly in a folder, by name, with their stamps. outside: links that lead out of the project too, which are no pictures to use."""
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        wanted = [e for e in entries if is_picture_name(e.name) and not e.name.startswith(".") and e.is_file()]
        found = [(e.name, e.stat()) for e in wanted if outside or is_own(e, folder)]
    return {name: (s.st_mtime_ns, s.st_size) for name, s in sorted(found, key=lambda pair: pair[0])}


def looks_path(project: Project) -> Path:
    return project.studio_dir / "crop_looks.json"


def glance(project: Project, fresh: bool = True) -> dict[str, Look]:
    """Every original in order of name: as it was looked at before, or (new and changed ones) by its header alone.

    fresh: False takes what was found within the last seconds, where no file came or went since: changing one box of thousands is instant.
    """
    folder, path = str(project.raw_dir), looks_path(project)
    state = (stamp_of(project.raw_dir), stamp_of(path))
    recent = _recent.get(folder)
    if not fresh and recent is not None and recent[0] == state and time.monotonic() - recent[1] < RECENT:
        return recent[2]
    known = _read(path) if state[1] is not None else {}
    found: dict[str, Look] = {}
    for name, stamp in files_in(project.raw_dir, outside=True).items():
        if leads_out(project.raw_dir / name):
            found[name] = Look(0, 0, stamp, problem=OUTSIDE)
            continue
        look = known.get(name)
        found[name] = look if look is not None and look.stamp == stamp else _header(os.path.join(folder, name), stamp)
    if len(_recent) >= 4:
        _recent.clear()
    _recent[folder] = (state, time.monotonic(), found)
    return dict(found)


@lru_cache(maxsize=65536)
def _header(path: str, stamp: Stamp) -> Look:
    try:
        width, height = image_size(path)
    except PictureError as error:
        return Look(0, 0, stamp, problem=error.reason)
    return Look(width, height, stamp)


def look_closely(path: Path, look: Look, detector: Detector | None = None) -> Look:
    """Decode a picture (a JPEG: as little of it as serves) and find its focal points, and its faces where there is a detector.

    Raises UserError when the detector fails.
    """
    enough = thumbnail_size(*look.size)
    if detector is not None:
        side = max(*detector.side, SIDE)
        enough = (max(enough[0], min(look.width, side)), max(enough[1], min(look.height, side)))
    try:
        image = load_image(path, at_least=enough)
    except PictureError as error:
        return replace(look, problem=error.reason)
    if not look.centres:
        found, size = features(image), thumbnail_size(*image.size)
        own = look.width / look.height
        points = [find(found, size, shape) for shape in SHAPES]
        look = replace(look, centres=tuple(round(point[0] if shape < own else point[1], 3) for shape, point in zip(SHAPES, points)))
    if detector is not None and look.faces_by(detector.id) is None:
        look = replace(look, faces=detector.find(image, look.size), detector=detector.id)
    return look


def look_at(project: Project, wanted: Callable[[str, Look], bool], progress: Progress = silent, detector: Detector | None = None) -> dict[str, Look]:
    """Like `glance`, with those pictures looked at closely that are `wanted`; remembered, also when it is stopped."""
    looks = glance(project)
    todo = [name for name, look in looks.items() if not look.problem and wanted(name, look)]
    try:
        sizes = [looks[name].width * looks[name].height for name in todo]
        for done, (name, look) in enumerate(each(todo, sizes, lambda name: look_closely(project.raw_dir / name, looks[name], detector)), 1):
            looks[name] = look
            progress(done, len(todo), name)
            if done % 500 == 0:  # a process that is ended loses little
                _write(project, looks)
    finally:
        with suppress(UserError):  # only a cache
            if todo or not looks_path(project).exists():
                _write(project, looks)
    return looks


def _write(project: Project, looks: Mapping[str, Look]) -> None:
    rows = {name: [o.width, o.height, *o.stamp, list(o.centres), o.problem, o.faces, o.detector] for name, o in looks.items()}
    plain = {"version": VERSION, "shapes": len(SHAPES), "looks": rows}
    in_place(project.studio_dir)
    atomic_write_text(looks_path(project), json.dumps(plain, ensure_ascii=False, separators=(",", ":")))


def _read(path: Path) -> dict[str, Look]:
    """What was looked at before; {} when there is nothing, or nothing that can be used."""
    try:
        data = read_json(path)
        if data["version"] != VERSION or data["shapes"] != len(SHAPES):
            return {}
        return {str(name): _look(row) for name, row in data["looks"].items()}
    except (UserError, KeyError, TypeError, ValueError, AttributeError):
        return {}


def _look(row: Any) -> Look:
    width, height, time, size, centres, problem, faces, detector = row
    if len(centres) not in (0, len(SHAPES)) or len(faces) > MOST_FACES:
        raise ValueError("of another version")
    w, h = (whole(side, CACHE, 0 if problem else 1, FARTHEST) for side in (width, height))
    points = tuple(number(centre, CACHE, 0, 1) for centre in centres)
    return Look(w, h, as_stamp((time, size)), points, text(problem, CACHE), tuple(map(_face, faces)), text(detector, CACHE))


def as_stamp(value: Any) -> Stamp:
    """A stamp as files keep it. Raises ValueError, TypeError or UserError for what is none."""
    time, size = value
    return whole(time, CACHE, -(2**70), 2**70), whole(size, CACHE, 0, 2**63)


def _face(row: list[float]) -> Face:
    left, top, right, bottom, score = (number(value, CACHE, -FARTHEST, FARTHEST) for value in row)
    return left, top, right, bottom, score
