"""docs/api.md names every route of the web API, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi")

from lora_studio.web.app import PREFIX
from tests.web.catalogue import every_route

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")


def test_every_route_is_documented_and_nothing_else() -> None:
    documented = re.findall(r"^### ([A-Z]+) (\S+)$", TEXT, re.MULTILINE)
    assert len(documented) == len(set(documented))
    there = {(r.method, r.path.removeprefix(PREFIX)) for r in every_route()}
    assert sorted(there - set(documented)) == []
    assert sorted(set(documented) - there) == []


def test_every_route_says_what_it_takes_and_gives() -> None:
    bodies = re.split(r"^### .*$", TEXT, flags=re.MULTILINE)[1:]
    assert bodies and all("→" in body or "—" in body for body in bodies)
