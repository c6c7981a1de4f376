from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lora_studio.dataset import adopt_dataset, import_images, list_items
from lora_studio.dataset.importing import portable_stem
from lora_studio.errors import UserError
from lora_studio.project import Project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.create(tmp_path / "projects", "one")


def picture(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (24, 16), (value, 0, 0)).save(path)
    return path


def test_bytes_and_captions_come_along(tmp_path: Path, project: Project) -> None:
    source = picture(tmp_path / "in" / "sub folder" / "名前 🎀.png")
    source.with_suffix(".txt").write_bytes("少女".encode("cp932"))
    seen = []
    report = import_images([tmp_path / "in"], project, lambda done, total, message: seen.append((done, total, message)))
    copy = project.raw_dir / "名前 🎀.png"
    assert report.added == (copy,)
    assert copy.read_bytes() == source.read_bytes()
    assert copy.with_suffix(".txt").read_bytes() == "少女".encode("cp932")
    assert report.captions == 1
    assert seen == [(1, 1, "名前 🎀.png")]
    assert source.exists()


def test_bad_files_are_listed_and_the_rest_comes_in(tmp_path: Path, project: Project) -> None:
    folder = tmp_path / "in"
    picture(folder / "good.png")
    (folder / "zero.png").write_bytes(b"")
    (folder / "text.png").write_text("not a picture")
    whole = picture(folder / "cut.bmp").read_bytes()
    (folder / "cut.bmp").write_bytes(whole[: len(whole) // 2])
    (folder / "phone.heic").write_bytes(b"x")
    (folder / "notes.docx").write_bytes(b"x")
    report = import_images([folder], project)
    assert [path.name for path in report.added] == ["good.png"]
    reasons = {path.name: reason for path, reason in report.skipped}
    assert sorted(reasons) == ["cut.bmp", "phone.heic", "text.png", "zero.png"]
    assert "empty" in reasons["zero.png"]
    assert "PNG or JPEG" in reasons["phone.heic"]


def test_same_stems_are_told_apart(tmp_path: Path, project: Project) -> None:
    names = ["a.png", "a.jpg", "sub/a.png", "A.webp", "a_2.png"]
    for number, name in enumerate(names):
        picture(tmp_path / "in" / name, number * 40).with_suffix(".txt").write_text(str(number))
    shutil.rmtree(tmp_path / "in" / "x", ignore_errors=True)
    report = import_images([tmp_path / "in"], project)
    stems = [path.stem.casefold() for path in report.added]
    assert len(report.added) == 5
    assert len(set(stems)) == 5
    assert {name for _, name in report.renamed} <= {path.name for path in report.added}
    for source, name in report.renamed:
        assert (project.raw_dir / name).read_bytes() == source.read_bytes()


def test_names_other_programs_would_pass_over_are_changed(tmp_path: Path, project: Project) -> None:
    picture(tmp_path / "in" / ".hidden.png")
    report = import_images([tmp_path / "in"], project)
    assert report.renamed == ((tmp_path / "in" / ".hidden.png", "hidden.png"),)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_portable_stems(text: str) -> None:
    stem = portable_stem(text)
    assert stem
    assert not stem.startswith(".")
    assert not set(stem) & set('<>:"/\\|?*')
    assert len(stem.encode()) <= 201
    assert portable_stem(stem) == stem


def test_doing_it_twice_doubles_nothing(tmp_path: Path, project: Project) -> None:
    picture(tmp_path / "in" / "a.png")
    import_images([tmp_path / "in"], project)
    again = import_images([tmp_path / "in"], project)
    assert again.added == ()
    assert "already" in again.skipped[0][1]
    assert len(list_items(project.raw_dir)) == 1


def test_nothing_to_bring_in(tmp_path: Path, project: Project) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures") as caught:
        import_images([tmp_path / "empty"], project)
    assert "PNG" in caught.value.hint
    with pytest.raises(UserError, match="no file or folder"):
        import_images([tmp_path / "missing"], project)
    (tmp_path / "empty" / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"None of the 1 pictures.*a\.png"):
        import_images([tmp_path / "empty"], project)
    with pytest.raises(UserError, match="in the project already"):
        import_images([picture(project.raw_dir / "b.png")], project)


def test_full_disk(tmp_path: Path, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    source = picture(tmp_path / "in" / "a.png")
    before = source.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("lora_studio.patience.shutil.copyfile", full)
    with pytest.raises(UserError, match="disk is full"):
        import_images([tmp_path / "in"], project)
    assert source.read_bytes() == before
    assert list(project.raw_dir.iterdir()) == []


def test_a_notebook_s_dataset_becomes_the_originals(tmp_path: Path) -> None:
    folder = tmp_path / "Loras" / "old"
    original = picture(folder / "dataset" / "a.png")
    original.with_suffix(".txt").write_text("1girl")
    project = Project.open(folder)
    adopt_dataset(project)
    assert (project.raw_dir / "a.png").read_bytes() == original.read_bytes()
    assert (project.raw_dir / "a.txt").exists()
    assert adopt_dataset(project).added == ()
    empty = Project.create(tmp_path, "empty")
    with pytest.raises(UserError, match="no pictures"):
        adopt_dataset(empty)
