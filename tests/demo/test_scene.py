"""The demo world's pictures are what their tags say."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.demo.drawer import draw
from lora_studio.demo.raw_pictures import raw_picture
from lora_studio.demo.scene import (
    BACKGROUND,
    EXTRAS,
    GROUPS,
    HAIR,
    TAGS,
    parse_character,
    sample_scene,
    scene_tags,
)
from lora_studio.errors import UserError


@given(st.integers(0, 10_000))
def test_every_scene_has_one_tag_of_each_group(seed: int) -> None:
    tags = scene_tags(sample_scene(random.Random(seed)))
    assert set(tags) <= set(TAGS) and len(tags) == len(set(tags))
    for name, group in GROUPS.items():
        count = len(set(tags) & set(group))
        assert count == 1 or (name == "style" and count == 0)


@given(st.integers(0, 10_000), st.sets(st.sampled_from(EXTRAS)), st.sampled_from(list(HAIR)))
def test_a_character_keeps_her_traits_in_every_picture(seed: int, extras: set[str], hair: str) -> None:
    character = parse_character(", ".join([hair, *extras]))
    rng = random.Random(seed)
    for _ in range(5):
        tags = scene_tags(sample_scene(rng, character))
        assert set(character.traits) <= set(tags)
        assert (set(tags) & set(EXTRAS)) - set(extras) <= {"blush"}


def test_parse_character_names_every_mistake() -> None:
    with pytest.raises(UserError) as error:
        parse_character("purple hair, red hair, moustache, blue background")
    assert "moustache" in error.value.message and "blue background" in error.value.message
    assert "purple hair, red hair" in error.value.message
    with pytest.raises(UserError):
        parse_character(" , ")


def test_parse_character_takes_underscores_and_capitals() -> None:
    assert parse_character("Purple_Hair, CAT EARS").traits[0] == "purple hair"


def test_settled_traits_do_not_change_from_run_to_run() -> None:
    assert parse_character("glasses").traits == parse_character("glasses").traits


def test_draw_is_seeded_and_has_the_background_it_says() -> None:
    scene = sample_scene(random.Random(5))
    first, again = draw(scene, random.Random(9)), draw(scene, random.Random(9))
    assert first.tobytes() == again.tobytes() and first.size == (128, 128)
    corner = np.asarray(first)[:4, :4].reshape(-1, 3).mean(0)
    assert np.abs(corner - np.array(BACKGROUND[scene.background])).max() < 12


def test_hair_colour_shows() -> None:
    rng = random.Random(3)
    for hair, colour in HAIR.items():
        character = parse_character(f"{hair}, short hair")
        picture = np.asarray(draw(sample_scene(rng, character), rng)).astype(int)
        near = (np.abs(picture - np.array(colour)).max(-1) < 24).mean()
        assert near > 0.05, hair


def test_raw_pictures_vary_in_shape_and_hold_the_figure() -> None:
    rng = random.Random(1)
    character = parse_character("red hair, long hair, twintails")
    shapes = set()
    for _ in range(12):
        raw = raw_picture(sample_scene(rng, character), rng)
        width, height = raw.image.size
        shapes.add(width > height)
        left, top, right, bottom = raw.box
        assert 0 <= left < right <= width + 1 and 0 <= top < bottom <= height + 1
        inside = np.asarray(raw.image.crop(raw.box)).astype(int)
        assert (np.abs(inside - np.array(HAIR["red hair"])).max(-1) < 24).mean() > 0.05
    assert shapes == {True, False}
