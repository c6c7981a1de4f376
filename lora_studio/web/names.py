"""By which names the page may be asked for.

A page of another site can make its own name lead to this machine (DNS rebinding): its requests then look as if they came from our own page, but
for the name in them. An address in numbers cannot be led elsewhere, nor can this machine's names for itself.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

# The names of this machine for itself.
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
#: what routers and systems put behind a machine's name at home; nobody can buy these
HOME = ("local", "lan", "home", "internal", "home.arpa", "localdomain")
VARIABLE = "LORA_STUDIO_HOSTS"


@dataclass(frozen=True)
class Reachable:
    """The names of a page that others may reach: numbers, this machine's own names, and those that a person allows (``more``)."""

    more: Callable[[], Iterable[str]] = tuple

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or not name:
            return False
        plain = name.rstrip(".").lower()
        return plain in LOCAL or is_address(plain) or plain in own_names() or plain in listed([*self.more(), os.environ.get(VARIABLE, "")])


def asked_name(host: str) -> str:
    """The name in a Host header, "" for what is none."""
    try:
        return urlsplit("//" + host).hostname or ""
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1)
def own_names() -> frozenset[str]:
    """This machine's name, alone and as networks at home complete it. Nothing is looked up."""
    whole = socket.gethostname().lower()
    short = whole.partition(".")[0]
    return frozenset(filter(None, {whole, short, *(f"{short}.{end}" for end in HOME)})) if short else frozenset()


def listed(texts: Iterable[str]) -> frozenset[str]:
    """Names with commas or spaces between them; whole addresses are taken for the names in them."""
    found = (part.partition("://")[2] or part for text in texts for part in text.replace(",", " ").split())
    return frozenset(asked_name(part.split("/")[0]).rstrip(".") for part in found) - {""}
