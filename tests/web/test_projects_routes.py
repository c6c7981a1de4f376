"""Projects over the web: listed, made, opened, filled by uploads and by path, looked at; names and paths that are none."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from lora_studio.project import Project

API = "/lora-studio/api/v1/"


def png(path: Path, size: tuple[int, int] = (64, 48), colour: tuple[int, int, int] = (200, 40, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def finished(client: Any, job: dict[str, Any], seconds: float = 120) -> dict[str, Any]:
    """A job's last word."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        jobs = client.get(API + "jobs").json()["jobs"]
        now = next(one for one in jobs if one["id"] == job["id"])
        if now["state"] != "running":
            return now
        time.sleep(0.1)
    raise AssertionError("the job did not end")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_make_list_and_look(client: Any, context: Any) -> None:
    assert client.get(API + "projects").json() == {"projects": [], "unreadable": [], "paths_allowed": True}
    made = client.post(API + "projects", json={"name": "花 hana"})
    assert made.status_code == 201 and made.json()["id"] == "花 hana"
    assert set(made.json()) == {"id", "name", "folder", "trigger", "traits", "overview", "cut_off"}
    assert set(made.json()["overview"]) == {"project", "crop", "tag", "edit", "train", "test"}
    png(context.studio.projects_dir / "花 hana" / "raw" / "b.png")
    png(context.studio.projects_dir / "花 hana" / "raw" / "a.png")
    [card] = client.get(API + "projects").json()["projects"]
    assert card["id"] == card["name"] == "花 hana" and card["pictures"] == 2 and card["cover"] == ["raw", "a.png"]
    one = client.get(API + "projects/" + quote("花 hana")).json()
    assert one["overview"]["project"]["done"] and one["overview"]["project"]["note"] == ["{n} {picture|pictures}", {"n": 2}]
    again = client.post(API + "projects", json={"name": "花 hana"})
    assert again.status_code == 422 and "exists" in again.json()["error"]


@pytest.mark.parametrize("name", ["", " ", "..", "../x", "a/b", "a\\b", "C:", "C:\\x", "\\\\server\\x", "con", "a?", "a\0b", ".x", "x" * 300])
def test_names_that_are_none(client: Any, context: Any, name: str) -> None:
    before = names(context.studio.projects_dir.parent)
    answer = client.post(API + "projects", json={"name": name})
    assert answer.status_code == 422 and answer.json()["error"]
    assert names(context.studio.projects_dir) == set() and names(context.studio.projects_dir.parent) == before


@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>", '"><svg>', "javascript:alert(1)"])
def test_a_name_with_markup_is_no_file_name(client: Any, context: Any, name: str) -> None:
    assert client.post(API + "projects", json={"name": name}).status_code == 422
    assert names(context.studio.projects_dir) == set()


@pytest.mark.parametrize("body", [{}, {"name": 1}, {"name": None}, {"name": ["a"]}, {"name": "a", "more": 1}, [], "a"])
def test_bodies_that_are_none(client: Any, context: Any, body: Any) -> None:
    assert client.post(API + "projects", json=body).status_code == 422
    assert names(context.studio.projects_dir) == set()


@pytest.mark.parametrize("identity", ["gone", "..", "%2e%2e", "..%2fhana", "@0123456789abcdef", "@..%2f..", "hana%00", "%5c%5cserver%5cx"])
def test_ids_that_are_none(client: Any, project: Project, identity: str) -> None:
    for method, path in (("GET", ""), ("GET", "/check"), ("GET", "/pictures/trash"), ("PUT", ""), ("DELETE", ""), ("POST", "/import")):
        answer = client.request(method, API + "projects/" + identity + path, json=None if method in ("GET", "DELETE") else {"trigger": "x"})
        assert 400 <= answer.status_code < 500, (method, path)
    assert Project.open(project.folder).trigger == ""


def test_reading_and_changing_need_the_pages_own_header(app: Any, project: Project) -> None:
    from fastapi.testclient import TestClient

    with TestClient(app) as bare:
        assert bare.get(API + "projects").status_code == 403
        assert bare.post(API + "projects", json={"name": "x"}).status_code == 403
        assert bare.put(API + "projects/hana", json={"trigger": "x"}).status_code == 403
        assert bare.post(API + "projects/hana/uploads?name=a.png", content=b"x").status_code == 403
    assert Project.open(project.folder).trigger == ""


def test_the_trigger_word(client: Any, project: Project) -> None:
    answer = client.put(API + "projects/hana", json={"trigger": "  hanako  "})
    assert answer.json()["trigger"] == "hanako" and Project.open(project.folder).trigger == "hanako"
    assert client.put(API + "projects/hana", json={"trigger": "x", "folder": "/tmp"}).status_code == 422


def test_a_folder_elsewhere_is_opened_remembered_and_forgotten(client: Any, tmp_path: Path) -> None:
    other = tmp_path / "Loras" / "yuki"
    png(other / "dataset" / "a.png")
    opened = client.post(API + "projects/open", json={"path": f'"{other}"'}).json()
    assert opened["id"].startswith("@") and opened["name"] == "yuki"
    assert client.get(API + f"projects/{opened['id']}").json()["overview"]["crop"]["done"]
    [card] = client.get(API + "projects").json()["projects"]
    assert card["id"] == opened["id"] and card["cover"] == ["dataset", "a.png"] and card["pictures"] == 1
    assert client.delete(API + f"projects/{opened['id']}").status_code == 200
    assert client.get(API + "projects").json()["projects"] == []
    assert client.get(API + f"projects/{opened['id']}").status_code == 422
    assert names(other / "dataset") == {"a.png"}  # the folder itself is nobody's to touch


def test_a_project_of_the_projects_folder_is_not_forgotten(client: Any, project: Project) -> None:
    assert client.delete(API + "projects/hana").status_code == 422
    assert project.folder.is_dir()


@pytest.mark.parametrize("path", ["", "relative/folder", "~", ".", "\0"])
def test_paths_that_are_none(client: Any, project: Project, path: str) -> None:
    assert client.post(API + "projects/open", json={"path": path}).status_code == 422
    assert client.post(API + "projects/hana/import", json={"paths": [path]}).status_code == 422


def test_no_paths_where_the_host_allows_none(client: Any, context: Any, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(context.host), "paths_allowed", lambda self: False)
    png(tmp_path / "mine" / "a.png")
    assert client.get(API + "projects").json()["paths_allowed"] is False
    for answer in (
        client.post(API + "projects/open", json={"path": str(project.folder)}),
        client.post(API + "projects/hana/import", json={"paths": [str(tmp_path / "mine")]}),
    ):
        assert answer.status_code == 422 and "switched off" in answer.json()["error"]
    assert client.get(API + "jobs").json()["jobs"] == [] and names(project.raw_dir) == set()


# -- what is in a project ---------------------------------------------------------


def test_a_folder_is_brought_in_and_looked_at(client: Any, project: Project, tmp_path: Path) -> None:
    mine = tmp_path / "my pictures"
    png(mine / "a.png")
    png(mine / "deeper" / "b.png", colour=(10, 200, 10))
    job = finished(client, client.post(API + "projects/hana/import", json={"paths": [str(mine)]}).json())
    assert job["state"] == "done" and names(project.raw_dir) == {"a.png", "b.png"} and names(mine) == {"a.png", "deeper"}
    before = client.get(API + "projects/hana/check").json()
    assert before["pending"] == 2 and before["where"] == "raw"
    jobs = [client.post(API + "projects/hana/check").json() for _ in range(2)]  # two windows ask by themselves
    assert jobs[0]["id"] == jobs[1]["id"]
    job = finished(client, jobs[0])
    assert job["state"] == "done", job
    after = client.get(API + "projects/hana/check").json()
    assert after["pending"] == 0 and "small" in after["pictures"]["a.png"] and "blurred" in after["pictures"]["a.png"]
    assert [one["kind"] for one in after["advice"]][:2] == ["count", "small"]


def test_taken_out_and_brought_back(client: Any, project: Project) -> None:
    png(project.raw_dir / "a.png")
    (project.raw_dir / "a.txt").write_text("1girl", encoding="utf-8")
    url = API + "projects/hana/pictures/"
    batch = client.post(url + "remove", json={"where": "raw", "names": ["a.png"]}).json()["batch"]
    assert names(project.raw_dir) == set()
    [one] = client.get(url + "trash").json()["batches"]
    assert (one["batch"], one["where"], one["names"]) == (batch, "raw", ["a.png"])
    assert client.post(url + "restore", json={"batch": batch}).json() == {"names": ["a.png", "a.txt"]}
    assert names(project.raw_dir) == {"a.png", "a.txt"} and client.get(url + "trash").json() == {"batches": []}


@pytest.mark.parametrize(
    ("where", "chosen"),
    [("raw", ["../project.json"]), ("..", ["a.png"]), ("raw", []), ("raw", "a.png"), ("raw", ["gone.png"]), ("raw", ["/etc/x"])],
)
def test_what_cannot_be_taken_out(client: Any, project: Project, where: str, chosen: Any) -> None:
    png(project.raw_dir / "a.png")
    assert client.post(API + "projects/hana/pictures/remove", json={"where": where, "names": chosen}).status_code == 422
    assert names(project.raw_dir) == {"a.png"} and (project.folder / "project.json").exists()


@pytest.mark.parametrize("batch", ["", "..", "../raw", "/tmp", "gone", "\0"])
def test_batches_that_are_none(client: Any, project: Project, batch: str) -> None:
    assert client.post(API + "projects/hana/pictures/restore", json={"batch": batch}).status_code == 422


def test_another_name(client: Any, context: Any, project: Project) -> None:
    png(project.raw_dir / "a.png")
    renamed = client.post(API + "projects/hana/rename", json={"name": "雪 yuki"})
    assert renamed.status_code == 200 and renamed.json()["id"] == renamed.json()["name"] == "雪 yuki"
    assert client.get(API + "projects/hana").status_code == 422 and names(context.studio.projects_dir) == {"雪 yuki"}
    assert client.get(API + "projects/" + quote("雪 yuki") + "/pictures?where=raw").json()["total"] == 1
    for wrong in ("../x", "", "a/b"):
        assert client.post(API + "projects/" + quote("雪 yuki") + "/rename", json={"name": wrong}).status_code == 422
    assert names(context.studio.projects_dir) == {"雪 yuki"}


def test_no_other_name_while_something_runs(client: Any, context: Any, project: Project) -> None:
    import threading

    hold = threading.Event()
    job = context.jobs.start("check", "hana", lambda progress: hold.wait(30))
    answer = client.post(API + "projects/hana/rename", json={"name": "yuki"})
    hold.set()
    context.jobs.wait(job.id, 30)
    assert answer.status_code == 422 and "runs" in answer.json()["error"] and project.folder.is_dir()


def test_a_folder_elsewhere_gets_a_name_and_keeps_its_folder(client: Any, tmp_path: Path) -> None:
    other = tmp_path / "Loras" / "yuki"
    png(other / "dataset" / "a.png")
    identity = client.post(API + "projects/open", json={"path": str(other)}).json()["id"]
    renamed = client.post(API + f"projects/{identity}/rename", json={"name": "mine"}).json()
    assert (renamed["id"], renamed["name"], renamed["folder"]) == (identity, "mine", str(other)) and names(other.parent) == {"yuki"}
    assert [card["name"] for card in client.get(API + "projects").json()["projects"]] == ["mine"]


def test_no_rename_beside_a_job(client: Any, context: Any, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while one runs; and none begins meanwhile."""
    go, seen = threading.Event(), []
    job = context.jobs.start("check", "hana", lambda progress: go.wait(20))
    answer = client.post(API + "projects/hana/rename", json={"name": "yuki"})
    assert answer.status_code == 422 and "runs for this project" in answer.json()["error"] and project.folder.is_dir()
    go.set()
    context.jobs.wait(job.id, 20)
    real = type(context.studio).rename

    def renaming(self: Any, opened: Project, name: str) -> Project:
        seen.append(client.post(API + "projects/hana/check"))
        seen.append(client.post(API + "projects/hana/rename", json={"name": "other"}))
        return real(self, opened, name)

    monkeypatch.setattr(type(context.studio), "rename", renaming)
    assert client.post(API + "projects/hana/rename", json={"name": "yuki"}).status_code == 200
    assert [one.status_code for one in seen] == [422, 422] and "being renamed" in seen[0].json()["error"]
    assert names(project.folder.parent) == {"yuki"}
