"""The embedded world: a drawer, a tiny Stable Diffusion and a tiny WD14-shaped tagger.

Everything the product does can be tried with what lies in ``assets/``: nothing
is downloaded. ``python -m lora_studio.demo.build`` made it and can make it again.
"""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).resolve().parent / "assets"


def checkpoint_path() -> Path:
    """The tiny Stable Diffusion 1.x checkpoint (LDM layout), its ``.yaml`` beside it."""
    return ASSETS / "tiny_world.safetensors"


def tagger_dir() -> Path:
    """The folder with ``model.onnx`` and ``selected_tags.csv`` of the tiny tagger."""
    return ASSETS / "tagger"
