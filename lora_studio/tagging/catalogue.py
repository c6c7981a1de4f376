"""The taggers known by name, and where their files are on this machine."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError

MODEL_FILE = "model.onnx"
LABELS_FILE = "selected_tags.csv"
DEMO = "demo"
OWNER = "SmilingWolf"


@dataclass(frozen=True)
class Model:
    """A published tagger. repo: its Hugging Face name. generation 1 to 3.

    general_threshold: where precision equals recall on the model's own test (0.35 by convention for the first generation).
    megabytes: about how large the download is. about: what to choose it for.
    """

    name: str
    repo: str
    generation: int
    general_threshold: float
    megabytes: int = 0
    about: str = ""
    character_threshold: float = 0.85
    files: tuple[str, ...] = (MODEL_FILE, LABELS_FILE)


_TABLE = (
    (3, "wd-swinv2-tagger-v3", 0.2653, 470, "The best balance of speed and accuracy: the usual choice."),
    (3, "wd-vit-tagger-v3", 0.2614, 380, "The fastest of the third generation."),
    (3, "wd-convnext-tagger-v3", 0.2682, 400, "Between ViT and SwinV2."),
    (3, "wd-vit-large-tagger-v3", 0.2606, 1260, "Larger and slower; finds a little more."),
    (3, "wd-eva02-large-tagger-v3", 0.5296, 1260, "The most accurate and the slowest: for a graphics card."),
    (2, "wd-v1-4-moat-tagger-v2", 0.3771, 330, "The most accurate of the second generation, which knows fewer tags."),
    (2, "wd-v1-4-swinv2-tagger-v2", 0.3771, 450, "Second generation, nearly as accurate as MOAT."),
    (2, "wd-v1-4-convnextv2-tagger-v2", 0.371, 390, "Second generation."),
    (2, "wd-v1-4-convnext-tagger-v2", 0.3685, 390, "Second generation."),
    (2, "wd-v1-4-vit-tagger-v2", 0.3537, 370, "The fastest of the second generation."),
    (1, "wd-v1-4-convnext-tagger", 0.35, 390, "First generation: to repeat older work."),
    (1, "wd-v1-4-vit-tagger", 0.35, 370, "First generation: to repeat older work."),
)


CATALOGUE: dict[str, Model] = {name: Model(name, f"{OWNER}/{name}", age, threshold, size, about) for age, name, threshold, size, about in _TABLE}
"""Every tagger of SmilingWolf's three generations by name."""


def find_model(name: str) -> Model | None:
    """The catalogue's model of this name; "SmilingWolf/" in front and capitals do not matter."""
    plain = name.strip().lower()
    return CATALOGUE.get(plain.removeprefix(f"{OWNER.lower()}/"))


def thresholds_of(name_or_dir: str | Path) -> tuple[float, float]:
    """(general, character) thresholds that suit the tagger: the catalogue's, also for a folder named after its model; else 0.35 and 0.85."""
    model = find_model(str(name_or_dir)) or find_model(Path(name_or_dir).name)
    return (model.general_threshold, model.character_threshold) if model else (0.35, 0.85)


def taggers_dir() -> Path:
    """Where downloaded taggers lie: LORA_STUDIO_TAGGERS, else in the user's cache folder."""
    if chosen := os.environ.get("LORA_STUDIO_TAGGERS"):
        return Path(chosen)
    cache = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "lora_studio" / "taggers"


def is_tagger_dir(folder: Path) -> bool:
    """Whether both files are there and not empty."""
    return all((folder / name).is_file() and (folder / name).stat().st_size > 0 for name in (MODEL_FILE, LABELS_FILE))


def _hub_snapshots(repo: str) -> list[Path]:
    """Where other programs' downloads of a repository lie: the Hugging Face cache."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    hub = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    folder = hub / f"models--{repo.replace('/', '--')}" / "snapshots"
    return sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []


def installed(name: str) -> Path | None:
    """The folder with a catalogue model's files if it is on this machine already."""
    model = find_model(name)
    if model is None:
        return None
    places = [taggers_dir() / model.name, *_hub_snapshots(model.repo)]
    return next((place for place in places if is_tagger_dir(place)), None)


def unknown_tagger(name: str) -> UserError:
    """The error for a name that is neither in the catalogue nor a folder with a tagger."""
    folder = Path(name)
    if folder.is_dir():
        missing = [f for f in (MODEL_FILE, LABELS_FILE) if not (folder / f).is_file()]
        found = f"has no {' and no '.join(missing)}" if missing else "has an empty file"
        return UserError(f"The folder {name} is not a tagger: it {found}.", f"Put the model's {MODEL_FILE} and {LABELS_FILE} there.")
    close = difflib.get_close_matches(name.lower().removeprefix(f"{OWNER.lower()}/"), [*CATALOGUE, DEMO], 1, 0.5)
    meant = f"Did you mean {close[0]}? " if close else ""
    return UserError(
        f"There is no tagger called {name}.", f"{meant}Known: {DEMO}, {', '.join(CATALOGUE)}, or a folder with {MODEL_FILE} and {LABELS_FILE}."
    )
