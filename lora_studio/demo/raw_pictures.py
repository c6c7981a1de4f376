"""Raw pictures as a user's folder has them: any size and shape, things standing around the figure."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .drawer import INK, Pen, _jitter, draw_figure, oval, tone
from .scene import BACKGROUND, RGB, Scene

CLUTTER: tuple[RGB, ...] = ((196, 150, 104), (120, 132, 146), (226, 214, 196), (150, 176, 150), (186, 170, 190), (208, 186, 150))


@dataclass(frozen=True)
class RawPicture:
    """A picture and where its figure is: ``box`` = left, top, right, bottom in pixels."""

    image: Image.Image
    box: tuple[int, int, int, int]


def _thing(draw: ImageDraw.ImageDraw, rng: random.Random, x: float, y: float, r: float) -> None:
    colour, line = rng.choice(CLUTTER), max(1, round(r * 0.08))
    kind = rng.choice(("box", "ball", "plant", "frame"))
    if kind == "box":
        draw.rectangle((x - r, y - r * 0.7, x + r, y + r * 0.7), fill=colour, outline=INK, width=line)
        draw.line((x - r, y - r * 0.2, x + r, y - r * 0.2), fill=tone(colour, 0.7), width=line)
    elif kind == "ball":
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour, outline=INK, width=line)
    elif kind == "plant":
        draw.polygon([(x - r * 0.5, y), (x + r * 0.5, y), (x + r * 0.35, y + r), (x - r * 0.35, y + r)], fill=colour, outline=INK)
        for k in range(3):
            a = math.radians(-130 + 40 * k)
            draw.polygon(oval(x + r * 0.6 * math.cos(a), y + r * 0.6 * math.sin(a), r * 0.3, r * 0.5), fill=(110, 158, 112), outline=INK)
    else:
        draw.rectangle((x - r * 0.8, y - r, x + r * 0.8, y + r), fill=tone(colour, 1.6), outline=tone(colour, 0.6), width=line * 2)


def raw_picture(scene: Scene, rng: random.Random) -> RawPicture:
    """A picture of 320 to 900 pixels, landscape or portrait, the figure anywhere along it."""
    short = rng.randint(320, 560)
    long = round(short * rng.choice((1.0, 1.25, 1.4, 1.5, 1.6)))
    width, height = (long, short) if rng.random() < 0.6 else (short, long)
    image = Image.new("RGB", (width * 2, height * 2), _jitter(BACKGROUND[scene.background], rng, 3))
    pen_draw = ImageDraw.Draw(image)
    side = short * 2 * rng.uniform(0.9, 1.0)
    left = rng.uniform(0, width * 2 - side)
    top = rng.uniform(0, height * 2 - side)
    if height > width:
        # A portrait stands on something: nothing floats above an empty lower half.
        pen_draw.rectangle((0, top + side * 0.995, width * 2, height * 2), fill=rng.choice(CLUTTER))
    centre = (left + side / 2, top + side / 2)
    for _ in range(rng.randint(3, 7)):
        r = short * 2 * rng.uniform(0.05, 0.11)
        x, y = rng.uniform(r, width * 2 - r), rng.uniform(r, height * 2 - r)
        if max(abs(x - centre[0]), abs(y - centre[1])) > side * 0.5 + r * 0.8:
            _thing(pen_draw, rng, x, y, r)
    zoom = side / 128 * 0.95
    draw_figure(Pen(pen_draw, (centre[0], centre[1] + side * 0.02), zoom, rng.uniform(-0.1, 0.1)), scene, rng)
    if height > width:
        # The bust ends at the lower edge of its square.
        pen_draw.rectangle((0, top + side * 0.995, width * 2, height * 2), fill=rng.choice(CLUTTER), outline=INK, width=4)
    box = (round(left / 2), round(top / 2), round((left + side) / 2), round((top + side) / 2))
    return RawPicture(image.resize((width, height), Image.Resampling.BOX), box)
