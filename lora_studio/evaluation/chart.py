"""Curves over the epochs as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 16, 14, 30


@dataclass(frozen=True)
class Curve:
    """``css`` is the class that gives it its colour; ``values`` are shares from 0 to 1, None where not measured."""

    label: str
    css: str
    values: tuple[float | None, ...]


def svg(curves: Sequence[Curve], ticks: Sequence[str], marked: int | None, title: str) -> str:
    """The chart. ``ticks``: one label per point along x; ``marked``: index of the recommended point."""
    step = (WIDTH - LEFT - RIGHT) / max(1, len(ticks) - 1)

    def x(i: int) -> float:
        return LEFT + (i * step if len(ticks) > 1 else (WIDTH - LEFT - RIGHT) / 2)

    def y(value: float) -> float:
        return TOP + (1 - value) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for k in range(5):
        at = y(k / 4)
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{k * 25}%</text>')
    if marked is not None:
        parts.append(f'<line class="best" x1="{x(marked):.1f}" x2="{x(marked):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    every = max(1, -(-len(ticks) // 16))
    for i, tick in enumerate(ticks):
        if i % every == 0 or i == len(ticks) - 1:
            parts.append(f'<text x="{x(i):.1f}" y="{HEIGHT - 9}" text-anchor="middle">{escape(tick)}</text>')
    for curve in curves:
        points = [(x(i), y(v), v, ticks[i]) for i, v in enumerate(curve.values) if v is not None]
        line = " ".join(f"{px:.1f},{py:.1f}" for px, py, _, _ in points)
        parts.append(f'<polyline class="{escape(curve.css)}" points="{line}"/>')
        for px, py, value, tick in points:
            tip = escape(f"{curve.label}, {tick}: {value:.0%}")
            parts.append(f'<circle class="{escape(curve.css)}" cx="{px:.1f}" cy="{py:.1f}" r="4.5"><title>{tip}</title></circle>')
    return "".join(parts) + "</svg>"
