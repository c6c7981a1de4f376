"""ZIPs of pictures: out, in again, and those that want to write elsewhere."""

from __future__ import annotations

import io
import random
import struct
import tempfile
import unicodedata
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lora_studio.dataset import import_images
from lora_studio.dataset.archive import pack, places_of, unpack
from lora_studio.errors import UserError
from lora_studio.project import Project


def picture(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(file, "PNG")
    return file.getvalue()


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_out_and_in_again(tmp_path: Path) -> None:
    one, other = Project.create(tmp_path, "one"), Project.create(tmp_path, "other")
    (one.dataset_dir / "a.png").write_bytes(picture())
    (one.dataset_dir / "a.txt").write_text("1girl", encoding="utf-8")
    (one.dataset_dir / "少女.png").write_bytes(picture("blue"))
    (one.dataset_dir / "notes.md").write_text("mine", encoding="utf-8")
    file = tmp_path / "out.zip"
    file.write_bytes(b"".join(pack(one.dataset_dir)))
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None and archive.namelist() == ["a.png", "a.txt", "少女.png"]
    report = import_images([file], other)
    assert [p.name for p in report.added] == ["a.png", "少女.png"] and report.captions == 1
    assert (other.raw_dir / "少女.png").read_bytes() == picture("blue")
    with pytest.raises(UserError, match="no pictures"):
        pack(tmp_path / "nothing here")


@pytest.mark.parametrize(
    "name",
    [
        "../evil.png",
        "../../../../evil.png",
        "/evil.png",
        "C:\\evil.png",
        "..\\..\\evil.png",
        "a/../../evil.png",
        "\\\\server\\share\\evil.png",
        "./../evil.png",
        "con/evil.png",
    ],
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    source, into = write_zip(tmp_path / "evil.zip", {name: picture(), "good.png": picture()}), tmp_path / "a" / "b"
    into.mkdir(parents=True)
    before = below(tmp_path)
    assert unpack(source, into).count == 2
    new = set(below(tmp_path)) - set(before)
    assert len(new) == 2 and all(found.startswith("a/b/") for found in new)


def test_only_pictures_and_captions_come_out(tmp_path: Path) -> None:
    files = {
        "x.exe": b"MZ", "run.py": b"1", "a.png": picture(), "a.TXT": b"1girl", "__MACOSX/._a.png": b"", ".hidden/b.png": picture(),
        "deep/c.webp": b"x", "dir/": b"",
    }  # fmt: skip
    into = tmp_path / "in"
    into.mkdir()
    assert unpack(write_zip(tmp_path / "x.zip", files), into).count == 3
    assert below(into) == ["a.png", "a.txt", "deep/c.webp"]


def members(path: Path, *files: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two files of one name
        for name, data in files:
            archive.writestr(name, data)
    return path


def test_names_that_become_one_stay_apart_each_with_its_text(tmp_path: Path) -> None:
    """What is one name here, or on another system, is told apart by a number, and the text of each picture goes with it."""
    groups = [
        ("a?", "a*", "a_"), ("A", "a"), ("\u00e9", "e\u0301"), ("x/con", "x\\con"), ("../b", "b"), ("c ", "c"), ("twice", "twice"),
        ("d/a.png", "e"), ("C:/f", "C_/f"), ("g.", "g"),
    ]  # fmt: skip
    stems = [(stem, f"{n} {k}") for n, group in enumerate(groups) for k, stem in enumerate(group)]
    files = [(stem + suffix, f"{text} {suffix}".encode()) for stem, text in stems for suffix in (".png", ".txt")]
    into = tmp_path / "in"
    into.mkdir()
    found = unpack(members(tmp_path / "x.zip", *files), into)
    assert found.count == len(files) == len(below(into)) and found.left_out == ()
    pairs = {p.read_text(encoding="utf-8").removesuffix(" .png"): p.with_suffix(".txt").read_text(encoding="utf-8") for p in into.rglob("*.png")}
    assert len(pairs) == len(files) // 2 and all(text == f"{picture} .txt" for picture, text in pairs.items())
    assert len({name.casefold() for name in below(into)}) == len(files)


@given(st.lists(st.text(alphabet="aA?*_./ \\é\u0301:", min_size=1, max_size=6), max_size=12))
def test_every_name_gets_a_place_of_its_own(names: list[str]) -> None:
    asked = [f"{name}.png" for name in names if name.strip("./\\ ")]
    found = places_of(asked)
    keys = {unicodedata.normalize("NFC", place.as_posix()).casefold() for place in found}
    assert len(found) == len(asked) == len(keys)
    assert all(not place.is_absolute() and ".." not in place.parts for place in found)


def test_what_is_not_taken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lora_studio.dataset.archive.LARGEST_FILE", 2000)
    source = write_zip(tmp_path / "x.zip", {"a.png": picture(), "big.png": bytes(3000), "photo.HEIC": b"x", "more.zip": b"PK", "read.me": b"x"})
    report = import_images([source], Project.create(tmp_path, "one"))
    assert {(p.name, reason.split(" ", 2)[2]) for p, reason in report.skipped} == {
        ("big.png", "larger than 0 GB."), ("photo.HEIC", "are not read; save it as PNG or JPEG."),
        ("more.zip", "an archive within the archive: unpack it, and give the folder."),
    }  # fmt: skip
    assert all(p.parent == source for p, _ in report.skipped) and len(report.added) == 1
    with pytest.raises(UserError, match=r"big\.png: It is larger"):
        import_images([write_zip(tmp_path / "y.zip", {"big.png": bytes(3000)})], Project.create(tmp_path, "two"))


def test_a_link_is_a_file(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link.png")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    into = tmp_path / "in"
    into.mkdir()
    unpack(tmp_path / "x.zip", into)
    assert not (into / "link.png").is_symlink() and (into / "link.png").read_bytes() == b"/etc/passwd"


def test_names_of_old_programs(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"X" * len("少女".encode()) + ".png": picture()})
    data = path.read_bytes()
    path.write_bytes(data.replace(b"X" * 6, "少女".encode()))  # as UTF-8, without saying so
    into = tmp_path / "in"
    into.mkdir()
    unpack(path, into)
    assert below(into) == ["少女.png"]


def test_what_is_no_zip_needs_a_password_or_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(tmp_path / "x.zip", tmp_path)
    locked = write_zip(tmp_path / "locked.zip", {"a.png": picture()})
    data = bytearray(locked.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(signature) + offset
        data[at : at + 2] = struct.pack("<H", 1)
    locked.write_bytes(data)
    with pytest.raises(UserError, match="cannot be unpacked"):
        unpack(locked, tmp_path)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(3 * 2**20))
    monkeypatch.setattr("lora_studio.dataset.archive.shutil.disk_usage", lambda path: type("Usage", (), {"free": 2**30 + 2**20}))
    with pytest.raises(UserError, match="room"):
        unpack(bomb, tmp_path)


def test_a_zip_without_pictures(tmp_path: Path) -> None:
    project = Project.create(tmp_path, "one")
    with pytest.raises(UserError, match=r"no pictures in x\.zip"):
        import_images([write_zip(tmp_path / "x.zip", {"a.exe": b"1"})], project)


def test_a_damaged_zip_is_told_and_harms_no_other(tmp_path: Path) -> None:
    """What zlib, LZMA and Python's own reader say of damaged bytes are errors of many kinds."""
    rng = random.Random(5)
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.writestr("a.png", picture())
            archive.writestr("\u82b1.txt", "x, y" * 50)
        for _ in range(60):
            data = bytearray(buffer.getvalue())
            for _ in range(rng.randint(1, 5)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            (tmp_path / "x.zip").write_bytes(data)
            with tempfile.TemporaryDirectory(dir=tmp_path) as folder, suppress(UserError):
                unpack(tmp_path / "x.zip", Path(folder))


def test_thousands_of_one_name_are_numbered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("lora_studio.dataset.archive.name_key", lambda name: asked.append(name) or name.casefold())  # type: ignore[func-returns-value]
    found = places_of(["a.png"] * 3000)
    assert [path.name for path in (*found[:3], found[-1])] == ["a.png", "a_2.png", "a_3.png", "a_3000.png"] and len(asked) <= 3 * len(found)
