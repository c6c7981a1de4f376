"""The routes of caption files: encodings, metadata, other projects, missing tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_studio.project import Project

URL = "/lora-studio/api/v1/projects/hana/captions"


@pytest.fixture
def dataset(project: Project) -> Path:
    for name, data in (("a", b"1girl, smile"), ("b", "少女, 头发很长".encode("gbk"))):
        Image.new("RGB", (8, 6)).save(project.dataset_dir / f"{name}.png")
        (project.dataset_dir / f"{name}.txt").write_bytes(data)
    return project.dataset_dir


def post(client: Any, path: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
    answer = client.post(f"{URL}/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_encodings_are_shown_and_repaired_and_undone(client: Any, dataset: Path) -> None:
    found = client.get(f"{URL}/encodings").json()
    assert [(one["file"], one["text"]) for one in found["found"]] == [("b.txt", "少女, 头发很长")] and "gbk" in found["choices"]
    assert post(client, "encodings", {})["changed"] == 1 and (dataset / "b.txt").read_text(encoding="utf-8") == "少女, 头发很长"
    assert client.get(f"{URL}/encodings").json()["found"] == []
    post(client, "undo", {})
    assert (dataset / "b.txt").read_bytes() == "少女, 头发很长".encode("gbk")
    assert client.get(f"{URL}/encodings", params={"encoding": "rot13"}).status_code == 422
    post(client, "encodings", {"encoding": 3}, 422)


def test_metadata_out_and_in(client: Any, dataset: Path) -> None:
    assert client.get(f"{URL}/metadata").json()["a.png"] == {"tags": "1girl, smile"}
    assert next(iter(client.get(f"{URL}/metadata", params={"full": True}).json())) == str(dataset.resolve() / "a.png")
    done = post(client, "metadata", {"metadata": {"a.png": {"tags": "hat"}, "../../x": {"tags": "y"}, "no.png": {}}, "existing": "append"})
    assert done["changed"] == 1 and done["unknown"] == ["../../x", "no.png"]
    assert (dataset / "a.txt").read_text(encoding="utf-8") == "1girl, smile, hat"
    for body in ({"metadata": []}, {"metadata": {"a": 1}}, {"metadata": {}, "existing": "burn"}, {}):
        post(client, "metadata", body, 422)


def test_pictures_into_another_project_and_nowhere_else(client: Any, context: Any, dataset: Path, tmp_path: Path) -> None:
    other = Project.create(context.studio.projects_dir, "other")
    done = post(client, "transfer", {"to": "other", "wanted": {"filter": "tag:1girl"}, "move": True})
    assert done["pictures"] == [["a.png", "a.png"]] and not (dataset / "a.png").exists()
    assert (other.dataset_dir / "a.txt").read_bytes() == b"1girl, smile"
    before = sorted(p for p in tmp_path.rglob("*.png"))
    for body in ({"to": "../x"}, {"to": str(tmp_path)}, {"to": "hana"}, {"to": "other", "names": "b.png"}, {"to": "other", "move": 1}, {}):
        post(client, "transfer", body, 422)
    assert post(client, "transfer", {"to": "other", "names": ["../raw/b.png", "no.png"]})["pictures"] == []
    assert sorted(p for p in tmp_path.rglob("*.png")) == before


def test_missing_tags_without_a_tagger(client: Any, dataset: Path) -> None:
    assert client.get(f"{URL}/missing").json() == {"tagger": "", "stored": 0, "tags": [], "pictures": []}
