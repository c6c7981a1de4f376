from __future__ import annotations

import numpy as np
import pytest

from lora_studio.evaluation.families import families, family, plain
from lora_studio.evaluation.scores import Reader, found, tally

TAGS = ("red hair", "blue hair", "long hair", "short hair", "very long hair", "glasses", "red eyes", "blue eyes", "smile")
READER = Reader(TAGS, (0.35,) * len(TAGS))


def picture(**probabilities: float) -> np.ndarray:
    row = np.zeros(len(TAGS), np.float32)
    for name, p in probabilities.items():
        row[TAGS.index(name.replace("_", " "))] = p
    return row


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("Blue_Hair", "colour of hair"),
        ("light blue hair", "colour of hair"),
        ("white shirt", "colour of shirt"),
        ("grey background", "colour of background"),
        ("long hair", "hair length"),
        ("very long hair", ""),
        ("closed mouth", "mouth"),
        ("smile", ""),
        ("simple background", ""),
        ("dark skin", ""),
        ("red", ""),
        ("blue school uniform", ""),
    ],
)
def test_family(tag: str, name: str) -> None:
    assert family(tag) == name


def test_families_keep_order_and_drop_loners() -> None:
    assert families(TAGS) == {
        "colour of hair": ("red hair", "blue hair"),
        "hair length": ("long hair", "short hair"),
        "colour of eyes": ("red eyes", "blue eyes"),
    }


def test_plain() -> None:
    assert plain("  Blue_Hair ") == "blue hair"
    assert plain(r"ganyu_\(genshin_impact\)") == "ganyu (genshin impact)"
    assert plain("^_^") == "^_^"


def test_threshold_is_exceeded_not_met() -> None:
    assert found(Reader(("glasses",), (0.5,)), np.array([0.5], np.float32), ["glasses"]) == {"glasses": False}
    assert found(READER, picture(glasses=0.36), ["glasses"]) == {"glasses": True}


def test_a_more_probable_rival_wins() -> None:
    assert found(READER, picture(blue_hair=0.6, red_hair=0.9), ["blue hair"]) == {"blue hair": False}
    assert found(READER, picture(blue_hair=0.6, red_hair=0.5), ["Blue_hair"]) == {"blue hair": True}


def test_two_wanted_of_one_family_do_not_exclude_each_other() -> None:
    both = found(READER, picture(red_eyes=0.8, blue_eyes=0.7), ["red eyes", "blue eyes"])
    assert both == {"red eyes": True, "blue eyes": True}


def test_tags_the_tagger_does_not_know_do_not_count() -> None:
    counted = tally(READER, np.stack([picture(glasses=0.9)]), [["glasses", "monocle"]])
    assert counted.share == 1.0
    assert counted.by_tag == {"glasses": 1.0}


def test_tally_counts_each_picture_and_tag() -> None:
    rows = np.stack([picture(glasses=0.9, long_hair=0.9), picture(glasses=0.1, long_hair=0.9)])
    counted = tally(READER, rows, [["glasses", "long hair"]] * 2)
    assert counted.by_tag == {"glasses": 0.5, "long hair": 1.0}
    assert counted.share == 0.75
    assert tally(READER, rows, [[], []]).share is None
