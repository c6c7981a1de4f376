"""What every command needs: where words go, how lists are written, how mistakes are told."""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ..errors import UserError
from ..progress import JsonProgress, Progress, console, silent
from ..studio import Studio
from ..wording import filled

Handler = Callable[[argparse.Namespace, Studio], Any]
Add = Callable[[str, Handler, str], argparse.ArgumentParser]


def utf8_consoles() -> None:
    """File names and tags of any script can be printed, whatever the console says of itself."""
    for stream in (sys.stdout, sys.stderr, sys.stdin):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")


def progress_of(args: argparse.Namespace, label: str) -> Progress:
    """How far a command is, as its flags want it told."""
    if args.progress == "json":
        return JsonProgress(sys.stderr)
    return silent if args.quiet else console(label)


def say(args: argparse.Namespace, text: str, **values: Any) -> None:
    """A line for people, with its values filled in; nothing where the answer is JSON."""
    if not args.json:
        print(printable(filled(text, values) if values else text))


def printable(text: str) -> str:
    """Without what a console takes for a command: a file of somebody else's may have such a name."""
    return "".join("�" if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in text)


def say_left_out(args: argparse.Namespace, skipped: Sequence[Any]) -> None:
    """A line for each (name, reason)."""
    for path, reason in skipped:
        say(args, f"Left out: {path}: {reason}")


def listed(text: str | None) -> tuple[str, ...]:
    """The parts of a text with commas."""
    return tuple(t.strip() for t in (text or "").split(",") if t.strip())


def pairs(texts: Sequence[str], option: str) -> tuple[tuple[str, str], ...]:
    """(old, new) of each OLD=NEW. Raises UserError for what is none."""
    found = []
    for text in texts:
        old, equals, new = text.partition("=")
        if not equals or not old.strip():
            raise UserError(f"{option} {text} is not OLD=NEW.", f"For example: {option} \"long hair=very long hair\"")
        found.append((old.strip(), new.strip()))
    return tuple(found)


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are told like any other mistake, in JSON too."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message[:1].upper() + message[1:] + ".", self.format_usage().strip())
