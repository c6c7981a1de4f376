"""Against the algorithm as sd-scripts describes it, written down a second time with numpy."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.dataset import bucket_sizes, pick_bucket

SIDE = st.integers(65, 4000)


def test_the_list_for_512() -> None:
    sizes = bucket_sizes((512, 512), 256, 1024, 64)
    assert sizes[:5] == [(256, 832), (256, 896), (256, 960), (256, 1024), (320, 704)]
    assert (512, 512) in sizes
    assert (576, 448) in sizes
    assert all(w % 64 == 0 and h % 64 == 0 and w * h <= 512 * 512 and (h, w) in sizes for w, h in sizes)
    assert len(sizes) == 17


def test_the_square_is_always_there() -> None:
    assert bucket_sizes((500, 500), 256, 1024, 64).count((448, 448)) == 1
    assert (128, 128) in bucket_sizes((128, 128), 64, 256, 64)


@given(SIDE, SIDE)
def test_the_nearest_aspect_ratio_is_covered(width: int, height: int) -> None:
    sizes = bucket_sizes()
    bucket = pick_bucket(width, height, sizes)
    if (width, height) in sizes:
        assert bucket.size == bucket.resized == (width, height)
        return
    ratios = np.array([w / h for w, h in sizes])
    assert bucket.size == sizes[int(np.abs(ratios - width / height).argmin())]
    assert bucket.resized[0] >= bucket.size[0]
    assert bucket.resized[1] >= bucket.size[1]
    assert bucket.resized[0] == bucket.size[0] or bucket.resized[1] == bucket.size[1]


@given(SIDE, SIDE)
def test_without_upscaling_nothing_grows(width: int, height: int) -> None:
    bucket = pick_bucket(width, height, [], no_upscale=True, resolution=(512, 512))
    assert bucket.size[0] % 64 == bucket.size[1] % 64 == 0
    assert bucket.size[0] <= bucket.resized[0]
    assert bucket.size[1] <= bucket.resized[1]
    if width * height <= 512 * 512:
        assert bucket.resized == (width, height)
        assert bucket.size == (width // 64 * 64, height // 64 * 64)
    elif min(bucket.size) > 64:
        assert bucket.resized[0] <= width
        assert bucket.resized[1] <= height
