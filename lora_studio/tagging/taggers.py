"""The taggers that people can choose on this machine: the catalogue, the demo, and folders they dropped in."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from .catalogue import CATALOGUE, DEMO, LABELS_FILE, MODEL_FILE, find_model, installed, is_tagger_dir, taggers_dir, thresholds_of
from .ensemble import JOIN, members
from .labels import read_labels

FOLDER = "_taggers"  # in the folder of the projects: a folder in it with a model and its tags is offered by its name


@dataclass(frozen=True)
class TaggerEntry:
    """A tagger to choose. name: what it is chosen by. kind: catalogue, demo or folder. here: it can be used without a download.

    size: bytes of the model here, else about what the download takes. part: bytes of a download that was broken off.
    """

    name: str
    kind: str
    here: bool
    size: int
    part: int = 0
    generation: int = 0
    general_threshold: float = 0.35
    character_threshold: float = 0.85
    about: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def dropped(projects_dir: Path) -> dict[str, Path]:
    """The taggers in the user's own folder by name."""
    folder = projects_dir / FOLDER
    try:
        found = sorted(p for p in folder.iterdir() if not p.name.startswith(".") and is_tagger_dir(p))
    except OSError:
        return {}
    return {p.name: p for p in found}


def _place(name: str, own: dict[str, Path]) -> Path | None:
    """Where a tagger of the list lies; None when it has to be downloaded."""
    if name == DEMO:
        from ..demo import tagger_dir

        return tagger_dir()
    return own.get(name) or installed(name)


def list_taggers(projects_dir: Path) -> list[TaggerEntry]:
    """All that can be chosen: the third generation first, the demo and the user's own last."""
    own = dropped(projects_dir)
    entries = []
    for model in sorted(CATALOGUE.values(), key=lambda m: -m.generation):
        place = _place(model.name, own)
        part = taggers_dir() / model.name / f"{MODEL_FILE}.part"
        size = (place / MODEL_FILE).stat().st_size if place else model.megabytes * 1_000_000
        broken_off = part.stat().st_size if place is None and part.is_file() else 0
        entries.append(
            TaggerEntry(
                model.name, "catalogue", place is not None, size, broken_off, model.generation,
                model.general_threshold, model.character_threshold, model.about,
            )
        )  # fmt: skip
    for name, folder in ((DEMO, _place(DEMO, own)), *((n, p) for n, p in own.items() if n != DEMO and find_model(n) is None)):
        if folder is not None:
            general, character = thresholds_of(name)
            about = "Knows the demo's drawn pictures only." if name == DEMO else _problem(folder) or "A tagger of your own."
            kind = "demo" if name == DEMO else "folder"
            entries.append(TaggerEntry(name, kind, True, (folder / MODEL_FILE).stat().st_size, 0, 0, general, character, about))
    return entries


def _problem(folder: Path) -> str:
    """Why a tagger cannot be used, "" for one that can."""
    try:
        read_labels(folder / LABELS_FILE)
    except UserError as error:
        return error.message
    return ""


def model_of(projects_dir: Path, name: str, paths_allowed: bool = False) -> str:
    """What `TagOptions.model` is for a name that somebody chose on the page: the name, or the folder of one dropped in.

    Raises UserError for anything else; a folder elsewhere is taken only when people may type paths here.
    """
    if len(parts := members(name)) > 1:
        return JOIN.join(model_of(projects_dir, part, paths_allowed) for part in parts)
    own = dropped(projects_dir)
    if name != DEMO and name in own:
        return str(own[name])
    if name == DEMO or name in CATALOGUE:
        return name
    if paths_allowed and Path(name).is_absolute() and is_tagger_dir(Path(name)):
        return name
    raise UserError(f"There is no tagger called {name} here.", "Choose one of the list.")


def name_of(projects_dir: Path, model: str, paths_allowed: bool = False) -> str:
    """The other way: the name under which the page knows a `TagOptions.model`; "" for a folder elsewhere that it may not know."""
    if len(parts := members(model)) > 1:
        names = [name_of(projects_dir, part, paths_allowed) for part in parts]
        return JOIN.join(names) if all(names) else ""
    known = find_model(model)
    if known is not None or model == DEMO:
        return known.name if known else DEMO
    folder = Path(model)
    if (own := dropped(projects_dir).get(folder.name)) and own.absolute() == folder.absolute():
        return folder.name
    return model if paths_allowed else ""


def label_files(projects_dir: Path) -> list[Path]:
    """The tag lists of every tagger that is here."""
    own = dropped(projects_dir)
    places = [_place(name, own) for name in (DEMO, *CATALOGUE)]
    return [place / LABELS_FILE for place in dict.fromkeys([*places, *own.values()]) if place is not None]
