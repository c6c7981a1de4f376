r"""What to write into txt2img to use a LoRA: prompt, negative prompt and size, by the base model that it was trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .families import plain

WEIGHT = 0.8
USUAL_SHARE = 0.9
"""A tag that this share of the captions has was never learnt without: it belongs into the prompt."""
USUAL_MOST = 4
SIDES = {"sd1": 512, "sd2": 768, "sdxl": 1024}


@dataclass(frozen=True)
class Style:
    """How people prompt one kind of base model: the quality tags that it was trained with, and what they keep away."""

    quality: str
    negative: str


_ANATOMY = "bad anatomy, bad hands, missing fingers, extra digits, fewer digits"
STYLES: dict[str, Style] = {
    "pony": Style(
        "score_9, score_8_up, score_7_up, score_6_up",
        f"score_6, score_5, score_4, worst quality, low quality, {_ANATOMY}, signature, watermark, text",
    ),
    "noobai": Style(
        "masterpiece, best quality, newest, absurdres, highres, very awa",
        f"worst quality, old, early, low quality, lowres, {_ANATOMY}, signature, username, logo, watermark",
    ),
    "illustrious": Style(
        "masterpiece, best quality, amazing quality, very aesthetic, absurdres",
        f"worst quality, bad quality, low quality, lowres, displeasing, very displeasing, {_ANATOMY}, "
        "signature, watermark, jpeg artifacts, multiple views",
    ),
    "animagine": Style(
        "masterpiece, best quality, very aesthetic, absurdres",
        f"lowres, worst quality, low quality, displeasing, oldest, early, {_ANATOMY}, text, signature, username, watermark, jpeg artifacts",
    ),
    "anime": Style(
        "masterpiece, best quality",
        f"lowres, {_ANATOMY}, text, error, cropped, worst quality, low quality, normal quality, "
        "jpeg artifacts, signature, watermark, username, blurry",
    ),
    "sd1": Style(
        "best quality, highly detailed",
        "lowres, worst quality, low quality, bad anatomy, bad hands, deformed, blurry, cropped, text, watermark, signature",
    ),
    "sd2": Style("highly detailed, sharp focus", "lowres, ugly, deformed, disfigured, blurry, cropped, text, watermark, signature"),
    "sdxl": Style("highly detailed, sharp focus", "lowres, low quality, deformed, bad anatomy, blurry, text, watermark, signature"),
    # The embedded world's model knows neither good nor bad pictures.
    "demo": Style("", ""),
}

# The first that the base model's name shows wins; names without a sign are prompted by their family.
_ANIME = (
    "anime|anything|any ?lora|nai(?![a-z])|novelai|orange|counterfeit|meina|hassaku|pastel|cetus|dark.?sushi|toon|waifu|niji|"
    "(?<![a-z])ani(?![a-z])"
)
_SIGNS: Sequence[tuple[str, str, tuple[str, ...]]] = (
    ("tiny_world", "demo", ("sd1",)),
    ("pony|autismmix|everclear", "pony", ("sdxl",)),
    ("noob", "noobai", ("sdxl",)),
    ("illustrious|ilxl|(?<![a-z])il(?![a-z])|(?<![a-z])wai|hassaku", "illustrious", ("sdxl",)),
    ("animagine|kohaku|anime|(?<![a-z])ani(?![a-z])", "animagine", ("sdxl",)),
    (_ANIME, "anime", ("sd1", "sd2")),
)


def style_name(family: str, base: str) -> str:
    """Which of STYLES fits a base model. ``family``: sd1, sd2 or sdxl; ``base``: its file name."""
    name = base.lower()
    for sign, style, families in _SIGNS:
        if family in families and re.search(sign, name):
            return style
    return family if family in STYLES else "sd1"


@dataclass(frozen=True)
class Facts:
    """What a LoRA file says about itself. ``tags``: how many captions each tag is in; ``images``: how many captions there were.

    ``activation`` and ``negative`` are the texts beside the file, which a person may have changed; ``size`` is 0, 0 where it is not known.
    """

    stem: str
    activation: str = ""
    negative: str = ""
    family: str = "sd1"
    base: str = ""
    size: tuple[int, int] = (0, 0)
    tags: Mapping[str, int] = field(default_factory=dict)
    images: int = 0


@dataclass(frozen=True)
class Usage:
    """Ready to be pasted. ``activation``: the trigger and what always goes with it, without quality tags and LoRA."""

    prompt: str
    negative: str
    activation: str
    trigger: str
    lora: str
    width: int
    height: int


def compose(facts: Facts, weight: float = WEIGHT) -> Usage:
    """Trigger, usual tags, quality tags of the base model, ``<lora:stem:weight>``; the usual negative prompt; the training resolution."""
    style = STYLES[style_name(facts.family, facts.base)]
    trigger = split(facts.activation)
    activation = join([*trigger, *usual_tags(facts.tags, facts.images, trigger)])
    lora = f"<lora:{facts.stem}:{weight:g}>"
    side = SIDES.get(facts.family, 512)
    width, height = facts.size if all(facts.size) else (side, side)
    return Usage(
        prompt=", ".join(p for p in (activation, style.quality, lora) if p),
        negative=facts.negative.strip() or style.negative,
        activation=activation,
        trigger=join(trigger),
        lora=lora,
        width=width // 8 * 8,
        height=height // 8 * 8,
    )


def usual_tags(tags: Mapping[str, int], images: int, besides: Sequence[str]) -> list[str]:
    """The tags that nearly every caption has, most frequent first, without those of ``besides``."""
    mine = {plain(t) for t in besides}
    frequent = [t for t, n in tags.items() if images and n >= USUAL_SHARE * images and plain(t) not in mine]
    return sorted(frequent, key=lambda t: -tags[t])[:USUAL_MOST]


def split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def join(tags: Sequence[str]) -> str:
    """Tags as a prompt. Brackets are escaped: in a prompt ``saber (fate)`` would mean emphasis."""
    return ", ".join(dict.fromkeys(re.sub(r"(?<!\\)([()\[\]])", r"\\\1", tag) for tag in tags))


def without_loras(prompt: str) -> str:
    """A prompt without its ``<lora:…>``, for a sampler that is given the LoRA itself."""
    return ", ".join(part for part in (re.sub(r"<(lora|lyco|hypernet):[^<>]*>", "", p).strip() for p in prompt.split(",")) if part)


def has_emphasis(prompt: str) -> bool:
    """Whether a prompt holds emphasis, ``(word:1.2)`` or ``[word]``, that only a WebUI understands."""
    return bool(re.search(r"(?<!\\)[()\[\]]", prompt))
