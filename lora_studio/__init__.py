"""Lora Studio: from a folder of pictures to a trained, measured LoRA."""

from __future__ import annotations

__version__ = "0.1.0"
