"""One training run from its folder: prepare, train epoch by epoch, and be resumable at any moment.

Reads top to bottom: `train` opens the run, `TrainingRun.go` is the loop, the methods below it are its steps.
"""

from __future__ import annotations

import math
import os
import secrets
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from PIL import Image

from lora_studio.errors import UserError
from lora_studio.files import atomic_path, atomic_write_json, read_json
from lora_studio.trainer import export, metadata
from lora_studio.trainer.board import Board
from lora_studio.trainer.data import LatentCache, batches_of_epoch, build_dataset, draw_batch
from lora_studio.trainer.lr import lr_at, warmup_steps
from lora_studio.trainer.models import load_base
from lora_studio.trainer.network import LoraShape, attach
from lora_studio.trainer.objective import Objective
from lora_studio.trainer.optimizer import Optimizer
from lora_studio.trainer.runtime import Runtime, prepare
from lora_studio.trainer.sampling import Prompt, sample
from lora_studio.trainer.seeds import seed_of
from lora_studio.trainer.state import Position, load_state, save_state
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import EventWriter

#: seconds between two step events; the loss is read from the device only then
REPORT_EVERY = 0.25
#: share of the old average that a new loss leaves
SMOOTHING = 0.95


@dataclass(frozen=True)
class Session:
    """What a run is called for as long as it exists; its files are recognised by `id` in their metadata."""

    id: str
    started: float
    stem: str


def train(run_dir: Path, config: TrainingConfig, events: EventWriter) -> None:
    """Run or resume the training of `run_dir`; ends with a `finished` or `stopped` event. Raises UserError."""
    run = TrainingRun(run_dir, config, events)
    try:
        run.go()
    finally:
        run.board.close()


class TrainingRun:
    """A run in memory: everything prepared by the constructor, trained by `go`."""

    def __init__(self, run_dir: Path, config: TrainingConfig, events: EventWriter) -> None:
        self.dir = run_dir
        self.config = config
        self.events = events
        self.runtime: Runtime = prepare(config)
        self.folders = [Path(config.output_dir)] + ([Path(config.lora_dir)] if config.lora_dir else [])
        self.session = self._open_session()
        saved = load_state(run_dir / "state")
        self.position = saved[0] if saved else Position()
        self.pending: list[tuple[int, dict[str, float], torch.Tensor]] = []
        self.last_report = self.last_save = time.monotonic()
        self.timed_steps = 0
        self.timed_since: float | None = None
        self.previews: dict[int, Path] = {}
        self.events.write(
            "started",
            pid=os.getpid(),
            resumed_from=self.position.step if saved else None,
            device=str(self.runtime.device),
            precision=self.runtime.precision,
            threads=self.runtime.threads,
            torch=torch.__version__,
        )
        self._start_hashing()
        self._load()
        if saved:
            self.optimizer.load(saved[1])
            self.optimizer.scaler_state = saved[0].scaler

    # -- preparation ---------------------------------------------------------------------------------------------

    def _open_session(self) -> Session:
        file = self.dir / "session.json"
        if file.is_file():
            return Session(**read_json(file))
        identity = secrets.token_hex(8)
        session = Session(identity, time.time(), export.free_stem(self.config.output_name, self.folders, identity))
        atomic_write_json(file, asdict(session))
        return session

    def _start_hashing(self) -> None:
        """The base model's hashes take seconds for a large file: read it beside the other preparations."""
        self._hashes = ("", "")

        def work() -> None:
            self._hashes = export.file_hashes(Path(self.config.base))

        self._hashing = threading.Thread(target=work, daemon=True)
        self._hashing.start()

    def _load(self) -> None:
        config, runtime = self.config, self.runtime
        self.events.write("phase", name="dataset")
        self.dataset = build_dataset(config)
        for path, reason in self.dataset.skipped:
            self.events.write("warning", message=f"{path.name} is left out: {reason}")
        self.events.write("phase", name="model")
        self.model = load_base(
            config.base, runtime.device, runtime.dtype, vae=config.vae, prediction=config.prediction
        )
        self.model.clip_skip, self.model.max_tokens = config.clip_skip, config.max_tokens
        self._warn_long_captions()
        self.latents = LatentCache(self._encode_pixels, self.dataset)
        if config.cache_latents:
            for done, total in self.latents.fill():
                if done == total or time.monotonic() - self.last_report > REPORT_EVERY:
                    self.last_report = time.monotonic()
                    self.events.write("phase", name="latents", done=done, total=total)
        if not config.unet_lr and not config.text_lr:
            raise UserError("Both learning rates are 0: nothing would be trained.", "Set unet_lr or text_lr.")
        self.network = attach(
            self.model,
            LoraShape.of(config),
            seed_of(config.seed, "network"),
            unet=config.unet_lr > 0,
            text=config.text_lr > 0,
        )
        if config.gradient_checkpointing:
            self._checkpoint_gradients()
        self.optimizer = Optimizer(self.network, config, scaled=runtime.precision == "fp16")
        self.objective = Objective(self.model, self.network, self.dataset, self.latents, config)
        batches = len(batches_of_epoch(self.dataset, config.batch_size, config.seed, 1))
        self.steps_per_epoch = math.ceil(batches / config.gradient_accumulation)
        self.total = config.max_steps or self.steps_per_epoch * config.epochs
        self.epochs = math.ceil(self.total / self.steps_per_epoch)
        self.warmup = warmup_steps(config.warmup, self.total, config.scheduler)
        self.board = Board(self.dir / "tensorboard", self.position.step, self.events)
        self.facts = metadata.dataset_facts(self.dataset)
        self.batches = batches

    def _encode_pixels(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            distribution = self.model.vae.encode(pixels.to(self.model.device)).latent_dist
        return distribution.mean.cpu(), distribution.std.cpu()

    def _warn_long_captions(self) -> None:
        tokenizer, limit = self.model.tokenizers[0], self.config.max_tokens
        long = sum(len(tokenizer.encode(", ".join(e.tags))) > limit for e in self.dataset.examples)
        if long:
            self.events.write("warning", message=f"{long} captions are longer than {limit} tokens; what is beyond is not learned.")

    def _checkpoint_gradients(self) -> None:
        self.model.unet.enable_gradient_checkpointing()
        if "text" in self.network.flat:
            for encoder in self.model.text_encoders:
                encoder.train()
                encoder.gradient_checkpointing_enable({"use_reentrant": False})
                # a checkpointed block whose input needs no gradient gives none to its LoRA either
                encoder.enable_input_require_grads()

    # -- the loop ------------------------------------------------------------------------------------------------

    def go(self) -> None:
        """All remaining epochs. What happens at a step depends on the position alone, so a resumed run is the same run."""
        config = self.config
        if (self.dir / "control" / "stop").exists():
            self._stop()
            return
        if self.position.step == 0:
            self._sample(0)
        self.events.write(
            "phase", name="training", done=self.position.step, total=self.total, epochs=self.epochs, images=len(self.dataset.examples)
        )
        while self.position.step < self.total:
            epoch = self.position.epoch
            batches = batches_of_epoch(self.dataset, config.batch_size, config.seed, epoch)
            while self.position.batch < len(batches) and self.position.step < self.total:
                first = self.position.batch
                self._step(batches[first : first + config.gradient_accumulation], epoch, first)
                if self._controlled():
                    return
            self._report(force=True)
            self._end_epoch(epoch)
        self.events.write("finished", step=self.position.step, epoch=self.epochs)

    def _step(self, group: list[list[int]], epoch: int, first: int) -> None:
        step, config = self.position.step, self.config
        preserve = config.prior_weight > 0 and step % max(1, config.prior_every) == 0
        total: torch.Tensor | None = None
        for number, batch in enumerate(group, start=first):
            draws = draw_batch(self.dataset, batch, config, epoch, number)
            loss = self.objective.loss(draws, epoch, number, preserve=preserve) / len(group)
            self.optimizer.backward(loss)
            total = loss.detach() if total is None else total + loss.detach()
        factor = lr_at(
            step, self.total, config.scheduler, warmup=self.warmup, cycles=config.scheduler_cycles, power=config.scheduler_power
        )
        self.optimizer.step(factor)
        assert total is not None
        self.pending.append((step + 1, self.optimizer.rates(), total))
        self.position = replace(self.position, step=step + 1, batch=first + len(group))
        self._report()

    def _report(self, force: bool = False) -> None:
        """Read the losses gathered since the last time, check them, log them."""
        now = time.monotonic()
        if not self.pending or (not force and now - self.last_report < REPORT_EVERY):
            return
        average = self.position.loss_average
        for step, rates, tensor in self.pending:
            loss = float(tensor)
            if not math.isfinite(loss):
                raise UserError(
                    f"The loss is not a number any more at step {step}.",
                    "Lower the learning rates, or set precision to bf16 or fp32. The last saved state is good.",
                )
            average = SMOOTHING * average + (1.0 - SMOOTHING) * loss
            self.board.scalars(step, loss=loss, **{f"lr_{part}": rate for part, rate in rates.items()})
        self.position = replace(self.position, loss_average=average)
        # the first report only starts the clock: its steps include warming up
        if self.timed_since is None:
            self.timed_since = now
        else:
            self.timed_steps += len(self.pending)
        elapsed = now - self.timed_since
        speed = self.timed_steps / elapsed if elapsed > 0 else 0.0
        step, rates, _ = self.pending[-1]
        self.events.write(
            "step",
            step=step,
            total=self.total,
            epoch=self.position.epoch,
            epochs=self.epochs,
            loss=loss,
            loss_average=average / (1.0 - SMOOTHING**step),
            lr=rates.get("unet", 0.0),
            lr_text=rates.get("text", 0.0),
            steps_per_second=round(speed, 4),
            eta=round((self.total - step) / speed, 1) if speed else None,
        )
        self.pending.clear()
        self.last_report = now

    def _controlled(self) -> bool:
        """Obey files in control/; True when the run is to stop here."""
        control = self.dir / "control"
        if (control / "save").exists():
            (control / "save").unlink(missing_ok=True)
            self._report(force=True)
            self._save_state()
            self._export(f"{self.session.stem}-step{self.position.step:06d}", self.position.epoch)
        if (control / "sample").exists():
            (control / "sample").unlink(missing_ok=True)
            self._sample(self.position.epoch, wanted=True)
        if (control / "stop").exists():
            self._stop()
            return True
        if time.monotonic() - self.last_save > 60.0 * self.config.state_every_minutes:
            self._report(force=True)
            self._save_state()
        return False

    def _stop(self) -> None:
        self._report(force=True)
        self._save_state()
        (self.dir / "control" / "stop").unlink(missing_ok=True)
        self.events.write("stopped", step=self.position.step, epoch=self.position.epoch)

    # -- what an epoch leaves ------------------------------------------------------------------------------------

    def _end_epoch(self, epoch: int) -> None:
        """Samples, the LoRA, then the state: a run killed in between does this epoch's end again, with the same result."""
        last = self.position.step >= self.total
        if last or epoch % max(1, self.config.sample_every_epochs) == 0:
            self._sample(epoch)
        if last or epoch % max(1, self.config.save_every_epochs) == 0:
            self._export(f"{self.session.stem}-{epoch:02d}", epoch)
            self._drop_old(epoch)
        self.position = replace(self.position, epoch=epoch + 1, batch=0)
        self._save_state()

    def _sample(self, epoch: int, wanted: bool = False) -> None:
        config = self.config
        if not config.sample_prompts or not (config.sample_every_epochs or wanted):
            return
        started = time.monotonic()
        width, height = (side // 8 * 8 for side in config.resolution)
        prompts = [
            Prompt(text, "", config.sample_seed + i, width, height, config.sample_steps, config.sample_cfg)
            for i, text in enumerate(config.sample_prompts)
        ]
        try:
            pictures = sample(self.model, prompts, batch_size=4)
        except torch.cuda.OutOfMemoryError:
            torch.cuda.empty_cache()
            self.events.write("warning", message="There is not enough graphics memory for samples; training goes on without them.")
            return
        for index, (prompt, picture) in enumerate(zip(prompts, pictures, strict=True)):
            step = self.position.step
            path = self.dir / "samples" / f"epoch-{epoch:02d}-step-{step:06d}-{index:02d}.png"
            _save_picture(picture, path)
            if index == 0:
                self.previews[epoch] = path
            self.board.picture(step, f"sample {index}", picture)
            self.events.write(
                "sample", path=path.relative_to(self.dir).as_posix(), epoch=epoch, step=step, index=index, prompt=prompt.text, seed=prompt.seed
            )
        self._pause(started)

    def _pause(self, started: float) -> None:
        """Time spent on other things does not count as training time."""
        if self.timed_since is not None:
            self.timed_since += time.monotonic() - started

    def _export(self, stem: str, epoch: int) -> None:
        started = time.monotonic()
        config, session = self.config, self.session
        if any(export.taken(session.stem, folder, session.id) for folder in self.folders):
            # another run took the name after this one began
            base = export.free_stem(config.output_name, self.folders, session.id)
            self.session = session = replace(session, stem=base)
            stem = base + stem[stem.rindex("-") :]
            atomic_write_json(self.dir / "session.json", asdict(session))
        self._hashing.join()
        common = metadata.run_metadata(
            config,
            self.facts,
            family=self.model.family,
            prediction=self.model.prediction,
            session=session.id,
            started=session.started,
            batches_per_epoch=self.batches,
            total_steps=self.total,
            warmup=self.warmup,
            precision=self.runtime.precision,
            base_hashes=self._hashes,
        )
        facts = metadata.file_metadata(common, stem=stem, step=self.position.step, epoch=epoch, finished=time.time())
        tensors = export.lora_tensors(self.network.layers, export.DTYPES[config.save_precision])
        if not all(torch.isfinite(t).all() for t in tensors.values()):
            raise UserError(
                f"The LoRA holds numbers that {config.save_precision} cannot: it was not written.",
                "Lower the learning rates; the last saved state is good.",
            )
        sidecar = {
            "description": f"Trained on {Path(config.base).name}: {len(self.dataset.examples)} pictures, "
            f"epoch {epoch} of {self.epochs}, step {self.position.step} of {self.total}.",
            "sd version": export.SIDECAR_VERSIONS[self.model.family],
            "activation text": config.trigger,
            "preferred weight": 0.8,
            "negative text": "",
            "notes": f"rank {config.network_dim}, alpha {config.network_alpha:g}, clip skip {config.clip_skip}, seed {config.seed}",
        }
        written = export.write_lora(export.serialise(tensors, facts), self.folders, stem, sidecar, self.previews.get(epoch))
        self.events.write(
            "checkpoint",
            path=str(written[0]),
            lora_path=str(written[-1]),
            name=stem,
            epoch=epoch,
            step=self.position.step,
            modules=len(self.network.layers),
        )
        self._pause(started)

    def _drop_old(self, epoch: int) -> None:
        keep = self.config.keep_last
        if keep > 0:
            for old in range(1, epoch):
                if old <= epoch - keep * max(1, self.config.save_every_epochs):
                    export.remove_lora(self.folders, f"{self.session.stem}-{old:02d}", self.session.id)

    def _save_state(self) -> None:
        started = time.monotonic()
        self.position = replace(self.position, scaler=self.optimizer.scaler_state)
        save_state(self.dir / "state", self.position, self.optimizer.tensors())
        self.last_save = time.monotonic()
        self._pause(started)


def _save_picture(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")

