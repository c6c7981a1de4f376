"""Editing captions: edits as pure functions, the trait vocabulary, and a history with undo and redo."""

from __future__ import annotations

from .carried import Carried
from .dataset_edits import edit_dataset, edit_pictures, record_captions, restore_first
from .edits import EditOptions, TraitCount, make_edit
from .ops import Op
from .query import FilterError, Wanted
from .reports import ChangedSinceError, EditReport, HistoryLine, HistoryReport, OpsReport, TagsChangedError
from .search import Search
from .timeline import go_to, history, redo, undo
from .traits import GROUPS, OPTIONAL_GROUPS, Trait, classify, classify_lines, normal_form

__all__ = [
    "Carried", "ChangedSinceError", "EditOptions", "EditReport", "HistoryLine", "FilterError", "HistoryReport", "Op", "OpsReport", "Search",
    "TagsChangedError", "Wanted", "edit_dataset",
    "edit_pictures", "go_to", "history", "record_captions", "redo", "restore_first", "undo",
    "GROUPS", "OPTIONAL_GROUPS", "Trait", "TraitCount", "classify", "classify_lines", "make_edit", "normal_form",
]
