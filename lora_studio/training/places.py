"""Which places a run may use: its project, what whoever starts it allows, and what a person named for it on this machine.

A run's settings may have come from anybody. They say where files should go; whether they may is decided here. What a person chose is
remembered beside the person's own settings, never in the run: whoever sends a run cannot bring it along.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from ..errors import UserError
from ..files import atomic_write_json, locked
from ..patience import HeldError
from ..reading import read_object
from ..untrusted import is_inside, is_network
from .config import TrainingConfig

FILE = "places.json"
#: runs that are remembered; the ones asked for longest ago are forgotten first
MOST = 2000
MOST_NAMED = 20  # links in a message


@dataclass(frozen=True)
class Granted:
    """What a person allowed a run on this machine. ``own``: the run was made here, so what it says it wrote, it wrote."""

    places: tuple[str, ...] = ()
    own: bool = False


def home_of(run_dir: Path) -> Path:
    """The project of a run; of one that lies in none, the folder around it."""
    folder = Path(run_dir).absolute()
    return folder.parent.parent if folder.parent.name == "runs" else folder.parent


def asked(config: TrainingConfig, run_dir: Path) -> list[str]:
    """The places that a configuration names and that need a person's word: folders to write outside of the project, files of the network."""
    home = home_of(run_dir)
    outside = [place for place in _written(config) if not _is_below(home, place)]
    return list(dict.fromkeys([*outside, *_elsewhere(config.to_dict(), [home])]))


def named(config: TrainingConfig, run_dir: Path) -> list[str]:
    """Every place that a run may ever need a word for, where links really lead: of one that a person says is their own."""
    return list(dict.fromkeys([*_written(config), *_elsewhere(config.to_dict(), []), os.path.realpath(run_dir)]))


def without_network(values: Any, project: Path, allowed: Collection[str] = ()) -> Any:
    """What a project's file says, with "" for each file of the network that neither lies in the project nor was allowed to a run of it."""
    if isinstance(values, dict):
        return {k: without_network(v, project, allowed) for k, v in values.items()}
    if isinstance(values, list):
        return [without_network(v, project, allowed) for v in values]
    return "" if isinstance(values, str) and is_network(values) and values not in allowed and not _is_below(project, values) else values


def check(config: TrainingConfig, run_dir: Path, allowed: Iterable[str | Path] = ()) -> None:
    """Raises UserError, naming every place that a run may not use, and for links in its folder that lead out of it."""
    roots = [home_of(run_dir), *map(Path, allowed)]
    refused = [place for place in _written(config) if not may_write(place, roots)]
    refused += _elsewhere(config.to_dict(), roots)
    _refuse(refused, run_dir)
    check_folder(run_dir, roots)


def check_read(values: Mapping[str, Any], run_dir: Path, allowed: Iterable[str | Path] = ()) -> None:
    """The same for what only reads the files that a run's settings name: those of other machines are refused. ``values``: as config.json has them."""
    roots = [home_of(run_dir), *map(Path, allowed)]
    _refuse(_elsewhere(values, roots), run_dir)
    check_folder(run_dir, roots)


def _refuse(refused: Sequence[str], run_dir: Path) -> None:
    if refused:
        raise UserError(
            f"The settings of the run {Path(run_dir).name} name places outside of its project: {', '.join(dict.fromkeys(refused))}.",
            f'Nothing was done. If this run is your own, allow it once with the command: runs resume "{run_dir}" --trust',
        )


def check_folder(run_dir: Path, roots: Sequence[Path] = ()) -> None:
    """Raises UserError where a run, a folder however deep in it, or one of its own files is a link to another place: we write and delete there."""
    run_dir = Path(run_dir)
    if not any(is_inside(root, run_dir) for root in (*roots, home_of(run_dir))):
        raise UserError(f"The run's folder {run_dir} is a link to another place.", "Open the project that it lies in.")
    if links := sorted(path.relative_to(run_dir).as_posix() for path in _links(run_dir)):
        what = f"In the run {run_dir.name} these are links to other places: {', '.join(links[:MOST_NAMED])}."
        raise UserError(what, "Nothing was touched. Remove the links.")


def _links(folder: Path) -> Iterator[Path]:
    """What leads out of a run: its own files, which are written on, and folders however deep, in which files are made and deleted. Nothing behind
    them is looked at. A folder on Windows may lead elsewhere without being a link. Files further down are only ever replaced.
    """
    for place, folders, files in os.walk(folder):
        leading = [name for name in folders if not is_inside(folder, Path(place, name))]
        yield from (Path(place, name) for name in leading)
        folders[:] = [name for name in folders if name not in leading]
        if Path(place) == folder:
            yield from (path for name in files if (path := folder / name).is_symlink() and not is_inside(folder, path))


def _written(config: TrainingConfig) -> list[str]:
    return [place for place in (config.output_dir, config.lora_dir) if place]


def _elsewhere(values: Mapping[str, Any], roots: Sequence[Path]) -> list[str]:
    """The files of other machines that settings name to be read, but for those below ``roots``."""
    folders = values.get("folders")
    rows = [folder if isinstance(folder, dict) else {"path": folder} for folder in folders] if isinstance(folders, list) else []
    named = [values.get(key) for key in ("base", "vae", "network_weights")]
    named += [row.get(key) for row in rows for key in ("path", "conditioning_data_dir")]
    return [place for place in named if isinstance(place, str) and is_network(place) and not any(_is_below(root, place) for root in roots)]


def may_write(place: str, roots: Sequence[Path]) -> bool:
    """Whether a folder really lies in one of these."""
    if is_network(place):  # a look at it would tell the other machine who we are
        roots = [root for root in roots if _is_below(root, place)]
    return any(is_inside(root, Path(place)) for root in roots)


def _is_below(root: Path, place: str) -> bool:
    """By the words alone: neither of them is looked at."""
    parts = PureWindowsPath(place if is_network(place) else os.path.abspath(place)).parts
    top = PureWindowsPath(str(root) if is_network(str(root)) else os.path.abspath(root)).parts
    return ".." not in parts and [p.casefold() for p in parts[: len(top)]] == [p.casefold() for p in top]


# -- what a person allowed ---------------------------------------------------------


def file_of_this_machine() -> Path:
    """Where it is remembered: with the person's settings."""
    folder = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CONFIG_HOME")
    return (Path(folder) if folder else Path.home() / ".config") / "lora_studio" / FILE


def granted(run_dir: Path) -> Granted:
    """What was allowed to a run; nothing for one that is not known here."""
    return _known().get(_key(run_dir), Granted())


def granted_below(folder: Path) -> frozenset[str]:
    """Every place that was allowed to a run below a folder."""
    top = _key(folder) + os.sep
    return frozenset(place for key, one in _known().items() if key.startswith(top) for place in one.places)


def grant(run_dir: Path, places: Iterable[str | Path], own: bool = False) -> None:
    """Remember what a person allowed. Where that cannot be written, the person is asked again the next time."""
    given = [str(place) for place in places]
    with suppress(UserError, OSError), locked(file_of_this_machine().with_suffix(".lock")):
        known = _kept()
        before = known.pop(_key(run_dir), Granted())
        known[_key(run_dir)] = Granted(tuple(dict.fromkeys([*before.places, *given])), own or before.own)
        _write(known)


def follow(moves: Sequence[tuple[Path, Path]]) -> None:
    """Folders were renamed (old, new): what was allowed to the runs in them, and the places in them, are called by the new names."""
    pairs = [(_key(old), _key(new)) for old, new in moves]

    def renamed(text: str, plain: str) -> str:
        return next((new + plain[len(old) :] for old, new in pairs if plain == old or plain.startswith(old + os.sep)), text)

    with suppress(UserError, OSError), locked(file_of_this_machine().with_suffix(".lock")):
        known = _kept()
        after = {
            renamed(key, key): Granted(tuple(renamed(p, p if is_network(p) else _key(Path(p))) for p in one.places), one.own)
            for key, one in known.items()
        }
        if after != known:
            _write(after)


def _key(folder: Path) -> str:
    return os.path.normcase(os.path.realpath(folder))


def _known() -> dict[str, Granted]:
    with suppress(HeldError):
        return _kept()
    return {}


def _kept() -> dict[str, Granted]:
    """The same to be changed. Raises HeldError: what cannot be read for a moment must not be taken for nothing and written over."""
    try:
        runs = read_object(file_of_this_machine()).get("runs")
    except HeldError:
        raise
    except UserError:
        return {}
    return {str(k): one for k, v in runs.items() if (one := _one(v)) is not None} if isinstance(runs, dict) else {}


def _one(value: Any) -> Granted | None:
    places = value.get("places") if isinstance(value, dict) else None
    return Granted(tuple(map(str, places)), value.get("own") is True) if isinstance(places, list) else None


def _write(known: dict[str, Granted]) -> None:
    kept = list(known.items())[-MOST:]
    atomic_write_json(file_of_this_machine(), {"version": 1, "runs": {k: {"places": list(one.places), "own": one.own} for k, one in kept}})
