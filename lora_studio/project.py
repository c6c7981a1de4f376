"""A project: the folder of one LoRA-to-be, its trigger word and settings."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import owner
from .errors import UserError
from .files import TEMPORARY_PREFIX, atomic_write_text, explain_os_error, json_text, new_name, read_json, validate_name
from .staged import repair
from .untrusted import RefusedError, is_inside, shallow

VERSION = 1
FILE = "project.json"
STUDIO = ".lora_studio"
LONGEST_TRIGGER = 10_000  # characters
LINKED = "Reading through a link is fine. To change what it leads to, move the whole project there and make the project folder the link."


def is_in_place(path: Path) -> bool:
    """Whether what is written to `path`, below some `.lora_studio`, stays where that folder seems to be: no link on the way leads out.

    Of a project the links are followed from the project's folder on, so that a `dataset` which is a link to another disk or to somebody's
    photos counts as leading out; of a folder of captions that is no project, from that folder on. The project folder itself may be a link.
    """
    return is_inside(_home(path), path)


def in_place(path: Path) -> Path:
    """`path` if `is_in_place`; else RefusedError. Every writer, cleaner and mover below `.lora_studio` and `dataset/` asks this first."""
    if not is_in_place(path):
        raise RefusedError(f"Nothing is written through a link: {path} leads out of {_home(path)}.", LINKED)
    return path


def _home(path: Path) -> Path:
    for folder in (path, *path.parents):
        if folder.name == STUDIO:
            dataset = folder.parent
            return dataset.parent if dataset.name == "dataset" else dataset
    return path.parent


#: words that commands take for something else where a project's name may stand: `runs show`, `runs stop`, `runs resume`
WORDS = frozenset({"show", "stop", "resume"})


def project_name(name: str) -> str:
    """The name, as `validate_name` gives it, if a project of that name is found on the page, by programs and by commands.

    Raises UserError otherwise. Folders that are called so already can be opened by their path.
    """
    cleaned = validate_name(name)
    wrong = ""
    if cleaned[0] in "_@-":
        wrong = f"it begins with {cleaned[0]}, which has a meaning of its own here"
    elif cleaned.casefold() in WORDS:
        wrong = "it is a word of a command"
    elif coded := re.search(r"%[0-9A-Fa-f]{2}", cleaned):
        wrong = f"it contains {coded[0]}, which an address takes for another character"
    if wrong:
        raise UserError(f"The name {name!r} cannot be a project's: {wrong}.", "Put a letter or a digit first, or use another word.")
    return cleaned


def is_project_name(name: str) -> bool:
    """Whether `project_name` takes a name as it is."""
    try:
        return project_name(name) == name
    except UserError:
        return False


def is_project(folder: str | Path) -> bool:
    """Whether a folder could be opened as a project; its project.json is not read."""
    folder = Path(folder)
    return any((folder / part).exists() for part in (FILE, "dataset", "raw"))


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
        return self.dataset_dir / STUDIO

    @property
    def runs_dir(self) -> Path:
        return self.folder / "runs"

    @property
    def output_dir(self) -> Path:
        return self.folder / "output"

    def own(self, folder: Path) -> Path:
        """`folder` (`raw/`, `dataset/`, `.trash/` … or one below) if what is written, moved or deleted there stays in the project.

        Raises RefusedError where a link on the way leads out of it: such a folder is read, and nothing else.
        """
        if not is_inside(self.folder, folder):
            raise RefusedError(f"Nothing is written through a link: {folder} leads out of {self.folder}.", LINKED)
        return folder

    @classmethod
    def create(cls, projects_dir: str | Path, name: str) -> Project:
        """Make `projects_dir/name` with raw/ and dataset/ and save it.

        A folder left empty by an earlier attempt is taken over. Raises UserError for a
        name that cannot be used and for a project that already has something in it.
        """
        name = project_name(name)
        folder = Path(projects_dir) / name
        if not folder.is_dir():
            new_name(name)
        if folder.exists() and not folder.is_dir():
            raise UserError(f"{folder} is a file.", "Choose another name.")
        project = cls(folder=folder, name=name)
        if any(part.is_dir() and _holds_something(part) for part in (project.raw_dir, project.dataset_dir)):
            raise UserError(f"The project {folder} already exists.", "Open it, or choose another name.")
        if (folder / FILE).exists():
            project = cls.open(folder)
        try:
            project.raw_dir.mkdir(parents=True, exist_ok=True)
            project.dataset_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"The project folder {folder} cannot be made: {error.strerror}."
            raise explain_os_error(error, folder) or UserError(what, "Choose another place for projects.") from error
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
        data = read_json(path, forgiving=True)  # a number of one step that is none does not take the whole project with it
        if not isinstance(data, dict):
            raise UserError(f"{path} does not describe a project.", "Put it aside: the pictures and captions do not need it.")
        if not isinstance(version := data.get("version", VERSION), int) or version > VERSION:
            raise UserError(f"{path} was written by a newer Lora Studio.", "Update Lora Studio to open this project.")
        trigger, traits, settings = data.get("trigger", ""), data.get("traits", []), data.get("settings", {})
        if not (isinstance(trigger, str) and isinstance(settings, dict) and isinstance(traits, list) and all(isinstance(t, str) for t in traits)):
            raise UserError(f"{path} has fields of the wrong kind.", "Correct it, or put it aside: the pictures and captions do not need it.")
        if any(len(word) > LONGEST_TRIGGER for word in (trigger, *traits)):
            hint = "Correct it, or put it aside: the pictures and captions do not need it."
            raise UserError(f"{path} has a trigger word or trait that is no word.", hint)
        shallow(settings, str(path))
        return cls(folder=folder, name=_name(folder.resolve().name, data, path), trigger=trigger, traits=tuple(traits), settings=settings)

    def save(self) -> None:
        """Write project.json. Raises UserError when it cannot be written."""
        atomic_write_text(self.folder / FILE, self.text())

    def text(self) -> str:
        """What project.json holds."""
        folder = self.folder.resolve().name
        known = {"version": VERSION, "name": self.name, "folder": folder}
        if self.name != folder:
            known["named"] = owner.key().mark(f"{folder}\n{self.name}")  # by this user; see `_name`
        return json_text({**known, "trigger": self.trigger, "traits": list(self.traits), "settings": self.settings})


def _holds_something(folder: Path) -> bool:
    """More than what a write that was broken off has left."""
    return any(not path.name.startswith(TEMPORARY_PREFIX) for path in folder.iterdir())


def _name(folder: str, data: dict[str, Any], path: Path) -> str:
    """The folder's name wins, for people rename and copy folders, unless this user gave the project another one while its folder was called so.

    A project that came from elsewhere gets no name of its own choice: by it goes the folder in the LoRA folder, which may be another project's.
    """
    name = data.get("name")
    if data.get("folder") != folder or not isinstance(name, str):
        return folder
    try:
        own = name == folder or owner.is_mine(f"{folder}\n{name}", [str(data.get("named"))], path)
        return validate_name(name) if own else folder
    except UserError:
        return folder
