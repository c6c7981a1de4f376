"""NVIDIA's driver asked without torch: which cards there are, how CUDA counts them, and how much memory is free. Standard library only.

``python -m lora_studio.nvidia`` prints the cards as CUDA counts them, as JSON. nvidia-smi counts otherwise: by their place on the bus, and
CUDA_VISIBLE_DEVICES means nothing to it. What both call by one name is the UUID.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .cards import Card
from .processes import hidden

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
# cuda.h: CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
MAJOR, MINOR = 75, 76
PATIENCE = 20.0
#: asked of nvidia-smi; drivers before 510 do not know the last
FIELDS = ("uuid", "name", "driver_version", "memory.free", "memory.total", "compute_cap")
MIB = 2**20


@dataclass(frozen=True)
class Seen:
    """A card as nvidia-smi lists it; ``free`` and ``total`` in bytes."""

    uuid: str
    name: str
    driver: str
    free: int
    total: int
    capability: tuple[int, int] = (0, 0)

    @property
    def card(self) -> Card:
        """Its number is not known here, and left 0."""
        return Card(0, self.name, self.capability, self.total, self.uuid)


def answer(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """What a program prints; "" where it fails or takes too long. No window flashes up on Windows."""
    try:
        done = subprocess.run(
            list(command), capture_output=True, encoding="utf-8", errors="replace", timeout=PATIENCE, check=True, stdin=subprocess.DEVNULL,
            env=dict(environment) if environment is not None else None, **hidden(),
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def seen() -> list[Seen]:
    """Every card that the driver reports, in nvidia-smi's order."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    for fields in (FIELDS, FIELDS[:-1]):
        text = answer([tool, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"])
        if text:
            return [row for row in map(_row, text.splitlines()) if row is not None]
    return []


def _row(line: str) -> Seen | None:
    parts = [part.strip() for part in line.split(",")]
    if len(parts) < len(FIELDS) - 1:
        return None
    uuid, name, driver, free, total, *rest = parts
    capability = tuple(int(n) for n in rest[0].split(".")) if rest and rest[0].replace(".", "").isdigit() else ()
    return Seen(
        uuid, name, driver, int(free) * MIB if free.isdigit() else 0, int(total) * MIB if total.isdigit() else 0,
        (capability[0], capability[1]) if len(capability) == 2 else (0, 0),
    )


def counted(library: Any = None) -> list[Card]:
    """The cards as CUDA counts them in this process, CUDA_VISIBLE_DEVICES and all; none where there is no driver.

    library: the driver's own, to be loaded where it is not given. After this the process keeps a hand on the driver: ask from a short child.
    """
    try:
        cuda = library or ctypes.CDLL(LIBRARY)
        if cuda.cuInit(0):
            return []
        count = ctypes.c_int()
        cuda.cuDeviceGetCount(ctypes.byref(count))
        return [_counted(cuda, index) for index in range(count.value)]
    except (OSError, AttributeError):
        return []


def _counted(cuda: Any, index: int) -> Card:
    device, major, minor, total = ctypes.c_int(), ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    name, raw = ctypes.create_string_buffer(256), ctypes.create_string_buffer(16)
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, 256, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(total), device)
    cuda.cuDeviceGetUuid(raw, device)
    digits = raw.raw.hex()
    uuid = f"GPU-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
    return Card(index, name.value.decode("utf-8", "replace"), (major.value, minor.value), total.value, uuid)


def ask(command: Sequence[str], environment: Mapping[str, str]) -> list[Card]:
    """The cards as a child process counts them: ``command`` starts this module."""
    try:
        rows = json.loads(answer(command, environment) or "[]")
        return [Card(**{**row, "capability": tuple(row["capability"])}) for row in rows]
    except (ValueError, TypeError, KeyError):
        return []


def memory(card: Card, now: Sequence[Seen]) -> tuple[int, int] | None:
    """(free, total) of a card in bytes, by its UUID; None where nvidia-smi does not know it (a part of a card)."""
    return next(((row.free, row.total) for row in now if row.uuid == card.uuid), None)


if __name__ == "__main__":
    print(json.dumps([asdict(card) for card in counted()]))
