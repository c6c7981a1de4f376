"""The index of captions: always what a recount of the files says, whoever changed them."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from lora_studio.dataset import read_caption
from lora_studio.editing import EditOptions, Op, edit_dataset, edit_pictures, normal_form, redo, undo
from lora_studio.editing.index import DatasetIndex, caption_name, open_index
from lora_studio.errors import UserError

from .datasets import CAPTIONS, DATASETS, WORDS, write


def recount(folder: Path) -> tuple[dict[str, tuple[str, ...]], dict[str, set[str]], dict[str, int]]:
    """Tags of each picture, pictures of each tag, pictures of each tag in whatever spelling: read anew from the files."""
    pictures = {p.name: read_caption(p.with_suffix(".txt")).tags for p in sorted(folder.glob("*.png"))}
    by_tag: dict[str, set[str]] = {}
    forms: Counter[str] = Counter()
    for name, tags in pictures.items():
        for tag in tags:
            by_tag.setdefault(tag, set()).add(name)
        forms.update({normal_form(tag) for tag in tags})
    return pictures, by_tag, dict(forms)


def check(index: DatasetIndex) -> None:
    pictures, by_tag, forms = recount(index.folder)
    assert {name: p.tags for name, p in index.pictures.items()} == pictures and list(index.pictures) == list(pictures)
    assert index.by_tag == by_tag
    assert {normal_form(tag): n for tag, n in index.counts()} == forms
    assert {normal_form(tag): n for tag, n in index.counts(list(pictures))} == forms
    assert {form: len(index.holders(form)) for form in forms} == forms
    for name, picture in index.pictures.items():
        assert picture.data == (path.read_bytes() if (path := index.folder / caption_name(name)).exists() else None)


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(["a", "b", "c 花", "d.e"]), CAPTIONS),
        st.tuples(st.just("picture"), st.sampled_from(["a", "g"]), st.booleans()),
        st.tuples(st.just("edit"), st.sampled_from(WORDS), st.sampled_from(WORDS)),
        st.tuples(st.just("op"), st.sampled_from(WORDS), st.integers(0, 3)),
        st.tuples(st.sampled_from(["undo", "redo"]), st.none(), st.none()),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DATASETS, CHANGES)
def test_the_index_is_what_a_recount_says_after_any_changes(captions: dict[str, bytes | None], changes: list[tuple[str, object, object]]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = write(Path(temporary) / "set", captions)
        index = open_index(folder)
        index.refresh(now=True)
        check(index)
        for kind, a, b in changes:
            if kind == "write":  # by another program, and so fast that only its bytes tell
                path = folder / f"{a}.txt"
                if b is None:
                    path.unlink(missing_ok=True)
                else:
                    path.write_bytes(b)  # type: ignore[arg-type]
            elif kind == "picture":
                path = folder / f"{a}.png"
                path.write_bytes(b"") if b else path.unlink(missing_ok=True)
            elif kind == "edit":
                edit_dataset(folder, EditOptions(replace=((str(a), str(b)),), dedupe=True))
            elif kind == "op":
                index.refresh(now=True)
                if index.pictures:
                    name = sorted(index.pictures)[int(str(b)) % len(index.pictures)]
                    edit_pictures(folder, [Op("add", name, str(a), to=int(str(b)))])
            else:
                (undo if kind == "undo" else redo)(folder)
            index.refresh(now=True)
            check(index)


def test_only_what_changed_is_read_again_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path, {f"{k:03d}": f"tag {k}" for k in range(100)})
    for path in folder.glob("*.txt"):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    index = open_index(folder)
    index.refresh(now=True)
    read: list[str] = []
    from lora_studio.editing import index as module

    original = module.caption_bytes
    monkeypatch.setattr(module, "caption_bytes", lambda path: read.append(path.name) or original(path))
    before = index.revision
    assert index.refresh(now=True) == set() and read == [] and index.revision == before
    (folder / "050.txt").write_text("other", encoding="utf-8")
    assert index.refresh(now=True) == {"050.png"} and read == ["050.txt"] and index.revision > before
    (folder / "100.png").write_bytes(b"")
    assert "100.png" in index.refresh(now=True)


def test_no_caption_stays_open(tmp_path: Path) -> None:
    folder = write(tmp_path, {f"{k:04d}": "1girl" for k in range(300)})
    open_index(folder).refresh(now=True)
    if os.path.isdir("/proc/self/fd"):
        assert not [x for x in os.listdir("/proc/self/fd") if str(folder) in os.path.realpath(f"/proc/self/fd/{x}")]


def test_pictures_of_one_stem_share_a_caption(tmp_path: Path) -> None:
    folder = write(tmp_path, {"a": "1girl, hat"})
    (folder / "a.jpg").write_bytes(b"")
    index = open_index(folder)
    index.refresh(now=True)
    assert index.owners("a.txt") == ["a.jpg", "a.png"] and index.holders("hat") == {"a.jpg", "a.png"} and len(index.captions()) == 1
    edit_pictures(folder, [Op("remove", "a.jpg", "hat")])
    assert index.pictures["a.png"].tags == ("1girl",)


def test_sizes_and_what_cannot_be_read(tmp_path: Path) -> None:
    folder = write(tmp_path, {"broken": "x"})
    Image.new("RGB", (7, 5)).save(folder / "good.png")
    index = open_index(folder)
    index.refresh(now=True)
    good, broken = index.facts("good.png"), index.facts("broken.png")
    assert (good.width, good.height, good.problem) == (7, 5, "") and good.version and broken.problem and broken.width == 0
    assert index.facts("none.png").problem
    Image.new("RGB", (9, 5)).save(folder / "good.png")
    os.utime(folder / "good.png", (1, 1))
    assert index.facts("good.png").width == 9 and index.facts("good.png").version != good.version


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        DatasetIndex(tmp_path / "none").refresh(now=True)
