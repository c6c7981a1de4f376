"""The fixture is for every test of this folder."""

from tests.held.faults import faults

__all__ = ["faults"]
