"""From what is known of a picture, what its person chose and the options: its boxes. Pure but for `plan_project`, which looks at the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UserError
from ..progress import Progress, silent
from ..project import Project
from . import siblings
from .applied import earlier_names
from .choices import Box, Choice
from .detectors import detector_id, load_detector
from .looks import Look, look_at
from .naming import name_all
from .options import CropOptions
from .plan import CropEntry, CropPlan, buckets_for, fit_box, place_box, read_plan, target_size

AUTOMATIC = Choice()
BY_HAND = "left out by hand."
Buckets = list[tuple[int, int]]


@dataclass(frozen=True)
class Proposal:
    """What would become of one box. left_out: why nothing does ("" when something does). code: the same for programs:
    "excluded", "too_small", "other_picture". pending: the place is not known yet, the box is in the middle until then.
    """

    entry: CropEntry
    left_out: str = ""
    code: str = ""
    pending: bool = False


def propose(name: str, look: Look, options: CropOptions, buckets: Buckets, choice: Choice = AUTOMATIC, detector: str = "") -> Proposal:
    """The main box and size of one picture that can be read. detector: the one that faces are to be found by, "" where there is none."""
    found = _propose(name, look, options, buckets, choice, detector)
    pending = (found.pending or (bool(detector and options.parts) and look.faces_by(detector) is None)) and not choice.excluded
    return found if pending == found.pending else replace(found, pending=pending)


def _propose(name: str, look: Look, options: CropOptions, buckets: Buckets, choice: Choice, detector: str) -> Proposal:
    given = choice.box_for(look.size)
    region = look.size if given is None else (given[2] - given[0], given[3] - given[1])
    pad = options.pad if given is None and not choice.method else ""
    left_out, code = "", ""
    size = target_size(*region, replace(options, upscale=True) if pad else options, buckets)
    if size is None:
        left_out, code = _too_small(region, options), "too_small"
        size = target_size(*region, replace(options, upscale=True), buckets) or region
    if choice.method == "plan" and given is None:
        left_out, code = "the plan was made for another picture of this name (its size differs).", "other_picture"
    if choice.excluded:
        left_out, code = BY_HAND, "excluded"
    aspect = size[0] / size[1]
    if given is not None:
        return Proposal(CropEntry(name, look.size, fit_box(given, look.size, aspect), size, choice.method), left_out, code)
    if pad:
        box = siblings.padded(look.size, size, options.upscale)
        outside = box != (0, 0, *look.size)
        return Proposal(CropEntry(name, look.size, box, size, "pad", pad=pad if outside else ""), left_out, code)
    if not choice.method and is_split(look, options, size):
        return Proposal(CropEntry(name, look.size, siblings.tiles(look.size, aspect, options.split_overlap)[0], size, "split"), left_out, code)
    method = choice.method if choice.method in ("smart", "center", "focal") else options.focal
    focal, pending, method = _focal(look, method, choice, aspect, detector)
    return Proposal(CropEntry(name, look.size, place_box(*look.size, aspect, focal), size, method), left_out, code, pending)


def _focal(look: Look, method: str, choice: Choice, aspect: float, detector: str) -> tuple[tuple[float, float], bool, str]:
    """Where to centre the box, whether that is still to be found out, and how it came about."""
    if method == "focal" and choice.focal is not None:
        return choice.focal, False, method
    if method == "center":
        return (0.5, 0.5), False, method
    if method == "face" and detector:
        faces = look.faces_by(detector)
        if faces is None:
            return (0.5, 0.5), True, method
        if (face := siblings.main_face(faces)) is not None:
            return siblings.focal_of(face, look.size, aspect), False, method
    focal = look.focal(aspect)
    return focal or (0.5, 0.5), focal is None, "smart"


def is_split(look: Look, options: CropOptions, size: tuple[int, int]) -> bool:
    """Whether this picture becomes several tiles."""
    return options.split > 0 and siblings.kept_share(look.size, size[0] / size[1]) <= options.split


def _too_small(region: tuple[int, int], options: CropOptions) -> str:
    wanted = "x".join(map(str, options.fixed_size or (options.bucket_step, options.bucket_step)))
    return f"too small: {region[0]}x{region[1]} for {wanted}; it would have to be enlarged (--upscale)."


def propose_more(
    main: Proposal, look: Look, options: CropOptions, buckets: Buckets, choice: Choice = AUTOMATIC, detector: str = ""
) -> list[Proposal]:
    """The siblings of a main crop: tiles, boxes made by hand, upper body and face. Those that are too small and nobody drew are not made."""
    entry, found = main.entry, []
    if main.code in ("excluded", "other_picture"):
        return []
    aspect = entry.size[0] / entry.size[1]
    if entry.method == "split" and not main.left_out:
        boxes = siblings.tiles(look.size, aspect, options.split_overlap)[1:]
        found += [Proposal(replace(entry, box=box, part=f"split{k}")) for k, box in enumerate(boxes, 2)]
    drawn = choice.more_for(look.size)
    for part, box in drawn.items():
        found.append(_sibling(entry, part, box, options, buckets))
    faces = look.faces_by(detector) if detector else None
    face = siblings.main_face(faces or ())
    for part in options.parts:
        if part not in drawn and face is not None and not main.left_out:
            around = _around_face(face, part, look, options, buckets)
            if around is not None and siblings.area(around) < siblings.ALIKE * siblings.area(entry.box):
                one = _sibling(entry, part, around, options, buckets, "face")
                found += [] if one.left_out else [one]
    return found


def _sibling(main: CropEntry, part: str, box: Box, options: CropOptions, buckets: Buckets, method: str = "drawn") -> Proposal:
    region = (box[2] - box[0], box[3] - box[1])
    size = target_size(*region, options, buckets)
    left_out = "" if size else _too_small(region, options)
    size = size or target_size(*region, replace(options, upscale=True), buckets) or region
    fitted = fit_box(box, main.source_size, size[0] / size[1])
    return Proposal(CropEntry(main.source, main.source_size, fitted, size, method, part), left_out, "too_small" if left_out else "")


def _around_face(face: siblings.Face, part: str, look: Look, options: CropOptions, buckets: Buckets) -> Box | None:
    fixed = options.fixed_size
    aspect = fixed[0] / fixed[1] if fixed else siblings.SHAPES[part]
    least = 0.0 if options.upscale else float(fixed[0] if fixed else options.base * aspect**0.5)
    return siblings.around(face, part, look.size, aspect, least)


def mirrored(proposals: Sequence[Proposal]) -> list[Proposal]:
    """A flipped copy of each crop that is made."""
    return [replace(one, entry=replace(one.entry, part=f"{one.entry.part}-flip".lstrip("-"), flip=True)) for one in proposals if not one.left_out]


def make_plan(
    looks: Mapping[str, Look],
    options: CropOptions,
    choices: Mapping[str, Choice] | None = None,
    detector: str = "",
    earlier: Mapping[tuple[str, str], str] | None = None,
) -> CropPlan:
    """Boxes for all pictures. earlier: the names that crops have, by source and part. Raises UserError when there are no pictures."""
    if not looks:
        raise UserError("There are no pictures to crop.", "Bring some in with: new NAME --images DIR")
    buckets = buckets_for(options)
    entries: list[CropEntry] = []
    skipped: list[tuple[str, str]] = []
    for name, look in looks.items():
        if look.problem:
            skipped.append((name, look.problem))
            continue
        choice = (choices or {}).get(name, AUTOMATIC)
        main = propose(name, look, options, buckets, choice, detector)
        proposals = [main, *propose_more(main, look, options, buckets, choice, detector)]
        proposals += mirrored(proposals) if options.flip else []
        entries += [one.entry for one in proposals if not one.left_out]
        skipped += [(name if not one.entry.part else f"{name} ({one.entry.part})", one.left_out) for one in proposals if one.left_out]
    left = [Path(name).stem for name, _ in skipped if name in looks]
    names = name_all([(e.source, e.part, e.size) for e in entries], options.rename, options.rename_start, earlier or {}, left)
    named = (replace(e, stem="" if stem == Path(e.source).stem else stem) for e, stem in zip(entries, names))
    return CropPlan(options, tuple(named), tuple(skipped))


def plan_project(
    project: Project,
    options: CropOptions,
    choices: Mapping[str, Choice] | None = None,
    progress: Progress = silent,
    detector: Path | None = None,
) -> CropPlan:
    """Look at the pictures of raw/ as far as is needed and plan their crops; boxes of the options' plan file win over all others.

    detector: the file of a face detector, loaded only when somebody asked for faces.
    """
    chosen = {**(choices or {}), **(boxes_of(read_plan(options.plan_file)) if options.plan_file else {})}
    buckets = buckets_for(options)
    known = detector_id(detector) if detector is not None and options.needs_faces else ""

    def unknown(name: str, look: Look) -> bool:
        return propose(name, look, options, buckets, chosen.get(name, AUTOMATIC), known).pending

    finder = load_detector(detector) if detector is not None and known else None
    looks = look_at(project, unknown, progress, finder)
    return make_plan(looks, options, chosen, known, earlier_names(project, options))


def boxes_of(plan: CropPlan) -> dict[str, Choice]:
    """The boxes of a plan as if somebody had drawn them; what it leaves out by hand stays left out."""
    chosen: dict[str, Choice] = {}
    for entry in plan.entries:
        if entry.flip or entry.pad:
            continue
        before = chosen.get(entry.source, Choice("", None, None, entry.source_size))
        if entry.part:
            chosen[entry.source] = replace(before, more=(*before.more, (entry.part, entry.box)))
        else:
            chosen[entry.source] = replace(before, method="plan", box=entry.box)
    return {**chosen, **{name: Choice(excluded=True) for name, reason in plan.skipped if reason == BY_HAND}}
