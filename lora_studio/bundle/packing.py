"""A project's run into one zip file: pictures, captions, settings, state, samples, LoRAs, and a program that starts it anywhere."""

from __future__ import annotations

import hashlib
import io
import json
import re
import secrets
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from .. import __version__
from ..dataset.captions import problem
from ..dataset.items import OUTSIDE
from ..errors import UserError
from ..files import TEMPORARY_PREFIX, atomic_path, atomic_write_json
from ..patience import opened
from ..progress import Progress, silent
from ..project import FILE as PROJECT_FILE
from ..project import Project
from ..reading import parse_json
from ..training.basefile import family_of, read_header
from ..training.config import TrainingConfig
from ..training.events import read_events
from ..training.places import check_read, granted
from ..training.runs import Run
from ..training.saved import saved_file
from ..untrusted import is_inside, is_network, leads_out
from .launcher import READ_ME, START
from .manifest import ALLOWED, MANIFEST, Manifest, Model, blocks, hash_of, is_safe, key_of, size_of
from .nameless import board_name, last_part, plain_json, plain_lines, plain_page, plain_text

MB = 1_000_000
#: of a run's folder: what belongs to this machine or this moment
LEFT_OUT = frozenset({"control", "process.json", "starting.lock", "plan.json", "layout.json", "precision.json"})
TEXT = frozenset({".txt", ".json", ".jsonl", ".log", ".html", ".yaml"})


@dataclass
class _Contents:
    """Files by their path in the bundle, gathered before anything is written."""

    files: dict[str, Path] = field(default_factory=dict)
    left_out: list[tuple[str, str]] = field(default_factory=list)
    by_key: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, path: Path, run: str, root: Path | None = None) -> None:
        """``root``: the folder that the file must really lie in, links followed: nothing else of this machine is packed."""
        if root is not None and not is_inside(root, path):
            self.left_out.append((name, "It is a link to another place."))
        elif is_safe(name, run):
            other = self.by_key.setdefault(key_of(name), name)
            if other != name:
                raise UserError(f"{other} and {name} would be one file on Windows and macOS.", "Rename one of the two, then pack again.")
            self.files[name] = path
        elif not path.name.startswith((TEMPORARY_PREFIX, ".writing-")):
            self.left_out.append((name, "Its name or kind cannot be packed."))


def pack(
    project: Project, run: Run, out: Path, include_base: bool = False, progress: Progress = silent, lora_dir: Path | None = None
) -> dict[str, Any]:
    """Write the bundle of a run; it appears when it is whole.

    Raises:
        UserError: the run is running, a file is gone, or the disk is full.
    """
    if run.alive():
        raise UserError(f"The run {run.folder.name} is running.", "Stop it first: what it is doing would be packed by halves.")
    config = run.config()
    check_read(config.to_dict(), run.folder, granted(run.folder).places)
    _name_files(run, config, lora_dir)
    found = _Contents()
    manifest = Manifest(project.name, run.folder.name, f"lora_studio {__version__}", time.time(), base=Model("", 0, ""))
    manifest = replace(manifest, folders=_folders(found, project, config, manifest.run))
    settings = _settings(config, manifest.folders)
    _run_files(found, run, manifest.run)
    _loras(found, run, config, manifest.run)
    models = _models(found, config, include_base, manifest.run, progress)
    if (project.folder / PROJECT_FILE).is_file():
        found.add(PROJECT_FILE, project.folder / PROJECT_FILE, manifest.run)
    with atomic_path(out) as temporary:
        hashes = _write(temporary, out.name, found, replace(manifest, **models), settings, progress)
    return {
        "file": str(out), "bytes": out.stat().st_size, "files": len(hashes), "run": manifest.run, "project": project.name,
        "base": models["base"].name, "base_included": bool(models["base"].member), "left_out": [list(row) for row in found.left_out],
        "outside": sorted({f.path for f in config.folders if not is_inside(project.folder, Path(f.path))}),
        "command": f"python {out.name}" + ("" if models["base"].member else f" --base {models['base'].name}"),
    }  # fmt: skip


def _settings(config: TrainingConfig, folders: Sequence[Mapping[str, Any]]) -> bytes:
    """The run's settings as they travel: files by name alone, folders as they lie in the bundle."""
    files = {key: last_part(getattr(config, key)) for key in ("base", "vae", "network_weights")}
    values = {**config.to_dict(), **files, "folders": [dict(f) for f in folders], "output_dir": "output", "lora_dir": ""}
    return json.dumps(values, ensure_ascii=False, indent=2).encode("utf-8")


def _project_settings(data: bytes) -> bytes:
    """The project's settings without folders of this machine that were chosen for its training: the run has them with it."""
    try:
        found = parse_json(data, forgiving=True)
        found.get("settings", {}).pop("folders", None)
    except (ValueError, AttributeError):
        return plain_json(data)
    return plain_json(json.dumps(found, ensure_ascii=False).encode("utf-8"))


#: how files leave this machine that may name its folders: by their ending, or by the whole name where that says more
AS_THEY_LEAVE: tuple[tuple[re.Pattern[str], Callable[[bytes], bytes]], ...] = (
    (re.compile(r"project\.json"), _project_settings),
    (re.compile(r"runs/.*\.jsonl"), plain_lines),
    (re.compile(r"runs/.*\.log"), lambda data: plain_text(data.decode("utf-8", "replace")).encode("utf-8")),
    (re.compile(r"runs/.*\.html"), plain_page),
    (re.compile(r"(runs|output)/.*\.json"), plain_json),
)


def _name_files(run: Run, config: TrainingConfig, lora_dir: Path | None) -> None:
    """Decide here what the run's LoRA files are called: the other machine cannot see which names are taken."""
    if (run.folder / "session.json").is_file():
        return
    named = [place for place in (config.output_dir, config.lora_dir) if place and not is_network(place)]
    places = [*map(Path, named), *([lora_dir / Path(config.output_dir).parent.name] if lora_dir else [])]
    taken = {p.name.lower() for place in places if place.is_dir() for p in place.iterdir()}
    number = 1
    while True:
        stem = config.output_name if number == 1 else f"{config.output_name}_{number}"
        numbered = re.compile(re.escape(stem.lower()) + r"(-\d+|-step\d+)?\.(safetensors|pt|ckpt)")
        if not any(numbered.fullmatch(name) for name in taken):
            break
        number += 1
    atomic_write_json(run.folder / "session.json", {"id": secrets.token_hex(8), "started": time.time(), "stem": stem})


def _folders(found: _Contents, project: Project, config: TrainingConfig, run: str) -> tuple[dict[str, Any], ...]:
    rows = []
    for number, folder in enumerate(config.folders, 1):
        path = Path(folder.path)
        own = path.resolve() == project.dataset_dir.resolve()
        row = {**asdict(folder), "path": "dataset" if own else f"folders/{number}", "conditioning_data_dir": ""}
        _flat_folder(found, path, row["path"], ALLOWED["dataset"], run)
        if folder.conditioning_data_dir:
            row["conditioning_data_dir"] = f"masks/{number}"
            _flat_folder(found, Path(folder.conditioning_data_dir), row["conditioning_data_dir"], ALLOWED["masks"], run)
        rows.append(row)
    return tuple(rows)


def _flat_folder(found: _Contents, folder: Path, name: str, suffixes: frozenset[str], run: str) -> None:
    """Pictures and captions directly in a folder: what a trainer reads."""
    if not folder.is_dir():
        raise UserError(f"The folder {folder} does not exist.", "Put it back, or choose other folders for the training.")
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix.lower() in suffixes and not path.name.startswith((TEMPORARY_PREFIX, "._")):
            reason = OUTSIDE if leads_out(path) else problem(path) if path.suffix.lower() == ".txt" else ""
            if reason:
                found.left_out.append((f"{name}/{path.name}", reason))
            else:
                found.add(f"{name}/{path.name}", path, run, folder)


def _run_files(found: _Contents, run: Run, name: str) -> None:
    left_out = LEFT_OUT | ({"state"} if run.status().state == "finished" else set())  # there is nothing more to go on with
    for path in sorted(run.folder.rglob("*")):
        inside = path.relative_to(run.folder).as_posix()
        if path.is_file() and inside.split("/")[0] not in left_out and not any(part.startswith(".") for part in inside.split("/")):
            place = "/".join(["runs", name, *inside.split("/")[:-1], board_name(path.name)])
            while place in found.files:  # written by two machines in one second
                place += ".0"
            found.add(place, path, name, run.folder)


def _loras(found: _Contents, run: Run, config: TrainingConfig, name: str) -> None:
    """The epochs that the run saved and that are still there, with picture and notes."""
    for event in read_events(run.events_path):
        if event.type == "checkpoint":
            saved = saved_file(run.folder, event.data, config.to_dict())
            if saved is None:
                continue
            for suffix in (".safetensors", ".json", ".png"):
                path = saved.with_suffix(suffix)
                if path.is_file():
                    found.add(f"output/{path.name}", path, name)


def _models(found: _Contents, config: TrainingConfig, include: bool, run: str, progress: Progress) -> dict[str, Any]:
    models: dict[str, Any] = {}
    for key, text, always in (("base", config.base, False), ("vae", config.vae, False), ("start_from", config.network_weights, True)):
        if not text:
            continue
        path = Path(text)
        if not path.exists():
            raise UserError(f"{path} does not exist.", "Put it back, or choose another one.")
        progress(0, 0, f"Reading {path.name}")
        model = Model(path.name, size_of(path), hash_of(path))
        if (include or always) and not _is_model(path):
            found.left_out.append((path.name, "It is no model that can be packed: only .safetensors files and diffusers folders are."))
        elif include or always:
            model = replace(model, member=f"models/{key}/{path.name}")
            for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path, path.with_suffix(".yaml")]:
                if file.is_file():
                    inside = f"/{file.relative_to(path).as_posix()}" if path.is_dir() else ""
                    found.add(model.member + inside if path.is_dir() else f"models/{key}/{file.name}", file, run)
        models[key] = model
    return models


def _is_model(path: Path) -> bool:
    """Whether it is a model, and not just any file or folder that settings name."""
    try:
        return bool(family_of(path)) if path.is_dir() else path.suffix.lower() == ".safetensors" and bool(read_header(path))
    except (UserError, OSError, ValueError):
        return False


def _write(path: Path, name: str, found: _Contents, manifest: Manifest, settings: bytes, progress: Progress) -> dict[str, tuple[int, str]]:
    """The zip file. Hashes are taken from the very bytes that go in; the list of files comes last."""
    total = sum(p.stat().st_size for p in found.files.values())
    done = 0
    files: dict[str, tuple[int, str]] = {}
    with opened(path, "x+b") as packed, zipfile.ZipFile(packed, "w", allowZip64=True) as archive:
        for text_name, text in (("__main__.py", START), ("README.md", READ_ME.replace("NAME.zip", name))):
            archive.writestr(_entry(text_name, manifest.made), text.encode("utf-8"))
        for inside, source in found.files.items():
            digest, size = hashlib.sha256(), 0
            try:
                entry = _entry(inside, source.stat().st_mtime)
                with _leaving(inside, source, manifest, settings) as file, archive.open(entry, "w", force_zip64=True) as member:
                    for block in blocks(file):
                        member.write(block)
                        digest.update(block)
                        size += len(block)
                        done += len(block)
                        progress(done // MB, -(-total // MB), inside)
            except FileNotFoundError:
                raise UserError(f"{source} has gone while it was packed.", "Try again when nothing else changes the project.") from None
            files[inside] = (size, digest.hexdigest())
        text = json.dumps(replace(manifest, files=files).to_dict(), ensure_ascii=False, indent=1)
        archive.writestr(_entry(MANIFEST, manifest.made), text.encode("utf-8"))
    return files


def _leaving(name: str, source: Path, manifest: Manifest, settings: bytes) -> BinaryIO:
    """A file as it goes into the bundle."""
    if name == f"runs/{manifest.run}/config.json":
        return io.BytesIO(settings)
    for pattern, change in AS_THEY_LEAVE:
        if pattern.fullmatch(name):
            return io.BytesIO(change(source.read_bytes()))
    return opened(source, "rb")


def _entry(name: str, changed: float) -> zipfile.ZipInfo:
    """Pictures and weights do not get smaller; texts do."""
    moment = time.localtime(max(changed, 315_619_200.0))[:6]  # a zip knows nothing before 1980
    info = zipfile.ZipInfo(name, moment)
    info.compress_type = zipfile.ZIP_DEFLATED if Path(name).suffix.lower() in TEXT or name.endswith((".py", ".md")) else zipfile.ZIP_STORED
    info.external_attr = 0o644 << 16
    return info
