"""Tagging: WD14 taggers (ONNX), their catalogue, stored probabilities and the captions made from them."""

from __future__ import annotations

from .catalogue import CATALOGUE, Model, find_model, thresholds_of
from .folder import TagReport, tag_folder
from .labels import Label, read_labels
from .options import TagOptions
from .wd14 import Tagger, load_tagger

__all__ = [
    "CATALOGUE",
    "Label",
    "Model",
    "TagOptions",
    "TagReport",
    "Tagger",
    "find_model",
    "load_tagger",
    "read_labels",
    "tag_folder",
    "thresholds_of",
]
