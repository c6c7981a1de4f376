"""A project's folder, the folder of its LoRAs and what it knows of both, changed as one step: all of it, or nothing.

Everything that is to be written is written first, into a folder inside the project. Then folders and files only change their names, and whatever
happens in between, also where the machine goes down, is finished or taken back when the project is opened next:

    .renaming/plan.json    what is to happen; made last, so that without it nothing has begun
    .renaming/new-3        a file's next content, while it is not in place
    .renaming/old-3        what was in its place

A project whose folder has its new name already is finished, one whose folder still has the old is put back; where the folder keeps its name,
plan.json means the one and back.json the other. The folder of LoRAs is only ever touched while a mark lies in it that nobody else can have put there.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import owner, patience, untrusted
from .errors import UserError
from .files import atomic_write_bytes, atomic_write_json, explain_os_error, locked
from .reading import read_object

STAGE = ".renaming"
PLAN, BACK = "plan.json", "back.json"
Stamp = tuple[int, int]

_lock = threading.RLock()


@dataclass(frozen=True)
class Plan:
    """before, after: the folder's names. beside: another folder, where it is and where it goes, "" for none.

    files: by number, relative to the folder. fresh: those of them that were not there before. signed: says that this user named `beside`.
    """

    before: str
    after: str
    beside: tuple[str, str]
    token: str
    files: tuple[str, ...]
    fresh: tuple[str, ...] = ()
    signed: str = ""

    @classmethod
    def read(cls, path: Path) -> Plan:
        """Raises UserError for what is none: it may lie in a folder that somebody sent."""
        found, what = read_object(path), str(path)
        files, fresh = (tuple(untrusted.relative(name, what) for name in untrusted.sequence(found.get(key), what)) for key in ("files", "fresh"))
        one, other = (untrusted.text(p, what) for p in (*untrusted.sequence(found.get("beside"), what, 2), "", "")[:2])
        plan = cls(
            untrusted.file_name(found.get("before"), what), untrusted.file_name(found.get("after"), what), (one, other),
            untrusted.file_name(found.get("token"), what), files, fresh, untrusted.text(found.get("signed", ""), what, 100),
        )  # fmt: skip
        if path.name == BACK and plan.before != plan.after:
            raise untrusted.refuse(what, [plan.before, plan.after], "are two names of a folder that keeps its own")
        # it came with the project: not even looked at, for that alone would tell another machine (\\\\host\\share) who we are
        return plan if plan.signed == plan.signature else replace(plan, beside=("", ""))

    @property
    def signature(self) -> str:
        """Of the folders beside the project, by this user: nobody else can name one."""
        return owner.key().mark("\n".join((self.token, *self.beside)))

    @property
    def mark(self) -> str:
        return f".renaming-{self.token}"


def stamp_of(path: Path) -> Stamp:
    """What changes when a file does."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def change(folder: Path, name: str, beside: tuple[Path, Path] | None, contents: Mapping[Path, tuple[bytes, Stamp | None]]) -> Path:
    """Rename `folder` to `name` and `beside` from the one to the other, and give files below the folder new contents; the folder's path then.

    contents: {path: (bytes, stamp of the file that they were made from, None where there is none)}.
    Raises UserError when that is not possible; everything is as it was then, or will be when the project is opened next.
    """
    with _alone(folder):
        stage = folder / STAGE
        files = {path.relative_to(folder).as_posix(): stamp for path, (_, stamp) in contents.items()}
        fresh = tuple(file for file, stamp in files.items() if stamp is None)
        plan = Plan(folder.name, name, (str(beside[0]), str(beside[1])) if beside else ("", ""), uuid.uuid4().hex, tuple(files), fresh)
        plan = replace(plan, signed=plan.signature)
        now, begun = folder, False
        try:
            _discard(stage)
            stage.mkdir()
            for number, (data, _) in enumerate(contents.values()):
                atomic_write_bytes(stage / f"new-{number}", data, sync=True)
            if beside is not None:
                for left in beside[0].glob(".renaming-*"):
                    patience.unlink(left)
                patience.touch(beside[0] / plan.mark)
            atomic_write_json(stage / PLAN, asdict(plan))
            begun = True
            for path, (_, stamp) in contents.items():
                if stamp is not None and stamp_of(path) != stamp:
                    raise UserError(f"{path} was changed just now.", "Wait until nothing works on this project, then try again.")
            if name != folder.name:
                _refuse_taken(folder, folder.with_name(name))
                patience.rename(folder, folder.with_name(name))
                now = folder.with_name(name)
            _forward(now, plan)
        except (OSError, UserError) as error:
            with suppress(OSError, UserError):  # what cannot be put back now is when the project is opened next
                (_back if begun else _finish)(now, plan)
            if isinstance(error, UserError):
                raise
            at = Path(error.filename) if isinstance(error.filename, str) else folder
            hint = "Close what has a file of it open, then try again."
            raise explain_os_error(error, at) or UserError(f"{at} cannot be renamed: {error.strerror}.", hint) from error
        with suppress(OSError):  # nothing is in it that anybody needs
            _finish(now, plan)
        return now


def repair(folder: Path) -> None:
    """Finish a change that was broken off, or take it back. Raises UserError when that is not possible now."""
    if not os.path.isdir(folder / STAGE) or not untrusted.is_inside(folder, folder / STAGE):
        return
    with _alone(folder):
        stage = folder / STAGE
        told = next((stage / name for name in (PLAN, BACK) if os.path.isfile(stage / name)), None)
        try:
            if told is None:  # it had not begun
                _discard(stage)
                return
            plan = Plan.read(told)
        except patience.HeldError:
            raise  # it may well be ours
        except UserError:
            return  # not ours
        except OSError as error:
            raise UserError(f"{stage} cannot be removed: {error.strerror}.", "Close what has a file of it open, then try again.") from error
        name = folder.resolve().name
        try:
            if (plan.before != plan.after and name == plan.before) or told.name == BACK:
                _back(folder, plan)
            else:
                _forward(folder, plan)
                _finish(folder, plan)
        except OSError as error:
            hint = "Close what has a file of it open, then open the project again."
            raise UserError(f"A renaming of {folder} that was broken off cannot be finished: {error.strerror}.", hint) from error


def _forward(folder: Path, plan: Plan) -> None:
    """Carry it out, from wherever it stands, in a folder that has its name already."""
    _move_beside(plan, *plan.beside)
    for number, name in enumerate(plan.files):
        place, new, old = untrusted.inside(folder, name, STAGE), folder / STAGE / f"new-{number}", folder / STAGE / f"old-{number}"
        if os.path.isfile(new):
            if os.path.isfile(place) and not os.path.exists(old):
                patience.rename(place, old)
            patience.replace(new, place)


def _back(folder: Path, plan: Plan) -> None:
    """Take it back, from wherever it stands."""
    if plan.before == plan.after and os.path.isfile(folder / STAGE / PLAN):
        patience.replace(folder / STAGE / PLAN, folder / STAGE / BACK)
    for number, name in reversed(list(enumerate(plan.files))):
        place, new, old = untrusted.inside(folder, name, STAGE), folder / STAGE / f"new-{number}", folder / STAGE / f"old-{number}"
        if os.path.isfile(place) and not os.path.exists(new) and (os.path.isfile(old) or name in plan.fresh):
            patience.rename(place, new)
        if os.path.isfile(old) and not os.path.exists(place):
            patience.rename(old, place)
    _move_beside(plan, *reversed(plan.beside))
    if folder.name == plan.after != plan.before:
        _refuse_taken(folder, folder.with_name(plan.before))
        patience.rename(folder, folder.with_name(plan.before))
        folder = folder.with_name(plan.before)
    _finish(folder, plan)


def _move_beside(plan: Plan, source: str, target: str) -> None:
    if source and os.path.isfile(Path(source) / plan.mark):
        _refuse_taken(Path(source), Path(target))
        if source != target:
            patience.rename(source, target)


def _refuse_taken(source: Path, target: Path) -> None:
    same = os.path.exists(target) and os.path.samefile(source, target)  # only small and capital letters differ
    if os.path.lexists(target) and not same:
        raise UserError(f"{target} is there already.", "Choose another name.")


def _finish(folder: Path, plan: Plan) -> None:
    """Take away what was only needed in between; the mark and the plan first, so that nothing is begun again."""
    for place in filter(None, plan.beside):
        patience.unlink(Path(place) / plan.mark, missing_ok=True)
    _discard(folder / STAGE)


def _discard(stage: Path) -> None:
    for name in (PLAN, BACK):
        patience.unlink(stage / name, missing_ok=True)
    patience.rmtree(stage)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One change or repair at a time among the folders side by side, in whatever process."""
    key = hashlib.sha256(str(folder.absolute().parent).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    with _lock, locked(Path(tempfile.gettempdir()) / f"lora_studio_rename_{key}.lock"):
        yield

