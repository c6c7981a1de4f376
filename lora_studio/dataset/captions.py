"""Captions: one text file of comma-separated tags beside each picture."""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..files import atomic_write_text
from ..reading import read_bytes
from ..untrusted import leads_out

# Line ends separate too (other trainers read the first line only), and the full-width comma of Chinese keyboards.
_SEPARATOR = re.compile(r"[,，\r\n]")
_AROUND = "".join(c for c in map(chr, range(0x3001)) if c.isspace()) + "\ufeff\x00"
LARGEST = 2**20
"""Bytes of a caption: a thousand times a long one. What is larger is no caption; it is named and left as it is, never cut or overwritten."""
TOO_LARGE = f"it is larger than {LARGEST // 2**20} MB, which no caption is."
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class CaptionError(UserError):
    """A caption that is neither read nor written; `reason` is the part without its path, for lists of many."""

    def __init__(self, path: Path, reason: str, writing: bool = False) -> None:
        if writing:
            super().__init__(f"The caption {path} cannot be written: {reason}", "Nothing was changed.")
        else:
            super().__init__(f"The caption {path} cannot be read: {reason}", "It is left as it is. Put that file aside, then try again.")
        self.reason = reason


@dataclass(frozen=True)
class Caption:
    """The tags of one picture in their order, and the encoding they were read in."""

    tags: tuple[str, ...] = ()
    encoding: str = "utf-8"

    @property
    def text(self) -> str:
        return format_tags(self.tags)


def parse_tags(text: str) -> tuple[str, ...]:
    """The tags in a caption, trimmed, empty ones dropped; order and duplicates kept."""
    return tuple(tag for part in _SEPARATOR.split(text) if (tag := part.strip(_AROUND)))


def format_tags(tags: Iterable[str]) -> str:
    """Tags joined the way every trainer reads them."""
    return ", ".join(tags)


def _strangeness(text: str, encoding: str) -> float:
    """Share of the non-ASCII characters that text in this encoding hardly ever has: 0 plausible, 1 not at all.

    GBK text in real use stays in GB2312's rows, while the bytes of Shift-JIS read as GBK land
    outside them. GBK bytes read as cp932 turn into half-width katakana.
    """
    strange = wide = 0
    for char in text:
        if ord(char) < 0x80:
            continue
        wide += 1
        if encoding == "gbk":
            try:
                char.encode("gb2312")
            except UnicodeEncodeError:
                strange += 1
        elif 0xFF61 <= ord(char) <= 0xFF9F or 0xE000 <= ord(char) <= 0xF8FF:
            strange += 1
    return strange / wide if wide else 0.0


def decode(data: bytes) -> tuple[str, str]:
    """Text and encoding of a caption's bytes: a BOM's word, else UTF-8, else the likelier of cp932 and GBK, else Windows-1252."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data.decode(encoding, "replace"), encoding
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    best: tuple[float, str, str] | None = None
    for encoding in ("cp932", "gbk"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        strange = _strangeness(text, encoding)
        if best is None or strange < best[0]:
            best = (strange, text, encoding)
    if best is not None and best[0] <= 0.5:
        return best[1], best[2]
    # Every byte means something in Latin-1; cp1252 leaves five undefined.
    try:
        return data.decode("cp1252"), "cp1252"
    except UnicodeDecodeError:
        return data.decode("latin-1"), "latin-1"


def problem(path: str | Path) -> str:
    """Why a file is no caption to be read or written, or "" (also where there is none): it is too large, or a link that leads out of the project."""
    try:
        found = os.lstat(path)
    except OSError:
        return ""  # not there, or reading it says more
    if stat.S_ISLNK(found.st_mode):
        if leads_out(Path(path)):
            return "it is a link to a file outside of this project."
        try:
            found = os.stat(path)
        except OSError:
            return "it is a link to a file that is not there."
    if not stat.S_ISREG(found.st_mode):
        return "it is not a file."
    return TOO_LARGE if found.st_size > LARGEST else ""


def caption_bytes(path: str | Path) -> bytes | None:
    """A caption's bytes, None when there is no file: the one place where captions are read.

    Raises CaptionError for what `problem` names, UserError when it cannot be read.
    """
    if why := problem(path):
        raise CaptionError(Path(path), why)
    try:
        return read_bytes(path, LARGEST)
    except UserError:
        if os.path.lexists(path):
            raise
        return None


def read_caption(path: str | Path) -> Caption:
    """Read a caption file; a missing one is an empty caption. Raises UserError when it cannot be read (CaptionError: what `problem` names)."""
    data = caption_bytes(path)
    if data is None:
        return Caption()
    text, encoding = decode(data)
    return Caption(parse_tags(text), encoding)


def write_caption(path: str | Path, tags: Iterable[str]) -> None:
    """Write tags as UTF-8, whole or not at all. Raises UserError for a full disk or a lack of permission."""
    atomic_write_text(path, format_tags(tags))
