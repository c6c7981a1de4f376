"""The grid: one row an epoch, one column a LoRA weight, the same prompt and seed everywhere."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from .labels import font_for

PAPER, INK, FAINT = (255, 255, 255), (32, 32, 36), (120, 120, 128)
GAP = 6


def draw_grid(
    rows: Sequence[tuple[str, Sequence[Image.Image]]], columns: Sequence[str], title: str = "", longest: int = 384
) -> Image.Image:
    """A labelled sheet.

    Args:
        rows: label and pictures of each row, one picture a column; at least one row and one column.
        columns: the columns' labels.
        title: a line above everything.
        longest: pictures with a longer side than this are shrunk to it.
    """
    cells = [[_shrunk(picture, longest) for picture in pictures] for _, pictures in rows]
    width = max(p.width for row in cells for p in row)
    height = max(p.height for row in cells for p in row)
    size = max(13, min(22, width // 9))
    probe = ImageDraw.Draw(Image.new("RGB", (8, 8)))

    def measure(text: str) -> int:
        used, shown = font_for(text, size)
        return round(probe.textlength(shown, font=used))

    left = max(measure(label) for label, _ in rows) + 3 * GAP
    line = round(size * 1.5) + GAP
    top = line * (2 if title else 1) + GAP
    grid_width = left + len(columns) * (width + GAP)
    sheet = Image.new("RGB", (max(grid_width, measure(title) + 2 * GAP), top + len(rows) * (height + GAP)), PAPER)
    pen = ImageDraw.Draw(sheet)

    def write(x: float, y: float, text: str, fill: tuple[int, int, int] = INK) -> None:
        used, shown = font_for(text, size)
        pen.text((x, y), shown, font=used, fill=fill)

    if title:
        write(GAP, GAP, title)
    for c, label in enumerate(columns):
        write(left + c * (width + GAP) + (width - measure(label)) / 2, top - line, label, FAINT)
    for r, (label, _) in enumerate(rows):
        y = top + r * (height + GAP)
        write(GAP, y + height / 2 - size * 0.7, label, FAINT)
        for c, picture in enumerate(cells[r]):
            sheet.paste(picture, (left + c * (width + GAP) + (width - picture.width) // 2, y + (height - picture.height) // 2))
    return sheet


def _shrunk(picture: Image.Image, longest: int) -> Image.Image:
    picture = picture.convert("RGB")
    if max(picture.size) > longest:
        picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return picture
