"""Draws a Scene as a cartoon bust portrait.

All shapes are polygons in a 128 x 128 sheet of units (origin top left). A
``Pen`` maps the sheet onto any canvas: turned, scaled and moved, so one drawing
serves 128-pixel training pictures and large raw pictures alike.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .scene import BACKGROUND, EYES, HAIR, RGB, SHIRT, Scene

Point = tuple[float, float]
INK: RGB = (46, 34, 44)
SUPERSAMPLE = 3
HEAD_PIVOT: Point = (64.0, 94.0)


@dataclass
class Pen:
    """Draws sheet shapes on a canvas: ``pixel = centre + scale * rotate(sheet - 64)``."""

    draw: ImageDraw.ImageDraw
    centre: Point
    scale: float
    tilt: float = 0.0
    """Radians; turns the head (and its hair) about the neck, not the body."""

    def _map(self, p: Point, head: bool) -> Point:
        x, y = p
        if head:
            cos, sin = math.cos(self.tilt), math.sin(self.tilt)
            dx, dy = x - HEAD_PIVOT[0], y - HEAD_PIVOT[1]
            x, y = HEAD_PIVOT[0] + cos * dx - sin * dy, HEAD_PIVOT[1] + sin * dx + cos * dy
        return self.centre[0] + (x - 64) * self.scale, self.centre[1] + (y - 64) * self.scale

    def _width(self, units: float) -> int:
        return max(1, round(units * self.scale))

    def shape(self, points: Sequence[Point], fill: RGB, ink: RGB | None = INK, line: float = 1.6, head: bool = True) -> None:
        """A closed polygon, outlined unless ``ink`` is None."""
        q = [self._map(p, head) for p in points]
        self.draw.polygon(q, fill=fill)
        if ink is not None:
            self.draw.line([*q, q[0], q[1]], fill=ink, width=self._width(line), joint="curve")

    def stroke(self, points: Sequence[Point], ink: RGB, line: float, head: bool = True) -> None:
        """An open line with round ends."""
        q = [self._map(p, head) for p in points]
        width = self._width(line)
        self.draw.line(q, fill=ink, width=width, joint="curve")
        for x, y in (q[0], q[-1]):
            self.draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=ink)


def oval(cx: float, cy: float, rx: float, ry: float, start: float = 0, stop: float = 360, n: int = 28) -> list[Point]:
    """Points on an ellipse from ``start`` to ``stop`` degrees (0 = right, 90 = down)."""
    angles = (math.radians(start + (stop - start) * i / n) for i in range(n + 1))
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def smooth(points: Sequence[Point], n: int = 5) -> list[Point]:
    """A closed Catmull-Rom curve through ``points``, ``n`` segments between two."""
    out: list[Point] = []
    count = len(points)
    for i in range(count):
        a, b, c, d = (points[(i + k) % count] for k in (-1, 0, 1, 2))
        for step in range(n):
            u = step / n
            w = (-u + 2 * u * u - u**3, 2 - 5 * u * u + 3 * u**3, u + 4 * u * u - 3 * u**3, -u * u + u**3)
            out.append(tuple(sum(wk * p[axis] for wk, p in zip(w, (a, b, c, d))) / 2 for axis in (0, 1)))  # type: ignore[arg-type]
    return out


def mirrored(points: Sequence[Point], side: int) -> list[Point]:
    """``points`` given for the right half; side -1 gives the left half."""
    return [(64 + side * (x - 64), y) for x, y in points]


def tone(colour: RGB, factor: float) -> RGB:
    """Darker below 1, lighter (towards white) above."""
    if factor <= 1:
        return tuple(int(v * factor) for v in colour)  # type: ignore[return-value]
    return tuple(int(v + (255 - v) * (factor - 1)) for v in colour)  # type: ignore[return-value]


def _jitter(colour: RGB, rng: random.Random, amount: float) -> RGB:
    return tuple(max(0, min(255, int(v + rng.uniform(-amount, amount)))) for v in colour)  # type: ignore[return-value]


def _back_hair(pen: Pen, scene: Scene, hair: RGB) -> None:
    dark = tone(hair, 0.82)
    long = scene.length == "long hair"
    if scene.style == "twintails":
        drop = 120 if long else 90
        for side in (-1, 1):
            tail = [(94, 42), (110, 44), (121, 62), (121, drop - 22), (114, drop), (105, drop - 12), (100, 66)]
            pen.shape(smooth(mirrored(tail, side)), hair)
        pen.shape(oval(64, 58, 34, 34), dark)
    elif scene.style == "ponytail":
        drop = 116 if long else 86
        pen.shape(smooth([(76, 28), (98, 18), (116, 34), (122, 62), (118, drop - 14), (108, drop), (102, drop - 24), (96, 54)]), hair)
        pen.shape(oval(64, 58, 34, 34), dark)
    elif long:
        right = [(92, 30), (102, 60), (105, 94), (108, 120), (86, 124)]
        left = [(42, 124), (20, 120), (23, 94), (26, 60), (36, 30)]
        pen.shape(smooth([(64, 22), *right, (64, 118), *left]), dark)
    else:
        pen.shape(oval(64, 59, 36, 34), dark)


def _body(pen: Pen, scene: Scene, skin: RGB, shirt: RGB) -> None:
    pen.shape([(56, 84), (72, 84), (73, 106), (55, 106)], tone(skin, 0.9), head=False)
    w = 26 if scene.who == "1girl" else 32
    arm = [(64 + w, 107), (64 + w + 8, 122), (64 + w + 9, 150)]
    torso = [(52, 100), (64, 107), (76, 100), *arm, *reversed(mirrored(arm, -1))]
    pen.shape(smooth(torso), shirt, head=False)
    pen.stroke([(53, 101), (64, 110), (75, 101)], tone(shirt, 0.7), 2.2, head=False)


def _ears(pen: Pen, hair: RGB, raised: float) -> None:
    for side in (-1, 1):
        pen.shape(mirrored([(74, 32 - raised), (97, 3 - raised), (101, 42 - raised)], side), hair)
        pen.shape(mirrored([(82, 28 - raised), (94.5, 13 - raised), (96.5, 34 - raised)], side), (252, 166, 178), None)


def _face(pen: Pen, scene: Scene, skin: RGB, hair: RGB) -> None:
    girl = scene.who == "1girl"
    jaw = [(94, 62), (88, 82), (75, 92), (64, 95)] if girl else [(95, 62), (92, 82), (79, 94), (64, 97)]
    half = [(64, 28), (87, 36), *jaw]
    pen.shape(smooth(half + [(128 - x, y) for x, y in reversed(half[1:-1])]), skin)
    if "blush" in scene.extras:
        tint = (242, 124, 112) if "dark skin" not in scene.extras else (206, 78, 70)
        for side in (-1, 1):
            pen.shape(oval(64 + side * 20, 83, 7, 3.8), tint, None)
    iris = EYES[scene.eyes]
    for side in (-1, 1):
        x, y = 64 + side * 15, 67
        pen.shape(oval(x, y, 9.4, 11), (255, 255, 255), None)
        pen.shape(oval(x, y + 0.5, 8.2, 10.2), iris, tone(iris, 0.5), 1.2)
        pen.shape(oval(x, y + 1.5, 3.2, 4.8), tone(iris, 0.25), None)
        pen.shape(oval(x - 2.8, y - 4, 2.6, 3, n=12), (255, 255, 255), None)
        pen.stroke(oval(x, y, 9.8, 11.4, 200, 340), INK, 3.0 if girl else 2.4)
        if girl:
            pen.stroke([(x + side * 8.6, y - 4.5), (x + side * 12.4, y - 7)], INK, 2.2)
        pen.stroke(oval(x, y - 13, 7, 3, 215, 325), tone(hair, 0.55), 1.6 if girl else 3.4)


def _mouth(pen: Pen, mouth: str) -> None:
    red: RGB = (150, 36, 44)
    if mouth == "smile":
        pen.stroke(oval(64, 81, 8.5, 6.5, 15, 165), red, 2.4)
    elif mouth == "open mouth":
        pen.shape(oval(64, 86, 6.2, 5.8), red, INK, 1.2)
        pen.shape(oval(64, 88.8, 4, 2.6), (244, 124, 124), None)
    else:
        pen.stroke([(59, 87), (69, 87)], red, 2.4)


def _fringe(pen: Pen, scene: Scene, hair: RGB) -> None:
    girl = scene.who == "1girl"
    if girl or scene.length == "long hair":
        low = 96 if scene.length == "long hair" else 78
        for side in (-1, 1):
            pen.shape(smooth(mirrored([(90, 40), (100, 52), (101, low - 12), (96, low), (91, low - 14), (93, 58)], side)), hair)
    if girl:
        crown = [(30, 58), (29, 44), (37, 29), (51, 20), (64, 18), (77, 20), (91, 29), (99, 44), (98, 58)]
        tips = [(90, 49), (84, 56), (77, 46), (70, 55), (62, 45), (54, 55), (47, 46), (41, 55), (37, 49)]
    else:
        crown = [(30, 58), (26, 46), (34, 37), (32, 25), (46, 26), (52, 13), (63, 21), (76, 12), (82, 24), (96, 24), (94, 37), (102, 46), (98, 58)]
        tips = [(92, 47), (84, 43), (76, 50), (66, 43), (58, 50), (50, 43), (42, 49), (36, 46)]
    pen.shape(crown + tips, hair)
    if "hat" not in scene.extras:
        pen.stroke(oval(62, 42, 21, 13, 205, 280), tone(hair, 1.5), 3)


def _worn(pen: Pen, scene: Scene) -> None:
    if scene.style == "twintails":
        for side in (-1, 1):
            pen.shape(oval(64 + side * 33, 43, 4.5, 5.5), (250, 250, 250), INK, 1.2)
    elif scene.style == "ponytail":
        pen.shape(oval(84, 27, 5.5, 4.5), (250, 250, 250), INK, 1.2)
    if "hat" in scene.extras:
        felt: RGB = (40, 58, 122)
        pen.shape(smooth([(30, 40), (33, 19), (48, 7), (64, 5), (80, 7), (95, 19), (98, 40), (81, 36), (64, 35), (47, 36)]), felt)
        pen.shape(smooth([(24, 43), (43, 37), (64, 35), (85, 37), (104, 43), (95, 49), (64, 44), (33, 49)]), tone(felt, 0.72))
        pen.shape([(34, 33), (64, 27), (94, 33), (95, 39), (64, 34), (33, 39)], (246, 212, 70), None)
    if "hair bow" in scene.extras:
        silk: RGB = (230, 40, 62)
        x, y = (64, 19) if "hat" not in scene.extras else (64, 27)
        for side in (-1, 1):
            pen.shape([(x, y), (x + side * 19, y - 11), (x + side * 19, y + 10)], silk)
        pen.shape(oval(x, y, 4.6, 4.6), tone(silk, 0.8))
    if "glasses" in scene.extras:
        frame: RGB = (22, 22, 28)
        for side in (-1, 1):
            pen.stroke(oval(64 + side * 15, 68, 13.2, 13), frame, 2.8)
        pen.stroke([(61.8, 66), (66.2, 66)], frame, 2.6)


def draw_figure(pen: Pen, scene: Scene, rng: random.Random) -> None:
    """Paint the figure, back to front; ``rng`` varies the colours a little."""
    hair = _jitter(HAIR[scene.hair], rng, 5)
    skin = _jitter((176, 118, 82) if "dark skin" in scene.extras else (255, 226, 204), rng, 4)
    shirt = _jitter(SHIRT[scene.shirt], rng, 5)
    _back_hair(pen, scene, hair)
    _body(pen, scene, skin, shirt)
    if "cat ears" in scene.extras and "hat" not in scene.extras:
        _ears(pen, hair, 0)
    _face(pen, scene, skin, hair)
    _mouth(pen, scene.mouth)
    _fringe(pen, scene, hair)
    if "cat ears" in scene.extras and "hat" in scene.extras:
        _ears(pen, hair, 1)
    _worn(pen, scene)


def draw(scene: Scene, rng: random.Random, size: int = 128) -> Image.Image:
    """One training picture, ``size`` x ``size`` RGB, with small changes of pose and place."""
    big = size * SUPERSAMPLE
    image = Image.new("RGB", (big, big), _jitter(BACKGROUND[scene.background], rng, 3))
    zoom = rng.uniform(0.84, 1.03)
    centre = ((0.5 + rng.uniform(-0.05, 0.05)) * big, (0.5 + (1 - zoom) * 0.42 + rng.uniform(-0.015, 0.03)) * big)
    pen = Pen(ImageDraw.Draw(image), centre, zoom * big / 128, rng.uniform(-0.1, 0.1))
    draw_figure(pen, scene, rng)
    return image.resize((size, size), Image.Resampling.BOX)
