"""The process that matches people's regular expressions; see matching.py. Standard library only, run by its path, and light: it is started often.

Each line of standard input is a request in JSON, each line of standard output its answer:

    {"find", "flags", "whole", "new": a template or null, "texts", "seconds"}
    {"found": [the texts' numbers]}, or with `new` {"found": [[number, text, matches]]}, or {"wrong": "find" | "new" | "size", "why"}

While `re` matches nothing else runs in a Python process and nothing can stop it but its end: after `seconds` this process ends itself.
"""

from __future__ import annotations

import faulthandler
import json
import os
import re
import sys
import warnings
from typing import Any

MOST_OUT = 32_000_000  # characters that replacements may give
MEMORY = 2 * 2**30  # bytes at most, where the system can hold us to it
IDLE = 60.0  # seconds without a request until this process ends


class TooMuchError(Exception):
    """The replacements give too much text."""


def replaced(pattern: re.Pattern[str], template: str, texts: list[str], whole: bool) -> list[tuple[int, str, int]]:
    """(number, text, matches) of each text in which something was replaced."""
    found = []
    room = MOST_OUT
    for number, text in enumerate(texts):
        if whole:
            match = pattern.fullmatch(text)
            out, count = (match.expand(template), 1) if match else ("", 0)
        else:
            out, count = pattern.subn(template, text)
        if count:
            room -= len(out)
            if room < 0:
                raise TooMuchError
            found.append((number, out, count))
    return found


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What the texts say to the pattern."""
    part = "find"
    try:
        pattern = re.compile(request["find"], request["flags"])
        texts, whole, template = request["texts"], request["whole"], request["new"]
        if template is None:
            fits = pattern.fullmatch if whole else pattern.search
            return {"found": [number for number, text in enumerate(texts) if fits(text)]}
        part = "new"
        pattern.sub(template, "")  # reads the whole template, whether or not the pattern is found
        return {"found": replaced(pattern, template, texts, whole)}
    except (TooMuchError, MemoryError):
        return {"wrong": "size", "why": ""}
    except (re.error, ValueError, IndexError, RecursionError, OverflowError) as error:
        return {"wrong": part, "why": str(error)}


def main() -> None:
    warnings.simplefilter("ignore")
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, OSError, ValueError):  # Windows; macOS
        pass
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        while True:
            faulthandler.dump_traceback_later(IDLE, exit=True, file=nowhere)
            line = sys.stdin.buffer.readline()
            if not line:
                return
            request = json.loads(line)
            faulthandler.dump_traceback_later(request["seconds"], exit=True, file=nowhere)
            found = answer(request)
            faulthandler.dump_traceback_later(IDLE, exit=True, file=nowhere)
            sys.stdout.buffer.write(json.dumps(found).encode("ascii") + b"\n")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
