"""The configuration: round trips, and every mistake named at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_studio.errors import UserError
from lora_studio.training.config import OPTIONS, TrainingConfig, parse_overrides
from lora_studio.training.options import CHOICES, HELP, RANGES

LEAST: dict[str, Any] = {"base": "model.safetensors", "folders": ["数据 集"], "output_name": "n", "output_dir": "out"}


def test_round_trip_keeps_everything() -> None:
    values = {**LEAST, "resolution": "512x768", "betas": [0.9, 0.99], "sample_prompts": ["a, b"]}
    values["folders"] = [{"path": "x", "repeats": 3, "flip": True}]
    config = TrainingConfig.from_dict(values)
    assert config.resolution == (512, 768) and config.folders[0].flip is True
    assert TrainingConfig.from_dict(config.to_dict()) == config


def test_one_number_is_a_square() -> None:
    assert TrainingConfig.from_dict({**LEAST, "resolution": 640}).resolution == (640, 640)


def test_all_mistakes_at_once() -> None:
    bad = {
        "base": 5,
        "folders": [{"path": "x", "repeat": 2}],
        "output_dir": "o",
        "epoch": 3,
        "unet_lr": "fast",
        "scheduler": "cosinus",
        "batch_size": 0,
        "flip": "perhaps",
    }
    with pytest.raises(UserError) as error:
        TrainingConfig.from_dict(bad)
    text = error.value.message
    for words in (
        "base: expected text",
        "folders[0].repeat: there is no such option; do you mean folders[0].repeats",
        "output_name: is missing",
        "epoch: there is no such option; do you mean epochs",
        "unet_lr: expected a number",
        "scheduler: must be one of",
        "batch_size: must be from 1",
        "flip: expected true or false",
    ):
        assert words in text
    assert "8 mistakes" in text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"unet_lr": 0, "text_lr": 0}, "nothing would be trained"),
        ({"prior_weight": 1}, "needs a trigger word"),
        ({"resolution": 500}, "multiples of 8"),
        ({"bucket_min": 2048, "bucket_max": 1024}, "above bucket_max"),
    ],
)
def test_options_that_contradict_each_other(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        TrainingConfig.from_dict({**LEAST, **values})


def test_overrides_name_every_bad_pair() -> None:
    assert parse_overrides(["epochs=3", "unet_lr = 1e-3", "sample_prompts=a=b"]) == {"epochs": "3", "unet_lr": "1e-3", "sample_prompts": "a=b"}
    with pytest.raises(UserError) as error:
        parse_overrides(["epocs=3", "nothing"])
    assert "do you mean epochs" in error.value.message and '"nothing" is not key=value' in error.value.message


def test_the_tables_speak_of_options_that_exist() -> None:
    assert set(HELP) == set(OPTIONS)
    assert set(CHOICES) <= set(OPTIONS) and set(RANGES) <= {*OPTIONS, "repeats", "keep_tokens"}
    assert all(english and chinese for english, chinese in HELP.values())


ANYTHING = st.one_of(
    st.none(), st.text(max_size=4), st.floats(allow_subnormal=False), st.integers(), st.booleans(), st.lists(st.integers(), max_size=3)
)


@given(st.dictionaries(st.sampled_from(OPTIONS), ANYTHING))
def test_any_input_gives_a_config_or_a_user_error(values: dict[str, Any]) -> None:
    try:
        config = TrainingConfig.from_dict({**LEAST, **values})
    except UserError:
        return
    assert TrainingConfig.from_dict(config.to_dict()) == config


def test_what_is_refused_on_purpose_says_why() -> None:
    with pytest.raises(UserError, match=r"dora_wd: DoRA is not trained here.*loads silently wrong"):
        TrainingConfig.from_dict({"base": "b", "folders": ["f"], "output_name": "n", "output_dir": "o", "dora_wd": True})
