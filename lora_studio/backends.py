"""What training and tagging compute on where PyTorch is not one for NVIDIA, known from what is installed: nothing is loaded.

Standard library only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from . import pins

DIRECTML, ZLUDA, ROCM, XPU = "torch_directml", "ZLUDA", "ROCm", "XPU"
ELSEWHERE = (
    "Ways out: pack the training under “On another machine” and run it where a suitable card is, or name a Python whose PyTorch can use this card "
    "in the variable LORA_STUDIO_PYTHON."
)


class Backend(NamedTuple):
    """``note``, ``tagging``: what training and tagging compute on, as sentences. ``slow``: the trainer cannot use the card that the WebUI uses."""

    kind: str
    note: str
    tagging: str
    slow: bool = False


TABLE = {
    DIRECTML: Backend(
        DIRECTML,
        note=f"This WebUI draws with torch_directml, which cannot train: training runs on the processor, many times slower. {ELSEWHERE}",
        tagging="Tagging uses the graphics card through DirectML.",
        slow=True,
    ),
    ZLUDA: Backend(
        ZLUDA,
        note="This WebUI uses its AMD card through ZLUDA, which it loads for itself alone. Training uses the card where ZLUDA's files lie in "
        f"PyTorch's own folder (torch/lib), and else runs on the processor, many times slower. {ELSEWHERE}",
        tagging="Tagging uses the graphics card through DirectML.",
        slow=True,
    ),
    ROCM: Backend(
        ROCM, note="Training uses the AMD card through ROCm.", tagging="Tagging runs on the processor: ONNX Runtime has no package for ROCm."
    ),
    XPU: Backend(
        XPU,
        note="This WebUI draws on an Intel card (XPU), on which the trainer does not run: training runs on the processor, many times slower. "
        f"{ELSEWHERE}",
        tagging="Tagging uses the graphics card through DirectML on Windows, else the processor.",
        slow=True,
    ),
}


def kind(have: Mapping[str, str], environ: Mapping[str, str], words: Sequence[str], system: str) -> str:
    """"" for NVIDIA, Apple and the processor. have: {package: version}; words: the command line of this process; system: as sys.platform names it."""
    torch = have.get("torch", "")
    if "+rocm" in torch:
        return ROCM
    if system == "win32" and ("--use-zluda" in words or "--use-zluda" in environ.get("COMMANDLINE_ARGS", "").split()):
        return ZLUDA
    if "torch-directml" in have and "+cu" not in torch:
        return DIRECTML
    return XPU if "+xpu" in torch or "intel-extension-for-pytorch" in have else ""


@lru_cache(maxsize=1)
def found() -> Backend | None:
    """Of the Python we run in, which our children use too; None where there is nothing to be said."""
    if os.environ.get("LORA_STUDIO_PYTHON"):  # another Python, of which nothing is known
        return None
    return TABLE.get(kind(pins.installed(), os.environ, sys.argv, sys.platform))
