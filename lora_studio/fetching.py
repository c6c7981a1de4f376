"""Fetching a large file: with progress, continued where it broke off, checked, whole or not there at all."""

from __future__ import annotations

import hashlib
import re
import shutil
import urllib.error
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import proxies
from .errors import UserError
from .files import atomic_write_text
from .patience import HeldError, opened, replace, unlink
from .progress import Progress, silent
from .remote import Answer, address

__all__ = ["LARGEST", "address", "fetch"]

CHUNK = 1 << 18
TIMEOUT = 30.0
LARGEST = 64 * 10**9  # bytes of a file, whether its server says how many there are or not
MB = 1_000_000
SHA256 = re.compile(r"[0-9a-f]{64}")


def _announced(headers: Any) -> str:
    found = str(headers.get("X-Linked-ETag") or "").removeprefix("W/").strip('"').lower()
    return found if SHA256.fullmatch(found) else ""


@dataclass(frozen=True)
class _Mark:
    """What is known of the file that a part is of: the server's ETag ("" for none that can be relied on), its size (0: not told), its SHA-256."""

    etag: str
    size: int = 0
    sha256: str = ""

    @classmethod
    def read(cls, path: Path) -> _Mark | None:
        """Earlier versions wrote the first line alone."""
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError):
            return None
        etag, size, sha256 = (*lines, "", "")[:3]
        return cls(etag, int(size) if size.isdecimal() else 0, sha256 if SHA256.fullmatch(sha256) else "")

    def write(self, path: Path) -> None:
        atomic_write_text(path, f"{self.etag}\n{self.size}\n{self.sha256}")


def _size(content_range: str) -> int:
    """The whole file's size as `bytes 0-9/10` or `bytes */10` tells it, else 0."""
    match = re.search(r"/(\d+)$", content_range)
    return int(match.group(1)) if match else 0


def _total(response: Any, have: int) -> int:
    """The whole file's size in bytes, 0 when the server does not say."""
    if whole := _size(response.headers.get("Content-Range", "")):
        return whole
    return have + int(response.headers.get("Content-Length") or 0) if response.headers.get("Content-Length") else 0


def fetch(
    url: str,
    target: Path,
    progress: Progress = silent,
    timeout: float = TIMEOUT,
    sha256: str = "",
    check: Callable[[Path], object] | None = None,
    largest: int = LARGEST,
) -> None:
    """Download to ``target`` by way of ``target.part``, continuing a part left from before if the server's file is the same.

    Progress is in megabytes. ``sha256``: what the file has to be; without it, what a server that names it says. ``check`` looks at the
    whole part and raises what is wrong with it; a part that is wrong is removed. More than ``largest`` bytes are not taken. A ``progress`` that
    raises stops it at once, also while the server is silent.

    Raises OSError (urllib's errors are such) when it breaks off; the part stays for the next time. UserError when it is another file.
    """
    proxies.check(url)
    part, mark = target.with_name(target.name + ".part"), target.with_name(target.name + ".part.etag")
    target.parent.mkdir(parents=True, exist_ok=True)
    known = _Mark.read(mark)
    have = part.stat().st_size if part.is_file() and known is not None else 0
    if known is not None and known.size and have == known.size:  # whole since the last time: it only lacks its name
        return _finish(part, mark, target, sha256.lower() or known.sha256, check, progress)
    if known is None or not known.etag:
        have = 0
    headers = {"User-Agent": "lora-studio", "Accept-Encoding": "identity"}
    if have and known is not None:
        # If-Range: a file that has changed since comes whole.
        headers |= {"Range": f"bytes={have}-", "If-Range": known.etag}
    redirected: list[str] = []  # what a server on the way says of the content: Hugging Face names the SHA-256 and sends the file from elsewhere
    total = 0

    def told() -> None:
        progress(have // MB, -(-total // MB), target.name)

    try:
        response = Answer(url, headers, timeout, told, lambda found: redirected.append(_announced(found)))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have and known is not None:
            size = _size(error.headers.get("Content-Range", ""))
            if size == have:  # there is no byte after the last one: the part is the file
                wanted = sha256 or next(filter(None, redirected), "") or _announced(error.headers) or known.sha256
                return _finish(part, mark, target, wanted.lower(), check, progress)
            unlink(mark, missing_ok=True)  # longer than the file: not to be trusted
            return fetch(url, target, progress, timeout, sha256, check, largest)
        raise
    with response:
        if response.status != 206:
            have = 0
        total = _total(response, have)
        wanted = (sha256 or next(filter(None, redirected), "") or _announced(response.headers)).lower()
        _is_not_too_large(total - have if total else 0, max(total, have), largest, target)
        etag = response.headers.get("ETag", "")
        etag = "" if etag.startswith("W/") else etag
        if not have:
            unlink(mark, missing_ok=True)  # until there is something that it is true of
        with opened(part, "ab" if have else "wb") as file:
            if etag:
                with suppress(UserError):  # without it a download that breaks off begins anew, no more
                    _Mark(etag, total, wanted).write(mark)
            for chunk in response.blocks():
                have += len(chunk)
                if have > largest:
                    break
                file.write(chunk)
                told()
    if have > largest:
        unlink(mark, missing_ok=True)  # first: without it a part is not used
        with suppress(OSError):
            unlink(part)
        _is_not_too_large(0, have, largest, target)
    if total and have != total:
        raise OSError(f"the connection broke off after {have} of {total} bytes")
    if not have:
        raise OSError("the server sent an empty file")
    with suppress(UserError):
        _Mark(etag, have, wanted).write(mark)
    return _finish(part, mark, target, wanted, check, progress)


def _finish(part: Path, mark: Path, target: Path, sha256: str, check: Callable[[Path], object] | None, progress: Progress) -> None:
    """Give a whole part its name, if it is the right file."""
    try:
        if sha256 and _sha256(part, progress) != sha256:
            raise UserError(f"{target.name} arrived damaged or is another file than the published one.", "It was removed. Download it again.")
        if check is not None:
            check(part)
    except HeldError:
        raise
    except UserError:
        unlink(mark, missing_ok=True)  # first: without it a part is not used
        with suppress(OSError):
            unlink(part)
        raise
    try:
        replace(part, target)
    except HeldError as error:
        hint = "The download is complete and kept. Close that program and do it again: nothing is fetched twice."
        raise HeldError(error.message, hint, str(target), error.errno, error.winerror) from error
    with suppress(OSError):
        unlink(mark, missing_ok=True)


def _is_not_too_large(coming: int, size: int, largest: int, target: Path) -> None:
    """Raises UserError for a file that is larger than any of its kind, or than the disk has room for. coming: bytes that are still to be written."""
    if size > largest:
        what = f"{target.name} is larger than {largest // MB} MB; it was not downloaded."
        raise UserError(what, "Check the address: this is not the file that was meant.")
    room = shutil.disk_usage(target.parent).free
    if coming > room:
        what = f"{target.name} needs {-(-coming // MB)} MB, {target.parent} has room for {room // MB} MB."
        raise UserError(what, "Free some space, then download it again.")


def _sha256(path: Path, progress: Progress) -> str:
    """The SHA-256 of a file, with progress; a stop leaves the file for the next time."""
    size, done, digest = path.stat().st_size, 0, hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK * 16):
            digest.update(chunk)
            done += len(chunk)
            progress(done // MB, -(-size // MB), "Checking the file")
    return digest.hexdigest()
