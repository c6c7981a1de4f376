"""Does the LoRA work? Pictures of every epoch from the same prompts and seeds, scored, and a recommended epoch."""

from __future__ import annotations

from .options import EvaluateOptions
from .run import evaluate
from .xygrid import GridOptions

__all__ = ["EvaluateOptions", "GridOptions", "evaluate"]
