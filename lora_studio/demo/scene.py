"""What a picture of the demo world shows, and the Danbooru tags that say so.

Every tag is one that exists in the real WD14 vocabulary, so trait groups,
thresholds and filters work on the demo exactly as on a user's own pictures.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from ..errors import UserError

RGB = tuple[int, int, int]

HAIR: dict[str, RGB] = {
    "black hair": (48, 46, 60),
    "brown hair": (134, 82, 44),
    "blonde hair": (248, 216, 92),
    "red hair": (214, 44, 40),
    "pink hair": (250, 146, 192),
    "blue hair": (62, 108, 226),
    "green hair": (62, 180, 82),
    "purple hair": (140, 72, 196),
    "white hair": (236, 238, 246),
}
EYES: dict[str, RGB] = {
    "red eyes": (226, 30, 44),
    "blue eyes": (40, 110, 240),
    "green eyes": (30, 168, 78),
    "brown eyes": (124, 70, 28),
    "purple eyes": (152, 60, 214),
    "yellow eyes": (250, 200, 28),
}
SHIRT: dict[str, RGB] = {
    "white shirt": (244, 244, 248),
    "black shirt": (56, 56, 66),
    "red shirt": (218, 60, 54),
    "blue shirt": (58, 102, 212),
    "green shirt": (60, 156, 84),
    "yellow shirt": (248, 210, 70),
    "pink shirt": (248, 162, 198),
}
BACKGROUND: dict[str, RGB] = {
    "white background": (252, 252, 252),
    "grey background": (158, 160, 166),
    "blue background": (156, 204, 248),
    "green background": (170, 226, 162),
    "pink background": (252, 206, 220),
    "yellow background": (252, 240, 164),
    "purple background": (206, 180, 238),
}
WHO = ("1girl", "1boy")
LENGTH = ("short hair", "long hair")
STYLE = ("twintails", "ponytail")
MOUTH = ("smile", "open mouth", "closed mouth")
EXTRAS = ("glasses", "hat", "cat ears", "hair bow", "blush", "dark skin")

GROUPS: dict[str, tuple[str, ...]] = {
    "who": WHO,
    "hair": tuple(HAIR),
    "length": LENGTH,
    "style": STYLE,
    "eyes": tuple(EYES),
    "mouth": MOUTH,
    "shirt": tuple(SHIRT),
    "background": tuple(BACKGROUND),
}
"""Tags of one group exclude each other; ``style`` may be absent."""

TAGS: tuple[str, ...] = tuple(t for group in GROUPS.values() for t in group) + EXTRAS

EXTRA_RATE = {"glasses": 0.25, "hat": 0.22, "cat ears": 0.22, "hair bow": 0.2, "blush": 0.25, "dark skin": 0.15}


@dataclass(frozen=True)
class Scene:
    """One picture's content. ``style`` is ``""`` for loose hair; ``extras`` is a subset of EXTRAS."""

    who: str
    hair: str
    length: str
    style: str
    eyes: str
    mouth: str
    shirt: str
    background: str
    extras: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Character:
    """Who a LoRA is trained on: the tags that are hers in every picture.

    Groups the description does not mention are settled once, from the
    character's own seed, where they belong to a person (who, hair, eyes …), and
    stay free where they belong to a picture (mouth, shirt, background, blush).
    """

    scene: Scene
    traits: tuple[str, ...]

    @property
    def who(self) -> str:
        """``1girl`` or ``1boy``: stays in the captions."""
        return self.scene.who


def sample_scene(rng: random.Random, character: Character | None = None) -> Scene:
    """A random scene; with ``character``, everything personal is hers and the rest is free."""
    scene = Scene(
        who=rng.choices(WHO, (0.7, 0.3))[0],
        hair=rng.choice(list(HAIR)),
        length=rng.choice(LENGTH),
        style=rng.choices(("", *STYLE), (0.5, 0.27, 0.23))[0],
        eyes=rng.choice(list(EYES)),
        mouth=rng.choice(MOUTH),
        shirt=rng.choice(list(SHIRT)),
        background=rng.choice(list(BACKGROUND)),
        extras=frozenset(e for e in EXTRAS if rng.random() < EXTRA_RATE[e]),
    )
    if character is None:
        return scene
    own = character.scene
    extras = (own.extras - {"blush"}) | (scene.extras & {"blush"}) | (own.extras & {"blush"} & set(character.traits))
    return replace(own, mouth=scene.mouth, shirt=scene.shirt, background=scene.background, extras=frozenset(extras))


def scene_tags(scene: Scene) -> list[str]:
    """The tags of a scene in the order a caption lists them."""
    tags = [scene.who, scene.hair, scene.length, scene.eyes]
    if scene.style:
        tags.append(scene.style)
    tags += [scene.mouth, scene.shirt, scene.background]
    return tags + [e for e in EXTRAS if e in scene.extras]


def parse_character(text: str) -> Character:
    """Read ``"purple hair, short hair, yellow eyes, cat ears"`` into a Character.

    Raises:
        UserError: a tag the drawer does not know, or two that exclude each other.
    """
    personal = (*WHO, *HAIR, *LENGTH, *STYLE, *EYES, *EXTRAS)
    traits = tuple(dict.fromkeys(t.strip().lower().replace("_", " ") for t in text.split(",") if t.strip()))
    unknown = [t for t in traits if t not in personal]
    clashes = [f"{', '.join(both)}" for group in GROUPS.values() if len(both := [t for t in traits if t in group]) > 1]
    if unknown or clashes or not traits:
        problems = [f"unknown: {', '.join(unknown)}"] if unknown else []
        problems += [f"cannot both be: {c}" for c in clashes]
        raise UserError(
            f"The character \"{text}\" cannot be drawn ({'; '.join(problems) or 'no tags given'}).",
            "Choose from: " + ", ".join(personal) + ".",
        )

    def pick(group: str, default: str) -> str:
        return next((t for t in traits if t in GROUPS[group]), default)

    rng = random.Random(", ".join(sorted(traits)))
    length = pick("length", rng.choice(LENGTH))
    scene = Scene(
        who=pick("who", "1girl"),
        hair=pick("hair", rng.choice(list(HAIR))),
        length=length,
        style=pick("style", ""),
        eyes=pick("eyes", rng.choice(list(EYES))),
        mouth="smile",
        shirt="white shirt",
        background="white background",
        extras=frozenset(t for t in traits if t in EXTRAS),
    )
    own = (scene.hair, scene.length, scene.style, scene.eyes, *(e for e in EXTRAS if e in scene.extras))
    return Character(scene, tuple(t for t in own if t))
