"""The form of a training: every option of the trainer is in it, described in both languages."""

from __future__ import annotations

import dataclasses
import re

import pytest

from lora_studio.training import form
from lora_studio.training.config import TrainingConfig
from lora_studio.training.options import CHOICES, HELP

CHINESE = re.compile(r"[\u4e00-\u9fff]")
OPTIONS = [f.name for f in dataclasses.fields(TrainingConfig) if f.name not in form.NOT_IN_FORM]


def fields() -> dict[str, dict]:  # type: ignore[type-arg]
    return {f["name"]: f for group in form.schema() for f in group["fields"]}


def test_every_option_is_in_the_form_once() -> None:
    shown = [f["name"] for group in form.schema() for f in group["fields"]]
    assert sorted(shown) == sorted([*OPTIONS, *form.OF_FOLDERS])
    assert not set(form.NOT_IN_FORM) & set(shown)


def test_every_option_has_its_texts() -> None:
    assert form.without_texts() == [], "give these a name and a sentence in form.FIELDS"
    lacking = [name for name in OPTIONS if not all(HELP.get(name, ("", "")))]
    assert lacking == [], "say in options.HELP what these do"
    for name, f in fields().items():
        for part in ("label", "help", "when"):
            assert f[part]["en"] and f[part]["zh"], f"{name} has no {part}"
        assert not CHINESE.search(f["label"]["en"] + f["help"]["en"] + f["when"]["en"]), f"{name}: Chinese in the English texts"
        assert CHINESE.search(f["help"]["zh"]) and CHINESE.search(f["when"]["zh"]), f"{name}: the Chinese texts are not Chinese"


def test_an_option_that_nobody_described_comes_last_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(form.FIELDS, "loss", {k: v for k, v in form.FIELDS["loss"].items() if k != "noise_offset"})
    monkeypatch.delitem(HELP, "noise_offset")
    form.schema.cache_clear()
    try:
        assert form.without_texts() == ["noise_offset"]
        last = form.schema()[-1]
        assert last["name"] == "more" and last["advanced"]
        assert [(f["name"], f["label"]["en"], f["kind"], f["default"]) for f in last["fields"]] == [("noise_offset", "noise_offset", "number", 0.0)]
    finally:
        monkeypatch.undo()
        form.schema.cache_clear()


def test_kinds_limits_and_defaults_are_the_configuration_s_own() -> None:
    f = fields()
    assert (f["optimizer"]["kind"], tuple(f["optimizer"]["choices"])) == ("choice", CHOICES["optimizer"])
    assert (f["epochs"]["kind"], f["epochs"]["min"], f["epochs"]["default"]) == ("int", 1, 10)
    assert (f["resolution"]["kind"], f["resolution"]["default"]) == ("size", [512, 512])
    assert (f["betas"]["kind"], f["betas"]["default"]) == ("pair", [0.9, 0.999])
    assert (f["sample_prompts"]["kind"], f["sample_prompts"]["default"]) == ("list", [])
    assert (f["flip"]["kind"], f["unet_lr"]["kind"], f["vae"]["kind"]) == ("bool", "number", "text")
    assert f["max_grad_norm"]["max"] is None and f["repeats"]["default"] is None
    assert {f["kind"] for f in fields().values()} <= {"text", "int", "number", "bool", "size", "pair", "list", "choice"}


def test_what_everybody_sees_first_is_short() -> None:
    first = [g for g in form.schema() if not g["advanced"]]
    assert [g["name"] for g in first] == ["names", "basics"] and sum(len(g["fields"]) for g in first) <= 12
