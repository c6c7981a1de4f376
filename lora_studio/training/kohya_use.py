"""An import put to use: values that fit our bounds, kept as a preset, with a project's folders and base where they are on this machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import LONGEST_NEW
from ..project import Project
from ..untrusted import is_network
from . import presets
from .config import TrainingConfig
from .kohya_report import Imported
from .kohya_table import ARGUMENTS
from .options import FINDS_RATE
from .prepare import by_field

LONGEST_DERIVED = LONGEST_NEW - len("_imported")  # of a preset that is called as the LoRA was
#: stand-ins for what every configuration needs, while the rest is checked
LEAST = {"base": "base", "folders": ["folder"], "output_name": "name", "output_dir": "output"}
OF_PROJECT = ("trigger", "sample_prompts")


@dataclass(frozen=True)
class Taken:
    """What an import became. ``preset``: the name under which the options are kept; ``base`` "": none that is on this machine."""

    preset: str
    base: str
    folders: tuple[dict[str, Any], ...]
    settings: dict[str, Any]
    unknown: tuple[str, ...]
    unsupported: tuple[tuple[str, str], ...]
    unneeded: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def fit(found: Imported) -> dict[str, Any]:
    """The values as a whole and sound configuration; what is out of our bounds goes to ``found.unsupported``."""
    values = {**LEAST, **found.values}
    defaults = {key.option: key.default for key in ARGUMENTS.values()}
    for _ in range(5):
        try:
            return TrainingConfig.from_dict(values).to_dict()
        except UserError as error:
            for option, mistakes in by_field(error.message.splitlines()[1:]).items():
                if option == "resolution" and "multiples" in mistakes[0]:
                    sides = values["resolution"] if isinstance(values["resolution"], list) else [values["resolution"]] * 2
                    better: Any = [round(int(side) / 8) * 8 for side in sides]
                elif option in LEAST or option == "":
                    raise
                elif option in ("unet_lr", "text_lr") and values.get("optimizer") in FINDS_RATE:
                    better = 1.0
                else:
                    better = defaults.get(option, TrainingConfig.__dataclass_fields__[option].default)
                found.unsupported.append((f"{option} = {values.get(option)}", f"{mistakes[0]}. {better} is taken."))
                values[option] = better
    raise UserError("The settings cannot be brought into a form that fits.", "Correct the file and import it again.")


def use(found: Imported, project: Project, presets_dir: Path, name: str = "", base: Path | None = None) -> Taken:
    """Keep the options as a preset of one's own and make it the project's choice. Raises UserError for a name that cannot be used."""
    values = fit(found)
    notes = list(found.notes)
    preset = name or str(found.values.get("output_name") or project.name)[:LONGEST_DERIVED].strip()
    if preset in presets.PRESETS:
        preset += "_imported"
    folders = _folders(values["folders"] if "folders" in found.values else [], project, notes)
    chosen = _base(values["base"] if "base" in found.values else "", base, project, notes)
    settings: dict[str, Any] = {o: values[o] for o in OF_PROJECT if values[o]}
    if values["vae"]:
        if not is_network(values["vae"]) and Path(values["vae"]).is_file():
            settings["vae"] = values["vae"]
        else:
            notes.append(f"The VAE {values['vae']} is not on this machine; the base's own is taken.")
    own = len(folders) == 1 and Path(folders[0]["path"]) == project.dataset_dir.absolute() and set(folders[0]) <= {"path", "repeats"}
    if own:
        settings["repeats"] = folders[0]["repeats"]
    presets.save(preset, {k: v for k, v in values.items() if k != "processes"}, presets_dir)
    train = {"base": chosen, "preset": preset, "settings": settings}
    now = Project.open(project.folder)
    kept = {k: v for k, v in now.settings.items() if k != "folders"}
    replace(now, settings={**kept, "train": train, **({"folders": folders} if folders and not own else {})}).save()
    return Taken(
        preset, chosen, tuple(folders), settings, tuple(found.unknown), tuple(found.unsupported), tuple(found.unneeded), tuple(notes)
    )  # fmt: skip


def _folders(named: list[dict[str, Any]], project: Project, notes: list[str]) -> list[dict[str, Any]]:
    """Those that are here. A single one that is not stands for the project's own dataset."""
    said = [{k: v for k, v in f.items() if v not in (None, "", False)} for f in named]
    here = [f for f in said if not is_network(f["path"]) and Path(f["path"]).is_dir()]
    for folder in said:
        if folder in here:
            continue
        if is_network(folder["path"]):
            notes.append(f"The folder {folder['path']} is on another machine and not looked at. Give it a drive letter, then import again.")
        if len(said) == 1:
            notes.append(f"The folder {folder['path']} is not on this machine; the project's dataset takes its place.")
            return [{**folder, "path": str(project.dataset_dir.absolute())}]
        notes.append(f"The folder {folder['path']} is not on this machine; it is left out.")
    if here and all(f.get("is_reg") for f in here):
        here = [{"path": str(project.dataset_dir.absolute()), "repeats": said[0].get("repeats", 1)}, *here]
    return here


def _base(named: str, given: Path | None, project: Project, notes: list[str]) -> str:
    if given is not None:
        return str(given.absolute()) if given.exists() else str(given)
    if named and not is_network(named) and Path(named).exists():
        return named
    kept = str(project.last("train").get("base", ""))
    if named:
        notes.append(f"The base {named} is not on this machine; " + (f"{kept} stays chosen." if kept else "choose one before training."))
    return kept
