"""The item at the centre of every step: a picture on disk and its caption file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import TEMPORARY_PREFIX
from ..untrusted import leads_out
from .captions import problem
from .images import SUFFIXES, PictureError, image_size


@dataclass(frozen=True)
class ImageItem:
    """A picture, where its caption is (or would be), and its upright size in pixels."""

    path: Path
    caption_path: Path
    width: int
    height: int

    @classmethod
    def from_path(cls, path: str | Path) -> ImageItem:
        """Read the size from the picture's header. Raises UserError when it is not a picture."""
        path = Path(path)
        width, height = image_size(path)
        return cls(path=path, caption_path=path.with_suffix(".txt"), width=width, height=height)

    def to_dict(self) -> dict[str, Any]:
        return {"path": str(self.path), "caption_path": str(self.caption_path), "width": self.width, "height": self.height}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ImageItem:
        return cls(Path(data["path"]), Path(data["caption_path"]), int(data["width"]), int(data["height"]))


@dataclass(frozen=True)
class FolderScan:
    """What a folder holds: pictures in order of name, and (path, reason) of those that cannot be read."""

    items: tuple[ImageItem, ...] = ()
    unreadable: tuple[tuple[Path, str], ...] = ()


def is_picture_name(name: str) -> bool:
    """Whether a file of this name would be a picture of the user's (not a temporary file, not macOS's `._` companions)."""
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith((TEMPORARY_PREFIX, "._"))


OUTSIDE = "it is a link to a file outside of this project; copy that file here to use it."


def is_own(entry: os.DirEntry[str], folder: str | Path) -> bool:
    """Whether a file of `folder` is one to list, show, pack and train on: no link that leads out of the project.

    Such links would have a received project show and pack what it names on this machine. They are named as `OUTSIDE` wherever pictures that
    cannot be used are. A folder of links to pictures elsewhere is imported by its path: the pictures are copied.
    """
    return not entry.is_symlink() or not leads_out(Path(folder) / entry.name)


def scan_folder(folder: str | Path) -> FolderScan:
    """Look at every picture directly in `folder`, headers only. Raises UserError when the folder is not there."""
    folder = Path(folder)
    try:
        names = sorted((entry.name, is_own(entry, folder)) for entry in os.scandir(folder) if is_picture_name(entry.name) and entry.is_file())
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be read: {error.strerror}.", "Check the path.") from error
    items: list[ImageItem] = []
    unreadable: list[tuple[Path, str]] = []
    for name, own in names:
        if not own:
            unreadable.append((folder / name, OUTSIDE))
            continue
        try:
            item = ImageItem.from_path(folder / name)
        except PictureError as error:
            unreadable.append((folder / name, error.reason))
            continue
        if reason := unusable(item):
            unreadable.append((folder / name, reason))
        else:
            items.append(item)
    return FolderScan(tuple(items), tuple(unreadable))


def unusable(item: ImageItem) -> str:
    """Why a picture that can be read is not trained on all the same, or "": its caption cannot be used."""
    reason = problem(item.caption_path)
    return f"its caption {item.caption_path.name} cannot be used: {reason}" if reason else ""


def list_items(folder: str | Path) -> list[ImageItem]:
    """The readable pictures directly in `folder` in order of name; `scan_folder` also names the others."""
    return list(scan_folder(folder).items)
