"""Bundles over the web: a training packed, downloaded, trained elsewhere and brought home; names and paths that are none."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_studio.demo import checkpoint_path
from lora_studio.project import Project
from tests.web.test_projects_routes import finished

HANA = "/lora-studio/api/v1/projects/hana/"
NEW = {"base": "demo", "preset": "character", "settings": {"epochs": 1}}


@pytest.fixture
def trainable(project: Project) -> Project:
    """``hana`` with two small pictures and captions."""
    for k in range(2):
        Image.new("RGB", (128, 128), (k * 90, 50, 50)).save(project.dataset_dir / f"{k}.png")
        (project.dataset_dir / f"{k}.txt").write_text("hana, 1girl", encoding="utf-8")
    return project


def packed(client: Any, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(HANA + "bundles", json=body)
    assert answer.status_code == 202, answer.text
    job = finished(client, answer.json())
    assert job["state"] == "done", job
    found: dict[str, Any] = job["result"]
    return found


def test_packed_downloaded_and_brought_home(client: Any, context: Any, trainable: Project) -> None:
    assert client.get(HANA + "bundles").json() == {"bundles": [], "arrived": []}
    result = packed(client, NEW)
    [one] = client.get(HANA + "bundles").json()["bundles"]
    assert Path(result["file"]) == trainable.folder / "bundles" / one["file"] and one["bytes"] == result["bytes"]
    assert result["command"].startswith(f"python {one['file']}") and result["base"] == checkpoint_path().name
    data = client.get(HANA + f"bundles/{one['file']}")
    assert data.headers["content-disposition"].startswith("attachment") and len(data.content) == one["bytes"]
    assert {"dataset/0.png", "dataset/0.txt", "bundle.json", "__main__.py"} <= set(zipfile.ZipFile(io.BytesIO(data.content)).namelist())
    # the run is there now, and can be packed again by its name
    [run] = client.get(HANA + "runs").json()["runs"]
    assert run["state"] == "created"
    assert packed(client, {"run": run["name"], "include_base": True})["file"] == result["file"]
    # home, where the project is not any more
    (trainable.folder / "dataset").rename(trainable.folder / "away")
    sent = client.post(HANA + "bundles/uploads?name=hana-back.zip", content=data.content).json()
    assert sent["bytes"] == len(data.content)
    job = finished(client, client.post(HANA + "bundles/home", json={"file": sent["file"]}).json())
    assert job["state"] == "done" and job["result"]["project"] == "hana", job
    assert {path.name for path in (trainable.folder / "away").iterdir() if path.suffix == ".png"} == {"0.png", "1.png"}
    assert not list(context.studio.projects_dir.rglob("bundle-*.zip")), "what was uploaded is not kept twice"
    assert client.delete(HANA + f"bundles/{one['file']}").json() == {"bundles": [], "arrived": []}
    assert len(client.get(HANA + "runs").json()["runs"]) == 1


def test_by_path(client: Any, context: Any, trainable: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    file = packed(client, NEW)["file"]
    job = finished(client, client.post(HANA + "bundles/home", json={"path": f'"{file}"'}).json())
    assert job["state"] == "done" and Path(file).exists()
    monkeypatch.setattr(type(context.host), "paths_allowed", lambda self: False)
    assert client.post(HANA + "bundles/home", json={"path": file}).status_code == 422


def test_a_file_that_is_no_bundle(client: Any, context: Any, trainable: Project) -> None:
    assert client.post(HANA + "bundles/uploads?name=a.exe", content=b"x").status_code == 422
    sent = client.post(HANA + "bundles/uploads?name=..%2f..%2fevil.zip", content=b"no zip").json()
    again = client.post(HANA + "bundles/uploads?name=..%2f..%2fevil.zip", content=b"another").json()
    assert re.fullmatch(r"bundle-\w+\.zip", sent["file"]) and again["file"] != sent["file"]
    job = finished(client, client.post(HANA + "bundles/home", json={"file": sent["file"]}).json())
    assert job["state"] == "failed" and "cannot be read" in job["error"]
    assert not list(context.studio.projects_dir.rglob("*evil*")) and client.get(HANA + "runs").json()["runs"] == []
    # What did not come home is still there, to be tried again or thrown away; only by its own name.
    assert {one["file"] for one in client.get(HANA + "bundles").json()["arrived"]} == {sent["file"], again["file"]}
    for wrong in ("gone.zip", "..%2f..%2f..%2fhana%2fproject.json", "%2e%2e"):
        assert client.delete(HANA + "bundles/uploads/" + wrong).status_code in (404, 405)
    for one in (sent, again):
        left = client.delete(HANA + "bundles/uploads/" + one["file"]).json()["arrived"]
    assert left == [] and not list(context.studio.projects_dir.rglob("bundle-*.zip"))


@pytest.mark.parametrize("name", ["%2e%2e%2fproject.json", "project.json", "gone.zip", ".hidden.zip", "a%00.zip", "C:%5Cx.zip"])
def test_names_that_are_none(client: Any, trainable: Project, name: str) -> None:
    (trainable.folder / "bundles").mkdir()
    (trainable.folder / "bundles" / ".hidden.zip").write_bytes(b"x")
    for method in ("GET", "DELETE"):
        assert client.request(method, HANA + "bundles/" + name).status_code in (404, 405, 422)
    assert (trainable.folder / "project.json").exists()


@pytest.mark.parametrize(
    "body", [{}, {"run": "last"}, {"run": "../x"}, {"run": 3}, {"base": "demo", "settings": {"epochs": -1}}, {"base": "/no/such.safetensors"}]
)
def test_what_cannot_be_packed(client: Any, trainable: Project, body: dict[str, Any]) -> None:
    answer = client.post(HANA + "bundles", json=body)
    assert answer.status_code == 422 and answer.json()["error"]
    assert not (trainable.folder / "bundles").exists() and client.get(HANA + "runs").json()["runs"] == []


@pytest.mark.parametrize("body", [{}, {"file": "bundle-9.zip"}, {"file": "../../x.zip"}, {"path": "relative.zip"}, {"file": 3}])
def test_what_cannot_be_brought_home(client: Any, trainable: Project, body: dict[str, Any]) -> None:
    assert client.post(HANA + "bundles/home", json=body).status_code == 422
