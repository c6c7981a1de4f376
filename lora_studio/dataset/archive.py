"""Pictures and captions as a ZIP: packed while it is sent, unpacked so that no name in it leads anywhere else."""

from __future__ import annotations

import locale
import shutil
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import explain_os_error
from ..patience import opened, temporary_folder
from ..untrusted import leads_out
from .captions import LARGEST, TOO_LARGE, problem
from .importing import OTHER_PICTURES, name_key, portable_stem
from .items import OUTSIDE, is_picture_name

MOST_FILES = 200_000
LARGEST_FILE = 2**30  # bytes unpacked: of a picture a gigabyte, of all together what the disk has to spare
SPARE = 2**30
BLOCK = 2**20
LEFT_OUT = "_left_out.txt"

try:
    from lzma import LZMAError
except ImportError:  # a Python that was built without it takes such a ZIP for one that it does not know
    LZMAError = zlib.error  # type: ignore[assignment, misc]

BROKEN: tuple[type[Exception], ...] = (
    zipfile.BadZipFile, zlib.error, LZMAError, struct.error, EOFError, NotImplementedError, RuntimeError, ValueError, IndexError, OverflowError,
)  # fmt: skip
"""What Python says of a ZIP that is cut, damaged, made to do harm, or wants a password (RuntimeError)."""


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


@dataclass(frozen=True)
class Unpacked:
    """``count``: files that were written. ``left_out``: (name in the archive, reason). ``renamed``: (name in the archive, name it got)."""

    count: int
    left_out: tuple[tuple[str, str], ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()


def unpack(source: Path, folder: Path) -> Unpacked:
    """Write the pictures and .txt files of a ZIP below `folder`, each under a name of its own. What is no picture and no text is passed over.

    Raises UserError for what is no ZIP, needs a password, or unpacks to more than there is room for.
    """
    count, left_out, renamed = 0, [], []
    room = shutil.disk_usage(folder).free - SPARE
    try:
        with zipfile.ZipFile(source) as archive:
            files = [info for info in archive.infolist() if not info.is_dir() and _is_seen(_name(info))]
            wanted = [info for info in files if _is_wanted(_name(info))]
            if len(wanted) > MOST_FILES or sum(info.file_size for info in wanted) > room:
                raise UserError(f"{source.name} holds more than there is room for.", "Free some space, or unpack it elsewhere and give the folder.")
            left_out += [(_name(info), reason) for info in files if (reason := _why_not(_name(info)))]
            for info, target in zip(wanted, places_of([_name(info) for info in wanted]), strict=True):
                if target.suffix == ".txt" and info.file_size > LARGEST:
                    left_out.append((_name(info), TOO_LARGE))
                    continue
                if info.file_size > LARGEST_FILE:
                    left_out.append((_name(info), f"It is larger than {LARGEST_FILE // 2**30} GB."))
                    continue
                if target.name != _parts(_name(info))[-1]:
                    renamed.append((_name(info), target.as_posix()))
                _write(archive, info, folder / target)
                count += 1
    except BROKEN as error:
        raise UserError(f"{source.name} cannot be unpacked: {error}.", "Unpack it with another program and give the folder.") from error
    except OSError as error:
        raise explain_os_error(error, source) or UserError(f"{source.name} cannot be unpacked: {error}.", "Give a folder instead.") from error
    return Unpacked(count, tuple(left_out), tuple(renamed))


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(info) as packed, opened(target, "xb") as file:
        left = info.file_size  # what it says of itself is all that it gets
        while left > 0 and (block := packed.read(min(BLOCK, left))):
            left -= len(block)
            file.write(block)


def places_of(names: Sequence[str]) -> list[Path]:
    """Where each file goes, below the folder, whatever its name says. Names that would be one on some system are told apart by `_2`, `_3`, …

    A picture and the text beside it, which have one name in the archive but for its end, have one here too.
    """
    stems: dict[tuple[Any, ...], Path] = {}
    taken: set[str] = set()
    numbers: Counter[str] = Counter()  # the last number of each name: none is tried twice, however many are called the same
    seen: Counter[tuple[Any, ...]] = Counter()
    found = []
    for name in names:
        *folders, last = _parts(name)
        suffix = Path(last).suffix.lower()
        stem = last[: len(last) - len(suffix)]
        file = (*folders, stem, suffix)
        beside = (*folders, stem, seen[file])  # the second file of one name belongs to the second text of that name
        seen[file] += 1
        if beside not in stems:
            place = candidate = "/".join([*map(_folder_name, folders), portable_stem(stem)])
            same = name_key(place)
            numbers[same] += 1
            if numbers[same] > 1:
                candidate = f"{place}_{numbers[same]}"
            while (key := name_key(candidate)) in taken:
                numbers[same] += 1
                candidate = f"{place}_{numbers[same]}"
            taken.add(key)
            stems[beside] = Path(candidate)
        found.append(stems[beside].with_name(stems[beside].name + suffix))
    return found


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


def _folder_name(part: str) -> str:
    """A folder's name that no file of ours has."""
    name = portable_stem(part)
    return f"{name}_" if is_picture_name(name) or name.lower().endswith(".txt") else name


def _is_seen(name: str) -> bool:
    """Whether a person put it there: macOS puts a second, empty file beside each one into a folder of its own."""
    parts = _parts(name)
    return bool(parts) and not any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _is_wanted(name: str) -> bool:
    last = _parts(name)[-1]
    return is_picture_name(last) or last.lower().endswith(".txt")


def _why_not(name: str) -> str:
    """Why a picture, or what may hold pictures, is not taken; "" for what is taken, and for what nobody would miss."""
    suffix = Path(_parts(name)[-1]).suffix.lower()
    if suffix in OTHER_PICTURES:
        return f"{suffix} pictures are not read; save it as PNG or JPEG."
    return "It is an archive within the archive: unpack it, and give the folder." if suffix in (".zip", ".rar", ".7z", ".cbz") else ""


@contextmanager
def with_archives_unpacked(sources: Iterable[str | Path]) -> Iterator[tuple[list[Path], list[tuple[Path, str]]]]:
    """The sources with each ZIP among them replaced by a folder of what is in it, gone afterwards; and (file, reason) of what was left out."""
    with ExitStack() as stack:
        found: list[Path] = []
        left_out: list[tuple[Path, str]] = []
        for source in map(Path, sources):
            if source.suffix.lower() == ".zip" and source.is_file():
                folder = stack.enter_context(temporary_folder())
                unpacked = unpack(source, folder)
                left_out += [(source / name, reason) for name, reason in unpacked.left_out]
                if not unpacked.count:
                    what = "; ".join(f"{name}: {reason}" for name, reason in unpacked.left_out[:5])
                    message = f"There are no pictures in {source.name}. {what}".strip()
                    raise UserError(message, "PNG, JPEG, WebP, AVIF, BMP and GIF are read.")
                source = folder
            found.append(source)
        yield found, left_out
