"""Fetching a tagger: with progress, continued where it broke off, whole or not there at all."""

from __future__ import annotations

import os
import urllib.error
from pathlib import Path

from ..errors import UserError
from ..fetching import address, fetch
from ..files import explain_os_error
from ..network import why
from ..progress import Progress, silent
from .catalogue import Model

LARGEST = 8 * 10**9  # bytes; the largest tagger has a third of it


def url_of(model: Model, file: str) -> str:
    """Where a model's file is published. HF_ENDPOINT names a mirror, as for other programs."""
    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    return f"{endpoint.rstrip('/')}/{model.repo}/resolve/main/{file}"


def _address(model: Model, folder: Path, file: str) -> str:
    try:
        return address(url_of(model, file))
    except UserError as error:  # HF_ENDPOINT is none
        raise _impossible(model, folder, file, error.message) from error


def _impossible(model: Model, folder: Path, file: str, reason: object) -> UserError:
    return UserError(
        f"The tagger {model.name} is not on this machine and {file} could not be downloaded: {reason}",
        f"Do it again to continue where it stopped, or put {' and '.join(model.files)} of {model.repo} (huggingface.co) into {folder}.",
    )


def download_model(model: Model, folder: Path, progress: Progress = silent) -> Path:
    """Fetch the model's files into `folder`, those not there yet, the small list of tags first. Returns the folder.

    Raises UserError saying what to put where when the network or the disk does not allow it.
    """
    for file in sorted(model.files, key=lambda name: not name.endswith(".csv")):
        target = folder / file
        if target.is_file() and target.stat().st_size:
            continue
        try:
            fetch(_address(model, folder, file), target, progress, largest=LARGEST)
        except OSError as error:
            friendly = None if isinstance(error, urllib.error.URLError) else explain_os_error(error, target)
            raise friendly or _impossible(model, folder, file, why(error)) from error
        except ValueError as error:
            raise _impossible(model, folder, file, error) from error
    return folder
