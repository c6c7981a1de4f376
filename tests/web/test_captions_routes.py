"""The routes of the edit step: filters, edits of one and of many, the history, and people who work on the same captions at once."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_studio.project import Project

URL = "/lora-studio/api/v1/projects/hana/captions"
HOSTILE = ["<img src=x onerror=alert(1)>", "../../etc/passwd", '"; DROP TABLE', "{{7*7}}", "\\\\server\\share", "%2e%2e%2f", "猫耳", "a" * 300]


@pytest.fixture
def dataset(project: Project) -> Path:
    for name, text in (("a", "1girl, long hair, smile, smile"), ("b", "1girl, long_hair, red eyes"), ("c 花", "1boy, smile")):
        Image.new("RGB", (8, 6)).save(project.dataset_dir / f"{name}.png")
        (project.dataset_dir / f"{name}.txt").write_text(text, encoding="utf-8")
    Image.new("RGB", (8, 6)).save(project.dataset_dir / "d.png")
    return project.dataset_dir


@pytest.fixture
def told(context: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What other pages are told."""
    found: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(context.hub, "publish", lambda kind, project, data: found.append((kind, data)))
    return found


def text(dataset: Path, name: str) -> str:
    return (dataset / f"{name}.txt").read_text(encoding="utf-8")


def post(client: Any, path: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
    answer = client.post(f"{URL}/{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def find(client: Any, **query: Any) -> dict[str, Any]:
    answer = client.get(URL, params={k: json.dumps(v) if isinstance(v, list) else v for k, v in query.items()})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_pictures_of_a_filter_with_what_a_card_shows(client: Any, dataset: Path) -> None:
    everything = find(client)
    assert everything["names"] == ["a.png", "b.png", "c 花.png", "d.png"]
    assert (everything["total"], everything["captions"], everything["repeated"]) == (4, 3, 1)
    card = everything["pictures"]["b.png"]
    assert card["tags"] == ["1girl", "long_hair", "red eyes"] and card["size"] == [8, 6] and card["v"] and card["tokens"] > 4
    assert find(client, filter='tag:"long hair"')["names"] == ["a.png", "b.png"]
    assert find(client, filter="tag:long_hair -tag:smile")["names"] == ["b.png"]
    assert find(client, include=["LONG HAIR"], exclude=["smile"])["names"] == ["b.png"]
    assert find(client, filter="count:>2 OR is:empty", sort="-count")["names"] == ["a.png", "b.png", "d.png"]
    assert post(client, "read", {"names": ["c 花.png", "none.png", "../a.png"]})["pictures"].keys() == {"c 花.png"}


def test_a_wrong_filter_says_what_is_wrong_and_where(client: Any, dataset: Path) -> None:
    answer = client.get(URL, params={"filter": "smile colour:red"})
    assert answer.status_code == 422
    assert answer.json()["error"] == "There is no filter colour:." and answer.json()["data"] == {"at": 6} and "trait" in answer.json()["hint"]
    assert client.get(URL, params={"include": "not json"}).status_code == 422
    assert client.get(URL, params={"sort": "size"}).status_code == 422


def test_tags_by_frequency_among_those_wanted_and_all(client: Any, dataset: Path) -> None:
    found = client.get(URL + "/tags").json()["tags"]
    assert ["1girl", 2, 2, "", ""] in found and ["long hair", 2, 2, "hair_length", "trait"] in found and found[0][1] == 2
    some = client.get(URL + "/tags", params={"filter": "tag:1boy"}).json()["tags"]
    assert some == [["1boy", 1, 1, "", ""], ["smile", 1, 2, "", ""]]


def test_edits_of_a_picture_are_on_disk_at_once_told_and_undone(client: Any, dataset: Path, told: list[Any]) -> None:
    done = post(client, "ops", {"ops": [{"op": "add", "name": "a.png", "tag": "hat, red dress", "to": 1}], "tab": "t1"})
    assert done["tags"]["a.png"] == ["1girl", "hat", "red dress", "long hair", "smile", "smile"] and done["elsewhere"] == []
    assert text(dataset, "a") == "1girl, hat, red dress, long hair, smile, smile"
    assert told == [("dataset", {"what": "edit", "tab": "t1", "names": ["a.png"], "count": 1})]
    assert done["present"] == {"undo": done["entry"], "redo": ""}
    back = post(client, "undo", {"entry": done["entry"]})
    assert back["names"] == ["a.png"] and text(dataset, "a") == "1girl, long hair, smile, smile" and back["present"]["redo"] == done["entry"]
    assert post(client, "redo", {})["done"] and text(dataset, "a").startswith("1girl, hat")


def test_an_edit_upon_outdated_tags_loses_nothing(client: Any, dataset: Path) -> None:
    seen = ["1girl", "long hair", "smile", "smile"]
    (dataset / "a.txt").write_text("1girl, long hair, smile, blue sky", encoding="utf-8")  # another program
    # One tag more or less fits whatever is there, and says that it was another state than the page showed.
    done = post(client, "ops", {"ops": [{"op": "remove", "name": "a.png", "tag": "smile", "at": 2, "seen": seen}]})
    assert done["elsewhere"] == ["a.png"] and text(dataset, "a") == "1girl, long hair, blue sky"
    # All tags anew would lose what somebody else wrote: refused, with the tags as they are.
    refused = post(client, "ops", {"ops": [{"op": "set", "name": "a.png", "tags": ["cat"], "seen": seen}]}, 409)
    assert refused["data"] == {"tags": {"a.png": ["1girl", "long hair", "blue sky"]}} and text(dataset, "a") == "1girl, long hair, blue sky"
    post(client, "ops", {"ops": [{"op": "set", "name": "a.png", "tags": ["cat"], "seen": refused["data"]["tags"]["a.png"]}]})
    assert text(dataset, "a") == "cat"


def test_a_bulk_edit_is_previewed_then_done_to_some_or_all(client: Any, dataset: Path, told: list[Any]) -> None:
    dry = post(client, "edit", {"options": {"dedupe": True, "dry_run": True}})
    assert (dry["changed"], dry["entry"], dry["preview"]) == (1, "", [["a.txt", "1girl, long hair, smile, smile", "1girl, long hair, smile"]])
    assert text(dataset, "a") == "1girl, long hair, smile, smile" and told == []
    done = post(client, "edit", {"options": {"dedupe": True}, "revision": dry["revision"]})
    assert done["changed"] == 1 and done["names"] == ["a.png"] and text(dataset, "a") == "1girl, long hair, smile"
    post(client, "edit", {"options": {"add_front": ["hat"]}, "names": ["b.png", "no.png"]})
    assert text(dataset, "b").startswith("hat, ") and not text(dataset, "a").startswith("hat")
    post(client, "edit", {"options": {"remove": ["smile"]}, "wanted": {"filter": "tag:1boy"}})
    assert text(dataset, "c 花") == "1boy" and "smile" in text(dataset, "a")


def test_a_bulk_edit_upon_an_outdated_preview_is_refused_with_the_present_one(client: Any, dataset: Path) -> None:
    dry = post(client, "edit", {"options": {"remove": ["smile"], "dry_run": True}})
    post(client, "ops", {"ops": [{"op": "add", "name": "d.png", "tag": "smile"}]})
    refused = post(client, "edit", {"options": {"remove": ["smile"]}, "revision": dry["revision"]}, 409)
    assert refused["data"]["changed"] == 3 and "smile" in text(dataset, "a")
    assert post(client, "edit", {"options": {"remove": ["smile"]}, "revision": refused["data"]["revision"]})["changed"] == 3


def test_traits_go_the_trigger_comes_first_and_undo_brings_the_project_back(client: Any, context: Any, dataset: Path) -> None:
    options = {"remove_traits": [], "trait_frequency": 0.2, "trigger": "hana1", "keep": ["red eyes"]}
    dry = post(client, "edit", {"options": {**options, "dry_run": True}})
    assert {t["tag"]: t["pictures"] for t in dry["by_group"]["hair_length"]} == {"long hair": 2} and "eye_color" not in dry["by_group"]
    done = post(client, "edit", {"options": options, "revision": dry["revision"]})
    assert done["trigger"] == "hana1" and done["traits"] == ["long hair"]
    assert text(dataset, "b") == "hana1, 1girl, red eyes" and text(dataset, "d") == "hana1"
    assert context.project("hana").trigger == "hana1"
    back = post(client, "undo", {"entry": done["entry"]})
    assert (back["trigger"], back["traits"]) == ("", []) and context.project("hana").trigger == ""
    assert text(dataset, "b") == "1girl, long_hair, red eyes" and not (dataset / "d.txt").exists()
    assert post(client, "redo", {})["trigger"] == "hana1" and context.project("hana").traits == ("long hair",)


def test_undo_of_what_is_no_longer_the_last_edit_is_refused(client: Any, dataset: Path) -> None:
    first = post(client, "edit", {"options": {"remove": ["smile"]}})["entry"]
    post(client, "edit", {"options": {"remove": ["1boy"]}})
    refused = post(client, "undo", {"entry": first}, 409)
    assert len(refused["data"]["lines"]) == 2 and text(dataset, "c 花") == ""


def test_history_any_point_and_the_first_state(client: Any, dataset: Path) -> None:
    begin = {p.name: p.read_bytes() for p in dataset.glob("*.txt")}
    entries = [post(client, "edit", {"options": {"add": [tag]}})["entry"] for tag in ("x", "y", "z")]
    lines = client.get(URL + "/history").json()
    assert [line["id"] for line in lines["lines"]] == entries and lines["steps"] == 3 and lines["first"] == 4
    assert lines["lines"][0]["details"]["add"] == ["x"] and lines["lines"][0]["files"] == 4
    assert post(client, "goto", {"entry": entries[0]})["steps"] == 2 and text(dataset, "d") == "x"
    assert [line["undone"] for line in client.get(URL + "/history").json()["lines"]] == [False, True, True]
    assert post(client, "restore", {})["changed"] == 4
    assert {p.name: p.read_bytes() for p in dataset.glob("*.txt")} == begin
    post(client, "undo", {})
    assert text(dataset, "d") == "x"


@pytest.mark.parametrize("tag", HOSTILE)
def test_hostile_tags_are_text(client: Any, dataset: Path, tag: str) -> None:
    done = post(client, "ops", {"ops": [{"op": "add", "name": "d.png", "tag": tag}]})
    assert done["tags"]["d.png"] == [tag] and text(dataset, "d") == tag
    answer = client.get(URL, params={"include": json.dumps([tag])})
    assert answer.json()["names"] == ["d.png"] and answer.headers["content-type"].startswith("application/json")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert any(row[0] == tag for row in client.get(URL + "/tags").json()["tags"])
    post(client, "edit", {"options": {"remove": [tag]}})
    assert text(dataset, "d") == ""


@pytest.mark.parametrize("name", ["../a.png", "..\\a.png", "/etc/passwd", "", ".lora_studio", "a.txt", "no.png", "C:a.png", "\\\\s\\a.png"])
def test_hostile_names_reach_no_file(client: Any, dataset: Path, name: str) -> None:
    before = {p.name: p.read_bytes() for p in dataset.glob("*.txt")}
    post(client, "ops", {"ops": [{"op": "set", "name": name, "tags": ["x"]}]}, 422)
    assert post(client, "edit", {"options": {"add": ["x"]}, "names": [name]})["changed"] == 0
    assert {p.name: p.read_bytes() for p in dataset.glob("*.txt")} == before
    assert not list(dataset.parent.glob("*.txt"))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("ops", {"ops": "no"}), ("ops", {"ops": [{"op": "burn", "name": "a.png"}]}), ("ops", {"ops": [{"op": "add", "name": "a.png", "tag": " , "}]}),
        ("ops", {"ops": [{"op": "move", "name": "a.png", "tag": "smile"}]}), ("edit", {"options": {"colour": 1}}), ("edit", {"options": []}),
        ("edit", {"options": {}, "names": "a.png"}), ("edit", {"options": {}, "revision": "1"}), ("edit", {"options": {"add": ["a, b"]}}),
        ("edit", {"options": {"search": [{"find": "(a+", "new": "", "regex": True}]}}), ("edit", {"options": {}, "wanted": {"filter": "("}}),
        ("undo", {"entry": 3}), ("read", {"names": [1]}),
    ],
)  # fmt: skip
def test_what_means_nothing_is_refused(client: Any, dataset: Path, path: str, body: dict[str, Any]) -> None:
    assert post(client, path, body, 422)["error"]


def test_a_project_without_a_dataset_shows_nothing(client: Any, project: Project) -> None:
    assert find(client)["names"] == [] and client.get(URL + "/tags").json()["tags"] == [] and post(client, "undo", {})["done"] is False
    assert client.get(URL + "/history").json()["lines"] == [] and any(g["optional"] for g in client.get(URL + "/groups").json()["groups"])
    assert client.get(URL.replace("hana", "nobody")).status_code == 422


def test_a_filter_that_matches_for_ever_holds_up_nobody(client: Any, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_studio.editing import matching, query

    (dataset / "b.txt").write_text("a" * 3000, encoding="utf-8")
    started = threading.Event()
    start = matching._exchange
    monkeypatch.setattr(matching, "_exchange", lambda *asked: (started.set() if b"!" in asked[1] and b"aaa" in asked[1] else None) or start(*asked))
    monkeypatch.setattr(query, "LIMIT", 3.0)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(client.get(URL, params={"filter": "caption:/(.|a)+!/"})))
    thread.start()
    assert started.wait(20)
    assert find(client, filter="/smile$/")["names"] == ["a.png", "c 花.png"]
    assert find(client, filter="*a*a*a*!")["names"] == [] and len(find(client)["names"]) == 4
    assert post(client, "ops", {"ops": [{"op": "add", "name": "a.png", "tag": "hat"}]})["names"] == ["a.png"]
    assert client.get("/lora-studio/api/v1/projects").status_code == 200
    assert not found
    thread.join()
    assert found[0].status_code == 422 and "takes too long" in found[0].json()["error"] and found[0].json()["data"] == {"at": 0}
