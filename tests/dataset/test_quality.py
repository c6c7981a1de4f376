"""Blur, doubles and the rest, on drawn pictures whose faults are known."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter, ImageOps

from lora_studio.dataset import listing, quality
from lora_studio.demo.raw_pictures import raw_picture
from lora_studio.demo.scene import parse_character, sample_scene
from lora_studio.wording import filled

HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=12)


@pytest.fixture(scope="module")
def drawn() -> list[Image.Image]:
    """Twelve pictures of one character: alike, yet none a copy of another."""
    rng, who = random.Random(5), parse_character("purple hair, short hair, yellow eyes, glasses")
    return [raw_picture(sample_scene(rng, who), rng).image for _ in range(12)]


def distance(a: int, b: int) -> int:
    return bin(a ^ b).count("1")


def test_a_copy_has_nearly_the_same_hash_and_another_picture_has_not(drawn: list[Image.Image], tmp_path: Path) -> None:
    hashes = [quality.perceptual_hash(p) for p in drawn]
    for picture, own in zip(drawn, hashes):
        small = picture.resize((picture.width * 2 // 5, picture.height * 2 // 5))
        small.save(tmp_path / "a.jpg", quality=50)
        with Image.open(tmp_path / "a.jpg") as again:
            assert distance(own, quality.perceptual_hash(again)) <= quality.SAME_BITS
        assert distance(own, quality.perceptual_hash(ImageOps.mirror(picture))) > quality.SAME_BITS
    others = [distance(a, b) for k, a in enumerate(hashes) for b in hashes[:k]]
    assert min(others) > quality.SAME_BITS


def test_blur_is_seen_at_any_size(drawn: list[Image.Image]) -> None:
    for picture in drawn:
        for scale in (1, 2):
            large = picture.resize((picture.width * scale, picture.height * scale))
            large.thumbnail((quality.SIDE, quality.SIDE))
            assert quality.sharpness(large.convert("L")) > quality.BLURRED * 2
            soft = large.filter(ImageFilter.GaussianBlur(4))
            assert quality.sharpness(soft.convert("L")) < quality.BLURRED


def test_many_alike_cost_little_and_a_chain_is_one_group() -> None:
    rng = np.random.default_rng(1)
    base = [int(value) for value in rng.integers(0, 2**63, 3000)]
    assert quality.clusters(base) == []  # random hashes are some 32 bits apart
    copies = [value ^ 0b101 for value in base]
    assert quality.clusters(base + copies) == [[k, k + 3000] for k in range(3000)]
    assert quality.clusters([base[0]] * 5000) == [list(range(5000))]
    chain = [(1 << k) - 1 for k in range(0, 65, quality.SAME_BITS)]  # each near the next, the ends far apart
    assert quality.clusters(chain) == [list(range(len(chain)))]
    assert quality.clusters(chain[::2]) == []
    assert quality.clusters([]) == quality.clusters([7]) == []


@settings(max_examples=80, deadline=None)
@given(HASHES, st.integers(0, 20))
def test_clusters_equal_a_plain_search(hashes: list[int], bits: int) -> None:
    groups = [{k} for k in range(len(hashes))]
    for a in range(len(hashes)):
        for b in range(a):
            if distance(hashes[a], hashes[b]) <= bits:
                one, two = next(g for g in groups if a in g), next(g for g in groups if b in g)
                if one is not two:
                    groups.remove(two)
                    one |= two
    assert sorted(map(sorted, quality.clusters(hashes, bits))) == sorted(sorted(g) for g in groups if len(g) > 1)


def test_the_report(drawn: list[Image.Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "FRESH", 0.0)
    folder, cache = tmp_path / "raw", tmp_path / "cache"
    folder.mkdir()
    cache.mkdir()
    big = drawn[0].resize((700, 1120))
    big.save(folder / "best.png")
    big.resize((350, 560)).save(folder / "lesser.jpg")
    drawn[1].resize((600, 750)).filter(ImageFilter.GaussianBlur(14)).save(folder / "soft.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (600, 2000, 3), np.uint8)).save(folder / "long.png")
    clear = drawn[2].resize((600, 600)).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize((600, 600)))
    clear.save(folder / "clear.png")
    drawn[3].resize((600, 600)).convert("RGBA").save(folder / "opaque.png")
    (folder / "broken.png").write_bytes(b"x")
    before = quality.report(folder, cache)
    assert before["pending"] == 6 and before["pictures"] == {"lesser.jpg": ["small"], "long.png": ["long"]}
    seen: list[tuple[int, int]] = []
    assert quality.check(folder, cache, lambda done, total, text: seen.append((done, total))) == 6
    assert seen[-1] == (6, 6)
    assert quality.check(folder, cache) == 0  # each is looked at once
    found = quality.report(folder, cache)
    assert found["pending"] == 0 and found["groups"] == [["best.png", "lesser.jpg"]]
    assert found["pictures"] == {"lesser.jpg": ["small", "double"], "long.png": ["long"], "soft.png": ["blurred"], "clear.png": ["clear"]}
    advice = {one["kind"]: one["names"] for one in found["advice"]}
    assert advice == {
        "count": [], "unreadable": [], "small": ["lesser.jpg"], "blurred": ["soft.png"], "double": ["lesser.jpg"], "clear": ["clear.png"],
        "long": ["long.png"],
    }  # fmt: skip
    for one in found["advice"]:
        assert filled(one["text"], one["values"])
    # A picture that changed is looked at again.
    drawn[5].resize((600, 600)).save(folder / "soft.png")
    assert quality.report(folder, cache)["pending"] == 1
    quality.check(folder, cache)
    assert "soft.png" not in quality.report(folder, cache)["pictures"]


@pytest.mark.parametrize(("size", "side"), [("512", 512), ("768", 768), ("512x640", 512), ("bucket", 512)])
def test_the_size_a_picture_needs(size: str, side: int) -> None:
    assert quality.smaller_side(size) == side
