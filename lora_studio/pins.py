"""The pinned packages (requirements/*.txt): read them, compare them with what is installed. Standard library only."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from importlib import metadata
from pathlib import Path

STACK = Path(__file__).resolve().parents[1] / "requirements" / "stack.txt"
# Packages that are one another's stand-in: each of them fills the place of the first.
FLAVOURS = {"onnxruntime": ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml")}


def wanted_versions(path: Path = STACK) -> dict[str, str]:
    """{package: "==1.2.3" or ">=1,<2"} of a list of pins; empty when the list is not there."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    found = (re.match(r"\s*([A-Za-z0-9_.-]+)\s*([^#]*)", line) for line in lines if not line.lstrip().startswith("#"))
    return {m.group(1): m.group(2).replace(" ", "").strip() for m in found if m}


def numbers(version: str) -> tuple[int, ...]:
    """The release numbers of a version: ``2.1.2+cu121`` is (2, 1, 2)."""
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[+-]|rc|[ab]\d|\.dev|\.post", version)[0]))


def satisfies(version: str, wanted: str) -> bool:
    """Whether a version meets a pin made of ==, >= and <; release numbers only."""
    for condition in filter(None, wanted.split(",")):
        operator, number = re.match(r"(==|>=|<=|<|>)?(.*)", condition).groups()  # type: ignore[union-attr]
        here, there = numbers(version), numbers(number)
        length = max(len(here), len(there))
        a, b = here + (0,) * (length - len(here)), there + (0,) * (length - len(there))
        if not {"==": a == b, ">=": a >= b, "<=": a <= b, "<": a < b, ">": a > b, None: a == b}[operator]:
            return False
    return True


def installed_version(package: str, paths: Iterable[str] | None = None) -> str | None:
    """The version found first on these paths (``sys.path`` unless given). Nothing is imported."""
    where = {} if paths is None else {"path": list(paths)}
    for found in metadata.distributions(name=package, **where):
        # A package that was removed by hand may leave an empty folder of facts behind.
        if (version := found.metadata["Version"]) is not None:
            return str(version)
    return None


def fulfilled(package: str, wanted: str, paths: Iterable[str] | None = None) -> bool:
    """Whether a package, or one that fills its place, is there in a version that fits; the first one found counts, as it does for an import."""
    where = None if paths is None else list(paths)
    found = [version for name in FLAVOURS.get(package, (package,)) if (version := installed_version(name, where)) is not None]
    return bool(found) and satisfies(found[0], wanted)


@lru_cache(maxsize=8)
def _digest(path: Path, changed: float) -> str:
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return hashlib.sha256("\n".join(line for line in lines if line).encode()).hexdigest()


def digest(path: Path = STACK) -> str:
    """Changes when a pin does, not when a comment does."""
    return _digest(path, path.stat().st_mtime)
