"""A brake on guessing passwords: after a few wrong ones each further try waits longer, for one address and, more gently, for all together."""

from __future__ import annotations

import hmac
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

FREE = 5  # wrong passwords of one address before it waits
FREE_OF_ALL = 50
LONGEST = 900.0  # seconds that one address waits at most
LONGEST_OF_ALL = 10.0  # so that nobody can lock everybody out
FORGET = 3600.0  # seconds after which wrong passwords are forgotten
MOST = 10_000  # addresses that are remembered


@dataclass
class _Tries:
    wrong: int = 0
    last: float = 0.0


@dataclass
class Brake:
    """Counts a try as wrong until it turns out right: a hundred at once are no way around it. Safe to call from any thread."""

    clock: Callable[[], float] = time.monotonic
    _tries: OrderedDict[str, _Tries] = field(default_factory=OrderedDict)
    _all: _Tries = field(default_factory=_Tries)
    _welcome: OrderedDict[str, None] = field(default_factory=OrderedDict)  # who was right before: strangers do not make them wait
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, address: str) -> float:
        """Seconds that this address has to wait before it may try; 0: now, and the try is counted."""
        with self._lock:
            now, who = self.clock(), source(address)
            own = self._of(who, now)
            if now - self._all.last > FORGET:
                self._all.wrong = 0
            waits = [own.last + pause(own.wrong, FREE, LONGEST) - now]
            if who not in self._welcome:
                waits.append(self._all.last + pause(self._all.wrong, FREE_OF_ALL, LONGEST_OF_ALL) - now)
            if max(waits) > 0:
                return max(waits)
            for tries in (own, self._all):
                tries.wrong, tries.last = tries.wrong + 1, now
            return 0.0

    def right(self, address: str) -> None:
        """The try that was taken last was right."""
        with self._lock:
            who = source(address)
            self._tries.pop(who, None)
            self._all.wrong = max(0, self._all.wrong - 1)
            self._welcome[who] = None
            while len(self._welcome) > MOST:
                self._welcome.popitem(last=False)

    def _of(self, who: str, now: float) -> _Tries:
        tries = self._tries.pop(who, None)
        if tries is None or now - tries.last > FORGET:
            tries = _Tries(0, now - FORGET)
        self._tries[who] = tries
        while len(self._tries) > MOST:
            self._tries.popitem(last=False)
        return tries


def pause(wrong: int, free: int, longest: float) -> float:
    """Seconds to wait after so many wrong passwords: 1, 2, 4 … once the free ones are used up."""
    return 0.0 if wrong < free else min(longest, 2.0 ** min(wrong - free, 20))


def source(address: str) -> str:
    """Whom an address belongs to: of IPv6 its first half, for one household has 2**64 of them."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def address_of(scope: Any) -> str:
    """Where a request comes from."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def is_one_of(given: bytes, known: Iterable[bytes]) -> bool:
    """Whether a password is one of those known. It takes as long for the first as for the last, and for none."""
    return sum([hmac.compare_digest(given, one) for one in known]) > 0
