"""Bulk edits on folders: what they change, and that any number of them can be taken back byte for byte, crashes included."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lora_studio.editing import EditOptions, edit_dataset, history, make_edit, record_captions, redo, undo
from lora_studio.editing.traits import normal_form
from lora_studio.errors import UserError

CAPTIONS: dict[str, bytes | None] = {
    "a.txt": b"1girl, purple hair, cat ears, smile, closed eyes, smile",
    "b.txt": "\ufeff1girl, purple_hair, 猫, cat_ears".encode(),
    "c.txt": "少女, purple hair, cat ears, red eyes, こんにちは".encode("cp932"),
    "d.txt": "一个女孩, purple hair, 头发很长\r\n".encode("gbk"),
    "e.txt": None,
}


def make(folder: Path, captions: dict[str, bytes | None] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in (CAPTIONS if captions is None else captions).items():
        Image.new("RGB", (4, 4)).save(folder / f"{Path(name).stem}.png")
        if data is not None:
            (folder / name).write_bytes(data)
    return folder


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.txt"))}


def tags(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


def test_frequent_traits_go_states_and_rare_ones_stay(tmp_path: Path) -> None:
    folder = make(tmp_path / "数据 set")
    report = edit_dataset(folder, EditOptions(remove_traits=(), trigger="mychar", dedupe=True))
    assert report.removed_traits == ("purple hair", "cat ears")
    assert report.kept_states == ("closed eyes",)
    assert report.kept_rare == ("red eyes",)
    assert [(t.pictures, t.frequency) for t in report.by_group["hair_color"]] == [(4, 0.8)]
    assert (report.pictures, report.changed, report.entry) == (5, 5, "000001")
    assert state(folder)["a.txt"] == b"mychar, 1girl, smile, closed eyes"
    assert state(folder)["c.txt"].decode() == "mychar, 少女, red eyes, こんにちは"
    assert state(folder)["e.txt"] == b"mychar"
    assert report.to_dict()["preview"][0] == ["a.txt", CAPTIONS["a.txt"].decode(), "mychar, 1girl, smile, closed eyes"]


def test_named_groups_states_and_the_frequency_given(tmp_path: Path) -> None:
    folder = make(tmp_path)
    report = edit_dataset(folder, EditOptions(remove_traits=("eye_color",), include_states=True, trait_frequency=0.0))
    assert set(report.removed_traits) == {"red eyes", "closed eyes"}
    with pytest.raises(UserError, match="hats"):
        edit_dataset(folder, EditOptions(remove_traits=("hats",)))
    make(tmp_path / "w", {"a.txt": b"glasses, hat, wine glass"})
    assert edit_dataset(tmp_path / "w", EditOptions(remove_traits=())).changed == 0
    assert set(edit_dataset(tmp_path / "w", EditOptions(remove_traits=("worn",))).removed_traits) == {"glasses", "hat"}


def test_order_of_application_and_the_trigger() -> None:
    captions = [tags("b, A_a, red hair, c, zed"), tags("c, red hair")]
    edit, _ = make_edit(captions, EditOptions(replace=(("a a", "c"), ("b", "a a")), remove=("zed",), remove_traits=(),
        add=("new", "c"), dedupe=True, sort="alphabetical"))
    assert edit(captions[0]) == ("a a", "c", "new")
    edit, _ = make_edit(captions, EditOptions(trigger="red hair", remove=("red_hair", "b"), remove_traits=(), sort="frequency"))
    assert edit(captions[0]) == ("red hair", "c", "A_a", "zed")


def test_tags_come_back_only_where_they_had_been(tmp_path: Path) -> None:
    folder = make(tmp_path, {"a.txt": b"x, red hair", "b.txt": b"y"})
    edit_dataset(folder, EditOptions(remove_traits=(), trait_frequency=0))
    edit_dataset(folder, EditOptions(add_back=("red hair",)))
    assert state(folder) == {"a.txt": b"x, red hair", "b.txt": b"y"}


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    folder = make(tmp_path)
    before = sorted((p, p.read_bytes()) for p in folder.rglob("*") if p.is_file())
    report = edit_dataset(folder, EditOptions(remove_traits=(), trigger="t", dry_run=True))
    assert report.changed == 5
    assert report.entry == ""
    assert sorted((p, p.read_bytes()) for p in folder.rglob("*") if p.is_file()) == before


def test_wrong_options_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        edit_dataset(make(tmp_path), EditOptions(trait_frequency=3, add=("a, b",), trigger=",", sort="size"))  # type: ignore[arg-type]
    assert all(word in caught.value.message for word in ("3", "a, b", "trigger", "size"))
    assert state(tmp_path) == {k: v for k, v in CAPTIONS.items() if v is not None}


def test_undo_and_redo_without_limit_and_a_new_edit_drops_what_was_undone(tmp_path: Path) -> None:
    folder = make(tmp_path)
    states = [state(folder)]
    for options in (EditOptions(trigger="t"), EditOptions(dedupe=True), EditOptions(remove_traits=()), EditOptions(sort="alphabetical", trigger="t")):
        assert edit_dataset(folder, options).entry
        states.append(state(folder))
    for expected in reversed(states[:-1]):
        assert undo(folder).done
        assert state(folder) == expected
    assert not undo(folder).done
    for expected in states[1:]:
        assert redo(folder).done
        assert state(folder) == expected
    assert not redo(folder).done
    undo(folder)
    undo(folder)
    assert [line.undone for line in history(folder)] == [False, False, True, True]
    edit_dataset(folder, EditOptions(add=("other",)))
    assert not redo(folder).done
    assert len(history(folder)) == 3
    first = folder / ".lora_studio" / "history" / "first"
    assert {p.name: p.read_bytes() for p in first.glob("*.txt")} == states[0]
    assert (first / "e.txt.absent").exists()


def test_what_another_program_wrote_since_is_not_lost(tmp_path: Path) -> None:
    folder = make(tmp_path)
    edit_dataset(folder, EditOptions(trigger="t"))
    (folder / "b.txt").write_bytes(b"by hand")
    report = undo(folder)
    assert [name for name, _ in report.refused] == ["b.txt"]
    assert state(folder) == {**{k: v for k, v in CAPTIONS.items() if v is not None}, "b.txt": b"by hand"}
    assert [name for name, _ in redo(folder).refused] == ["b.txt"]
    assert state(folder)["b.txt"] == b"by hand"


def test_captions_of_other_steps_are_undoable_too(tmp_path: Path) -> None:
    folder = make(tmp_path)
    before = state(folder)
    assert record_captions(folder, "tag", {"a.txt": ("x", "y"), "e.txt": ("z",)}).changed == 2
    assert state(folder)["e.txt"] == b"z"
    assert undo(folder).kind == "tag"
    assert state(folder) == before
    for name in ("../a.txt", "project.json", ".a.txt"):
        with pytest.raises(UserError):
            record_captions(folder, "tag", {name: ("x",)})


@pytest.mark.parametrize("action", ["edit", "undo", "redo"])
def test_interrupted_at_every_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str) -> None:
    """The n-th replacement fails, for every n: each caption is old or new, and afterwards undo and redo are right."""
    real = os.replace
    options = EditOptions(trigger="t", remove_traits=())
    failures = 0
    for fail_at in range(1, 40):
        folder = make(tmp_path / f"{fail_at}")
        old = state(folder)
        if action != "edit":
            edit_dataset(folder, options)
            new = state(folder)
        if action == "redo":
            undo(folder)
        calls = 0

        def failing(source: object, target: object, fail_at: int = fail_at) -> None:
            nonlocal calls
            calls += 1
            if calls >= fail_at:
                raise KeyboardInterrupt
            real(source, target)  # type: ignore[arg-type]

        monkeypatch.setattr(os, "replace", failing)
        interrupted = False
        try:
            if action == "edit":
                edit_dataset(folder, options)
            else:
                (undo if action == "undo" else redo)(folder)
        except KeyboardInterrupt:
            interrupted = True
            failures += 1
        monkeypatch.setattr(os, "replace", real)
        if action == "edit":
            make(tmp_path / "reference")
            edit_dataset(tmp_path / "reference", options)
            new = state(tmp_path / "reference")
        for name, data in state(folder).items():
            assert data in (old.get(name), new[name])
        while undo(folder).done:
            pass
        assert state(folder) == old
        if redo(folder).done:
            assert state(folder) == new
        assert not list(folder.rglob(".tmp-*"))
        if not interrupted:
            break
    assert failures >= (5 if action == "edit" else 3)


WORDS = st.sampled_from(["1girl", "red hair", "red_hair", "cat ears", "closed eyes", "smile", "猫", "glasses", "(red hair:1.2)", "Trigger"])
EDITS = st.builds(
    EditOptions,
    dedupe=st.booleans(),
    remove_traits=st.sampled_from([None, (), ("hair_color",), ("worn",)]),
    include_states=st.booleans(),
    trait_frequency=st.sampled_from([0.0, 0.6, 1.0]),
    trigger=st.sampled_from(["", "trigger", "other"]),
    add=st.lists(WORDS, max_size=2).map(tuple),
    add_back=st.lists(WORDS, max_size=1).map(tuple),
    remove=st.lists(WORDS, max_size=1).map(tuple),
    replace=st.lists(st.tuples(WORDS, WORDS), max_size=1).map(tuple),
    sort=st.sampled_from([False, "alphabetical", "frequency"]),
)
BYTES = st.one_of(st.none(), st.binary(max_size=30), st.lists(WORDS, max_size=5).map(lambda w: ", ".join(w).encode("utf-8")))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(BYTES, min_size=2, max_size=3), edits=st.lists(EDITS, min_size=1, max_size=4))
def test_as_many_undos_as_edits_give_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes | None], edits: list[EditOptions]
) -> None:
    folder = make(tmp_path_factory.mktemp("d"), {f"{i}.txt": data for i, data in enumerate(contents)})
    before = state(folder)
    done = sum(bool(edit_dataset(folder, options).entry) for options in edits)
    after = state(folder)
    assert all(undo(folder).done for _ in range(done))
    assert state(folder) == before
    assert all(redo(folder).done for _ in range(done))
    assert state(folder) == after


CAPTION = st.lists(WORDS, max_size=6).map(tuple)


def settles(options: EditOptions) -> bool:
    """Whether nothing is added that the same edit removes, whatever its prompt weight."""
    return not options.replace and not set(map(normal_form, options.add)) & set(map(normal_form, options.remove))


@settings(max_examples=150, deadline=None)
@given(captions=st.lists(CAPTION, min_size=1, max_size=4), options=EDITS.filter(settles))
def test_edits_done_twice_are_edits_done_once(captions: list[tuple[str, ...]], options: EditOptions) -> None:
    edit, _ = make_edit(captions, options)
    once = [edit(tags) for tags in captions]
    assert [edit(tags) for tags in once] == once
    assert EditOptions.from_dict(options.to_dict()) == options
    if options.trigger:
        assert all(tags[0] == options.trigger for tags in once)
    if options.dedupe:
        assert all(len(tags) == len({t.lower().replace("_", " ").replace("(red hair:1.2)", "red hair") for t in tags}) for tags in once)
