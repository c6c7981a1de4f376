"""Text on pictures, readable in any script that the machine has a font for."""

from __future__ import annotations

from functools import lru_cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

CJK_FONTS = (
    "NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "SourceHanSansSC-Regular.otf", "msyh.ttc", "simhei.ttf", "meiryo.ttc",
    "YuGothM.ttc", "malgun.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "STHeiti Light.ttc", "AppleSDGothicNeo.ttc",
    "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "uming.ttc", "ipag.ttf",
)  # fmt: skip


@lru_cache(maxsize=32)
def font(size: int, wide: bool = False) -> Font:
    """Pillow's own font at ``size`` pixels; with ``wide`` a font of the system that has Chinese, Japanese and Korean, if any."""
    if wide:
        for name in CJK_FONTS:
            try:
                return ImageFont.truetype(name, size)
            except OSError:
                continue
    try:
        return ImageFont.load_default(size)
    except TypeError:  # Pillow before 10.1: its built-in font has one size
        return ImageFont.load_default()


def font_for(text: str, size: int) -> tuple[Font, str]:
    """A font and the text as it can show it: letters the font cannot show become ``?``, none is dropped silently."""
    if all(ord(c) < 0x250 for c in text):
        chosen = font(size)
        if isinstance(chosen, ImageFont.FreeTypeFont):
            return chosen, text
        return chosen, text.encode("latin-1", "replace").decode("latin-1")
    chosen = font(size, wide=True)
    if chosen is font(size):
        return chosen, "".join(c if ord(c) < 0x100 else "?" for c in text)
    return chosen, text
