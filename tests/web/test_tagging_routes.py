"""The routes of the tag step: taggers, preview, tagging as a job, tag counts and vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_studio.project import Project

URL = "/lora-studio/api/v1"
VOCABULARY = """tag_id,name,category,count
9,general,9,900
1,long_hair,0,3645082
2,long_sleeves,0,1199349
3,along_the_road,0,20
4,very_long_hair,0,783428
5,saber_(fate),4,16702
6,^_^,0,88727
"""


@pytest.fixture
def tagger(context: Any) -> Path:
    """A tagger that the user dropped in: only its list is read here."""
    folder = context.studio.projects_dir / "_taggers" / "mine"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"x" * 1000)
    (folder / "selected_tags.csv").write_text(VOCABULARY, encoding="utf-8")
    return folder


def caption(project: Project, name: str, text: str) -> None:
    (project.dataset_dir / f"{name}.png").write_bytes(b"")
    (project.dataset_dir / f"{name}.txt").write_text(text, encoding="utf-8")


def words(client: Any, q: str, **more: Any) -> list[dict[str, Any]]:
    answer = client.get(f"{URL}/projects/hana/vocabulary", params={"q": q, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()["tags"]


def test_the_dataset_s_tags_come_first_then_those_that_begin_so_by_use(client: Any, project: Project, tagger: Path) -> None:
    for k in range(3):
        caption(project, f"{k}", "hana_trigger, very long hair, very long hair")
    (project.dataset_dir / "no picture.txt").write_text("long story", encoding="utf-8")
    found = words(client, "LONG")
    assert [w["tag"] for w in found] == ["very long hair", "long hair", "long sleeves", "along the road"]
    known = {"tag": "very long hair", "count": 783428, "here": 3, "group": "hair_length", "category": "general", "alias": "", "chinese": "超长发"}
    assert found[0] == known
    assert [(w["tag"], w["alias"]) for w in words(client, "超长")] == [("very long hair", "超长发")]
    assert found[1]["here"] == 0 and found[1]["group"] == "hair_length" and found[3]["group"] == ""
    assert [w["tag"] for w in words(client, "long", limit=2)] == ["very long hair", "long hair"]
    assert [w["tag"] for w in words(client, "")] == ["very long hair", "hana_trigger"]
    assert words(client, "long_sl")[0]["tag"] == "long sleeves" and words(client, "^_")[0]["tag"] == "^_^"
    assert words(client, "general") == [] and words(client, "\n") == words(client, "")


def test_words_are_spelled_as_the_project_is_tagged(client: Any, context: Any, project: Project, tagger: Path) -> None:
    Project(project.folder, project.name, settings={"tag": {"underscores": True, "escape": True}}).save()
    assert [w["tag"] for w in words(client, "sab")] == ["saber_\\(fate\\)"]


def test_counts_of_the_present_captions(client: Any, project: Project) -> None:
    caption(project, "a", "1girl, closed eyes, blue hair")
    caption(project, "b", "1girl, 1girl")
    found = client.get(f"{URL}/projects/hana/tags").json()["tags"]
    assert found == [["1girl", 2, "", ""], ["blue hair", 1, "hair_color", "trait"], ["closed eyes", 1, "eye_color", "state"]]
    caption(project, "b", "red hair")
    assert ["red hair", 1, "hair_color", "trait"] in client.get(f"{URL}/projects/hana/tags").json()["tags"]


def test_taggers_to_choose(client: Any, tagger: Path) -> None:
    found = {m["name"]: m for m in client.get(f"{URL}/tagging/models").json()["models"]}
    assert len(found) == 14
    swin = found["wd-swinv2-tagger-v3"]
    assert (swin["generation"], swin["general_threshold"], swin["character_threshold"], swin["here"]) == (3, 0.2653, 0.85, False)
    assert swin["size"] > 100_000_000 and swin["about"]
    assert (found["mine"]["kind"], found["mine"]["size"], found["mine"]["here"]) == ("folder", 1000, True)
    assert found["demo"]["here"] and found["demo"]["kind"] == "demo"


def test_settings_become_the_same_settings_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_studio import cli
    from lora_studio.studio import Studio
    from lora_studio.tagging import TagOptions
    from lora_studio.tagging.folder import TagReport
    from lora_studio.web.tagging import flags

    made = Project.create(tmp_path, "hana")
    options = TagOptions(
        model="demo", general_threshold=0.2, character_threshold=0.9, mcut=True, underscores=True, escape=True, ratings=True,
        exclude=("-1girl", "a b"), add=("hana",), rename=(("old", "new"), ("x", "y=z")), on_existing="merge", batch_size=3,
        providers=("CPUExecutionProvider",),
    )  # fmt: skip
    seen: list[TagOptions] = []

    def tag(self: Studio, project: Project, asked: TagOptions, *more: Any, **named: Any) -> TagReport:
        seen.append(asked)
        return TagReport(1, 0, (), 0, "", "demo", 0.35, 0.85)

    monkeypatch.setattr(Studio, "tag", tag)
    assert cli.main(["tag", str(made.folder), *flags(options), "--json"]) == 0
    assert cli.main(["tag", str(made.folder), *flags(TagOptions()), "--json"]) == 0
    assert seen == [options, TagOptions()]


@pytest.mark.parametrize("name", ["../mine", "/etc", "mine/..", "", "nowhere", "C:\\x", "\\\\server\\share", "<img src=x onerror=1>", "x" * 3000])
def test_a_tagger_is_chosen_from_the_list(client: Any, context: Any, project: Project, tagger: Path, name: str) -> None:
    for path in ("preview", "start"):
        body = {"options": {"model": name}} if path == "preview" else {"model": name}
        answer = client.post(f"{URL}/projects/hana/tagging/{path}", json=body)
        assert answer.status_code == 422, answer.text
    assert context.jobs.list() == []


def test_how_a_project_is_tagged(client: Any, project: Project, tagger: Path) -> None:
    caption(project, "a", "1girl, smile")
    (project.dataset_dir / "b.png").write_bytes(b"")
    found = client.get(f"{URL}/projects/hana/tagging").json()
    assert found["chosen"] is False and found["pictures"] == 2 and found["captioned"] == 1 and found["stored"] == {}
    assert client.post(f"{URL}/projects/hana/tagging/preview", json={"options": {"general_threshold": 2}}).status_code == 422
    assert client.post(f"{URL}/tagging/models/mine/download").status_code == 422
    assert client.post(f"{URL}/tagging/models/..%2fx/download").status_code in (404, 405, 422)
