"""Cropping in two steps: a plan (boxes, sizes) that can be looked at and changed, and its application. Originals are never touched."""

from __future__ import annotations

from .apply import CropReport, apply_plan, load_plan, plan_path
from .focal import focal_point
from .options import CropOptions
from .plan import CropEntry, CropPlan, make_plan, read_plan

__all__ = ["CropEntry", "CropOptions", "CropPlan", "CropReport", "apply_plan", "focal_point", "load_plan", "make_plan", "plan_path", "read_plan"]
