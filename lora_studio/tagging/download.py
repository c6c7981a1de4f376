"""Fetching a tagger: with progress, continued where it broke off, whole or not there at all."""

from __future__ import annotations

import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write_text, explain_os_error
from ..progress import Progress, silent
from .catalogue import Model

CHUNK = 1 << 18
TIMEOUT = 30.0
MB = 1_000_000


def url_of(model: Model, file: str) -> str:
    """Where a model's file is published. HF_ENDPOINT names a mirror, as for other programs."""
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    return f"{endpoint.rstrip('/')}/{model.repo}/resolve/main/{file}"


def _impossible(model: Model, folder: Path, file: str, why: object) -> UserError:
    return UserError(
        f"The tagger {model.name} is not on this machine and {file} could not be downloaded: {why}",
        f"Do it again to continue where it stopped, or put {' and '.join(model.files)} of {model.repo} (huggingface.co) into {folder}.",
    )


def _total(response: Any, have: int) -> int:
    """The whole file's size in bytes, 0 when the server does not say."""
    match = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    if match:
        return int(match.group(1))
    return have + int(response.headers.get("Content-Length") or 0) if response.headers.get("Content-Length") else 0


def fetch(url: str, target: Path, progress: Progress = silent, timeout: float = TIMEOUT) -> None:
    """Download to `target` by way of `target.part`, continuing a part left from before if the server's file is the same.

    Progress is in megabytes. Raises OSError (urllib's errors are such) when it breaks off; the part stays for the next time.
    """
    part, mark = target.with_name(target.name + ".part"), target.with_name(target.name + ".part.etag")
    target.parent.mkdir(parents=True, exist_ok=True)
    have = part.stat().st_size if part.is_file() and mark.is_file() else 0
    headers = {"User-Agent": "lora-studio", "Accept-Encoding": "identity"}
    if have:
        # If-Range: a file that has changed since comes whole.
        headers |= {"Range": f"bytes={have}-", "If-Range": mark.read_text(encoding="utf-8")}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # the part is as long as the file or longer: not to be trusted
            part.unlink()
            return fetch(url, target, progress, timeout)
        raise
    with response:
        if response.status != 206:
            have = 0
        total = _total(response, have)
        etag = response.headers.get("ETag", "")
        if etag and not etag.startswith("W/"):
            atomic_write_text(mark, etag)
        else:
            mark.unlink(missing_ok=True)
        with part.open("ab" if have else "wb") as file:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                have += len(chunk)
                progress(have // MB, -(-total // MB), target.name)
    if total and have != total:
        raise OSError(f"the connection broke off after {have} of {total} bytes")
    if not have:
        raise OSError("the server sent an empty file")
    os.replace(part, target)
    mark.unlink(missing_ok=True)
    return None


def download_model(model: Model, folder: Path, progress: Progress = silent) -> Path:
    """Fetch the model's files into `folder`, those not there yet, the small list of tags first. Returns the folder.

    Raises UserError saying what to put where when the network or the disk does not allow it.
    """
    for file in sorted(model.files, key=lambda name: not name.endswith(".csv")):
        target = folder / file
        if target.is_file() and target.stat().st_size:
            continue
        try:
            fetch(url_of(model, file), target, progress)
        except OSError as error:
            friendly = None if isinstance(error, urllib.error.URLError) else explain_os_error(error, target)
            raise friendly or _impossible(model, folder, file, getattr(error, "reason", None) or error) from error
        except ValueError as error:  # HF_ENDPOINT is not an address
            raise _impossible(model, folder, file, error) from error
    return folder
