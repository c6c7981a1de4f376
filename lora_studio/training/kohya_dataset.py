"""kohya's dataset files as ours: folders, and what a file sets for all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..untrusted import is_network
from .kohya_kinds import sound
from .kohya_report import Imported, put, shown_as, sort_out
from .kohya_table import ARGUMENTS, COMBINED, IN_DATASET, OF_FOLDER, Key

CAPTIONS = ".txt"
#: one of our folders' own captions and pictures: a chain of layers, the nearest first
Chain = Sequence[Mapping[str, Any]]


def take_dataset(out: Imported, given: Mapping[str, Any], dataset: Mapping[str, Any] | None) -> None:
    """Folders, and the options that a dataset file sets for them."""
    if dataset is None:
        if named := given.get("dataset_config"):
            out.unsupported.append((f"dataset_config = {shown_as(named)}", "The file is not there; give it beside the config."))
        _folder_names(out, given)
        out.values["masked_loss"] = bool(out.values["masked_loss"] or given.get("alpha_mask"))
        for name in ("dataset_repeats", "conditioning_data_dir"):
            if name in given:
                out.unsupported.append((f"{name} = {shown_as(given[name])}", "It is taken from a dataset file alone; give that beside the config."))
        return
    for name in ("train_data_dir", "reg_data_dir"):
        if name in given:
            out.notes.append(f"The dataset file goes before {name} = {shown_as(given[name])}, as in kohya's trainer.")
    if not _well_formed(dataset):
        out.unsupported.append(("datasets", "This is not in the form of kohya's dataset files; folders and what is said of them are left out."))
        return
    general = sound(out, dataset.get("general") or {}, "general.")
    for name in set(dataset) - {"general", "datasets"}:
        out.unknown.append(f"{name} = {shown_as(dataset[name])}")
    names = {IN_DATASET.get(k, k): key for k, key in ARGUMENTS.items() if key.level}
    _list_strange(out, general, "general", names)
    folders: list[dict[str, Any]] = []
    chains: list[tuple[str, Chain]] = []
    said = dataset.get("datasets") or ()
    datasets = [said] if isinstance(said, Mapping) else list(said)  # folders may stand there without a dataset around them
    for d, one in enumerate(datasets):
        one = {"subsets": one.get("subsets"), **sound(out, {k: v for k, v in one.items() if k != "subsets"}, f"datasets[{d}].")}
        _list_strange(out, {k: v for k, v in one.items() if k != "subsets"}, f"datasets[{d}]", names)
        for s, subset in enumerate(one.get("subsets") or ()):
            where = f"datasets[{d}].subsets[{s}]"
            subset = sound(out, subset, f"{where}.")
            _list_strange(out, subset, where, names)
            if not subset.get("image_dir"):
                out.unsupported.append((where, "It names no image_dir, so it is left out."))
                continue
            if any(earlier.get("image_dir") == subset["image_dir"] for earlier in one["subsets"][:s]):
                out.notes.append(f"{where} names a folder of this dataset again; it is left out, as kohya's trainer does.")
                continue
            if next((layer["validation_split"] for layer in (subset, one, general) if "validation_split" in layer), 0) >= 1:
                reason = "There are no folders for validation alone here, so it is left out; validation_split holds pictures back."
                out.unsupported.append((f"{where}: validation_split = 1", reason))
                continue
            folders.append(_folder(subset, one, general, given))
            chains.append((where, [subset, one, general]))
    if folders:
        out.values["folders"] = folders
        _extension(out, [chain for _, chain in chains], given)
    elif datasets:  # what it says of folders that are still to be named
        general |= {name: value for name, value in datasets[0].items() if name != "subsets"}
    chains = chains or [("general", [general])]
    _settle(out, chains, general, names)
    _masks(out, chains, given)


def _well_formed(dataset: Mapping[str, Any]) -> bool:
    said = dataset.get("datasets") or ()
    datasets = [said] if isinstance(said, Mapping) else said
    return (
        isinstance(dataset.get("general") or {}, Mapping)
        and isinstance(datasets, Sequence)
        and all(isinstance(one, Mapping) and all(isinstance(s, Mapping) for s in one.get("subsets") or ()) for one in datasets)
    )


def _list_strange(out: Imported, values: Mapping[str, Any], where: str, names: Mapping[str, Key]) -> None:
    for name, value in values.items():
        if name in names or name in ("alpha_mask", "caption_extension") or (name in OF_FOLDER and (where != "general" or name == "num_repeats")):
            continue
        if name in COMBINED:  # of a config, not of a dataset
            out.unknown.append(f"{where}.{name} = {shown_as(value)}")
        else:
            sort_out(out, name, value, f"{where}.{name}", {})


def _folder(subset: Mapping[str, Any], one: Mapping[str, Any], general: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A subset as one of our folders: what all folders have in common is left to the run."""
    folder: dict[str, Any] = {}
    for name, ours in OF_FOLDER.items():
        value = subset.get(name, one.get(name))
        if value is not None:
            folder[ours] = value
    repeats = general.get("num_repeats", given.get("dataset_repeats", 1))
    folder.setdefault("repeats", repeats)
    return folder


def _settle(out: Imported, chains: Sequence[tuple[str, Chain]], general: Mapping[str, Any], names: Mapping[str, Key]) -> None:
    """What the run has once: from [general], or from the first folder where the folders say it; others are listed."""
    for name, key in names.items():
        if name in OF_FOLDER:  # a folder has its own
            if name in general:
                put(out, name, general[name], key, f"general.{name}")
            continue
        said = [(where, next((layer[name] for layer in chain if layer.get(name) is not None), None)) for where, chain in chains]
        first = said[0][1]
        if first is not None:
            put(out, name, first, key, name)
        for other, value in said[1:]:
            if value != first:
                reason = f"All folders have one {key.option} here; that of the first is taken."
                out.unsupported.append((f"{other}: {name} = {shown_as(value)}", reason))


def _masks(out: Imported, chains: Sequence[tuple[str, Chain]], given: Mapping[str, Any]) -> None:
    """Masks are on for all folders or for none here. kohya's trainer looks at transparency only where alpha_mask is set."""
    alpha = [bool(next((layer["alpha_mask"] for layer in [*chain, given] if "alpha_mask" in layer), False)) for _, chain in chains]
    if any(alpha):
        for (where, _), own in zip(chains, alpha):
            if not own:
                out.unsupported.append((f"{where}: alpha_mask = false", "Masks are on for all folders here."))
        out.values["masked_loss"] = True
    elif out.values["masked_loss"] and not any("conditioning_data_dir" in chain[0] for _, chain in chains):
        out.notes.append("masked_loss without alpha_mask and without masks does nothing in kohya's trainer; here transparency counts.")


def _extension(out: Imported, chains: Sequence[Chain], given: Mapping[str, Any]) -> None:
    """Where no captions are, the empty extension is said."""
    said = [[layer["caption_extension"] for layer in [*chain, given] if "caption_extension" in layer] for chain in chains]
    found = {extensions[0] if extensions else ".caption" for extensions in said}
    for extension in sorted(found - {CAPTIONS, ""}):
        out.unsupported.append((f"caption_extension = {shown_as(extension)}", "Captions are read from .txt files here; rename them."))


def _folder_names(out: Imported, given: Mapping[str, Any]) -> None:
    """Folders in kohya's older way: ``train_data_dir`` with a folder ``<repeats>_<words>`` for each."""
    folders = []
    for name, regular in (("train_data_dir", False), ("reg_data_dir", True)):
        if not (named := given.get(name)):
            continue
        place = Path(str(named))
        found = []
        if not is_network(str(named)) and place.is_dir():
            for child in sorted(p for p in place.iterdir() if p.is_dir()):
                if match := re.fullmatch(r"(\d+)_(.*)", child.name):
                    found.append({"path": str(child), "repeats": int(match[1]), "is_reg": regular, "class_tokens": match[2]})
        if not found:
            out.unsupported.append((f"{name} = {shown_as(named)}", "There is no folder <repeats>_<name> in it on this machine."))
        folders += found
    if folders:
        out.values["folders"] = folders
    if folders or "caption_extension" in given:
        _extension(out, [[given]], given)
