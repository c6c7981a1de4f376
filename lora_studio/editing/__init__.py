"""Editing captions: edits as pure functions, the trait vocabulary, and a history with undo and redo."""

from __future__ import annotations

from .dataset_edits import EditReport, HistoryLine, HistoryReport, edit_dataset, history, record_captions, redo, undo
from .edits import EditOptions, TraitCount, make_edit
from .traits import GROUPS, OPTIONAL_GROUPS, Trait, classify, classify_lines, normal_form

__all__ = [
    "EditOptions", "EditReport", "HistoryLine", "HistoryReport", "edit_dataset", "history", "record_captions", "redo", "undo",
    "GROUPS", "OPTIONAL_GROUPS", "Trait", "TraitCount", "classify", "classify_lines", "make_edit", "normal_form",
]
