"""Fetching a large file: with progress, continued where it broke off, checked, whole or not there at all."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import atomic_write_text
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


def _total(response: Any, have: int) -> int:
    """The whole file's size in bytes, 0 when the server does not say."""
    match = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    if match:
        return int(match.group(1))
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
    part, mark = target.with_name(target.name + ".part"), target.with_name(target.name + ".part.etag")
    target.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.is_file() and mark.is_file() else 0
    headers = {"User-Agent": "lora-studio", "Accept-Encoding": "identity"}
    if have:
        # If-Range: a file that has changed since comes whole.
        headers |= {"Range": f"bytes={have}-", "If-Range": mark.read_text(encoding="utf-8")}
    redirected: list[str] = []  # what a server on the way says of the content: Hugging Face names the SHA-256 and sends the file from elsewhere
    total = 0

    def told() -> None:
        progress(have // MB, -(-total // MB), target.name)

    try:
        response = Answer(url, headers, timeout, told, lambda found: redirected.append(_announced(found)))
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # the part is as long as the file or longer: not to be trusted
            part.unlink()
            return fetch(url, target, progress, timeout, sha256, check, largest)
        raise
    with response:
        if response.status != 206:
            have = 0
        total = _total(response, have)
        wanted = (sha256 or next(filter(None, redirected), "") or _announced(response.headers)).lower()
        _is_not_too_large(total - have if total else 0, max(total, have), largest, target)
        etag = response.headers.get("ETag", "")
        if etag and not etag.startswith("W/"):
            atomic_write_text(mark, etag)
        else:
            mark.unlink(missing_ok=True)
        with part.open("ab" if have else "wb") as file:
            for chunk in response.blocks():
                have += len(chunk)
                if have > largest:
                    break
                file.write(chunk)
                told()
    if have > largest:
        part.unlink()
        mark.unlink(missing_ok=True)
        _is_not_too_large(0, have, largest, target)
    if total and have != total:
        raise OSError(f"the connection broke off after {have} of {total} bytes")
    if not have:
        raise OSError("the server sent an empty file")
    try:
        if wanted and _sha256(part, progress) != wanted:
            raise UserError(f"{target.name} arrived damaged or is another file than the published one.", "It was removed. Download it again.")
        if check is not None:
            check(part)
    except UserError:
        part.unlink()
        mark.unlink(missing_ok=True)
        raise
    os.replace(part, target)
    mark.unlink(missing_ok=True)
    return None


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
