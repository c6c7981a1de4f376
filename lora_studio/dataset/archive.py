"""Pictures and captions as a ZIP: packed while it is sent, unpacked so that no name in it leads anywhere else."""

from __future__ import annotations

import locale
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import explain_os_error
from ..untrusted import leads_out
from .captions import problem
from .importing import portable_stem
from .items import OUTSIDE, is_picture_name

MOST_FILES = 200_000
LARGEST_FILE = 2**30  # bytes unpacked: of a picture a gigabyte, of all together what the disk has to spare
SPARE = 2**30
BLOCK = 2**20
LEFT_OUT = "_left_out.txt"


class _Pipe:
    """What a ZipFile writes, to be taken away as it comes."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        data, self.parts = b"".join(self.parts), []
        return data


def pack(folder: Path) -> Iterator[bytes]:
    """The pictures directly in a folder and the caption of each, as the bytes of a ZIP. Pictures are compressed already: stored as they are.

    What is not packed (see `left_out`) is named in a text file in it.
    """
    missing = left_out(folder)
    passed = {path.name for path, _ in missing}
    there = sorted(path.name for path in folder.iterdir() if is_picture_name(path.name) and path.is_file()) if folder.is_dir() else []
    names = [name for name in there if name not in passed]
    if not names:
        raise UserError(f"There are no pictures in {folder}.", "Crop the pictures first.")
    return _packed(folder, names, missing)


def left_out(folder: Path) -> list[tuple[Path, str]]:
    """(file, reason) of pictures and captions that `pack` leaves out: links that lead out of the project, captions that are none."""
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_picture_name(path.name) and leads_out(path):
            found.append((path, OUTSIDE))
        elif path.suffix.lower() == ".txt" and (reason := problem(path)):
            found.append((path, reason))
    return found


def _packed(folder: Path, names: list[str], missing: list[tuple[Path, str]]) -> Iterator[bytes]:
    captions = {path.name for path, _ in missing}
    pipe: Any = _Pipe()  # all that a ZipFile which only writes asks of a file
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive:
        for name in names:
            for path in (folder / name, (folder / name).with_suffix(".txt")):
                if path.name in captions or not path.is_file():
                    continue
                captions.update({path.name} if path.suffix == ".txt" else ())
                with path.open("rb") as file, archive.open(zipfile.ZipInfo.from_file(path, path.name, strict_timestamps=False), "w") as entry:
                    while block := file.read(BLOCK):
                        entry.write(block)
                        yield pipe.take()
        if missing:
            archive.writestr(LEFT_OUT, "".join(f"{path.name}: {reason}\n" for path, reason in missing))
    yield pipe.take()


def unpack(source: Path, folder: Path) -> int:
    """Write the pictures and .txt files of a ZIP below `folder`; returns how many. Everything else in it is passed over.

    Raises UserError for what is no ZIP, needs a password, or unpacks to more than there is room for.
    """
    count = 0
    room = shutil.disk_usage(folder).free - SPARE
    try:
        with zipfile.ZipFile(source) as archive:
            wanted = [info for info in archive.infolist() if not info.is_dir() and _is_wanted(_name(info))]
            if len(wanted) > MOST_FILES or sum(info.file_size for info in wanted) > room:
                raise UserError(f"{source.name} holds more than there is room for.", "Free some space, or unpack it elsewhere and give the folder.")
            for info in wanted:
                target = _inside(folder, _name(info))
                if target.exists() or info.file_size > LARGEST_FILE:
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as packed, target.open("xb") as file:
                    left = info.file_size  # what it says of itself is all that it gets
                    while left > 0 and (block := packed.read(min(BLOCK, left))):
                        left -= len(block)
                        file.write(block)
                count += 1
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:  # RuntimeError: a password
        raise UserError(f"{source.name} cannot be unpacked: {error}.", "Unpack it with another program and give the folder.") from error
    except OSError as error:
        raise explain_os_error(error, source) or UserError(f"{source.name} cannot be unpacked: {error}.", "Give a folder instead.") from error
    return count


def _name(info: zipfile.ZipInfo) -> str:
    """The name as its maker wrote it: old programs write their system's encoding without saying so, and Python takes it for DOS letters."""
    if info.flag_bits & 0x800:
        return info.filename
    try:
        plain = info.filename.encode("cp437")
    except UnicodeEncodeError:
        return info.filename
    for encoding in ("utf-8", locale.getpreferredencoding(False)):
        try:
            return plain.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return info.filename


def _parts(name: str) -> list[str]:
    return [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _is_wanted(name: str) -> bool:
    parts = _parts(name)
    # macOS puts a second, empty file beside each one into this folder.
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return bool(parts) and not hidden and (is_picture_name(parts[-1]) or parts[-1].lower().endswith(".txt"))


def _inside(folder: Path, name: str) -> Path:
    """Where a file of this name goes: below `folder`, whatever the name says."""
    *folders, last = _parts(name)
    suffix = Path(last).suffix.lower()
    stem = portable_stem(last[: len(last) - len(suffix)])
    return folder.joinpath(*(portable_stem(part) for part in folders), stem + suffix)


@contextmanager
def with_archives_unpacked(sources: Iterable[str | Path]) -> Iterator[list[Path]]:
    """The sources with each ZIP among them replaced by a folder of what is in it, which is gone afterwards."""
    with ExitStack() as stack:
        found = []
        for source in map(Path, sources):
            if source.suffix.lower() == ".zip" and source.is_file():
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lora_studio_")))
                if not unpack(source, folder):
                    raise UserError(f"There are no pictures in {source.name}.", "PNG, JPEG, WebP, AVIF, BMP and GIF are read.")
                source = folder
            found.append(source)
        yield found
