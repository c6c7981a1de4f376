"""One training run from its folder: prepare, train epoch by epoch, and be resumable at any moment.

Reads top to bottom: `train` opens the run, `TrainingRun.go` is the loop, the methods below it are its steps.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lora_studio.errors import UserError
from lora_studio.patience import unlink, within
from lora_studio.trainer.board import Board
from lora_studio.trainer.data import batches_of_epoch, draw_batch
from lora_studio.trainer.guard import MOST_ROLLBACKS, QUIET, NotFiniteError, StopAskedError, out_of_memory, patiently, release_memory, waits
from lora_studio.trainer.lr import lr_at
from lora_studio.trainer.objective import Objective
from lora_studio.trainer.outputs import Outputs
from lora_studio.trainer.prepared import Prepared, no_memory_left, no_numbers
from lora_studio.trainer.reporter import Reporter
from lora_studio.trainer.runtime import prepare
from lora_studio.trainer.state import Position, load_state, save_state
from lora_studio.trainer.team import Quiet, Team, machines_command
from lora_studio.trainer.trial import FIRST_STEPS
from lora_studio.trainer.validation import validation_loss
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import EventWriter
from lora_studio.training.places import asked

__all__ = ["Objective", "TrainingRun", "train"]

#: steps between two looks at whether the graphics memory spills over
LOOK_EVERY = 20
#: what the first process tells the others after each step
GO, STOP, ROLL_BACK = 0, 1, 2
#: how a step went with the memory; what one process met counts for all
ENOUGH, SPILLED, SHORT = 0, 1, 2
SPILLS = "The graphics memory is full and Windows lends main memory to the card"
MAKE_ROOM = "Close other programs that use the card, or stop and choose a smaller resolution or fp8_base."


def train(run_dir: Path, config: TrainingConfig, events: EventWriter, *, own: bool = False) -> None:
    """Run or resume the training of `run_dir`; ends with a `finished` or `stopped` event. `own`: it was made on this machine. Raises UserError."""
    team = Team.join(config.device)
    run = TrainingRun(run_dir, config, events if team.main else Quiet(run_dir), team, own=own)
    try:
        run.go()
    finally:
        run.board.close()
        team.leave()


class TrainingRun:
    """A run in memory: opened by the constructor, prepared and trained by `go`."""

    def __init__(self, run_dir: Path, config: TrainingConfig, events: EventWriter, team: Team | None = None, *, own: bool = False) -> None:
        self.dir = run_dir
        self.own = own
        self.config = config
        self.events = events
        self.team = team or Team()
        self.runtime = prepare(config, self.team.local, self.team.beside)
        saved = self.team.tell(load_state(run_dir / "state") if self.team.main else None)
        self.position = saved[0] if saved else Position(processes=self.team.size)
        self._saved = saved
        self._crowded = False
        #: the step after which something was no number, and whether it were the gradients
        self._not_finite = (0, False)
        self.last_save = time.monotonic()
        facts: dict[str, Any] = {}
        if self.team.size > 1:
            facts = {"processes": self.team.size, "machines_command": machines_command(run_dir, self.team.size, asked(config, run_dir))}
        self.events.write(
            "started",
            pid=os.getpid(),
            resumed_from=self.position.step if saved else None,
            device=str(self.runtime.device),
            card=self.runtime.card.name if self.runtime.card else "",
            precision=self.runtime.precision,
            threads=self.runtime.threads,
            torch=torch.__version__,
            **facts,
        )
        for note in self.runtime.notes:
            self.events.write("warning", message=note)
        self.board = Board(run_dir / "tensorboard" if self.team.main else None, self.position.step, events)

    def _prepare(self) -> None:
        if self.team.main:
            self.outputs = self._patiently(lambda: Outputs(self.dir, self.config, self.events, self.board, own=self.own))
        fresh = self._saved is None
        parts = Prepared(self.dir, self.config, self.runtime, self.team, self.events, self._stop_asked, fresh=fresh)
        self.parts, self.length, self.runtime = parts, parts.length, parts.runtime
        self.reporter = Reporter(self.events, self.board, self.length)
        self.model, self.network, self.optimizer, self.average = parts.model, parts.network, parts.optimizer, parts.average
        if self._saved is not None:
            self._restore(*self._saved)
            if (began := self.position.processes) != self.team.size:
                self.position = self.position.among(self.team.size)
                words = f"The run began with {began} processes and goes on with {self.team.size}: steps count anew, from {self.position.step}."
                self.events.write("warning", message=words)
        self._saved = None  # its tensors are in the optimizer now
        if self.team.main:
            self.outputs.describe(self.model, parts.dataset, self.length, self.runtime.precision, self.team.size)

    # -- the loop ------------------------------------------------------------------------------------------------

    def go(self) -> None:
        """All remaining epochs. What happens at a step depends on the position alone, so a resumed run is the same run."""
        try:
            self._prepare()
            fresh = self.position.step == 0 and not self.position.rollbacks
            verdict = self._together(self._begin, fresh)
            self._say_training()
            while verdict != STOP and self.position.epoch <= self.length.epochs:
                verdict = self._epoch(self.position.epoch)
                if verdict == ROLL_BACK:
                    self._roll_back()
        except StopAskedError:  # while it was prepared, at the start or anew
            self._say_stopped()
            return
        if verdict == STOP:
            self._stop()
        else:
            best = {"best_epoch": self.position.best_epoch, "best_loss": self.position.best_loss} if self.position.best_epoch else {}
            self.events.write("finished", step=self.position.step, epoch=self.length.epochs, **best)

    def _say_training(self) -> None:
        self.events.write(
            "phase",
            name="training",
            done=self.position.step,
            total=self.length.total,
            epochs=self.length.epochs,
            images=len(self.parts.dataset.examples),
            held_out=len(self.parts.held_out.examples),
        )

    def _begin(self, fresh: bool) -> None:
        if self._stop_asked():
            raise StopAskedError
        if fresh:
            self._save_state()  # something to go back to from the first step on
            self._sample(0)

    def _epoch(self, epoch: int) -> int:
        config, parts = self.config, self.parts
        batches = batches_of_epoch(parts.dataset, parts.batch_size, config.seed, epoch)
        while self.position.batch < len(batches) and self.position.step < self.length.total:
            first = self.position.batch
            self._step(batches[first : first + config.gradient_accumulation], epoch, first)
            if verdict := self._together(self._after_step):
                return verdict
        if verdict := self._together(self._end_epoch, epoch):
            return verdict
        # a run killed before this is saved does the epoch's end again, with the same result
        self.position = replace(self.position, epoch=epoch + 1, batch=0)
        return self._together(self._close_epoch)

    def _together(self, action: Callable[..., None], *arguments: Any) -> int:
        """Let the first process act; every process hears how it went on: GO, STOP or ROLL_BACK."""
        verdict = GO
        if self.team.main:
            try:
                action(*arguments)
            except StopAskedError:
                verdict = STOP
            except NotFiniteError as error:
                self._not_finite = (error.step, error.gradients)
                verdict = ROLL_BACK
        return self.team.agree(verdict)

    # -- a step --------------------------------------------------------------------------------------------------

    def _step(self, group: list[list[int]], epoch: int, first: int) -> None:
        config, step = self.config, self.position.step
        loss = self._gradients(group, epoch, first)
        factor = lr_at(
            step, self.length.total, config.scheduler, warmup=self.length.warmup, cycles=config.scheduler_cycles, power=config.scheduler_power
        )
        self.optimizer.step(factor * self.position.rate)
        norms = self.network.limit_norms(config.scale_weight_norms) if config.scale_weight_norms > 0 else None
        if self.average is not None:
            self.average.update(step + 1)
        if self.team.main:
            self.reporter.add(step + 1, self.optimizer.rates(), loss, norms)
        self.position = replace(self.position, step=step + 1, batch=first + len(group))

    def _gradients(self, group: list[list[int]], epoch: int, first: int) -> torch.Tensor:
        """The gradients of a group of batches, added up over all processes; returns the loss. Out of memory: again, with a smaller plan."""
        while True:
            memory = ENOUGH
            try:
                loss = self._accumulate(group, epoch, first)
                if self.position.step % LOOK_EVERY == LOOK_EVERY - 1 and self.parts.spills():
                    memory = SPILLED
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                memory = SHORT
            memory = self.team.agree(memory)
            if memory == SHORT:
                self.network.zero_grad()
            if memory != ENOUGH:
                self._relieve(memory)
            if memory != SHORT:
                break
        self.team.add([*(flat.grad for flat in self.network.flat.values() if flat.grad is not None), loss])
        return loss

    def _accumulate(self, group: list[list[int]], epoch: int, first: int) -> torch.Tensor:
        config, parts, step = self.config, self.parts, self.position.step
        preserve = config.prior_weight > 0 and step % max(1, config.prior_every) == 0
        total = torch.zeros((), device=self.model.device)
        self.network.dropout.active = True
        for number, batch in enumerate(group, start=first):
            rows = self.team.share(len(batch))
            if rows.start == rows.stop:
                continue
            draws = draw_batch(parts.dataset, batch, config, epoch, number, step, self.length.total)
            noised = parts.objective.draw(draws, epoch, number, rows)
            for piece in parts.plan.slices(len(noised)):
                loss = parts.objective.loss(noised[piece], preserve=preserve) / len(group)
                self.optimizer.backward(loss)
                total += loss.detach()
        return total

    def _relieve(self, memory: int) -> None:
        """A smaller plan, where memory ran out or spilled over: then the driver lends main memory, and every step takes many times longer."""
        release_memory()
        words = self.parts.shrink()
        if memory == SHORT and not words:
            raise no_memory_left()
        if words and memory == SHORT:
            self.events.write("warning", message=f"There was not enough memory: {words} now. The result is the same, a little slower.")
        elif words:
            self.events.write("warning", message=f"{SPILLS}, which is slow: {words} now. The result is the same.")
        elif not self._crowded:
            self._crowded = True
            self.events.write("warning", message=f"{SPILLS}, which is slow. {MAKE_ROOM}")

    def _roll_back(self) -> None:
        """To the last state; then in float32 where the precision gives no numbers, else with half the learning rate: the steps are too long."""
        self.reporter.pending.clear()
        saved = self.team.tell(load_state(self.dir / "state") if self.team.main else None)
        step, gradients = self.team.tell(self._not_finite)
        if saved is not None:
            count, rate = self.position.rollbacks + 1, self.position.rate / 2.0
            self._restore(*saved)
            finite = self.parts.gives_numbers()
            if self.runtime.half and (not finite or gradients or step <= FIRST_STEPS):
                self._in_full_precision(saved)
                return
            if not finite:
                raise no_numbers(self.model.path)
        if saved is None or count > MOST_ROLLBACKS:
            raise UserError(
                f"The loss is not a number any more at step {step}, "
                f"even with the learning rates at {self.position.rate:g} of what is set.",
                "Lower the learning rates, or set precision to bf16 or fp32. The last saved state is good.",
            )
        self.position = replace(self.position, rollbacks=count, rate=rate)
        self._together(self._save_state)
        self.events.write(
            "warning",
            message=f"The loss was not a number any more: back to step {self.position.step}, with the learning rates at {rate:g} of what is set.",
            step=self.position.step,
            rate=rate,
        )

    def _in_full_precision(self, saved: tuple[Position, dict[str, torch.Tensor]]) -> None:
        """Prepare the run anew, from its last state, in float32."""
        own, family, step = self.runtime.precision, self.model.family, saved[0].step
        message = f"The loss was not a number in {own}, which does not come from the learning rate: back to step {step}, in fp32 from now on."
        self.events.write("warning", message=message, step=step, precision="fp32")
        del self.model, self.network, self.optimizer, self.average
        self.parts.forget_model()
        self.parts.to_full_precision(family)
        self.parts.say_8_bits()
        self.runtime, self._saved = self.parts.runtime, saved
        self._prepare()
        self._say_training()

    def _restore(self, position: Position, tensors: dict[str, torch.Tensor]) -> None:
        self.position = position
        self.optimizer.load(tensors)
        self.optimizer.scaler_state = position.scaler
        self.network.zero_grad()
        if self.average is not None:
            self.average.load(tensors)

    # -- after a step (first process only) -----------------------------------------------------------------------

    def _after_step(self) -> None:
        """Report, obey the files in control/, save the state when it is time."""
        if self.reporter.due() and self.optimizer.lost:
            raise NotFiniteError(self.position.step, gradients=True)
        self._report()
        control = self.dir / "control"
        if (control / "save").exists():
            self._patiently(lambda: unlink(control / "save", missing_ok=True))
            self._report(force=True)
            self._save_state()
            self._export(self.position.epoch, on_demand=True)
        if (control / "sample").exists():
            self._patiently(lambda: unlink(control / "sample", missing_ok=True))
            self._sample(self.position.epoch, wanted=True)
        if self._stop_asked():
            raise StopAskedError
        if time.monotonic() - self.last_save > 60.0 * self.config.state_every_minutes:
            self._report(force=True)
            self._save_state()

    def _report(self, force: bool = False) -> None:
        if force or self.reporter.due():
            self.position = replace(self.position, loss_average=self.reporter.flush(self.position.epoch, self.position.loss_average))

    def _stop_asked(self) -> bool:
        return self.team.main and (self.dir / "control" / "stop").exists()

    def _stop(self) -> None:
        """Leave in order: the state, then the last word. On a full disk, or with a file held, the last state that was written has to do."""
        if self.team.main:
            try:
                self._report(force=True)
                with within(QUIET):
                    self._write_state()
            except (NotFiniteError, OSError, UserError) as error:
                if not (isinstance(error, NotFiniteError) or waits(error)):
                    raise
                self.events.write("warning", message="The state of this moment could not be saved; the run goes on from the one before.")
        self._say_stopped()

    def _say_stopped(self) -> None:
        if self.team.main:
            with suppress(OSError), within(QUIET):  # the next start takes it away too
                unlink(self.dir / "control" / "stop", missing_ok=True)
        self.events.write("stopped", step=self.position.step, epoch=self.position.epoch)

    # -- what an epoch leaves (first process only) ---------------------------------------------------------------

    def _end_epoch(self, epoch: int) -> None:
        """Validation, samples, the LoRA; the state comes after."""
        self._report(force=True)
        config, last = self.config, self.position.step >= self.length.total
        if not self.network.finite():
            raise NotFiniteError(self.position.step)
        if last or epoch % config.validate_every_n_epochs == 0:
            self._validate(epoch)
        if last or (config.sample_every_epochs and epoch % config.sample_every_epochs == 0):
            self._sample(epoch)
        if last or epoch % max(1, config.save_every_epochs) == 0:
            self._export(epoch)
            self.outputs.drop_old(epoch)

    def _close_epoch(self) -> None:
        self._save_state()
        if self.position.epoch <= self.length.epochs:
            if self._stop_asked():
                raise StopAskedError
            self._say_training()

    def _validate(self, epoch: int) -> None:
        parts, config = self.parts, self.config
        if not parts.held_out.examples:
            return
        with self._aside(), self._published():
            loss = validation_loss(
                self.model, parts.held_out, parts.held_out_latents, parts.objective.alphas, config.validation_seed, config.batch_size
            )
        if not self.position.best_epoch or loss < self.position.best_loss:
            self.position = replace(self.position, best_epoch=epoch, best_loss=loss)
        self.board.scalars(self.position.step, validation=loss)
        best = {"best_epoch": self.position.best_epoch, "best_loss": self.position.best_loss}
        self.events.write("phase", name="validation", epoch=epoch, step=self.position.step, loss=loss, **best)

    def _sample(self, epoch: int, wanted: bool = False) -> None:
        config = self.config
        if not config.sample_prompts or not (config.sample_every_epochs or wanted):
            return

        def look() -> None:
            if self._stop_asked():
                raise StopAskedError

        self.events.write("phase", name="sampling", epoch=epoch)
        with self._aside(), self._published():
            try:
                self.outputs.sample(self.model, self.position, epoch, look, self._patiently)
            except StopAskedError:
                if epoch == 0 or wanted:
                    raise
                # the epoch's LoRA is still written; the wish is met before the next step

    def _export(self, epoch: int, on_demand: bool = False) -> None:
        with self._aside(), self._published():
            self._patiently(lambda: self.outputs.export(self.network, self.position, epoch, on_demand=on_demand))

    def _save_state(self) -> None:
        self._patiently(self._write_state)

    def _write_state(self) -> None:
        if not self.network.finite():
            raise NotFiniteError(self.position.step)
        with self._aside():
            self.position = replace(self.position, scaler=self.optimizer.scaler_state)
            extra = self.average.tensors() if self.average is not None else {}
            save_state(self.dir / "state", self.position, {**self.optimizer.tensors(), **extra})
            self.last_save = time.monotonic()

    def _patiently(self, write: Callable[[], Any]) -> Any:
        return patiently(write, self.dir, self.events, self._stop_asked)

    @contextmanager
    def _published(self) -> Iterator[None]:
        """The LoRA as it is given out: without dropout, and averaged if that is what is saved."""
        self.network.dropout.active = False
        with self.average.in_place() if self.average is not None and self.config.ema_save else nullcontext():
            yield

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """Time spent on other things does not count as training time."""
        started = time.monotonic()
        yield
        self.reporter.pause(time.monotonic() - started)
