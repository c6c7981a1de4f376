"""The LoRA files of a project: what was saved, where it lies, and how it is used."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import atomic_write_json
from ..project import Project
from ..reading import DIGITS, entries, parse_line, read_object
from ..training.basefile import read_header
from ..training.runs import list_runs
from ..untrusted import is_inside, leads_out
from .usage import WEIGHT, Facts, Usage, compose

SUFFIX = ".safetensors"
PREVIEWS = (".png", ".preview.png", ".webp", ".preview.webp", ".jpg", ".preview.jpg", ".jpeg", ".preview.jpeg")
WEIGHT_KEY, ACTIVATION_KEY, NEGATIVE_KEY = "preferred weight", "activation text", "negative text"
VERSIONS = {"sd_v1": "sd1", "sd_v2": "sd2", "sdxl": "sdxl"}


@dataclass(frozen=True)
class SavedLora:
    """One saved epoch. ``run``: the folder name of the run that made it, "" when that is gone; ``epoch`` None: not told in the file.

    ``problem``: why the file, or the texts beside it, could not be read.
    ``in_output``, ``in_lora_dir``: whether the file is in the project's output and in the WebUI's LoRA folder.
    """

    file: str
    stem: str
    epoch: int | None
    step: int | None
    partial: bool
    size: int
    modified: float
    run: str
    in_output: bool
    in_lora_dir: bool
    weight: float
    preview: bool
    base: str
    usage: Usage
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Places:
    """Where a project's LoRAs lie: its own output, and its folder in the WebUI's LoRA folder, if there is one."""

    output: Path
    lora: Path | None

    @classmethod
    def of(cls, project: Project, lora_dir: Path | None) -> Places:
        return cls(project.output_dir, lora_dir / project.name if lora_dir else None)

    @classmethod
    def to_write(cls, project: Project, lora_dir: Path | None) -> Places:
        """The same for whoever writes or moves files there. Raises RefusedError for an output that is a link out of project and LoRA folder."""
        places = cls.of(project, lora_dir)
        if lora_dir is None or not is_inside(lora_dir, places.output):
            project.own(places.output)
        return places

    @property
    def named(self) -> dict[str, Path]:
        return {"output": self.output, **({"lora": self.lora} if self.lora else {})}

    def holding(self, file: str) -> list[Path]:
        """Every copy of a LoRA, the project's own first. Raises UserError for a name that is none of the project's LoRAs."""
        found = [path for folder in self.named.values() for path in lora_files(folder) if path.name == file]
        if not found:
            raise UserError(f"There is no LoRA called {file} in this project.", "Load the list again: it may have been moved or deleted.")
        return found


def lora_files(folder: Path) -> list[Path]:
    """The LoRA files of a folder by name; files that are being written are left out."""
    return [p for p in entries(folder) if p.suffix.lower() == SUFFIX and not p.name.startswith(".") and os.path.isfile(p)]


def list_loras(project: Project, lora_dir: Path | None) -> list[SavedLora]:
    """The project's LoRAs, oldest run first, then by epoch."""
    places = Places.of(project, lora_dir)
    sessions = dict(_sessions(project.runs_dir))
    found: dict[str, list[tuple[str, Path]]] = {}
    for place, folder in places.named.items():
        for path in lora_files(folder):
            found.setdefault(path.name, []).append((place, path))
    loras = [_describe([p for _, p in copies], {place for place, _ in copies}, sessions) for copies in found.values()]
    return sorted(loras, key=lambda x: (x.run or "~", x.step or 0, x.epoch or 0, x.file))


def _sessions(runs_dir: Path) -> Iterator[tuple[str, str]]:
    """The id that a run writes into its files -> the run's folder name."""
    for run in list_runs(runs_dir):
        try:
            yield str(read_object(run.folder / "session.json").get("id", "")), run.folder.name
        except UserError:  # it saved nothing yet, or does not know its own files any more
            continue


def _describe(copies: list[Path], places: set[str], sessions: Mapping[str, str]) -> SavedLora:
    path = copies[0]
    metadata, problems = {}, []
    try:
        metadata = read_header(path).metadata
    except UserError as error:  # cut short or no safetensors at all: still listed, so that it can be moved away
        problems.append(error.message)
    sidecar, problem = look_at_sidecar(path)
    size, modified = _facts(path)
    weight = sidecar.get(WEIGHT_KEY)
    weight = float(weight) if isinstance(weight, (int, float)) and not isinstance(weight, bool) and weight and math.isfinite(weight) else WEIGHT
    facts = facts_of(path.stem, metadata, sidecar)
    return SavedLora(
        file=path.name,
        stem=path.stem,
        epoch=_whole(metadata.get("ss_epoch")),
        step=_whole(metadata.get("ss_steps")),
        partial=bool(re.search(r"-step\d+$", path.stem)),
        size=size,
        modified=modified,
        run=sessions.get(metadata.get("ss_session_id", ""), ""),
        in_output="output" in places,
        in_lora_dir="lora" in places,
        weight=weight,
        preview=any(preview_of(copy) for copy in copies),
        base=facts.base,
        usage=compose(facts, weight),
        problem=" ".join([*problems, *([problem] if problem else [])]),
    )


def _facts(path: Path) -> tuple[int, float]:
    """Bytes and time of change; 0 of a file that was just taken away."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0.0
    return found.st_size, found.st_mtime


def facts_of(stem: str, metadata: Mapping[str, str], sidecar: Mapping[str, Any]) -> Facts:
    """What the file's own metadata and the texts beside it say about how it is used."""
    version = metadata.get("ss_base_model_version", "")
    family = next((f for sign, f in VERSIONS.items() if version.startswith(sign)), "sd2" if metadata.get("ss_v2") == "True" else "sd1")
    sides = [int(n) for n in re.findall(r"\d{1,5}", metadata.get("ss_resolution", "") or metadata.get("modelspec.resolution", ""))[:2]]
    tags: dict[str, int] = {}
    for counts in _table(metadata.get("ss_tag_frequency")).values():
        for tag, n in counts.items() if isinstance(counts, dict) else ():
            tags[str(tag).strip()] = tags.get(str(tag).strip(), 0) + (n if isinstance(n, int) else 0)
    folders = [f for f in _table(metadata.get("ss_dataset_dirs")).values() if isinstance(f, dict)]
    images = sum(n for f in folders if isinstance(n := f.get("img_count", 0), int))
    return Facts(
        stem=stem,
        activation=str(sidecar.get(ACTIVATION_KEY) or metadata.get("modelspec.trigger_phrase", "")),
        negative=str(sidecar.get(NEGATIVE_KEY) or ""),
        family=family,
        base=metadata.get("ss_sd_model_name", ""),
        size=(sides[0], sides[-1]) if sides else (0, 0),
        tags=tags,
        images=images,
    )


def _table(text: str | None) -> dict[str, Any]:
    return parse_line((text or "").encode("utf-8")) or {}


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < DIGITS else None


def preview_of(lora: Path) -> Path | None:
    """The picture beside a LoRA, as the WebUI looks for it."""
    return next((p for suffix in PREVIEWS if os.path.isfile(p := lora.with_name(lora.stem + suffix)) and not leads_out(p)), None)


def preview(project: Project, lora_dir: Path | None, file: str) -> Path | None:
    """The first preview beside any copy of a project's LoRA. Raises UserError for a name that is none of its LoRAs."""
    return next((p for copy in Places.of(project, lora_dir).holding(file) if (p := preview_of(copy))), None)


def read_sidecar(lora: Path) -> dict[str, Any]:
    """What ``<stem>.json`` beside a LoRA holds; empty when there is none or it cannot be read."""
    return look_at_sidecar(lora)[0]


def look_at_sidecar(lora: Path) -> tuple[dict[str, Any], str]:
    """What ``<stem>.json`` beside a LoRA holds, and why it could not be read ("": it could, or there is none)."""
    path = lora.with_suffix(".json")
    try:
        return (read_object(path) if os.path.lexists(path) else {}), ""
    except UserError as error:
        return {}, error.message


def set_weight(project: Project, lora_dir: Path | None, file: str, weight: float) -> float:
    """Write the weight that the WebUI puts into the prompt when the LoRA's card is clicked; whatever else the sidecars hold stays.

    Raises:
        UserError: no such LoRA, no sensible weight, or a sidecar that is there but cannot be read.
    """
    if not math.isfinite(weight) or not -4 <= weight <= 4 or weight == 0:
        raise UserError("The weight has to lie between -4 and 4 and not be 0.", "0.6 to 1 is usual.")
    weight = round(weight, 3)
    copies = Places.to_write(project, lora_dir).holding(file)
    sidecars = [(path, read_object(path) if os.path.lexists(path) else {}) for path in (p.with_suffix(".json") for p in copies)]
    for path, found in sidecars:
        atomic_write_json(path, {**found, WEIGHT_KEY: weight})
    return weight
