"""An upload: the body of a request, written to a file as it comes."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from fastapi import Request

from ..errors import UserError
from ..files import TEMPORARY_PREFIX
from ..patience import HeldError, opened, replace, unlink, within
from .gate import in_thread


async def receive(request: Request, target: Path, largest: int, name: str, instead: str) -> int:
    """Write a request's body to ``target``, which appears when it is whole; how many bytes that were.

    ``name``: what people call it; ``instead``: what to do with one that is larger than ``largest`` bytes.
    Raises UserError for too much, a full disk, or an upload that broke off.
    """
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{target.name}")
    written, expected = 0, int(request.headers.get("content-length") or -1)
    try:
        file = await in_thread(opened, temporary, "wb")
        with file:
            async for chunk in request.stream():
                written += len(chunk)
                if written > largest:
                    raise UserError(f"{name} is larger than {largest // 2**20} MB.", instead)
                file.write(chunk)
        if expected not in (-1, written):
            raise UserError(f"The upload of {name} broke off.", "Drop it again.")
        await in_thread(replace, temporary, target)
    except HeldError:
        raise
    except OSError as error:
        raise UserError(f"{name} cannot be stored: {error.strerror}.", "Free some space, then drop it again.") from error
    finally:
        with suppress(OSError), within(0):  # the next upload of that name writes over it
            unlink(temporary, missing_ok=True)
    return written
