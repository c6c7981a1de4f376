"""The pinned packages (requirements/*.txt): read them, compare them with what is installed. Standard library only."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Mapping
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


def normal(name: str) -> str:
    """A package's name as all its spellings share it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(paths: Iterable[str] | None = None) -> dict[str, str]:
    """{normal name: version} of everything on these paths (``sys.path`` unless given); of two with one name the first, which an import takes.

    Read from the names of the folders with the packages' facts: the WebUI calls install.py at every start, and importlib.metadata alone
    takes longer to load than all of this.
    """
    found: dict[str, str] = {}
    for folder in sys.path if paths is None else paths:
        try:
            entries = [e for e in Path(folder or ".").iterdir() if e.name.endswith((".dist-info", ".egg-info"))]
        except OSError:
            continue
        for entry in entries:
            name, _, rest = entry.name[:-10].partition("-")
            # A package that was removed by hand may leave an empty folder of facts behind.
            if rest and normal(name) not in found and ((entry / "METADATA").exists() or entry.suffix == ".egg-info"):
                found[normal(name)] = re.split(r"-py\d", rest)[0]
    return found


def installed_version(package: str) -> str | None:
    """The version of a package in the interpreter that we run in. Nothing is imported."""
    return installed().get(normal(package))


def fulfilled(package: str, wanted: str, have: Mapping[str, str]) -> bool:
    """Whether a package, or one that fills its place, is among those installed, in a version that fits."""
    found = [have[name] for name in FLAVOURS.get(package, (normal(package),)) if name in have]
    return bool(found) and satisfies(found[0], wanted)


def digest(path: Path = STACK) -> str:
    """Changes when a pin does, not when a comment does."""
    lines = (line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return hashlib.sha256("\n".join(line for line in lines if line).encode()).hexdigest()
