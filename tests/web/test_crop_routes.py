"""The routes of the crop step: the draft, its changes and undo, and the jobs that carry it out."""

from __future__ import annotations

import io
import sys
import threading
import time
import zipfile
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from lora_studio.project import Project
from lora_studio.web import crop as crop_routes

API = "/lora-studio/api/v1"
URL = f"{API}/projects/hana/crop"


@pytest.fixture
def pictures(project: Project) -> Project:
    rng = np.random.default_rng(0)
    for name, size in {"a.png": (300, 200), "b.jpg": (200, 300), "wide.png": (600, 200), "small.png": (40, 40)}.items():
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(project.raw_dir / name)
    (project.raw_dir / "broken.png").write_bytes(b"nothing")
    return project


def rows(answer: Any) -> dict[str, dict[str, Any]]:
    return {one["source"]: one for one in answer.json()["entries"]}


def job_result(client: Any, identity: str) -> dict[str, Any]:
    for _ in range(600):
        job = next(j for j in client.get(f"{API}/jobs").json()["jobs"] if j["id"] == identity)
        if job["state"] != "running":
            return job
        time.sleep(0.1)
    raise AssertionError("the job does not end")


def test_every_picture_with_its_box_and_what_to_think_of(client: Any, pictures: Project) -> None:
    client.put(f"{URL}/options", json={"size": "100"})
    answer = client.get(URL)
    found = rows(answer)
    assert list(found) == ["a.png", "b.jpg", "small.png", "wide.png"]
    assert found["a.png"]["size"] == [300, 200] and found["a.png"]["box"] == [50, 0, 250, 200] and found["a.png"]["target"] == [100, 100]
    assert found["a.png"]["pending"] and not found["a.png"]["done"]
    assert found["small.png"]["left_out"] == "too_small" and found["wide.png"]["warnings"] == ["elongated"]
    whole = answer.json()
    assert [one["source"] for one in whole["skipped"]] == ["broken.png"]
    assert whole["counts"] == {
        "pictures": 5, "wanted": 3, "done": 0, "excluded": 0, "too_small": 1, "unreadable": 1, "enlarged": 0, "by_hand": 0, "more": 0,
    }  # fmt: skip
    client.put(f"{URL}/options", json={"upscale": True})
    small = rows(client.get(URL))["small.png"]
    assert small["warnings"] == ["enlarged"] and small["scale"] == 2.5 and not small["left_out"]


def test_boxes_are_changed_undone_and_redone(client: Any, pictures: Project) -> None:
    client.put(f"{URL}/options", json={"size": "100"})
    revision = client.get(URL).json()["revision"]
    answer = client.put(f"{URL}/boxes", json={"revision": revision, "changes": [{"source": "a.png", "box": [0, 0, 150, 150]}]})
    one = answer.json()["entries"][0]
    assert answer.json()["partial"] and one["box"] == [0, 0, 150, 150] and one["by_hand"] and one["method"] == "drawn" and not one["pending"]
    # Upon the state before: refused, with the present state.
    conflict = client.put(f"{URL}/boxes", json={"revision": revision, "changes": [{"source": "a.png", "excluded": True}]})
    assert conflict.status_code == 409 and conflict.json()["data"]["revision"] == revision + 1
    back = client.post(f"{URL}/undo", json={"revision": revision + 1})
    assert not back.json()["entries"][0]["by_hand"] and back.json()["redo"] == 1
    forward = client.post(f"{URL}/redo", json={})
    assert forward.json()["entries"][0]["box"] == [0, 0, 150, 150]
    # Another shape: what was drawn is fitted to it.
    wide = client.put(f"{URL}/options", json={"size": "200x100"})
    assert rows(wide)["a.png"]["box"] == [0, 0, 300, 150]
    assert client.post(f"{URL}/undo", json={}).json()["partial"] is False


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("options", {"size": "big"}), ("options", {"plan_file": "/etc/passwd"}), ("options", {"quality": "best"}), ("options", {"unknown": 1}),
        ("options", {"revision": "1"}), ("boxes", {}), ("boxes", {"changes": []}), ("boxes", {"changes": ["a.png"]}),
        ("boxes", {"changes": [{"source": "a.png", "box": [0, 0, None, 1]}]}), ("boxes", {"changes": [{"source": "nobody.png", "excluded": True}]}),
        ("boxes", {"revision": True, "changes": [{"source": "a.png", "excluded": True}]}),
    ],
)  # fmt: skip
def test_requests_that_cannot_be_used(client: Any, pictures: Project, path: str, body: dict[str, Any]) -> None:
    before = client.get(URL).json()
    answer = client.put(f"{URL}/{path}", json=body)
    assert answer.status_code == 422 and answer.json()["error"]
    assert client.get(URL).json() == before


@pytest.mark.parametrize(
    "name",
    ["..", "../a.png", "..\\a.png", "/etc/passwd", "\\\\server\\share\\a.png", "C:\\a.png", "a.png\0", "%2e%2e%2fa.png", "", None, 7, ["a.png"]],
)
def test_no_name_leads_out_of_the_folder(client: Any, pictures: Project, name: Any) -> None:
    (pictures.folder / "a.png").write_bytes(b"outside")
    answer = client.put(f"{URL}/boxes", json={"changes": [{"source": name, "excluded": True}]})
    assert answer.status_code == 422 and answer.json()["error"]
    assert client.get(URL).json()["revision"] == 0


@pytest.mark.parametrize("identity", ["nobody", "..", "%2e%2e", "a%2fb", "@0123456789abcdef", "con"])
def test_other_projects_are_not_opened(client: Any, pictures: Project, identity: str) -> None:
    for method, path in (("get", ""), ("put", "/boxes"), ("post", "/apply"), ("post", "/plan")):
        assert getattr(client, method)(f"{API}/projects/{identity}/crop{path}").status_code in (404, 405, 422)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")
def test_names_that_look_like_code_are_names(client: Any, pictures: Project) -> None:
    names = ["<img src=x onerror=alert(1)>.png", "a\"b'c.png", "x%00y.png", "日本 語.png", "a\nb.png"]
    for name in names:
        Image.new("RGB", (120, 120)).save(pictures.raw_dir / name)
    changes = [{"source": name, "excluded": True} for name in names]
    found = rows(client.put(f"{URL}/boxes", json={"changes": changes}))
    assert sorted(found) == sorted(names) and all(one["left_out"] == "excluded" for one in found.values())
    assert client.get(f"{API}/projects/hana/pictures/raw/{quote(names[0], safe='')}").status_code == 200


def test_nothing_changes_without_our_header(client: Any, pictures: Project) -> None:
    before = client.get(URL).json()
    for method, path in (("put", "/options"), ("put", "/boxes"), ("post", "/undo"), ("post", "/plan"), ("post", "/apply")):
        assert client.request(method, URL + path, json={}, headers={"X-Lora-Studio": ""}).status_code == 403
    assert client.get(URL).json() == before and not list(pictures.dataset_dir.glob("*.png"))


def test_a_plan_file_goes_from_one_project_to_another(client: Any, context: Any, pictures: Project) -> None:
    client.put(f"{URL}/options", json={"size": "100", "focal": "center"})
    client.put(f"{URL}/boxes", json={"changes": [{"source": "a.png", "box": [10, 20, 110, 120]}, {"source": "b.jpg", "excluded": True}]})
    answer = client.get(f"{URL}/plan-file")
    assert "attachment" in answer.headers["content-disposition"] and "hana-crop-plan.json" in answer.headers["content-disposition"]
    other = Project.create(context.studio.projects_dir, "other")
    for path in pictures.raw_dir.glob("*.*"):
        (other.raw_dir / path.name).write_bytes(path.read_bytes())
    there = f"{API}/projects/other/crop"
    taken = client.put(f"{there}/plan-file", json={"revision": 0, "plan": answer.json()})
    found = rows(taken)
    assert found["a.png"]["box"] == [10, 20, 110, 120] and found["b.jpg"]["left_out"] == "excluded" and taken.json()["options"]["size"] == "100"
    back = client.post(f"{there}/undo", json={}).json()
    assert back["options"]["size"] == "512" and not any(one["by_hand"] for one in back["entries"])
    for wrong in (None, [], {"entries": 1}, {"entries": [{"source": "x.png", "source_size": [9, 9], "box": [0, 0, 9, 9], "size": [9, 9]}]}):
        assert client.put(f"{there}/plan-file", json={"plan": wrong}).status_code == 422
    client.put(f"{URL}/options", json={"focal": "smart"})
    assert client.get(f"{URL}/plan-file").status_code == 422  # the best places are not known yet


def test_the_dataset_as_a_zip(client: Any, pictures: Project) -> None:
    assert client.get(f"{API}/projects/hana/archive/dataset").status_code == 422
    assert client.get(f"{API}/projects/hana/archive/runs").status_code == 422
    (pictures.dataset_dir / "花.png").write_bytes((pictures.raw_dir / "a.png").read_bytes())
    (pictures.dataset_dir / "花.txt").write_text("1girl", encoding="utf-8")
    answer = client.get(f"{API}/projects/hana/archive/dataset")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["花.png", "花.txt"] and archive.read("花.txt") == b"1girl"


@pytest.mark.slow
def test_the_look_that_two_windows_ask_for_is_one_job(client: Any, pictures: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each window asks by itself; cropping, which a person asks for, is refused the second time."""
    go_on = threading.Event()

    def run(*unused: Any) -> dict[str, Any]:
        go_on.wait(30)
        return {"skipped": []}

    monkeypatch.setattr(crop_routes, "run_command", run)
    for where, second in (("plan", 200), ("apply", 422)):
        first, again = (client.post(f"{URL}/{where}", json={}) for _ in range(2))
        assert (first.status_code, again.status_code) == (200, second)
        if second == 200:
            assert again.json()["id"] == first.json()["id"]
        go_on.set()
        assert job_result(client, first.json()["id"])["state"] == "done"
        go_on.clear()
    assert client.post(f"{URL}/plan", json={}).json()["id"] != first.json()["id"]
    go_on.set()


def test_applied_by_a_job_and_again_from_the_originals(client: Any, pictures: Project) -> None:
    client.put(f"{URL}/options", json={"size": "100"})
    client.put(f"{URL}/boxes", json={"changes": [{"source": "a.png", "box": [10, 20, 110, 120]}, {"source": "b.jpg", "excluded": True}]})
    planned = job_result(client, client.post(f"{URL}/plan", json={}).json()["id"])
    assert planned["state"] == "done" and not client.get(URL).json()["pending"]
    job = job_result(client, client.post(f"{URL}/apply", json={}).json()["id"])
    assert job["state"] == "done" and job["result"]["written"] == 2 and job["result"]["skipped"] == 3
    assert ["b.jpg", "left out by hand."] in job["result"]["listed"]
    raw = np.asarray(Image.open(pictures.raw_dir / "a.png"))
    assert np.array_equal(np.asarray(Image.open(pictures.dataset_dir / "a.png")), raw[20:120, 10:110])
    assert all(one["done"] for one in rows(client.get(URL)).values() if not one["left_out"])
    client.put(f"{URL}/boxes", json={"changes": [{"source": "a.png", "box": [0, 0, 100, 100]}]})
    assert not rows(client.get(URL))["a.png"]["done"]
    again = job_result(client, client.post(f"{URL}/apply", json={}).json()["id"])["result"]
    assert (again["written"], again["unchanged"]) == (1, 1)
    assert np.array_equal(np.asarray(Image.open(pictures.dataset_dir / "a.png")), raw[:100, :100])
    assert client.post(f"{URL}/apply", json={"force": 1}).status_code == 422
