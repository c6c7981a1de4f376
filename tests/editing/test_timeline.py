"""Any edits followed by as many undos leave the caption files byte for byte as they were, the project's words with them."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lora_studio.editing import EditOptions, Op, Search, edit_dataset, edit_pictures, go_to, history, redo, restore_first, steps, undo
from lora_studio.errors import OutdatedError
from lora_studio.project import Project

from .datasets import DATASETS, WORDS, state, write

TAG = st.sampled_from(WORDS)
BULK = st.builds(
    EditOptions,
    dedupe=st.booleans(),
    implied=st.booleans(),
    remove_traits=st.sampled_from([None, (), ("hair_length",)]),
    trait_frequency=st.sampled_from([0.0, 0.6]),
    trigger=st.sampled_from(["", "hana"]),
    add=st.lists(TAG, max_size=1).map(tuple),
    remove=st.lists(TAG, max_size=1).map(tuple),
    add_front=st.lists(TAG, max_size=1).map(tuple),
    sort=st.sampled_from([False, "alphabetical", "frequency"]),
    max_tags=st.sampled_from([0, 0, 2]),
    search=st.sampled_from([(), (Search("smile", "frown"),), (Search("a", "", scope="part"),)]),
)
EDITS = st.lists(
    st.one_of(
        BULK,
        st.tuples(BULK, st.sampled_from(["a.png", "b.png"])),
        st.builds(Op, op=st.sampled_from(["add", "remove", "replace"]), name=st.just(""), tag=TAG, new=TAG),
        st.just("restore"),
    ),
    min_size=1,
    max_size=6,
)


def carry_out(project: Project, edit: object) -> None:
    now = Project.open(project.folder)
    if isinstance(edit, EditOptions):
        steps.edit(now, edit)
    elif isinstance(edit, tuple):
        steps.edit(now, edit[0], [edit[1]])
    elif isinstance(edit, Op):
        name = sorted(p.name for p in project.dataset_dir.glob("*.png"))[0]
        edit_pictures(project.dataset_dir, [Op(**{**edit.__dict__, "name": name})])
    else:
        steps.restore(now)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DATASETS, EDITS)
def test_any_edits_and_as_many_undos_give_the_same_bytes(captions: dict[str, bytes | None], edits: list[object]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        project = Project.create(temporary, "p")
        folder = write(project.dataset_dir, captions)
        states, loose = [(state(folder), "")], False
        for edit in edits:
            before = len(history(folder))
            carry_out(project, edit)
            now = Project.open(project.folder)
            found = (state(folder), now.trigger)
            if len(history(folder)) > before:
                states.append(found)
            else:  # it joined the step before; or all captions had the trigger word already, and only the project took it
                loose = loose or found == (states[-1][0], "hana") != states[-1]
                states[-1] = found
        for expected in reversed(states[:-1]):
            assert steps.through(Project.open(project.folder), undo).done
            assert state(folder) == expected[0] and (loose or Project.open(project.folder).trigger == expected[1])
        assert not undo(folder).done
        for expected in states[1:]:
            assert steps.through(Project.open(project.folder), redo).done and state(folder) == expected[0]
            assert loose or Project.open(project.folder).trigger == expected[1]
        restore_first(folder)
        assert state(folder) == states[0][0]


def test_any_point_of_the_history_can_be_gone_to(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a": "1girl", "b": None})
    entries, states = [""], [state(folder)]
    for tag in ("x", "y", "z"):
        entries.append(edit_dataset(folder, EditOptions(add=(tag,))).entry)
        states.append(state(folder))
    for place in (0, 2, 1, 3, 0, 3):
        go_to(folder, entries[place])
        assert state(folder) == states[place]
        assert [line.undone for line in history(folder)] == [k > place for k in (1, 2, 3)]
    assert [line.id for line in history(folder, 1)] == [entries[3]]
    go_to(folder, entries[1])
    assert [line.id for line in history(folder, 1)] == [entries[1], entries[2]]
    with pytest.raises(OutdatedError):
        go_to(folder, "000099")


def test_undo_of_what_is_no_longer_the_latest_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a": "1girl"})
    first = edit_dataset(folder, EditOptions(add=("x",))).entry
    second = edit_dataset(folder, EditOptions(add=("y",))).entry
    with pytest.raises(OutdatedError):
        undo(folder, first)
    assert undo(folder, second).done and undo(folder, first).done
    with pytest.raises(OutdatedError):
        redo(folder, second)
    assert redo(folder, first).entry == first


def test_a_trigger_word_that_somebody_set_since_stays(tmp_path: Path) -> None:
    from dataclasses import replace

    project = Project.create(tmp_path, "p")
    write(project.dataset_dir, {"a": "1girl, long hair"})
    steps.edit(project, EditOptions(remove_traits=(), trigger="one"))
    replace(Project.open(project.folder), trigger="two").save()
    steps.through(project, undo)
    now = Project.open(project.folder)
    assert (now.trigger, now.traits) == ("two", ()) and state(project.dataset_dir) == {"a.txt": b"1girl, long hair"}


def test_sorting_leaves_the_project_s_trigger_word_first(tmp_path: Path) -> None:
    from dataclasses import replace

    project = Project.create(tmp_path, "p")
    replace(project, trigger="zed").save()
    write(project.dataset_dir, {"a": "zed, tree, hat"})
    steps.edit(Project.open(project.folder), EditOptions(sort="alphabetical", add_after=("1girl",)))
    assert state(project.dataset_dir) == {"a.txt": b"zed, 1girl, hat, tree"}
