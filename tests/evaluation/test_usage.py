"""What is written into txt2img, for every kind of base model."""

from __future__ import annotations

import pytest

from lora_studio.evaluation.usage import STYLES, Facts, compose, has_emphasis, join, style_name, usual_tags, without_loras


@pytest.mark.parametrize(
    ("family", "base", "style"),
    [
        ("sdxl", "ponyDiffusionV6XL_v6StartWithThisOne.safetensors", "pony"), ("sdxl", "autismmixSDXL_autismmixConfetti.safetensors", "pony"),
        ("sdxl", "Illustrious-XL-v0.1.safetensors", "illustrious"), ("sdxl", "waiIllustriousSDXL_v140.safetensors", "illustrious"),
        ("sdxl", "noobaiXLNAIXL_vPred10Version.safetensors", "noobai"), ("sdxl", "animagine-xl-3.1.safetensors", "animagine"),
        ("sdxl", "sd_xl_base_1.0.safetensors", "sdxl"), ("sdxl", "vanilla.safetensors", "sdxl"),
        ("sd1", "animefull-pruned-fp16.safetensors", "anime"), ("sd1", "AnyLoRA_noVae_fp16.safetensors", "anime"),
        ("sd1", "nai.safetensors", "anime"),
        ("sd1", "v1-5-pruned-emaonly.safetensors", "sd1"), ("sd1", "ponyhorses.safetensors", "sd1"), ("sd1", "tiny_world.safetensors", "demo"),
        ("sd2", "v2-1_768-ema-pruned.safetensors", "sd2"), ("", "whatever", "sd1"),
    ],
)  # fmt: skip
def test_style_by_family_and_name(family: str, base: str, style: str) -> None:
    assert style_name(family, base) == style


@pytest.mark.parametrize(
    ("family", "base", "quality", "away", "side"),
    [
        ("sdxl", "ponyDiffusionV6XL.safetensors", "score_9, score_8_up, score_7_up", "score_4", 1024),
        ("sdxl", "Illustrious-XL-v1.0.safetensors", "masterpiece, best quality, amazing quality", "worst quality", 1024),
        ("sdxl", "noobai-XL-1.1.safetensors", "newest, absurdres", "worst quality, old, early", 1024),
        ("sdxl", "animagine-xl-4.0.safetensors", "very aesthetic, absurdres", "oldest", 1024),
        ("sdxl", "sd_xl_base_1.0.safetensors", "highly detailed", "low quality", 1024),
        ("sd2", "v2-1_768.safetensors", "highly detailed", "disfigured", 768),
        ("sd1", "animefull.safetensors", "masterpiece, best quality", "missing fingers", 512),
        ("sd1", "v1-5-pruned.safetensors", "best quality, highly detailed", "worst quality", 512),
    ],
)  # fmt: skip
def test_prompt_of_each_family(family: str, base: str, quality: str, away: str, side: int) -> None:
    facts = Facts("hana-05", "mikuzu", family=family, base=base, tags={"mikuzu": 20, "1girl": 20, "solo": 18, "smile": 9}, images=20)
    usage = compose(facts)
    assert usage.prompt.startswith("mikuzu, 1girl, solo, ") and usage.prompt.endswith(", <lora:hana-05:0.8>")
    assert quality in usage.prompt and away in usage.negative and "smile" not in usage.prompt
    assert usage.activation == "mikuzu, 1girl, solo" and usage.trigger == "mikuzu"
    assert (usage.width, usage.height) == (side, side)
    assert not set(usage.prompt.split(", ")) & set(usage.negative.split(", ")), "nothing is asked for and kept away at once"


def test_every_style_is_whole() -> None:
    for name, style in STYLES.items():
        assert bool(style.quality) == bool(style.negative) == (name != "demo")
        for text in (style.quality, style.negative):
            parts = text.split(", ") if text else []
            assert len(parts) == len(set(parts)) and all(p == p.strip() and p for p in parts)


def test_the_texts_beside_the_file_and_the_training_resolution_win() -> None:
    facts = Facts("h", "saber (fate), blonde hair", "my negative", "sdxl", "pony.safetensors", (768, 1152), {"1girl": 3, "blonde hair": 3}, 3)
    usage = compose(facts, 0.65)
    assert usage.prompt.startswith("saber \\(fate\\), blonde hair, 1girl, score_9")
    assert usage.lora == "<lora:h:0.65>" and usage.negative == "my negative"
    assert (usage.width, usage.height) == (768, 1152)


def test_without_a_trigger_and_without_tags() -> None:
    assert compose(Facts("style", family="sd1", base="tiny_world.safetensors"), 1.0).prompt == "<lora:style:1>"


def test_usual_tags() -> None:
    tags = {"a": 10, "b": 9, "c": 8, "d": 10, "e": 10, "f": 10}
    assert usual_tags(tags, 10, ["a"]) == ["d", "e", "f", "b"]
    assert usual_tags({"Cat_Ears": 5}, 5, ["cat ears"]) == []
    assert usual_tags({"a": 1}, 0, []) == []


def test_brackets_and_loras_in_prompts() -> None:
    assert join(["a (b)", "a (b)", "c \\(d\\)", "[e]"]) == "a \\(b\\), c \\(d\\), \\[e\\]"
    assert without_loras("mikuzu, <lora:hana-02:0.8>, smile <lora:x:1>") == "mikuzu, smile"
    assert has_emphasis("(a:1.2)") and has_emphasis("[a]") and not has_emphasis("a \\(b\\)")
