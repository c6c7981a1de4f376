"""A WD14 tagger: pictures in, probabilities out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import UserError
from ..failures import because
from ..progress import Progress, silent
from . import ensemble, providers
from .catalogue import DEMO, LABELS_FILE, MODEL_FILE, find_model, installed, is_tagger_dir, taggers_dir, thresholds_of, unknown_tagger
from .download import download_model
from .labels import Label, read_labels
from .preprocess import prepare

_SAMPLE = 2**20


@dataclass(frozen=True)
class TaggerFiles:
    """A tagger on disk: `name` for people, the two files, its labels. members: the taggers of an ensemble, which has no files of its own."""

    name: str
    folder: Path
    labels: tuple[Label, ...]
    members: tuple[TaggerFiles, ...] = ()

    @property
    def thresholds(self) -> tuple[float, float]:
        """(general, character) that suit it; an ensemble's are the means of its members'."""
        if not self.members:
            return thresholds_of(self.name)
        found = [one.thresholds for one in self.members]
        return sum(g for g, _ in found) / len(found), sum(c for _, c in found) / len(found)

    @property
    def model_path(self) -> Path:
        return self.folder / MODEL_FILE

    def fingerprint(self) -> str:
        """Tells this model from another of the same name: its tag list, its size and samples of its bytes (not all of a gigabyte)."""
        if self.members:
            return hashlib.sha256("\n".join(one.fingerprint() for one in self.members).encode()).hexdigest()
        return _fingerprint(self.folder, _stamp(self.model_path), _stamp(self.folder / LABELS_FILE))


def _stamp(path: Path) -> tuple[int, int]:
    about = path.stat()
    return about.st_mtime_ns, about.st_size


@lru_cache(maxsize=32)
def _fingerprint(folder: Path, model: tuple[int, int], labels: tuple[int, int]) -> str:
    digest = hashlib.sha256((folder / LABELS_FILE).read_bytes())
    size = (folder / MODEL_FILE).stat().st_size
    digest.update(str(size).encode())
    with (folder / MODEL_FILE).open("rb") as file:
        for start in sorted({0, max(0, size // 2), max(0, size - _SAMPLE)}):
            file.seek(start)
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


@lru_cache(maxsize=8)
def _labels(path: Path, stamp: tuple[int, int]) -> tuple[Label, ...]:
    return read_labels(path)


def _files(name: str, folder: Path) -> TaggerFiles:
    return TaggerFiles(name, folder, _labels(folder / LABELS_FILE, _stamp(folder / LABELS_FILE)))


def files_here(name_or_dir: str | Path) -> TaggerFiles | None:
    """The tagger's files if they are on this machine: "demo", a folder, a catalogue name, or several of these joined by "+".

    Raises UserError when they cannot be read.
    """
    name = str(name_or_dir)
    if len(parts := ensemble.members(name)) > 1:
        found = [files_here(part) for part in parts]
        return _together([one for one in found if one is not None]) if None not in found else None
    if name == DEMO:
        from ..demo import tagger_dir

        return _files(DEMO, tagger_dir())
    folder = Path(name).expanduser()
    if is_tagger_dir(folder):
        return _files(folder.resolve().name, folder)
    model = find_model(name)
    place = None if model is None else installed(model.name)
    return None if model is None or place is None else _files(model.name, place)


def _together(files: Sequence[TaggerFiles]) -> TaggerFiles:
    return TaggerFiles(ensemble.JOIN.join(one.name for one in files), files[0].folder, ensemble.union(files), tuple(files))


def find_files(name_or_dir: str | Path, progress: Progress = silent) -> TaggerFiles:
    """The tagger's files as `files_here` finds them; those of a catalogue name are downloaded when they are not here.

    Raises UserError for an unknown name, missing files, or a download that is not possible.
    """
    if len(parts := ensemble.members(str(name_or_dir))) > 1:
        return _together([find_files(part, progress) for part in parts])
    found = files_here(name_or_dir)
    if found is not None:
        return found
    model = find_model(str(name_or_dir))
    if model is None:
        raise unknown_tagger(str(name_or_dir))
    return _files(model.name, download_model(model, taggers_dir() / model.name, progress))


class Tagger:
    """An open model. labels: what each column of `predict` is. provider: ONNX Runtime's execution provider really in use.

    size: the side of the model's input in pixels. batch: the only batch size the model takes, 0 for any.
    Raises UserError when model and tag list do not belong together.
    """

    def __init__(self, files: TaggerFiles, asked: Sequence[str] | None = None) -> None:
        if files.members:
            raise UserError("Several taggers cannot be opened as one here.", "Choose one of them.")
        self.files = files
        self.name = files.name
        self.labels = files.labels
        self.warnings: list[str] = []
        self._asked = asked
        self._session: Any = None
        self._open(asked)

    def _open(self, asked: Sequence[str] | None) -> None:
        self._session, warnings = providers.open_session(self.files.model_path, asked)
        self.warnings += warnings
        self.provider: str = self._session.get_providers()[0]
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[3] != 3 or not isinstance(shape[1], int) or shape[1] != shape[2]:
            raise UserError(
                f"{self.files.model_path} does not take pictures as WD14 models do (its input is {shape}).", "Use a WD14 tagger's model.onnx."
            )
        self.size: int = shape[1]
        self.batch: int = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else 0
        # Some exports also give out what lies before the last layer: the output as wide as the tag list is the one.
        output = next((o for o in outputs if o.shape[-1:] == [len(self.labels)]), outputs[0])
        self._input, self._output = inputs[0].name, output.name
        width = output.shape[-1]
        if isinstance(width, int):
            self._check_width(width)

    def _check_width(self, width: int) -> None:
        if width != len(self.labels):
            raise UserError(
                f"{self.files.folder}: the model has {width} outputs, {LABELS_FILE} has {len(self.labels)} tags.",
                f"Take {MODEL_FILE} and {LABELS_FILE} from the same model.",
            )

    @property
    def best_batch(self) -> int:
        """How many pictures at once suit the device."""
        return self.batch or (2 if self.provider == providers.CPU else 16)

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            values = self._session.run([self._output], {self._input: batch})[0]
        except Exception as error:
            if self.provider == providers.CPU:
                why, hint = because(error, hint="Try a smaller batch size.")
                raise UserError(f"The tagger {self.name} failed: {why}", hint) from error
            self.warnings.append(f"{self.provider} failed while tagging, the CPU is used instead: {because(error)[0]}")
            self._open((providers.CPU,))
            return self._run(batch)
        self._check_width(values.shape[-1])
        return self._probabilities(np.asarray(values, dtype=np.float32))

    def _probabilities(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The values, held to 0..1 against rounding. Raises UserError for a model that does not end with a sigmoid, or a device that fails."""
        if not np.all((values >= -0.01) & (values <= 1.01)):
            if np.isfinite(values).all():
                message, hint = "gives out raw scores instead of probabilities", "Use the model.onnx that its author exported for tagging."
            else:
                message, hint = f"calculates no numbers on {self.provider}", "Choose the processor (cpu) as the device."
            raise UserError(f"The tagger {self.name} {message}.", hint)
        return np.clip(values, 0, 1)

    def predict_prepared(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Probabilities (n, labels) of pictures that `prepare` made, given to the model at once (a fixed batch: in its portions)."""
        if self._session is None:
            raise ValueError("the tagger is closed")
        parts = []
        step = self.batch or max(1, len(pictures))
        for start in range(0, len(pictures), step):
            portion = pictures[start : start + step]
            batch = np.zeros((self.batch or len(portion), self.size, self.size, 3), dtype=np.float32)
            for i, picture in enumerate(portion):
                batch[i] = picture
            parts.append(self._run(batch)[: len(portion)])
        return np.concatenate(parts) if parts else np.zeros((0, len(self.labels)), dtype=np.float32)

    def predict(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Probabilities (n, labels), 0..1, of pictures of any size and mode, `best_batch` at a time."""
        parts = [
            self.predict_prepared([prepare(image, self.size) for image in images[start : start + self.best_batch]])
            for start in range(0, len(images), self.best_batch)
        ]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.labels)), dtype=np.float32)

    def close(self) -> None:
        """Give the model's memory back."""
        self._session = None

    def __enter__(self) -> Tagger:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def load_tagger(name_or_dir: str | Path, asked: Sequence[str] | None = None, progress: Progress = silent) -> Tagger:
    """Open a tagger: "demo", a catalogue name (downloaded when needed), or a folder with model.onnx and selected_tags.csv.

    asked: execution providers in order, None for the best there is. Raises UserError.
    """
    return Tagger(find_files(name_or_dir, progress), asked)
