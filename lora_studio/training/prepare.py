"""From what a person chose (a base, a preset, changed options) to a whole configuration, and every mistake told at its field."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..dataset import ImageItem, read_caption
from ..errors import UserError
from ..project import FILE, Project
from . import presets
from .basefile import family_of
from .bases import settings_for
from .config import OPTIONS, DatasetFolder, TrainingConfig
from .form import NOT_IN_FORM, OF_FOLDERS
from .pictures import scan
from .places import granted_below, without_network
from .preflight import Preflight, preflight

Problems = dict[str, list[str]]
# (the first folder, a field of it) -> what the form calls it
_IN_FOLDERS = {(True, "repeats"): "repeats", (True, "conditioning_data_dir"): "mask_dir", (False, "repeats"): "reg_repeats"}
NO_PICTURES = "There are no pictures to train on yet."


@dataclass(frozen=True)
class Draft:
    """A training as the form shows it, before it starts.

    ``values``: every option as the preset sets it, before the person's changes. ``problems``: mistakes by option, "" for those of none.
    """

    family: str
    preset: str
    values: dict[str, Any]
    problems: Problems
    check: Preflight | None

    def to_dict(self) -> dict[str, Any]:
        check = self.check.to_dict() if self.check else None
        return {"family": self.family, "preset": self.preset, "values": self.values, "problems": self.problems, "preflight": check}


@dataclass(frozen=True)
class Start:
    """What a training begins from. ``tiny``: the base is the embedded demo model, which wants settings of its own."""

    project: Project
    base: Path
    preset: str = "character"
    tiny: bool = False
    own_presets: Path | None = None
    lora_dir: Path | None = None

    def pictures(self) -> list[ImageItem]:
        folders = [Path(f["path"]) for f in self.folders() if not f.get("is_reg")] or [self.project.dataset_dir]
        return [item for folder in folders if folder.is_dir() for item in scan(folder).items]

    def folders(self) -> list[dict[str, Any]]:
        """Folders that an import chose for this project; empty: its dataset alone."""
        found = self.project.settings.get("folders")
        chosen = [f for f in found if isinstance(f, dict) and isinstance(f.get("path"), str)] if isinstance(found, list) else []
        known = granted_below(self.project.folder) if chosen else ()
        if without_network(chosen, self.project.folder, known) != chosen:
            raise UserError(
                f"{self.project.folder / FILE} names folders of another machine for the training: they are not looked at.",
                "If they are yours, give that place a drive letter and import the settings again; or delete its line \"folders\".",
            )
        return chosen

    def preset_name(self) -> str:
        """The preset that is really meant: a character on the demo model has one of its own."""
        return "demo" if self.tiny and self.preset == "character" else self.preset

    def values(self, family: str, pictures: Sequence[ImageItem]) -> dict[str, Any]:
        """What preset and project set, unchecked. Raises UserError when there is no such preset."""
        project, name = self.project, self.preset_name()
        lora_dir = str((self.lora_dir / project.name).absolute()) if self.lora_dir else ""
        values: dict[str, Any] = {
            "base": str(self.base.absolute()),
            "folders": self.folders()
            or [{"path": str(project.dataset_dir.absolute()), "repeats": presets.repeats_for(len(pictures), family, name)}],
            "output_name": project.name,
            "output_dir": str(project.output_dir.absolute()),
            "lora_dir": lora_dir,
            "trigger": project.trigger,
            **presets.settings(name, "tiny" if self.tiny else family, self.own_presets),
            **settings_for(self.base.name),
        }
        if not project.trigger:
            values.pop("prior_weight", None)
        values.setdefault("sample_prompts", sample_prompts(project, pictures))
        return values


def configure(start: Start, settings: Mapping[str, Any]) -> TrainingConfig:
    """The configuration of a run: the preset's values with ``settings`` on top. Raises UserError naming all mistakes at once."""
    family = family_of(start.base)
    pictures = start.pictures()
    if not pictures:
        raise UserError(f"{start.project.dataset_dir} holds no pictures to train on.", "Crop the pictures first: crop PROJECT.")
    try:
        values, mistake = start.values(family, pictures), None
    except UserError as error:
        values, mistake = Start(start.project, start.base, lora_dir=start.lora_dir).values(family, pictures), error
    try:
        config = TrainingConfig.from_dict(_merged(values, settings))
    except UserError as error:
        raise error if mistake is None else UserError(f"{mistake.message} {mistake.hint}\n{error.message}", error.hint) from None
    if mistake is not None:
        raise mistake
    return config


def configure_from_form(start: Start, settings: Mapping[str, Any]) -> TrainingConfig:
    """`configure` for settings that come from a page, which may not say where files lie. Raises UserError."""
    _refuse_places(settings)
    return configure(start, settings)


def _refuse_places(settings: Mapping[str, Any]) -> None:
    if foreign := [name for name in settings if name in NOT_IN_FORM]:
        raise UserError(f"These options cannot be set here: {', '.join(sorted(foreign))}.")


def draft(start: Start, settings: Mapping[str, Any], earlier_runs: Sequence[Path] = ()) -> Draft:
    """How the training would be, with every mistake at its option. Raises UserError when there is no such preset."""
    _refuse_places(settings)
    problems: Problems = defaultdict(list)
    try:
        family = family_of(start.base)
    except UserError as error:
        family = ""
        problems["base"].append(" ".join(filter(None, (error.message, error.hint))))
    pictures = start.pictures()
    values = start.values(family or "sd1", pictures)
    shown = _shown(values, problems).to_dict()
    form = {k: v for k, v in shown.items() if k not in NOT_IN_FORM} | _of_folders(shown["folders"])
    if not pictures:
        problems[""].append(NO_PICTURES)
    check = None
    try:
        config = TrainingConfig.from_dict(_merged(values, settings))
    except UserError as error:
        for name, mistakes in by_field(error.message.splitlines()[1:]).items():
            problems[name] += mistakes
    else:
        if not problems:
            check = preflight(config, earlier_runs)
            for name, mistakes in by_field(check.problems).items():
                problems[name] += mistakes
    return Draft(family, start.preset_name(), form, dict(problems), check)


def _shown(values: dict[str, Any], problems: Problems) -> TrainingConfig:
    """The values of preset and project; those that cannot be used are told, and as they are by default. Raises UserError where that is no help."""
    try:
        return TrainingConfig.from_dict(values)
    except UserError as error:
        wrong = by_field(error.message.splitlines()[1:])
        for name, mistakes in wrong.items():
            problems[name] += mistakes
        return TrainingConfig.from_dict({k: v for k, v in values.items() if k not in wrong})


def _merged(values: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` over ``values``, with what the form keeps beside the options (`form.OF_FOLDERS`) put into the folders."""
    given = dict(settings)
    folders = given.pop("folders", values["folders"])
    asked = {name: given.pop(name) for name in OF_FOLDERS if name in given}
    return {**values, **given, "folders": _with_asked(folders, asked) if asked else folders}


def _with_asked(folders: Any, asked: Mapping[str, Any]) -> Any:
    if not isinstance(folders, (list, tuple)) or not all(isinstance(f, dict) for f in folders):
        return folders  # said to be wrong by the configuration
    own, regular = [f for f in folders if not f.get("is_reg")], [f for f in folders if f.get("is_reg")]
    if "repeats" in asked:
        own = [{**f, "repeats": asked["repeats"]} for f in own]
    if "mask_dir" in asked:
        own = [{**f, "conditioning_data_dir": asked["mask_dir"]} for f in own]
    if "reg_dir" in asked:
        regular = [{"path": asked["reg_dir"], "is_reg": True, "repeats": 1}] if asked["reg_dir"] else []
    if "reg_repeats" in asked:
        regular = [{**f, "repeats": asked["reg_repeats"]} for f in regular]
    return [*own, *regular]


def _of_folders(folders: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the form shows of the folders."""
    own = next((f for f in folders if not f.get("is_reg")), {})
    regular = next((f for f in folders if f.get("is_reg")), {})
    return {
        "repeats": own.get("repeats", DatasetFolder.repeats),
        "mask_dir": own.get("conditioning_data_dir", ""),
        "reg_dir": regular.get("path", ""),
        "reg_repeats": regular.get("repeats", 1),
    }


def by_field(lines: Iterable[str]) -> Problems:
    """Lines like ``unet_lr, text_lr: both are 0`` sorted by option; under "" what begins with no option's name."""
    found: Problems = defaultdict(list)
    for line in lines:
        match = re.match(r"\s*(folders\[\d+\]\.)?([a-z0-9_]+(?:, [a-z0-9_]+)*): (.*)", line, re.DOTALL)
        names = match.group(2).split(", ") if match else []
        if match and match.group(1):
            names = [_IN_FOLDERS.get((match.group(1) == "folders[0].", names[0]), "")]
        if match and all(name in OPTIONS or name in OF_FOLDERS for name in names):
            for name in names:
                found[name].append(match.group(3))
        else:
            found[""].append(line.strip())
    return dict(found)


def sample_prompts(project: Project, pictures: Sequence[ImageItem]) -> list[str]:
    """Two prompts that show at a glance what was learned: the trigger alone, and with a caption of the dataset."""
    captioned = (p.caption_path for p in pictures if p.caption_path.is_file())
    if not project.trigger:
        captions = [read_caption(path).tags for path, _ in zip(captioned, range(2))]
        return [", ".join(tags) for tags in captions if tags]
    rest = next((read_caption(path).tags for path in captioned), ())
    others = [t for t in rest if t != project.trigger]
    subject = [t for t in others if t in ("1girl", "1boy", "solo")]
    return list(dict.fromkeys([", ".join([project.trigger, *subject]), ", ".join([project.trigger, *others])]))
