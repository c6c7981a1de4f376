"""What every route needs: the studio, the host it runs in, the jobs, and who is listening."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..files import atomic_write_json, read_json, validate_name
from ..host.base import Host
from ..jobs import Job, Jobs
from ..project import FILE, Project
from ..reading import entries
from ..studio import Studio
from ..training.runs import Run, list_runs
from ..training.view import trashed
from .hub import Hub

if TYPE_CHECKING:
    from .desk import TaggerDesk
    from .runwatch import RunWatch

RECENT = "_recent.json"


@dataclass(frozen=True)
class KnownProject:
    """A project on the list. ``cover``: [folder, picture name] or None. ``changed``: seconds since 1970."""

    id: str
    name: str
    folder: Path
    trigger: str
    pictures: int
    cover: tuple[str, str] | None
    changed: float

    @classmethod
    def look(cls, identity: str, folder: Path) -> KnownProject | None:
        """None for a folder that is no project (any more)."""
        try:
            project = Project.open(folder)
            times = [path.stat().st_mtime for path in (folder, project.raw_dir, project.dataset_dir, project.runs_dir) if path.exists()]
        except (UserError, OSError):
            return None
        raw, dataset = picture_names(project.raw_dir), picture_names(project.dataset_dir)
        cover = ("dataset", min(dataset)) if dataset else ("raw", min(raw)) if raw else None
        return cls(identity, project.name, folder, project.trigger, len(raw) or len(dataset), cover, max(times, default=0.0))

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name, "folder": str(self.folder), "trigger": self.trigger, "pictures": self.pictures, "cover": self.cover,
            "changed": self.changed,
        }  # fmt: skip


def picture_names(folder: Path) -> list[str]:
    """The names of the pictures directly in a folder; none when it is not there."""
    from ..dataset.items import is_picture_name

    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if is_picture_name(entry.name) and not entry.name.startswith(".")]
    except OSError:
        return []


@dataclass
class Context:
    """One for the process; it outlives the WebUI's own reloads. ``names``: what the page may be called in an address (None: anything)."""

    studio: Studio
    host: Host
    names: frozenset[str] | None = None
    hub: Hub = field(default_factory=Hub)
    jobs: Jobs = field(init=False)
    watch: RunWatch | None = field(default=None, init=False)  # of the trainings; made with their routes
    desk: TaggerDesk | None = field(default=None, init=False)  # for clients of /tagger/v1; made with those routes

    def __post_init__(self) -> None:
        self.jobs = Jobs(self._tell)

    def _tell(self, job: Job) -> None:
        self.hub.publish("job", job.project, job.to_dict())

    def start_command(self, kind: str, project: str, *arguments: str, join: bool = False) -> Job:
        """Run a command of ours (``"tag", folder, "--model", …``) as a child process and follow it as a job.

        Whatever needs torch, onnxruntime or much memory goes this way: the host's process never loads them, stopping is
        instant, and a crash hurts nobody.
        """
        environment = self.studio.environment
        folders = ["--projects", str(self.studio.projects_dir)]
        if self.studio.lora_dir is not None:
            folders += ["--lora-dir", str(self.studio.lora_dir)]
        command = environment.command(*arguments, *folders, "--json", "--progress", "json")
        return self.jobs.start_command(kind, project, command, environment.variables(), join=join)

    # -- projects by id ------------------------------------------------------

    def project(self, identity: str) -> Project:
        """The project of an id: its name, or ``@`` and a number for a folder elsewhere that was opened here before.

        Raises UserError (and opens nothing) for anything else: an id is never a path.
        """
        if identity.startswith("@"):
            folder = self.opened().get(identity)
            if folder is None:
                raise UserError("This folder was not opened here before.", "Open it by its path first.")
            return Project.open(folder)
        name = validate_name(identity)
        folder = self.studio.projects_dir / name
        if not folder.is_dir():
            raise UserError(f"There is no project {name}.", "Make it first, or choose another one.")
        return Project.open(folder)

    def run(self, project: Project, name: str) -> Run:
        """The run of exactly this name: "last" and a path name none here. Raises UserError when there is none."""
        for run in list_runs(project.runs_dir):
            if run.folder.name == name:
                return run
        raise UserError(f"There is no run named {name}.", "Load the list again: it may have been deleted in another window.")

    def look_at_run(self, project: str, name: str, look: Callable[[Run], dict[str, Any]]) -> dict[str, Any]:
        """What ``look`` says of a run; {gone: true} for one in the trash.

        Pages ask by themselves for the run that they show, and another window may have just deleted it: that is no error.
        """
        opened = self.project(project)
        try:
            return look(self.run(opened, name))
        except UserError:
            if name in trashed(opened.folder):
                return {"gone": True}
            raise

    def identity(self, project: Project) -> str:
        """The id of a project."""
        folder = project.folder.resolve()
        if folder.parent == self.studio.projects_dir.resolve():
            return folder.name
        return "@" + hashlib.sha256(str(folder).encode("utf-8")).hexdigest()[:16]

    def opened(self) -> dict[str, Path]:
        """Folders elsewhere that were opened here, by id."""
        try:
            known: Any = read_json(self.studio.projects_dir / RECENT)
            return {str(k): Path(v) for k, v in known["elsewhere"].items()}
        except (UserError, KeyError, TypeError, AttributeError):
            return {}

    def forget(self, identity: str) -> None:
        """Take a folder elsewhere off the list. Raises UserError for a project of the projects folder, which is always on it."""
        known = self.opened()
        if identity not in known:
            raise UserError("This project lies in the projects folder; it stays on the list as long as the folder is there.", "Move the folder away.")
        kept = {k: str(v) for k, v in known.items() if k != identity}
        atomic_write_json(self.studio.projects_dir / RECENT, {"elsewhere": kept})

    def unreadable_projects(self) -> list[dict[str, str]]:
        """[{name, folder, reason}] of the projects that are there and cannot be opened."""
        here = [(p.name, p) for p in entries(self.studio.projects_dir) if not p.name.startswith((".", "_"))]
        found = []
        for name, folder in [*here, *((folder.name, folder) for folder in self.opened().values())]:
            if os.path.lexists(folder / FILE):
                try:
                    Project.open(folder)
                except UserError as error:
                    found.append({"name": name, "folder": str(folder), "reason": error.message})
        return found

    def known_projects(self) -> list[KnownProject]:
        """Every project of the projects folder and every folder opened here that can be opened, the one changed last first."""
        try:
            folders = [p for p in self.studio.projects_dir.iterdir() if p.is_dir() and not p.name.startswith((".", "_"))]
        except OSError:
            folders = []
        found = [(folder.name, folder) for folder in folders] + list(self.opened().items())
        looked = [known for identity, folder in found if (known := KnownProject.look(identity, folder)) is not None]
        return sorted(looked, key=lambda known: -known.changed)

    def remember(self, project: Project) -> str:
        """Keep a folder elsewhere so that its id opens it again; returns the id."""
        identity = self.identity(project)
        if identity.startswith("@"):
            known = {**{k: str(v) for k, v in self.opened().items()}, identity: str(project.folder.resolve())}
            atomic_write_json(self.studio.projects_dir / RECENT, {"elsewhere": known})
        return identity
