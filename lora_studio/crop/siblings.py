"""Other boxes beside a picture's main one: padded, in tiles, around a face; where they lie. Pure."""

from __future__ import annotations

import math

from .choices import Box, inside

FACE, UPPER = "face", "upper"
PARTS = (UPPER, FACE)
# Times the height of the face a box is high, and how far above the face it begins.
FRAMES = {FACE: (2.0, 0.55), UPPER: (4.2, 0.9)}
SHAPES = {FACE: 1.0, UPPER: 0.8}  # width : height where the size leaves it open
ALIKE = 0.8  # of the main box's area: a part that is nearly all of it adds nothing

Face = tuple[float, float, float, float, float]  # left, top, right, bottom in pixels, and how sure it is


def padded(size: tuple[int, int], target: tuple[int, int], enlarge: bool) -> Box:
    """The smallest box of the target's ratio that holds the whole picture; not smaller than the target unless it may be enlarged."""
    width, height = size
    aspect = target[0] / target[1]
    box_width = max(float(width), height * aspect, 0.0 if enlarge else float(target[0]))
    box = (round(box_width), max(round(box_width / aspect), height))
    left, top = (width - box[0]) // 2, (height - box[1]) // 2
    return left, top, left + box[0], top + box[1]


def tiles(size: tuple[int, int], aspect: float, overlap: float) -> list[Box]:
    """Boxes of one ratio along a picture's long side that hold all of it, each overlapping the next by at least this share."""
    width, height = size
    box_width, box_height = min(width, max(1, round(height * aspect))), min(height, max(1, round(width / aspect)))
    across = box_width < width
    whole, side = (width, box_width) if across else (height, box_height)
    count = max(1, math.ceil((whole - side * overlap) / (side * (1 - overlap)) - 1e-6))
    steps = [round((whole - side) * k / (count - 1)) for k in range(count)] if count > 1 else [(whole - side) // 2]
    return [(at, 0, at + box_width, box_height) if across else (0, at, box_width, at + box_height) for at in steps]


def kept_share(size: tuple[int, int], aspect: float) -> float:
    """How much of a picture its largest box of this ratio holds."""
    return min(aspect / (size[0] / size[1]), (size[0] / size[1]) / aspect, 1.0)


def main_face(faces: tuple[Face, ...]) -> Face | None:
    """The face a picture is about: the largest."""
    return max(faces, key=lambda f: (f[2] - f[0]) * (f[3] - f[1]), default=None)


def focal_of(face: Face, size: tuple[int, int], aspect: float) -> tuple[float, float]:
    """Where to centre the largest crop for a face: below it, since what belongs to a face is under it."""
    width, height = size
    box_height = min(height, width / aspect)
    x, y = (face[0] + face[2]) / 2, (face[1] + face[3]) / 2
    return min(max(x / width, 0.0), 1.0), min(max((y + 0.12 * box_height) / height, 0.0), 1.0)


def around(face: Face, part: str, size: tuple[int, int], aspect: float, least: float) -> Box | None:
    """The box of a part around a face, of this ratio and at least so wide; None where the picture has no room for it."""
    tall, above = FRAMES[part]
    face_height = max(face[3] - face[1], (face[2] - face[0]) * 0.9)
    height = max(tall * face_height, (face[2] - face[0]) * 1.4 / aspect, least / aspect)
    height = min(height, size[1], size[0] / aspect)
    # More than twice the box that was meant is no longer this part.
    if height > 2 * tall * face_height or height * aspect + 0.5 < least:
        return None
    top = (face[1] + face[3]) / 2 - face_height / 2 - above * height / tall
    left = (face[0] + face[2]) / 2 - height * aspect / 2
    return inside((left, top, left + height * aspect, top + height), size)


def area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
