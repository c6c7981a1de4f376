"""What every route needs: the studio, the host it runs in, the jobs, and who is listening."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..files import atomic_write_json, read_json, validate_name
from ..host.base import Host
from ..jobs import Job, Jobs
from ..project import Project
from ..studio import Studio
from .hub import Hub

if TYPE_CHECKING:
    from .runwatch import RunWatch

RECENT = "_recent.json"


@dataclass
class Context:
    """One for the process; it outlives the WebUI's own reloads. ``names``: what the page may be called in an address (None: anything)."""

    studio: Studio
    host: Host
    names: frozenset[str] | None = None
    hub: Hub = field(default_factory=Hub)
    jobs: Jobs = field(init=False)
    watch: RunWatch | None = field(default=None, init=False)  # of the trainings; made with their routes

    def __post_init__(self) -> None:
        self.jobs = Jobs(self._tell)

    def _tell(self, job: Job) -> None:
        self.hub.publish("job", job.project, job.to_dict())

    def start_command(self, kind: str, project: str, *arguments: str) -> Job:
        """Run a command of ours (``"tag", folder, "--model", …``) as a child process and follow it as a job.

        Whatever needs torch, onnxruntime or much memory goes this way: the host's process never loads them, stopping is
        instant, and a crash hurts nobody.
        """
        environment = self.studio.environment
        folders = ["--projects", str(self.studio.projects_dir)]
        if self.studio.lora_dir is not None:
            folders += ["--lora-dir", str(self.studio.lora_dir)]
        command = environment.command(*arguments, *folders, "--json", "--progress", "json")
        return self.jobs.start_command(kind, project, command, environment.variables())

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

    def remember(self, project: Project) -> str:
        """Keep a folder elsewhere so that its id opens it again; returns the id."""
        identity = self.identity(project)
        if identity.startswith("@"):
            known = {**{k: str(v) for k, v in self.opened().items()}, identity: str(project.folder.resolve())}
            atomic_write_json(self.studio.projects_dir / RECENT, {"elsewhere": known})
        return identity
