"""Reading any picture a user brings as an upright RGB image."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import UserError

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".webp", ".avif", ".bmp", ".gif"})
# 256 megapixels are 0.8 GB of RGB: every camera and a 30,000 x 8,000 panorama fit, a decompression bomb does not.
MAX_PIXELS = 2**28

# Only these decoders are tried: some of Pillow's others run outside programs or are rarely looked at.
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "BMP", "DIB", "GIF")
_ORIENTATION = 0x0112
_lock = threading.Lock()
_formats: list[str] = []


def _known_formats() -> list[str]:
    if not _formats:
        Image.init()
        if "AVIF" not in Image.OPEN:
            with suppress(ImportError):  # before 11.3 Pillow leaves AVIF to this plugin, which the WebUI installs
                import pillow_avif  # noqa: F401
        _formats.extend(name for name in _FORMATS if name in Image.OPEN)
    return _formats


class PictureError(UserError):
    """A picture that cannot be used; `reason` is the part without its path, for lists of many."""

    def __init__(self, path: Path, reason: str, hint: str = "Replace it or take it out of the folder.") -> None:
        super().__init__(f"The picture {path} cannot be read: {reason}", hint)
        self.reason = reason


@contextmanager
def open_image(path: str | Path) -> Iterator[Image.Image]:
    """Open a picture's header. Pixels are decoded by whoever uses it.

    Raises PictureError for what is not a readable picture, also when the block's own
    reading fails, and for more than MAX_PIXELS.
    """
    path = Path(path)
    try:
        if path.stat().st_size == 0:
            raise PictureError(path, "the file is empty.")
        with _lock:
            # Pillow's own limit warns from 89 megapixels on; it belongs to the whole process, so it is given back.
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                # Broken metadata only makes Pillow warn; the picture is what counts.
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    image = Image.open(path, formats=_known_formats())
            finally:
                Image.MAX_IMAGE_PIXELS = limit
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise PictureError(
                    path,
                    f"{image.width} x {image.height} pixels are too many; at most {MAX_PIXELS // 10**6} megapixels are read.",
                    "Make it smaller first.",
                )
            yield image
    except UserError:
        raise
    except UnidentifiedImageError:
        raise PictureError(path, "it is not a picture in a format that is known here.") from None
    except FileNotFoundError:
        raise PictureError(path, "the file is not there.") from None
    except MemoryError:
        raise PictureError(path, "there is not enough memory for it.") from None
    except Exception as error:  # decoders raise nearly anything on damaged bytes
        raise PictureError(path, f"{error}.") from error


def _orientation(image: Image.Image) -> int:
    # Asking a PNG without metadata for its EXIF makes Pillow decode the whole picture.
    if not any(key in image.info for key in ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")):
        return 1
    try:
        with _lock, warnings.catch_warnings():  # Pillow warns of corrupt metadata
            warnings.simplefilter("ignore")
            return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # metadata written by anything; without it the picture is upright
        return 1


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height of the upright picture, from its header alone. Raises UserError when it is not a picture."""
    with open_image(path) as image:
        return image.size if _orientation(image) < 5 else (image.height, image.width)


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    """By the embedded profile when there is one: plain conversion makes printed colours glow."""
    profile = image.info.get("icc_profile")
    if profile:
        try:
            from PIL import ImageCms

            converted = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
        except Exception:  # a broken profile, or Pillow without littlecms
            pass
    return image.convert("RGB")


def to_rgb(image: Image.Image, background: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """An RGB image from any mode Pillow decodes to; what is transparent shows `background`."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow's own conversion would clip instead of scaling
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray(np.clip((values + 128) // 257, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "CMYK":
        return _cmyk_to_rgb(image)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGB", rgba.size, background)
        canvas.paste(rgba, mask=rgba.getchannel("A"))
        return canvas
    return image.convert("RGB")


def load_image(
    path: str | Path, background: tuple[int, int, int] = (255, 255, 255), at_least: tuple[int, int] | None = None
) -> Image.Image:
    """The picture as upright 8-bit RGB: EXIF turned, CMYK, 16 bits, palettes, alpha over `background`; of an animation the first frame.

    at_least: (width, height) that suffice; a JPEG is then decoded at a half, quarter or eighth of
    its size when that is still no smaller. Raises UserError when it cannot be read to the end.
    """
    with open_image(path) as image:
        orientation = _orientation(image)
        if at_least is not None and image.format in ("JPEG", "MPO"):
            image.draft(None, at_least if orientation < 5 else at_least[::-1])
        image.load()
        upright = ImageOps.exif_transpose(image) if orientation != 1 else image
        result = to_rgb(upright if upright is not None else image, background)
        return result.copy() if result is image else result
