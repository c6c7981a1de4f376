"""Who may log in to the page of our own, and where that is said: the command line, a file, the environment."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError

VARIABLE = "LORA_STUDIO_AUTH"
FORM = "NAME=PASSWORD"


@dataclass(frozen=True)
class Logins:
    """(name, password) pairs. ``warnings``: what others on this machine may learn of them."""

    pairs: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    warnings: tuple[str, ...] = ()


def read_logins(given: Iterable[str] = (), file: Path | None = None, environment: MutableMapping[str, str] = os.environ) -> Logins:
    """All logins together; the variable is taken out of the environment, so that no program that we start inherits it.

    Raises UserError for what is none, without repeating it: passwords are written nowhere.
    """
    given, warnings = list(given), []
    if given:
        warnings.append("Others on this machine can read --auth in the list of programs. --auth-file FILE or " + VARIABLE + " keeps it from them.")
    lines = [("--auth", text) for text in given]
    lines += [(VARIABLE, line) for line in environment.pop(VARIABLE, "").splitlines()]
    if file is not None:
        lines += [(str(file), line) for line in _read(file)]
        if sys.platform != "win32" and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            warnings.append(f"Others on this machine can read {file}. chmod 600 keeps it from them.")
    found = tuple(_pair(place, line) for place, line in lines if line.strip() and not line.lstrip().startswith("#"))
    if file is not None and not found:
        raise UserError(f"There is no login in {file}.", f"Write {FORM} into it, a line each.")
    return Logins(found, tuple(warnings))


def _read(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise UserError(f"The logins in {file} cannot be read: {why}.", "Check the path.") from None


def _pair(place: str, line: str) -> tuple[str, str]:
    name, equals, password = line.strip().partition("=")
    if not equals or not name.strip() or not password.strip():
        raise UserError(f"What {place} holds is not {FORM}.", "For example: me=a-long-password")
    return name.strip(), password.strip()
