"""What people decide about single pictures, kept as a draft with undo and redo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lora_studio.crop import CropOptions, draft, edit
from lora_studio.crop.choices import Choice, decide, inside
from lora_studio.errors import OutdatedError, UserError
from lora_studio.project import Project

NUMBER = st.floats(-1e5, 1e5)
SIZE = (300, 200)
DRAWN = Choice("drawn", None, (10, 20, 110, 120), SIZE)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project.create(tmp_path, "draft")
    for name in ("a.png", "b.png"):
        Image.new("RGB", SIZE).save(project.raw_dir / name)
    (project.raw_dir / "broken.png").write_bytes(b"no picture")
    return project


# -- choices -----------------------------------------------------------------


@given(NUMBER, NUMBER, NUMBER, NUMBER, st.integers(1, 4000), st.integers(1, 4000))
def test_any_box_ends_inside_the_picture(a: float, b: float, c: float, d: float, width: int, height: int) -> None:
    left, top, right, bottom = inside((a, b, c, d), (width, height))
    assert 0 <= left < right <= width and 0 <= top < bottom <= height


def test_a_box_over_the_edge_is_moved_back_and_keeps_its_size() -> None:
    assert inside((250, -30, 350, 70), SIZE) == (200, 0, 300, 100)
    assert inside((110, 120, 10, 20), SIZE) == (10, 20, 110, 120)


def test_changes_replace_each_other_and_keep_whether_it_is_left_out() -> None:
    out = decide(Choice(), {"source": "a", "excluded": True}, SIZE)
    drawn = decide(out, {"source": "a", "box": [10, 20.4, 110, 120]}, SIZE)
    assert drawn == Choice("drawn", None, (10, 20, 110, 120), SIZE, True)
    focal = decide(drawn, {"source": "a", "focal": [1.5, -1]}, SIZE)
    assert focal == Choice("focal", (1.0, 0.0), excluded=True)
    assert decide(focal, {"source": "a", "method": "reset"}, SIZE) == Choice(excluded=True)
    assert decide(focal, {"source": "a", "excluded": False}, SIZE) == Choice("focal", (1.0, 0.0))


@pytest.mark.parametrize(
    "change",
    [
        {}, {"box": [1, 2, 3]}, {"box": [1, 2, 3, "4"]}, {"box": [1, 2, 3, float("nan")]}, {"box": [1, 2, 3, 1e30]}, {"box": "full"},
        {"focal": [0.5]}, {"focal": [True, 0.5]}, {"method": "drawn"}, {"method": 1}, {"excluded": 1},
        {"excluded": True, "focal": [0, 0]}, {"zoom": 2},
    ],
)  # fmt: skip
def test_changes_that_cannot_be_used(change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="cannot be used"):
        decide(Choice(), change, SIZE)


def test_choices_round_trip() -> None:
    for choice in (
        Choice(),
        DRAWN,
        Choice("focal", (0.25, 0.5)),
        Choice("smart"),
        Choice("center", excluded=True),
        Choice("plan", None, (0, 0, 5, 5), SIZE),
    ):
        assert Choice.from_dict(json.loads(json.dumps(choice.to_dict()))) == choice
    for wrong in ({"method": "nose"}, {"method": "focal"}, {"method": "drawn", "box": [0, 0, 400, 10], "source_size": [300, 200]}):
        with pytest.raises((ValueError, KeyError)):
            Choice.from_dict(wrong)


def test_a_box_follows_its_picture_saved_at_another_size_but_not_another_picture() -> None:
    assert DRAWN.box_for((600, 400)) == (20, 40, 220, 240)
    assert DRAWN.box_for((200, 300)) is None
    assert Choice("plan", None, (10, 20, 110, 120), SIZE).box_for((600, 400)) is None


# -- draft -------------------------------------------------------------------

CHOICES = st.sampled_from([Choice(), DRAWN, Choice("smart"), Choice(excluded=True), Choice("focal", (0.1, 0.9))])
CHANGES = st.lists(st.tuples(st.dictionaries(st.sampled_from("abc"), CHOICES, max_size=3), st.sampled_from([None, "64", "bucket"])), max_size=12)


@given(CHANGES)
def test_as_many_undos_as_changes_bring_back_the_beginning_and_redos_the_end(changes: list[tuple[dict[str, Choice], str | None]]) -> None:
    states = [draft.Draft()]
    for chosen, size in changes:
        now = draft.change(states[-1], chosen, CropOptions(size=size) if size else None)
        if now is not states[-1]:
            assert now.revision == states[-1].revision + 1
            states.append(now)
    at = draft.Draft.from_dict(json.loads(json.dumps(states[-1].to_dict())))
    assert at == states[-1]
    for earlier in reversed(states[:-1]):
        at = draft.undo(at)
        assert (at.choices, at.options) == (earlier.choices, earlier.options)
    with pytest.raises(UserError, match="nothing to undo"):
        draft.undo(at)
    for later in states[1:]:
        at = draft.redo(at)
        assert (at.choices, at.options) == (later.choices, later.options)
    with pytest.raises(UserError, match="nothing to redo"):
        draft.redo(at)


def test_a_new_change_ends_the_redos_and_old_ones_are_forgotten() -> None:
    at = draft.Draft()
    for k in range(draft.KEPT + 5):
        at = draft.change(at, {"a": Choice("focal", (k / 1000, 0.5))})
    assert len(at.past) == draft.KEPT
    at = draft.change(draft.undo(at), {"b": Choice("smart")})
    assert not at.future


def test_kept_on_disk_and_a_damaged_file_is_as_none(project: Project) -> None:
    assert draft.load(project) == draft.Draft()
    edit.change_boxes(project, [{"source": "a.png", "box": [0, 0, 100, 100]}])
    assert draft.load(project).choices == {"a.png": Choice("drawn", None, (0, 0, 100, 100), SIZE)}
    (project.studio_dir / "crop_draft.json").write_text('{"version": 1, "options": {}, "choices": []}', encoding="utf-8")
    assert draft.load(project) == draft.Draft()


def test_without_a_draft_the_last_crop_s_settings(project: Project) -> None:
    Project(project.folder, project.name, settings={"crop": {"size": "768", "plan_file": "x.json", "of a later version": 1}}).save()
    assert draft.load(Project.open(project.folder)).options == CropOptions(size="768")
    Project(project.folder, project.name, settings={"crop": {"size": "huge"}}).save()
    assert draft.load(Project.open(project.folder)).options == CropOptions()


# -- changes of a project's draft --------------------------------------------


def test_many_changes_are_one_step_and_all_or_nothing(project: Project) -> None:
    after, touched = edit.change_boxes(project, [{"source": n, "focal": [0.2, 0.3]} for n in ("a.png", "b.png")], 0)
    assert touched == {"a.png", "b.png"} and after.revision == 1
    for wrong in (
        {"source": "broken.png", "excluded": True},
        {"source": "../a.png", "excluded": True},
        {"source": 5},
        "a.png",
        {"source": "a.png", "box": []},
    ):
        with pytest.raises(UserError):
            edit.change_boxes(project, [{"source": "b.png", "method": "reset"}, wrong])
    assert draft.load(project) == after
    with pytest.raises(UserError, match="cannot be used"):
        edit.change_boxes(project, [])
    back, touched_back = edit.step(project, forward=False)
    assert touched_back == {"a.png", "b.png"} and back.choices == {}


def test_a_change_upon_an_older_state_is_refused(project: Project) -> None:
    edit.change_boxes(project, [{"source": "a.png", "excluded": True}], 0)
    for work in (
        lambda: edit.change_boxes(project, [{"source": "b.png", "excluded": True}], 0),
        lambda: edit.change_options(project, CropOptions(size="64"), 0),
        lambda: edit.step(project, False, 0),
    ):
        with pytest.raises(OutdatedError):
            work()
    assert set(draft.load(project).choices) == {"a.png"}


def test_options_are_undone_too_and_touch_every_picture(project: Project) -> None:
    edit.change_options(project, CropOptions(size="64", plan_file="x.json"))
    assert draft.load(project).options == CropOptions(size="64")
    back, touched = edit.step(project, forward=False)
    assert back.options == CropOptions() and touched is None
    again, _ = edit.step(project, forward=True)
    assert again.options.size == "64"
