"""For tests of the web API: an application with every route of ours, on a folder of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_studio.project import Project

pytest.importorskip("fastapi")


@pytest.fixture
def context(tmp_path: Path) -> Any:
    """A Context whose host is the page of its own, with projects/ and models/ under tmp_path."""
    from lora_studio.host.standalone import Standalone
    from lora_studio.studio import Studio
    from lora_studio.web.context import Context

    host = Standalone(tmp_path / "projects", tmp_path / "models")
    host.projects_dir.mkdir()
    return Context(Studio(host.projects_dir, host.lora_dir), host)


@pytest.fixture
def app(context: Any) -> Any:
    from fastapi import FastAPI

    from lora_studio.web.app import install

    own = FastAPI()
    install(own, context)
    return own


@pytest.fixture
def client(app: Any) -> Iterator[Any]:
    """A client that sends what our page sends with a change."""
    from fastapi.testclient import TestClient

    with TestClient(app, headers={"X-Lora-Studio": "1"}, raise_server_exceptions=False) as own:
        yield own


@pytest.fixture
def project(context: Any) -> Project:
    """An empty project named ``hana``."""
    return Project.create(context.studio.projects_dir, "hana")
