"""kohya's settings through the page: taken as a preset that is chosen, given back as a ZIP."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_studio.project import Project

URL = "/lora-studio/api/v1"
HANA = f"{URL}/projects/hana"
CONFIG = """
[training_arguments]
output_name = "mine"
max_train_epochs = 7
train_batch_size = 3
unet_lr = 0.0003
nonsense_key = 1
"""


@pytest.fixture
def trainable(project: Project) -> Project:
    Image.new("RGB", (128, 128)).save(project.dataset_dir / "0.png")
    (project.dataset_dir / "0.txt").write_text("hana, 1girl", encoding="utf-8")
    return project


def send(client: Any, *files: tuple[str, str]) -> Any:
    return client.post(f"{HANA}/training/import", json={"files": [{"name": name, "text": text} for name, text in files]})


def test_settings_are_taken_and_chosen(client: Any, trainable: Project) -> None:
    answer = send(client, ("config.toml", CONFIG))
    assert answer.status_code == 200, answer.text
    taken = answer.json()
    assert taken["preset"] == "mine" and any("nonsense_key" in key for key in taken["unknown"])
    assert client.get(f"{HANA}/runs").json()["chosen"]["preset"] == "mine"
    values = client.post(f"{HANA}/training/draft", json={"base": "demo", "preset": "mine"}).json()["values"]
    assert (values["epochs"], values["batch_size"], values["unet_lr"]) == (7, 3, 3e-4)


def test_a_run_is_given_as_files_that_are_taken_back(client: Any, context: Any, trainable: Project) -> None:
    from lora_studio.training.runs import Run

    config = context.studio.configure(trainable, "demo", "quick", {"epochs": 5, "unet_lr": 1e-3})
    run = Run.create(trainable.runs_dir, config)
    answer = client.get(f"{HANA}/runs/{run.folder.name}/kohya.zip")
    assert answer.headers["content-type"] == "application/zip" and "attachment" in answer.headers["content-disposition"]
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    texts = {name: archive.read(name).decode("utf-8") for name in archive.namelist()}
    assert 'dataset_config = "dataset.toml"' in texts["config.toml"], "files that name one another without a folder"
    back = send(client, *[(name, text) for name, text in texts.items() if name != "not_exported.txt" and Path(name).suffix in (".toml", ".txt")])
    assert back.status_code == 200, back.text
    values = client.post(f"{HANA}/training/draft", json={"base": "demo", "preset": back.json()["preset"]}).json()["values"]
    assert (values["epochs"], values["unet_lr"]) == (5, 1e-3)


@pytest.mark.parametrize("name", ["../../up.toml", "/etc/x.toml", "C:\\x.toml", "..\\..\\x.toml", "a\x00b.toml", ".toml", "<img onerror=x>.toml"])
def test_names_of_files_lead_nowhere(client: Any, trainable: Project, tmp_path: Path, name: str) -> None:
    before = {p for p in tmp_path.rglob("*") if p.is_file()}
    assert send(client, (name, CONFIG)).status_code in (200, 422)
    written = {p for p in tmp_path.rglob("*") if p.is_file()} - before
    assert {p.relative_to(tmp_path).parts[:2] for p in written} <= {("projects", "_presets")}


@pytest.mark.parametrize(
    "body", [{}, {"files": []}, {"files": ["x"]}, {"files": [{"name": "a.toml"}]}, {"files": [{"name": "a.py", "text": "x"}]}, {"files": [{}] * 11}]
)
def test_what_is_no_settings_file_is_refused(client: Any, trainable: Project, body: dict[str, Any]) -> None:
    assert client.post(f"{HANA}/training/import", content=json.dumps(body)).status_code == 422


def test_broken_files_are_told(client: Any, trainable: Project) -> None:
    assert send(client, ("config.toml", "= not toml")).status_code == 422


def test_where_paths_are_not_allowed_nothing_is_imported(client: Any, context: Any, trainable: Project) -> None:
    context.host.only_local = False
    refused = send(client, ("config.toml", CONFIG))
    assert refused.status_code == 422 and "cannot be imported here" in refused.json()["error"]
