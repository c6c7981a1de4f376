"""A bundle's contents into a project: on another machine as a new project, at home into the one it came from."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..dataset.archive import BROKEN
from ..errors import UserError
from ..files import TEMPORARY_PREFIX, atomic_path, atomic_write_json, atomic_write_text, read_json
from ..patience import opened, temporary_folder
from ..progress import Progress, silent
from ..project import is_project_name
from ..training.basefile import read_header
from ..training.config import TrainingConfig
from ..training.events import FILE as EVENTS
from ..training.events import LARGEST as LARGEST_EVENTS
from ..training.events import RunEvent, parse, read_events
from ..training.places import granted, may_write
from ..training.runs import PROCESS, Run
from ..training.saved import name_of
from ..untrusted import own_folder
from .manifest import Manifest, Model, blocks, hash_of, read_manifest, size_of

MB = 1_000_000
#: how a file that is no ZIP ends its opening
UNREADABLE: tuple[type[Exception], ...] = (*BROKEN, OSError)
#: options that belong to a machine, not to what is learned: they may be set anew on another one
OF_MACHINE = ("device", "threads", "processes", "memory_plan", "state_every_minutes")


@dataclass(frozen=True)
class Placed:
    """``new``: the project was made here. ``loras``: the LoRA files that came; ``left_out``: (file, reason). ``ahead``: the run here is further."""

    project: str
    folder: str
    run: str
    new: bool
    ahead: bool
    loras: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def place(
    file: Path, projects_dir: Path, lora_dir: Path | None = None, base: Path | None = None, known: Sequence[Path] = (),
    progress: Progress = silent, need_base: bool = False, settings: Mapping[str, Any] | None = None,
) -> Placed:  # fmt: skip
    """Put a bundle where it belongs. Broken off, it can be done again: what is there already is not written twice.

    ``known``: files of this machine that may be the base, and folders of such; ``need_base``: the run is to be trained here, so there must be one.
    ``settings``: options of this machine (OF_MACHINE), with ``need_base``.

    Raises:
        UserError: no bundle, not whole, another project or run of that name, or no base.
    """
    if foreign := [name for name in settings or {} if name not in OF_MACHINE]:
        raise UserError(f"{', '.join(foreign)} cannot be changed on the way.", f"Only what belongs to a machine: {', '.join(OF_MACHINE)}.")
    try:
        archive = zipfile.ZipFile(file)
    except UNREADABLE as error:
        raise UserError(f"{file} cannot be read as a bundle: {error}", "Copy the file again; it may have been cut short.") from error
    with archive:
        manifest = read_manifest(archive, file.name)
        return _Placing(archive, manifest, file, projects_dir, lora_dir, progress).go(base, known, need_base, settings or {})


class _Placing:
    """One bundle on its way into a project."""

    def __init__(
        self, archive: zipfile.ZipFile, manifest: Manifest, file: Path, projects_dir: Path, lora_dir: Path | None, progress: Progress
    ) -> None:
        self.archive, self.manifest, self.file, self.lora_dir, self.progress = archive, manifest, file, lora_dir, progress
        self.folder = projects_dir / manifest.project
        self.run_dir = self.folder / "runs" / manifest.run
        self.prefix = f"runs/{manifest.run}/"
        self.total = max(1, sum(size for size, _ in manifest.files.values()))
        self.done = 0
        self.left_out: list[tuple[str, str]] = []
        self.own_lora_dir = self._own_lora_dir()

    def go(self, base: Path | None, known: Sequence[Path], need_base: bool, settings: Mapping[str, Any]) -> Placed:
        ahead = self._compare()
        here = (self.run_dir / "config.json").is_file()
        if not here and not is_project_name(self.manifest.project):
            raise UserError(f"{self.file.name} cannot become a project named {self.manifest.project!r}.", "Have it packed under another name.")
        own_folder(self.folder, self.run_dir, f"The run {self.manifest.run}")
        new = not here and not self._has_pictures()
        if new:
            self._extract(self._pictures(), self.folder, anew=False)
        elif need_base:
            self._same_pictures()
        if not here and self._is_whole() and "project.json" in self.manifest.files and not (self.folder / "project.json").exists():
            self._extract(["project.json"], self.folder)
        if need_base or not here:
            models = {key: self._model(model, base if key == "base" else None, known, need_base) for key, model in self._models()}
        if not ahead:
            self._run(here)
        if need_base or not here:
            self._configure(here, models, settings)
        loras = self._loras()
        return Placed(self.manifest.project, str(self.folder), str(self.run_dir), new, ahead, loras, tuple(self.left_out))

    # -- what is here already --------------------------------------------------

    def _compare(self) -> bool:
        """Whether the run here has gone on further. Raises UserError when the two went different ways."""
        if not (self.run_dir / "config.json").is_file():
            return False
        if Run(self.run_dir).alive():
            raise UserError(f"The run {self.manifest.run} is running here.", "Wait for its end, or stop it first.")
        here = [(e.seq, e.type, e.time) for e in read_events(self.run_dir / EVENTS)]
        there = [(e.seq, e.type, e.time) for e in self._events()]
        shorter = min(len(here), len(there))
        if here[:shorter] != there[:shorter]:
            raise UserError(
                f"The run {self.manifest.run} went on both here and where this bundle comes from.",
                "Move the run here to the trash if the bundle's is the one to keep, then unbundle again.",
            )
        return len(here) > len(there)

    def _events(self) -> list[RunEvent]:
        name = self.prefix + EVENTS
        if name not in self.manifest.files:
            return []
        if self.manifest.files[name][0] > LARGEST_EVENTS:  # all of it is held in memory; packed it may be tiny
            what = f"{self.file.name} holds more of a training's events than any training has."
            raise UserError(what, "Nothing was written: do not use this file.")
        return list(parse(self.archive.read(name)))

    def _has_pictures(self) -> bool:
        dataset = self.folder / "dataset"
        if not self.folder.exists():
            return False
        return self._is_whole() or (dataset.is_dir() and any(self._is_another(p) for p in dataset.iterdir()))

    def _is_whole(self) -> bool:
        return all((self.folder / n).is_file() for n in self._pictures())

    def _is_another(self, path: Path) -> bool:
        return path.is_file() and f"dataset/{path.name}" not in self.manifest.files and not path.name.startswith(TEMPORARY_PREFIX)

    def _pictures(self) -> list[str]:
        return [n for n in self.manifest.files if n.split("/")[0] in ("dataset", "folders", "masks")]

    def _same_pictures(self) -> None:
        """Training goes on with the pictures it began with, or not at all."""
        for name in self._pictures():
            path = self.folder / name
            if not path.is_file() or path.stat().st_size != self.manifest.files[name][0] or hash_of(path) != self.manifest.files[name][1]:
                raise self._another(name)

    # -- writing -----------------------------------------------------------------

    def _extract(self, names: Iterable[str], root: Path, strip: str = "", anew: bool = True) -> None:
        """Write files below ``root``; not ``anew``: never over another file."""
        for name in names:
            target = root / name.removeprefix(strip)
            size, digest = self.manifest.files[name]
            self.done += size
            self.progress(self.done // MB, -(-self.total // MB), name)
            if target.is_file() and target.stat().st_size == size and hash_of(target) == digest:
                continue
            if target.exists() and not anew:
                raise self._another(name)
            self._inside(target, root)
            with atomic_path(target) as temporary:
                self._copy(name, temporary)
                if target.suffix == ".safetensors":
                    read_header(temporary)

    def _another(self, name: str) -> UserError:
        text = f"Here is another project {self.manifest.project} with other pictures: {name} differs."
        return UserError(text, "Use another folder: --projects DIR.")

    def _inside(self, target: Path, root: Path) -> None:
        """A folder of the project may be a link to somewhere else: nothing is written through it."""
        if root.resolve() not in target.resolve().parents:
            raise UserError(f"{target} leads out of {root}.", "Nothing more was written. Remove the link.")

    def _copy(self, name: str, target: Path) -> None:
        size, digest = self.manifest.files[name]
        found, written = hashlib.sha256(), 0
        try:
            with self.archive.open(name) as source, opened(target, "xb") as out:
                for block in blocks(source):  # type: ignore[arg-type]
                    written += len(block)
                    if written > size:
                        break
                    found.update(block)
                    out.write(block)
        except BROKEN as error:
            raise UserError(f"{self.file.name} is damaged at {name}.", "Copy the file again.") from error
        if written != size or found.hexdigest() != digest:
            raise UserError(f"{self.file.name} is damaged at {name}.", "Copy the file again.")

    def _run(self, here: bool) -> None:
        """The run's folder; its events last, for they say how far it is. Settings and state of a run that is here stay ours where they are newer."""
        names = self.manifest.below("runs", self.manifest.run)
        plain = [n for n in names if n.removeprefix(self.prefix) not in (EVENTS, "config.json", *(("session.json",) if here else ()))]
        boards = self._boards()
        plain = [n for n in plain if "/tensorboard/" not in n or self.manifest.files[n][1] not in boards]
        self._extract(plain, self.run_dir, self.prefix)
        for name in ("control", "state", "samples", "tensorboard"):
            (self.run_dir / name).mkdir(parents=True, exist_ok=True)
        events = self._events()
        for event in events:
            if event.type == "checkpoint":
                told = event.data
                if not (file := name_of(told)):
                    told["path"] = told["lora_path"] = ""
                    continue
                told["path"] = str((self.folder / "output" / file).absolute())
                told["lora_path"] = str(((self._lora_folder() or self.folder / "output") / file).absolute())
        if events:
            atomic_write_text(self.run_dir / EVENTS, "".join(json.dumps(e.to_dict(), ensure_ascii=False) + "\n" for e in events))
            if not (self.run_dir / PROCESS).is_file():  # it was started, though by nobody on this machine
                atomic_write_json(self.run_dir / PROCESS, {"pid": 0, "created": 0, "began": 0})

    def _boards(self) -> set[str]:
        """What is here of TensorBoard's files: the same may come home under another name, for they leave without this machine's."""
        folder = self.run_dir / "tensorboard"
        return {hash_of(path) for path in folder.rglob("*") if path.is_file()} if folder.is_dir() else set()

    def _own_lora_dir(self) -> str:
        """Where the run, as it is here, puts its LoRAs too; nothing where nobody on this machine allowed it."""
        named = Run(self.run_dir).told()[0].get("lora_dir")
        if not isinstance(named, str) or not named:
            return ""
        if may_write(named, [self.folder, *map(Path, granted(self.run_dir).places)]):
            return named
        if self.lora_dir is None:
            self.left_out.append((named, "This LoRA folder lies outside of the project: give --lora-dir, and LoRAs are put there too."))
        return ""

    def _lora_folder(self) -> Path | None:
        """Where the WebUI looks: as this studio is set up, or as the run was when it was made here."""
        if self.lora_dir is not None:
            return self.lora_dir / self.manifest.project
        return Path(self.own_lora_dir) if self.own_lora_dir else None

    def _loras(self) -> tuple[str, ...]:
        """LoRAs into the project's output and the LoRA folder, never over another file; the LoRA itself after what belongs to it."""
        names = sorted(self.manifest.below("output"), key=lambda n: n.endswith(".safetensors"))
        came = []
        for name in names:
            file = name.removeprefix("output/")
            size, digest = self.manifest.files[name]
            self.done += size
            output = own_folder(self.folder, self.folder / "output", "The project's output folder")
            targets = [t / file for t in (output, self._lora_folder()) if t is not None]
            for target in targets:
                if os.path.lexists(target):
                    if target.suffix == ".safetensors" and (not target.is_file() or hash_of(target) != digest):
                        self.left_out.append((str(target), "Another file of this name is there. Rename it, then unbundle again."))
                    continue
                self._inside(target, output if target == targets[0] else target.parent)
                with atomic_path(target) as temporary:
                    self._copy(name, temporary)
                    if target.suffix == ".safetensors":
                        read_header(temporary)
                if target.suffix == ".safetensors" and target == targets[0]:
                    came.append(str(target))
        return tuple(came)

    # -- models and settings ---------------------------------------------------------

    def _models(self) -> list[tuple[str, Model]]:
        all_of_them = (("base", self.manifest.base), ("vae", self.manifest.vae), ("start_from", self.manifest.start_from))
        return [(key, model) for key, model in all_of_them if model is not None]

    def _model(self, model: Model, given: Path | None, known: Sequence[Path], needed: bool) -> str:
        """The file of a model on this machine: the one given, the one in the bundle, or one of the same name and content."""
        if given is not None:
            if not given.exists():
                raise UserError(f"{given} does not exist.", "Check the path after --base.")
            self._check(model, given)
            return str(given.absolute())
        if model.member:
            below = [n for n in self.manifest.files if n == model.member or n.startswith(model.member.rsplit("/", 1)[0] + "/")]
            self._extract(below, self.folder)
            return str((self.folder / model.member).absolute())
        near = [self.file.parent / model.name, Path(model.name), *(k / model.name if k.is_dir() else k for k in known)]
        for path in near:
            if path.exists() and path.name == model.name and size_of(path) == model.size and hash_of(path) == model.sha256:
                return str(path.absolute())
        if needed:
            raise UserError(
                f"The training needs {model.name} ({model.size / 1e9:.2f} GB), which is not on this machine.",
                f"Put it beside {self.file.name}, or say where it is: --base FILE. Its SHA-256 begins with {model.sha256[:10]}.",
            )
        return model.name

    def _check(self, model: Model, path: Path) -> None:
        self.progress(0, 0, f"Checking {path.name}")
        if size_of(path) != model.size or hash_of(path) != model.sha256:
            raise UserError(
                f"{path.name} is not the base that this training uses: {model.name} with the SHA-256 {model.sha256[:10]}….",
                "Get that file, or pack the bundle with the base inside: --include-base.",
            )

    def _configure(self, here: bool, models: dict[str, str], settings: Mapping[str, Any]) -> None:
        """The run's configuration with this machine's places; nothing of the other machine's paths is used, and never written.

        Of a run that is new it comes last: one that was broken off before is not taken for a whole one.
        """
        config = TrainingConfig.from_dict(read_json(self.run_dir / "config.json") if here else self._packed_config())
        known = config.to_dict()

        def own(path: str) -> str:
            return str((self.folder / path).absolute()) if path else ""

        folders = [{**f, "path": own(f["path"]), "conditioning_data_dir": own(f.get("conditioning_data_dir", ""))} for f in self.manifest.folders]
        lora = self._lora_folder()
        known.update(
            base=models["base"], vae=models.get("vae", ""), network_weights=models.get("start_from", ""), folders=folders, output_dir=own("output"),
            lora_dir=str(lora.absolute()) if lora else "", **settings,
        )  # fmt: skip
        changed = TrainingConfig.from_dict(known)
        if changed != config or not here:
            atomic_write_json(self.run_dir / "config.json", changed.to_dict())

    def _packed_config(self) -> Any:
        name = self.prefix + "config.json"
        with temporary_folder() as folder:
            self._copy(name, folder / "config.json")
            return read_json(folder / "config.json")
