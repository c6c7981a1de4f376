"""What a run leaves: sample pictures and LoRA files, each under a name of its own and whole or not at all."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from lora_studio.errors import UserError
from lora_studio.files import atomic_path, atomic_write_json, read_json, validate_name
from lora_studio.patience import HeldError, opened, within
from lora_studio.trainer import export, metadata
from lora_studio.trainer.board import Board
from lora_studio.trainer.data import Dataset
from lora_studio.trainer.guard import QUIET, out_of_memory, release_memory
from lora_studio.trainer.models import BaseModel
from lora_studio.trainer.network import Network
from lora_studio.trainer.sampling import Prompt, sample
from lora_studio.trainer.state import Position
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import EventWriter
from lora_studio.untrusted import file_name, mapping, number, text

FILE = "session.json"


@dataclass(frozen=True)
class Session:
    """What a run is called for as long as it exists; its files are recognised by `id` in their metadata."""

    id: str
    started: float
    stem: str

    @classmethod
    def from_dict(cls, values: Any) -> Session:
        """Raises RefusedError: the stem is joined to folders, so it is one plain name."""
        found, what = mapping(values, FILE), f"The run's {FILE}"
        stem = validate_name(file_name(found.get("stem"), what))
        return cls(text(found.get("id"), what, 200), number(found.get("started"), what), stem)


@dataclass(frozen=True)
class Length:
    """How long a run is: `total` steps in `epochs` of `steps_per_epoch`, `batches` a epoch, the first `warmup` steps with a rising rate."""

    batches: int
    steps_per_epoch: int
    total: int
    epochs: int
    warmup: int


class Outputs:
    """Samples and LoRA files of the run in `folder`. Whatever it writes is told in the events."""

    def __init__(self, folder: Path, config: TrainingConfig, events: EventWriter, board: Board, *, own: bool = False) -> None:
        self.dir, self.config, self.events, self.board = folder, config, events, board
        self.folders = [Path(config.output_dir)] + ([Path(config.lora_dir)] if config.lora_dir else [])
        self.session = self._open_session()
        self.files = export.Files(self.session.id, own)
        self.previews: dict[int, Path] = {}
        self._kept: set[str] = set()
        self._start_hashing()

    def _open_session(self) -> Session:
        file = self.dir / FILE
        if file.is_file():
            return Session.from_dict(read_json(file))
        session = Session(secrets.token_hex(8), time.time(), export.free_stem(self.config.output_name, self.folders, lambda path: False))
        atomic_write_json(file, asdict(session))
        return session

    def _start_hashing(self) -> None:
        """The base model's hashes take seconds for a large file: read it beside the other preparations."""
        self._hashes = ("", "")

        def work() -> None:
            self._hashes = export.file_hashes(Path(self.config.base))

        self._hashing = threading.Thread(target=work, daemon=True)
        self._hashing.start()

    # -- samples -------------------------------------------------------------------------------------------------

    def sample(self, model: BaseModel, position: Position, epoch: int, each_step: Callable[[], None], patiently: Callable[..., Any]) -> None:
        """Draw the configured prompts; too little memory is said and costs nothing but the pictures. patiently: writes when it can be written."""
        config = self.config
        width, height = (side // 8 * 8 for side in config.resolution)
        prompts = [
            Prompt(text, "", config.sample_seed + i, width, height, config.sample_steps, config.sample_cfg)
            for i, text in enumerate(config.sample_prompts)
        ]
        try:
            pictures = sample(model, prompts, batch_size=4, each_step=each_step)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            release_memory()
            self.events.write("warning", message="There is not enough memory for samples; training goes on without them.")
            return
        for index, (prompt, picture) in enumerate(zip(prompts, pictures, strict=True)):
            path = self.dir / "samples" / f"epoch-{epoch:02d}-step-{position.step:06d}-{index:02d}.png"
            patiently(lambda picture=picture, path=path: _save_picture(picture, path))
            if index == 0:
                self.previews[epoch] = path
            self.board.picture(position.step, f"sample {index}", picture)
            self.events.write(
                "sample",
                path=path.relative_to(self.dir).as_posix(),
                epoch=epoch,
                step=position.step,
                index=index,
                prompt=prompt.text,
                seed=prompt.seed,
            )

    # -- LoRA files ----------------------------------------------------------------------------------------------

    def describe(self, model: BaseModel, dataset: Dataset, length: Length, precision: str, processes: int = 1) -> None:
        """What every file of the run says of itself."""
        self._family = model.family
        self._length = length
        self._pictures = len(dataset.examples)
        self._facts = {
            "facts": metadata.dataset_facts(dataset),
            "family": model.family,
            "prediction": model.prediction,
            "session": self.session.id,
            "started": self.session.started,
            "batches_per_epoch": length.batches,
            "total_steps": length.total,
            "warmup": length.warmup,
            "precision": precision,
            "processes": processes,
        }

    def export(self, network: Network, position: Position, epoch: int, *, on_demand: bool = False) -> None:
        """Write the LoRA as it is into every folder. Raises UserError where its numbers do not fit the format."""
        config = self.config
        self._hashing.join()
        common = metadata.run_metadata(config, base_hashes=self._hashes, **self._facts)
        if position.best_epoch:
            common |= {"lora_studio_best_epoch": str(position.best_epoch), "lora_studio_best_validation_loss": f"{position.best_loss:.6f}"}
        tensors = export.lora_tensors(network.layers, export.DTYPES[config.save_precision])
        if not all(torch.isfinite(t).all() for t in tensors.values()):
            raise UserError(
                f"The LoRA holds numbers that {config.save_precision} cannot: it was not written.",
                "Lower the learning rates; the last saved state is good.",
            )
        sidecar = self._sidecar(position, epoch)
        ending = f"step{position.step:06d}" if on_demand else f"{epoch:02d}"

        def named() -> tuple[str, bytes]:
            stem = f"{self.session.stem}-{ending}"
            facts = metadata.file_metadata(common, stem=stem, step=position.step, epoch=epoch, finished=time.time())
            return stem, export.serialise(tensors, facts)

        self._keep_name_free()
        stem, data = named()
        if export.in_the_way(self.folders, stem, self.files, data):
            self._take_name(lambda path: path in self.files.written)
            stem, data = named()
        written = export.write_lora(data, self.folders, stem, sidecar, self.previews.get(epoch), self.files)
        self.events.write(
            "checkpoint",
            path=str(written[0]),
            lora_path=str(written[-1]),
            name=stem,
            epoch=epoch,
            step=position.step,
            modules=len(network.layers),
        )

    def _keep_name_free(self) -> None:
        """Take another name where another run took ours after this one began."""
        if any(export.taken(self.session.stem, folder, self.files.names) for folder in self.folders):
            self._take_name(self.files.names)

    def _take_name(self, is_ours: Callable[[Path], bool]) -> None:
        before, stem = self.session.stem, export.free_stem(self.config.output_name, self.folders, is_ours)
        self.session = replace(self.session, stem=stem)
        atomic_write_json(self.dir / FILE, asdict(self.session))
        self.events.write("warning", message=f"LoRAs named {before} are there already: this run goes on as {stem}.")

    def _sidecar(self, position: Position, epoch: int) -> Mapping[str, Any]:
        config, length = self.config, self._length
        return {
            "description": f"Trained on {Path(config.base).name}: {self._pictures} pictures, "
            f"epoch {epoch} of {length.epochs}, step {position.step} of {length.total}.",
            "sd version": export.SIDECAR_VERSIONS[self._family],
            "activation text": config.trigger,
            "preferred weight": 0.8,
            "negative text": "",
            "notes": f"rank {config.network_dim}, alpha {config.network_alpha:g}, clip skip {config.clip_skip}, seed {config.seed}",
        }

    def drop_old(self, epoch: int) -> None:
        """Delete the epochs that `keep_last` does not keep."""
        keep = self.config.keep_last
        if keep > 0:
            for old in range(1, epoch):
                if old <= epoch - keep * max(1, self.config.save_every_epochs):
                    self._drop(f"{self.session.stem}-{old:02d}")

    def _drop(self, stem: str) -> None:
        """An epoch that a WebUI has loaded stays for as long as it is: no reason to wait with the training."""
        try:
            with within(QUIET):
                export.remove_lora(self.folders, stem, self.files)
        except HeldError as error:
            if stem not in self._kept:
                self._kept.add(stem)
                self.events.write("warning", message=f"{error.message} This older epoch is deleted after a later one.")


def _save_picture(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, opened(temporary, "xb") as file:
        picture.save(file, format="PNG")
