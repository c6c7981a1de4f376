"""Names that a project can have are found by every route and command; folders that were opened stay on the list, however many are opened at once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from lora_studio.cli import main
from lora_studio.errors import UserError
from lora_studio.files import FORBIDDEN
from lora_studio.project import Project, is_project_name, project_name

API = "/lora-studio/api/v1/projects"
ROOT = Path(__file__).resolve().parents[2]
REFUSED = ("@a", "@0123456789abcdef", "_mine", "_incoming", "_presets", "--help", "-x", "show", "Stop", "resume", "@", "_", "%2e%2e", "a%2Fb")
#: how routes of a project end that only read, and that need no more than the project
READ = ("", "/check", "/runs", "/test", "/loras", "/bundles", "/pictures/trash")
WORDS = (
    "open", "projects", "uploads", "runs", "last", "demo", "training", "100%", "a;b", "a#b", "a&b=c", "a+b", "~", "x.zip", "null", "$HOME", "`id`",
    "{project}", "hana 花", "🙂", "e\u0301", "\u202egnp", "a\x85b", "ﷺ", "İ", "help",
)  # fmt: skip


def test_names_that_no_route_or_command_finds_are_refused(client: Any, context: Any, tmp_path: Path) -> None:
    projects = context.studio.projects_dir
    made = Project.create(projects, "hana")
    for name in REFUSED:
        answer = client.post(API, json={"name": name})
        assert answer.status_code == 422 and "cannot be a project's" in answer.json()["error"] and answer.json()["hint"], name
        with pytest.raises(UserError, match="cannot be"):
            context.studio.new(name, [tmp_path])
        assert client.post(f"{API}/hana/rename", json={"name": name}).status_code == 422
        with pytest.raises(UserError):
            context.studio.rename(made, name)
        assert [p.name for p in projects.iterdir()] == ["hana"]


def test_folders_that_are_called_so_are_opened_by_their_path(client: Any, context: Any) -> None:
    for name in ("@a", "_mine", "--help", "show"):
        folder = context.studio.projects_dir / name
        (folder / "raw").mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / "raw" / "a.png")
        opened = client.post(f"{API}/open", json={"path": str(folder)}).json()
        assert opened["id"].startswith("@") and opened["name"] == name and opened["folder"] == str(folder)
        for end in ("", "/runs", "/check", "/loras"):
            assert client.get(f"{API}/{quote(opened['id'])}{end}").status_code == 200
        assert opened["id"] in [one["id"] for one in client.get(API).json()["projects"]]
        assert context.studio.open(folder).folder == folder


def test_odd_folders_stay_on_the_list_without_being_opened(client: Any, context: Any) -> None:
    for name in ("@a", "-x", "show", "e\u0301"):
        (context.studio.projects_dir / name / "raw").mkdir(parents=True)
    listed = client.get(API).json()["projects"]
    assert sorted(Path(one["folder"]).name for one in listed) == sorted(["@a", "-x", "show", "e\u0301"])
    for one in listed:
        assert client.get(f"{API}/{quote(one['id'])}").json()["folder"] == one["folder"]


def works_everywhere(client: Any, projects: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    made = client.post(API, json={"name": name})
    assert made.status_code == 201, made.text
    found = made.json()
    try:
        assert found["id"] == project_name(name) and found["id"] in [one["id"] for one in client.get(API).json()["projects"]]
        Image.new("RGB", (8, 8)).save(Path(found["folder"]) / "raw" / "a.png")
        here = f"{API}/{quote(found['id'], safe='')}"
        for end in READ:
            answer = client.get(here + end)
            assert answer.status_code == 200, (end, answer.text)
        assert client.get(here).json()["folder"] == found["folder"]
        assert client.put(here, json={"trigger": "word"}).json()["trigger"] == "word"
        for words in (["runs", found["id"]], ["export", found["id"], "--what", "raw", "--out", str(projects.parent / "out.zip")]):
            assert main([*words, "--projects", str(projects), "--json", "--quiet"]) == 0, capsys.readouterr()
    finally:
        shutil.rmtree(found["folder"])


def test_every_name_that_is_taken_works(client: Any, context: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for name in WORDS:
        works_everywhere(client, context.studio.projects_dir, name, capsys)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=12))
def test_every_name_that_could_be_taken_works(client: Any, context: Any, capsys: pytest.CaptureFixture[str], name: str) -> None:
    try:
        project_name(name)
    except UserError:
        assume(False)
    works_everywhere(client, context.studio.projects_dir, name, capsys)


@given(st.text(max_size=12))
def test_a_name_is_taken_as_it_is_or_not_at_all(name: str) -> None:
    try:
        taken = project_name(name)
    except UserError:
        assert not is_project_name(name)
        return
    assert project_name(taken) == taken and is_project_name(taken) and taken[0] not in "_@-." and not set(taken) & set(FORBIDDEN)


def test_a_name_means_the_project_and_not_a_folder_where_somebody_is(context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Project.create(context.studio.projects_dir, "docs")
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert context.studio.open("docs").folder.resolve() == made.folder.resolve()


# -- the recent list --------------------------------------------------------------------


def elsewhere(folder: Path, count: int) -> list[Path]:
    for k in range(count):
        (folder / f"p{k}" / "dataset").mkdir(parents=True)
    return [folder / f"p{k}" for k in range(count)]


def test_folders_opened_at_once_all_stay_on_the_list(client: Any, context: Any, tmp_path: Path) -> None:
    folders = elsewhere(tmp_path / "else", 24)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda folder: client.post(f"{API}/open", json={"path": str(folder)}), folders))
    assert {answer.status_code for answer in answers} == {200}
    assert set(context.opened().values()) == set(folders)
    identities = [answer.json()["id"] for answer in answers]

    def again(k: int) -> None:
        if k % 2:
            client.delete(f"{API}/{quote(identities[k])}")
        else:
            client.post(f"{API}/open", json={"path": str(folders[k])})

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(again, range(len(folders))))
    assert set(context.opened()) == set(identities[::2])


def test_programs_opening_at_once_lose_nothing(context: Any, tmp_path: Path) -> None:
    folders = elsewhere(tmp_path / "else", 24)
    code = """
import sys
from pathlib import Path
from lora_studio.host.standalone import Standalone
from lora_studio.project import Project
from lora_studio.studio import Studio
from lora_studio.web.context import Context
projects = Path(sys.argv[1])
context = Context(Studio(projects), Standalone(projects))
for folder in sys.argv[2:]:
    context.remember(Project.open(folder))
"""
    words = [sys.executable, "-c", code, str(context.studio.projects_dir)]
    children = [subprocess.Popen([*words, *map(str, folders[k::3])], cwd=ROOT) for k in range(3)]
    assert [child.wait(120) for child in children] == [0, 0, 0]
    assert set(context.opened().values()) == set(folders)


@pytest.mark.parametrize("text", ["{", "[]", '{"elsewhere": []}', '{"elsewhere": {"@a": 3, "b": "/x", "@c": ""}}', "null", ""])
def test_a_list_of_no_sense_is_put_aside_and_begun_anew(context: Any, tmp_path: Path, text: str) -> None:
    file = context.studio.projects_dir / "_recent.json"
    file.write_text(text, encoding="utf-8")
    assert context.opened() == {} and context.known_projects() == []
    [folder] = elsewhere(tmp_path / "else", 1)
    identity = context.remember(Project.open(folder))
    assert context.opened() == {identity: folder}
    assert json.loads(file.read_text(encoding="utf-8"))["elsewhere"] == {identity: str(folder)}
    assert (file.with_suffix(".broken.json")).exists() == ("@a" not in text)


def test_a_list_that_another_program_holds_is_not_written_over(context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = elsewhere(tmp_path / "else", 2)
    identity = context.remember(Project.open(first))
    real = os.open

    def held(path: Any, *args: Any, **more: Any) -> int:
        if str(path).endswith("_recent.json"):
            raise PermissionError(13, "in use", str(path))
        return real(path, *args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", held)
        with pytest.raises(UserError):
            context.remember(Project.open(second))
    assert context.opened() == {identity: first}
