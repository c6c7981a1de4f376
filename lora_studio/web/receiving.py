"""An upload: the body of a request, written to a file as it comes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from fastapi import Request

from ..errors import UserError
from ..files import told_os_error
from ..patience import HeldError, opened, unlink, within
from .gate import in_thread

Result = TypeVar("Result")


async def receive(request: Request, temporary: Path, largest: int, name: str, instead: str, place: Callable[[Path], Result]) -> tuple[Result, int]:
    """Write a request's body to ``temporary``, a path that nobody else has, then give that to ``place``, which moves it where it belongs.

    ``name``: what people call it; ``instead``: what to do with one that is larger than ``largest`` bytes.
    Returns what ``place`` says, and how many bytes came. Raises UserError for too much, a full disk, or an upload that broke off.
    """
    announced = request.headers.get("content-length", "")
    written, expected = 0, int(announced) if announced.isdecimal() else -1
    try:
        if expected > largest:
            raise UserError(f"{name} is larger than {largest // 2**20} MB.", instead)
        file = await in_thread(opened, temporary, "xb")
        with file:
            async for chunk in request.stream():
                written += len(chunk)
                if written > largest:
                    raise UserError(f"{name} is larger than {largest // 2**20} MB.", instead)
                file.write(chunk)
        if expected not in (-1, written):
            raise UserError(f"The upload of {name} broke off.", "Drop it again.")
        return await in_thread(place, temporary), written
    except HeldError:
        raise
    except OSError as error:
        found = told_os_error(error)
        raise UserError(f"{name} cannot be stored. {found.message}", found.hint) from error
    finally:
        with suppress(OSError), within(0):
            unlink(temporary, missing_ok=True)
