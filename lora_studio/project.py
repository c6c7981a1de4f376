"""A project: the folder of one LoRA-to-be, its trigger word and settings."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import UserError
from .files import atomic_write_text, json_text, read_json, validate_name
from .moving import repair

VERSION = 1
FILE = "project.json"


@dataclass(frozen=True)
class Project:
    """One project folder. Change it with `dataclasses.replace(project, ...)` and `.save()`.

    trigger: the word that will call the LoRA. traits: the tags taken out of the captions,
    which is what the trigger word must bring back. settings: what each step was last run with.
    """

    folder: Path
    name: str
    trigger: str = ""
    traits: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict, hash=False)

    def last(self, step: str) -> dict[str, Any]:
        """What a step was last run with; nothing where it was not, or its settings are none."""
        found = self.settings.get(step)
        return found if isinstance(found, dict) else {}

    @property
    def raw_dir(self) -> Path:
        """What the user brought; read-only to every step but the import."""
        return self.folder / "raw"

    @property
    def dataset_dir(self) -> Path:
        """Pictures and captions as any trainer reads them: the truth."""
        return self.folder / "dataset"

    @property
    def studio_dir(self) -> Path:
        """Plans, histories and caches: may be deleted without loss of captions."""
        return self.dataset_dir / ".lora_studio"

    @property
    def runs_dir(self) -> Path:
        return self.folder / "runs"

    @property
    def output_dir(self) -> Path:
        return self.folder / "output"

    @classmethod
    def create(cls, projects_dir: str | Path, name: str) -> Project:
        """Make `projects_dir/name` with raw/ and dataset/ and save it.

        A folder left empty by an earlier attempt is taken over. Raises UserError for a
        name that cannot be used and for a project that already has something in it.
        """
        name = validate_name(name)
        folder = Path(projects_dir) / name
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file.", "Choose another name.")
        project = cls(folder=folder, name=name)
        if any(part.is_dir() and any(part.iterdir()) for part in (project.raw_dir, project.dataset_dir)):
            raise UserError(f"The project {folder} already exists.", "Open it, or choose another name.")
        if (folder / FILE).exists():
            project = cls.open(folder)
        try:
            project.raw_dir.mkdir(parents=True, exist_ok=True)
            project.dataset_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"The project folder {folder} cannot be made: {error.strerror}.", "Choose another place for projects.") from error
        project.save()
        return project

    @classmethod
    def open(cls, folder: str | Path) -> Project:
        """Open a project, or a `Loras/<name>/` folder with a `dataset/` and nothing of ours.

        Raises UserError when the folder is neither, or its project.json cannot be used. A renaming that was broken off is finished first.
        """
        folder = Path(folder)
        path = folder / FILE
        repair(folder)
        if not folder.is_dir():
            raise UserError(f"There is no project folder {folder}.", "Check the path, or make a project with: new NAME --images DIR")
        if not os.path.lexists(path):
            if not (folder / "dataset").is_dir() and not (folder / "raw").is_dir():
                raise UserError(
                    f"{folder} is not a project: it has neither {FILE} nor a dataset folder.",
                    "Give the project's own folder, or make one with: new NAME --images DIR",
                )
            return cls(folder=folder, name=folder.resolve().name)
        data = read_json(path)
        if not isinstance(data, dict):
            raise UserError(f"{path} does not describe a project.", "Put it aside: the pictures and captions do not need it.")
        if not isinstance(version := data.get("version", VERSION), int) or version > VERSION:
            raise UserError(f"{path} was written by a newer Lora Studio.", "Update Lora Studio to open this project.")
        trigger, traits, settings = data.get("trigger", ""), data.get("traits", []), data.get("settings", {})
        if not (isinstance(trigger, str) and isinstance(settings, dict) and isinstance(traits, list) and all(isinstance(t, str) for t in traits)):
            raise UserError(f"{path} has fields of the wrong kind.", "Correct it, or put it aside: the pictures and captions do not need it.")
        return cls(folder=folder, name=_name(folder.resolve().name, data), trigger=trigger, traits=tuple(traits), settings=settings)

    def save(self) -> None:
        """Write project.json. Raises UserError when it cannot be written."""
        atomic_write_text(self.folder / FILE, self.text())

    def text(self) -> str:
        """What project.json holds."""
        known = {"version": VERSION, "name": self.name, "folder": self.folder.resolve().name}
        return json_text({**known, "trigger": self.trigger, "traits": list(self.traits), "settings": self.settings})


def _name(folder: str, data: dict[str, Any]) -> str:
    """The folder's name wins, for people rename and copy folders, unless the project was given another one while its folder was called so."""
    name = data.get("name")
    if data.get("folder") != folder or not isinstance(name, str):
        return folder
    try:
        return validate_name(name)
    except UserError:
        return folder
