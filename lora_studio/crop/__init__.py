"""Cropping: a draft that people change (options, boxes), the plan it comes to, and its application. Originals are never touched."""

from __future__ import annotations

from .applied import load_plan, plan_path
from .apply import CropReport, apply_plan
from .focal import focal_point
from .options import CropOptions
from .plan import CropEntry, CropPlan, plan_from, read_plan
from .propose import boxes_of, make_plan, plan_project

__all__ = [
    "CropEntry",
    "CropOptions",
    "CropPlan",
    "CropReport",
    "apply_plan",
    "boxes_of",
    "focal_point",
    "load_plan",
    "make_plan",
    "plan_from",
    "plan_path",
    "plan_project",
    "read_plan",
]
