"""What every route needs: the studio, the host it runs in, the jobs, and who is listening."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..files import atomic_write_json, locked, read_json
from ..host.base import Host
from ..jobs import Job, Jobs
from ..owner import key
from ..patience import replace
from ..project import FILE, Project, is_project_name, project_name
from ..reading import entries
from ..studio import Studio
from ..training.runs import Run, list_runs
from ..training.view import trashed
from ..untrusted import mapping
from .brake import Brake
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
    from ..dataset.items import is_own, is_picture_name

    try:
        with os.scandir(folder) as entries:
            return [e.name for e in entries if is_picture_name(e.name) and not e.name.startswith(".") and is_own(e, folder)]
    except OSError:
        return []


def _number_of(folder: Path) -> str:
    return "@" + hashlib.sha256(str(folder).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass
class Context:
    """One for the process; it outlives the WebUI's own reloads. ``names``: what the page may be called in an address (None: anything).

    ``secret``: what the words in the addresses of pictures are made of.
    """

    studio: Studio
    host: Host
    names: Container[str] | None = None
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    brake: Brake = field(default_factory=Brake, repr=False)
    hub: Hub = field(default_factory=Hub)
    jobs: Jobs = field(init=False)
    watch: RunWatch | None = field(default=None, init=False)  # of the trainings; made with their routes
    desk: TaggerDesk | None = field(default=None, init=False)  # for clients of /tagger/v1; made with those routes

    def __post_init__(self) -> None:
        self.jobs = Jobs(self._tell)
        key()  # made with the first start: what is brought here afterwards was written elsewhere

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
            folder = self.opened().get(identity) or self._oddly_named().get(identity)
            if folder is None:
                raise UserError("This folder was not opened here before.", "Open it by its path first.")
            return Project.open(folder)
        name = project_name(identity)
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
        """The id of a project: its folder's name, or for one elsewhere, or called as none is made any more, ``@`` and a number."""
        folder = project.folder.resolve()
        if folder.parent == self.studio.projects_dir.resolve() and is_project_name(folder.name):
            return folder.name
        return _number_of(folder)

    def opened(self) -> dict[str, Path]:
        """Folders elsewhere that were opened here, by id."""
        try:
            return self._read_opened()
        except UserError:
            return {}

    def _read_opened(self) -> dict[str, Path]:
        """The same; raises UserError for a list that is there and cannot be read."""
        path = self.studio.projects_dir / RECENT
        if not path.exists():
            return {}
        known = mapping(mapping(read_json(path), RECENT).get("elsewhere", {}), RECENT)
        return {k: Path(v) for k, v in known.items() if k.startswith("@") and isinstance(v, str) and v}

    def _change_opened(self, change: Callable[[dict[str, Path]], dict[str, Path]]) -> None:
        """One window or program at a time reads the list, changes it and writes it: none takes back what another one wrote meanwhile."""
        path = self.studio.projects_dir / RECENT
        with locked(path.with_suffix(".lock")):
            try:
                known = self._read_opened()
            except UserError as error:
                if isinstance(error.__cause__, OSError):  # it is there, only not for us just now: nothing is written over it
                    raise
                replace(path, path.with_suffix(".broken.json"))
                known = {}
            after = change(known)
            if after != known:
                atomic_write_json(path, {"elsewhere": {k: str(v) for k, v in after.items()}})

    def forget(self, identity: str) -> None:
        """Take a folder elsewhere off the list. Raises UserError for a project of the projects folder, which is always on it."""
        if identity not in self.opened():
            raise UserError("This project lies in the projects folder; it stays on the list as long as the folder is there.", "Move the folder away.")
        self._change_opened(lambda known: {k: v for k, v in known.items() if k != identity})

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
        here = {p.name: p for p in self._folders() if is_project_name(p.name)}
        found = {**here, **self._oddly_named(), **self.opened()}
        looked = [known for identity, folder in found.items() if (known := KnownProject.look(identity, folder)) is not None]
        return sorted(looked, key=lambda known: -known.changed)

    def _folders(self) -> list[Path]:
        """The folders of the projects folder, but for hidden ones and our own."""
        try:
            return [p for p in self.studio.projects_dir.iterdir() if p.is_dir() and not p.name.startswith((".", "_"))]
        except OSError:
            return []

    def _oddly_named(self) -> dict[str, Path]:
        """Folders there that are called as no project is made: no address could hold their names."""
        return {_number_of(p.resolve()): p for p in self._folders() if not is_project_name(p.name)}

    def remember(self, project: Project) -> str:
        """Keep a folder elsewhere so that its id opens it again; returns the id."""
        identity = self.identity(project)
        if identity.startswith("@"):
            folder = project.folder.resolve()
            self._change_opened(lambda known: {**known, identity: folder})
        return identity
