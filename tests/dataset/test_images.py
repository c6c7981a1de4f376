from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from lora_studio.dataset import ImageItem, image_size, list_items, load_image, scan_folder
from lora_studio.dataset import images as images_module
from lora_studio.errors import UserError

RED, BLUE = (200, 30, 40), (30, 40, 200)


def two_colours(width: int = 64, height: int = 32) -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def close(pixel: object, colour: tuple[int, int, int], tolerance: int = 12) -> bool:
    return bool(np.abs(np.array(pixel, int) - np.array(colour)).max() <= tolerance)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif", "avif"])
def test_every_format_gives_the_same_picture(tmp_path: Path, suffix: str) -> None:
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    path = tmp_path / f"日 本 🎀.{suffix}"
    two_colours().save(path)
    image = load_image(path)
    assert (image.mode, image.size) == ("RGB", (64, 32))
    assert close(image.getpixel((8, 8)), RED)
    assert close(image.getpixel((56, 8)), BLUE)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_exif_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = two_colours(64, 32)
    T = Image.Transpose
    undo = {2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE, 6: T.ROTATE_90, 7: T.TRANSVERSE, 8: T.ROTATE_270}
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    stored.save(path, exif=exif)
    image = load_image(path)
    assert image.size == image_size(path) == (64, 32)
    assert close(image.getpixel((8, 16)), RED)
    assert close(image.getpixel((56, 16)), BLUE)


def test_corrupt_metadata_is_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    two_colours().save(path, exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x12\x01\x03")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_image(path).size == image_size(path) == (64, 32)


def rgba() -> Image.Image:
    image = two_colours().convert("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    image.paste((*RED, 255), (0, 0, 32, 32))
    return image


def palette_with_hole() -> Image.Image:
    image = Image.new("P", (64, 32), 1)
    image.putpalette([*RED, *BLUE])
    image.paste(0, (0, 0, 32, 32))
    image.info["transparency"] = 1
    return image


@pytest.mark.parametrize(("make", "suffix"), [(rgba, "png"), (rgba, "webp"), (palette_with_hole, "png"), (palette_with_hole, "gif")])
@pytest.mark.parametrize("background", [(255, 255, 255), (0, 128, 0)])
def test_what_is_transparent_shows_the_background(
    tmp_path: Path, make: Callable[[], Image.Image], suffix: str, background: tuple[int, int, int]
) -> None:
    path = tmp_path / f"a.{suffix}"
    make().save(path)
    image = load_image(path, background)
    assert close(image.getpixel((8, 8)), RED)
    assert close(image.getpixel((56, 8)), background)


def test_half_transparent_is_mixed(tmp_path: Path) -> None:
    Image.new("LA", (4, 4), (0, 128)).save(tmp_path / "a.png")
    assert close(load_image(tmp_path / "a.png").getpixel((1, 1)), (127, 127, 127), 2)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(2, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    values = np.asarray(load_image(tmp_path / "a.png"))[0, :, 0].astype(int)
    assert np.abs(values - np.arange(256)).max() <= 1


def test_printed_colours(tmp_path: Path) -> None:
    two_colours().convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    image = load_image(tmp_path / "a.jpg")
    assert image.mode == "RGB"
    assert close(image.getpixel((8, 8)), RED, 20)


def test_one_bit_and_grey(tmp_path: Path) -> None:
    Image.new("1", (4, 4), 1).save(tmp_path / "a.png")
    Image.new("L", (4, 4), 77).save(tmp_path / "b.png")
    assert load_image(tmp_path / "a.png").getpixel((0, 0)) == (255, 255, 255)
    assert load_image(tmp_path / "b.png").getpixel((0, 0)) == (77, 77, 77)


def test_of_an_animation_the_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), c) for c in (RED, BLUE)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert close(load_image(tmp_path / "a.gif").getpixel((4, 4)), RED)


def test_a_jpeg_may_be_decoded_smaller_but_not_too_small(tmp_path: Path) -> None:
    two_colours(1600, 800).save(tmp_path / "a.jpg")
    image = load_image(tmp_path / "a.jpg", at_least=(300, 150))
    assert image.size == (400, 200)


def damage(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_truncated_files(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    damage(path)
    with pytest.raises(UserError, match="cut"):
        load_image(path)


@pytest.mark.parametrize("content", [b"", b"hello, this is text", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_not_a_picture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "note.png"
    path.write_bytes(content)
    for read in (load_image, image_size):
        with pytest.raises(UserError, match=r"note\.png"):
            read(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not there"):
        load_image(tmp_path / "a.png")


def test_a_panorama_of_30_000_pixels_works_without_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "panorama.png"
    Image.new("1", (30_000, 3_100), 1).save(path)  # 93 megapixels: Pillow itself would warn
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_size(path) == (30_000, 3_100)
        assert load_image(path).size == (30_000, 3_100)
    assert Image.MAX_IMAGE_PIXELS is not None


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (8, 8)).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"30000 x 30000 pixels.*268 megapixels"):
        load_image(path)


def test_the_limit_is_inclusive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (10, 10)).save(tmp_path / "a.png")
    monkeypatch.setattr(images_module, "MAX_PIXELS", 100)
    assert image_size(tmp_path / "a.png") == (10, 10)
    monkeypatch.setattr(images_module, "MAX_PIXELS", 99)
    with pytest.raises(UserError, match="too many"):
        image_size(tmp_path / "a.png")


def test_the_header_of_a_png_is_enough_for_its_size(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 48, 3), dtype=np.uint8)).save(path)
    damage(path)
    assert image_size(path) == (48, 64)


def test_listing(tmp_path: Path) -> None:
    for name in ("b.PNG", "a b.jpg", "名前.webp", ".hidden.png"):
        two_colours().save(tmp_path / name)
    (tmp_path / "a b.txt").write_text("x")
    (tmp_path / "._a.png").write_bytes(b"macOS companion")
    (tmp_path / ".tmp-123.png").write_bytes(b"half")
    (tmp_path / "broken.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    scan = scan_folder(tmp_path)
    assert [item.path.name for item in scan.items] == [".hidden.png", "a b.jpg", "b.PNG", "名前.webp"]
    assert [path.name for path, _ in scan.unreadable] == ["broken.png"]
    item = list_items(tmp_path)[1]
    assert item == ImageItem(tmp_path / "a b.jpg", tmp_path / "a b.txt", 64, 32) == ImageItem.from_dict(item.to_dict())
    with pytest.raises(UserError, match="cannot be read"):
        list_items(tmp_path / "missing")
