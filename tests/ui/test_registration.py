"""What the WebUI loads because of us at its start: nothing heavy, and no route before somebody asks for one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.ui.conftest import interpreter

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["webui3", "webui4"])
def test_the_tab_loads_nothing_heavy(kind: str) -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import registration
    finally:
        sys.path.pop(0)
    found = registration.start_once(interpreter(kind))
    assert found["heavy"] == []
    assert int(str(found["routes"])) > 20


def test_routes_are_made_by_the_first_request(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from fastapi import FastAPI
from lora_studio.host.standalone import Standalone
from lora_studio.studio import Studio
from lora_studio.web.app import install
from lora_studio.web.context import Context
host = Standalone(Path({str(tmp_path / "projects")!r}), Path({str(tmp_path / "models")!r}))
app = FastAPI()
install(app, Context(Studio(host.projects_dir, host.lora_dir), host))
print("lora_studio.web.crop" in sys.modules)
"""
    pytest.importorskip("fastapi")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"
