"""Thumbnails and the listing of a folder: right way up, made once, remembered, bounded, and soft on what cannot be read."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lora_studio.dataset import listing, thumbnails
from lora_studio.dataset.listing import list_pictures, picture_path
from lora_studio.dataset.thumbnails import GROUND, best_size, cached_path, prune, thumbnail
from lora_studio.errors import UserError


def two_halves(path: Path, size: tuple[int, int] = (600, 300), **more: Any) -> Path:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, (220, 20, 20))
    image.paste((20, 20, 220), (size[0] // 2, 0, *size))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **more)
    return path


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGB")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif"])
def test_a_thumbnail_fits_its_size_and_keeps_the_shape(tmp_path: Path, suffix: str) -> None:
    small = opened(thumbnail(two_halves(tmp_path / "raw" / f"a.{suffix}"), 256, tmp_path / "cache"))
    assert small.size == (256, 128)
    left, right = np.asarray(small)[64, 20], np.asarray(small)[64, 235]
    assert left[0] > 180 > 80 > left[2] and right[2] > 180 > 80 > right[0]


def test_small_pictures_are_not_enlarged(tmp_path: Path) -> None:
    assert opened(thumbnail(two_halves(tmp_path / "a.png", (40, 30)), 256, tmp_path / "cache")).size == (40, 30)


@pytest.mark.parametrize(
    ("turn", "red_at"), [(1, "left"), (2, "right"), (3, "right"), (4, "left"), (5, "top"), (6, "top"), (7, "bottom"), (8, "bottom")]
)
def test_a_camera_held_sideways(tmp_path: Path, turn: int, red_at: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    small = opened(thumbnail(two_halves(tmp_path / "a.jpg", exif=exif), 160, tmp_path / "cache"))
    assert small.size == ((160, 80) if turn < 5 else (80, 160))
    wide, high = small.size
    middle = {"left": (8, high // 2), "right": (wide - 8, high // 2), "top": (wide // 2, 8), "bottom": (wide // 2, high - 8)}[red_at]
    red, _, blue = small.getpixel(middle)
    assert red > 150 > 90 > blue


def test_what_is_transparent_shows_the_ground(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (200, 200), (0, 0, 0, 0))
    clear.save(tmp_path / "a.png")
    clear.convert("P").save(tmp_path / "b.gif", transparency=0)
    for name in ("a.png", "b.gif"):
        pixel = opened(thumbnail(tmp_path / name, 160, tmp_path / "cache")).getpixel((80, 80))
        assert all(abs(a - b) <= 2 for a, b in zip(pixel, GROUND)), name


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((64, 64), 32768, np.uint16)).save(tmp_path / "a.png")
    assert 126 <= opened(thumbnail(tmp_path / "a.png", 160, tmp_path / "cache")).getpixel((5, 5))[0] <= 130


def test_it_is_made_once_and_anew_when_the_picture_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    real = thumbnails.small_picture
    monkeypatch.setattr(thumbnails, "small_picture", lambda path, size: made.append(path.name) or real(path, size))
    path, cache = two_halves(tmp_path / "a.png"), tmp_path / "cache"
    assert thumbnail(path, 256, cache) == thumbnail(path, 256, cache) == thumbnail(path, 200, cache)
    assert made == ["a.png"]
    assert cached_path(path, 256, cache).is_file()
    Image.new("RGB", (600, 300), (0, 255, 0)).save(path)
    assert opened(thumbnail(path, 256, cache)).getpixel((10, 10))[1] > 200
    assert len(made) == 2


def test_many_at_once_do_the_work_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    begin = threading.Barrier(8)
    real = thumbnails.small_picture
    monkeypatch.setattr(thumbnails, "small_picture", lambda path, size: made.append(1) or real(path, size))
    path = two_halves(tmp_path / "a.png")

    def ask(_: int) -> bytes:
        begin.wait()
        return thumbnail(path, 256, tmp_path / "cache")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1
    assert len(made) == 1
    assert not thumbnails._making


def test_raw_and_dataset_are_told_apart(tmp_path: Path) -> None:
    one, other = two_halves(tmp_path / "raw" / "a.png"), tmp_path / "dataset" / "a.png"
    other.parent.mkdir()
    Image.new("RGB", (600, 300), (0, 255, 0)).save(other)
    os.utime(other, ns=(one.stat().st_mtime_ns,) * 2)
    cache = tmp_path / "cache"
    assert thumbnail(one, 160, cache) != thumbnail(other, 160, cache)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    for name in ("a.png", "missing.png"):
        with pytest.raises(UserError):
            thumbnail(tmp_path / name, 160, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_without_a_place_for_the_cache_it_still_answers(tmp_path: Path) -> None:
    path = two_halves(tmp_path / "a.png")
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert opened(thumbnail(path, 160, tmp_path / "cache")).size == (160, 80)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_no_file_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for k in range(12):
        thumbnail(two_halves(tmp_path / f"{k}.jpg"), 160, tmp_path / "cache")
    assert len(os.listdir("/proc/self/fd")) <= before


def test_the_cache_stays_within_its_bounds(tmp_path: Path) -> None:
    for k in range(20):
        (tmp_path / f"{k:040x}.jpg").write_bytes(bytes(1000))
        os.utime(tmp_path / f"{k:040x}.jpg", (k, k))
    assert prune(tmp_path, 20_000) == 0
    assert prune(tmp_path, 10_000) == 12
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"{k:040x}.jpg" for k in range(12, 20)], "the oldest go"


def test_the_size_that_serves() -> None:
    assert [best_size(n) for n in (0, 160, 161, 300, 5000)] == [160, 160, 256, 512, 512]


# -- the listing ---------------------------------------------------------------


def test_sizes_are_read_once_for_each_state_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, cache = tmp_path / "raw", tmp_path / "cache"
    for name in ("b.png", "a.jpg"):
        two_halves(folder / name)
    (folder / "bad.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.png").write_bytes(b"x")
    read = []
    real = listing.image_size
    monkeypatch.setattr(listing, "image_size", lambda path: read.append(path.name) or real(path))
    monkeypatch.setattr(listing, "FRESH", 0.0)
    first = list_pictures(folder, cache)
    assert [(p.name, p.width, p.height) for p in first.pictures] == [("a.jpg", 600, 300), ("b.png", 600, 300)]
    assert [name for name, _ in first.unreadable] == ["bad.png"]
    assert list_pictures(folder, cache) == first
    assert read == ["a.jpg", "b.png", "bad.png"]
    listing._known.clear()  # another start of the program
    assert list_pictures(folder, cache) == first
    assert read[3:] == ["bad.png"], "sizes are kept; what could not be read is tried again"
    two_halves(folder / "a.jpg", (90, 50))
    (folder / "b.png").unlink()
    assert [(p.name, p.width) for p in list_pictures(folder, cache).pictures] == [("a.jpg", 90)]


def test_a_size_that_another_process_found_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The import runs with a newer Pillow: the host, which cannot open an AVIF, lists it all the same."""
    folder, cache = tmp_path / "raw", tmp_path / "cache"
    two_halves(folder / "a.png")
    list_pictures(folder, cache)
    listing._known.clear()
    monkeypatch.setattr(listing, "image_size", lambda path: pytest.fail("asked again"))
    assert [(p.width, p.height) for p in list_pictures(folder, cache).pictures] == [(600, 300)]


def test_a_missing_folder_and_a_damaged_cache(tmp_path: Path) -> None:
    assert list_pictures(tmp_path / "nowhere", tmp_path).pictures == ()
    two_halves(tmp_path / "raw" / "a.png")
    for text in ("{", "[]", '{"version":1,"kind":"sizes","files":{"a.png":["x"]}}', '{"version":1,"kind":"sizes","files":{"a.png":["x","y"]}}'):
        listing._known.clear()
        (tmp_path / "sizes_raw.json").write_text(text)
        assert len(list_pictures(tmp_path / "raw", tmp_path).pictures) == 1


@pytest.mark.parametrize("name", ["", ".", "..", "../a.png", "raw/a.png", "/etc/a.png", "C:a.png", "a\\b.png", "a.png\0", ".a.png", "a.txt", "b.png"])
def test_a_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    two_halves(tmp_path / "a.png")
    two_halves(tmp_path / "raw" / "a.png")
    (tmp_path / "raw" / "a.txt").write_text("x")
    assert picture_path(tmp_path / "raw", name) is None
    assert picture_path(tmp_path / "raw", "a.png") == tmp_path / "raw" / "a.png"


def test_a_link_to_a_secret_is_no_picture(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("x")
    try:
        (tmp_path / "a.png").symlink_to(tmp_path / "secret.key")
    except OSError:
        pytest.skip("links cannot be made here")
    assert picture_path(tmp_path, "a.png") is None
