"""One file with everything a training needs: pack it here, train it on any machine, bring the result home."""

from __future__ import annotations

from .manifest import Manifest, read_manifest
from .packing import pack
from .placing import Placed, place

__all__ = ["Manifest", "Placed", "pack", "place", "read_manifest"]
