"""Everything a run needs before its first step: pictures, base model, latents, LoRA, optimizer, and a plan for the memory."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import torch

from lora_studio.errors import UserError
from lora_studio.files import atomic_write_json, read_json
from lora_studio.patience import within
from lora_studio.trainer.average import Average
from lora_studio.trainer.compiled import compile_blocks, undo, why
from lora_studio.trainer.data import Dataset, LatentCache, batches_of_epoch, build_dataset, draw_batch
from lora_studio.trainer.guard import QUIET, StopAskedError, out_of_memory, release_memory
from lora_studio.trainer.layout import channels_last, find_quicker, lay_out
from lora_studio.trainer.lr import warmup_steps
from lora_studio.trainer.models import BaseModel, load_base
from lora_studio.trainer.network import LoraShape, attach
from lora_studio.trainer.objective import Objective
from lora_studio.trainer.optimizer import Optimizer
from lora_studio.trainer.outputs import Length
from lora_studio.trainer.plan import Plan, candidates, choose, lends_memory, limit, smaller, spills
from lora_studio.trainer.runtime import DTYPES, Runtime
from lora_studio.trainer.seeds import seed_of
from lora_studio.trainer.start import start_from
from lora_studio.trainer.team import Team
from lora_studio.trainer.tiles import in_tiles, use_tiles
from lora_studio.trainer.trial import gives_numbers, needs_8_bits
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import EventWriter
from lora_studio.untrusted import mapping, refuse

#: seconds between two events of one phase
EVERY = 0.25
PLAN, LAYOUT, PRECISION = "plan.json", "layout.json", "precision.json"
Found = TypeVar("Found")


class Prepared:
    """The parts of a run. `stop_asked` is looked at while pictures are encoded. Raises UserError and StopAskedError."""

    def __init__(
        self, folder: Path, config: TrainingConfig, runtime: Runtime, team: Team, events: EventWriter, stop_asked: Callable[[], bool], *, fresh: bool
    ) -> None:
        self.dir, self.config, self.runtime, self.team, self.events = folder, config, runtime, team, events
        self.stop_asked = stop_asked
        events.write("phase", name="dataset")
        self.dataset = build_dataset(config)
        for path, reason in self.dataset.skipped:
            events.write("warning", message=f"{path.name} is left out: {reason}")
        events.write("phase", name="model")
        self.model = self._load_trying()
        self._warn_of_captions()
        self.latents = LatentCache(self._encode_pixels, self.dataset)
        self.held_out = Dataset(self.dataset.held_out)
        self.held_out_latents = LatentCache(self._encode_pixels, self.held_out)
        if config.cache_latents:
            self._cache_latents()
        self.network = attach(
            self.model,
            LoraShape.of(config, self.model.family),
            seed_of(config.seed, "network"),
            unet=config.unet_lr > 0,
            text=config.text_lr > 0,
        )
        if config.network_weights and fresh:
            for note in start_from(self.network, config.network_weights):
                events.write("warning", message=note)
        self.optimizer = Optimizer(self.network, config, scaled=self.runtime.precision == "fp16")
        self.average = Average(self.network, config.ema_decay) if config.ema_decay > 0 else None
        self.objective = Objective(self.model, self.network, self.dataset, self.latents, config)
        #: pictures in one batch of all processes together
        self.batch_size = config.batch_size * team.size
        self.length = self._length()
        self.plan = Plan(1, config.gradient_checkpointing)
        self.follow(self._first_plan())
        self._choose_layout()
        self._compile()

    def _length(self) -> Length:
        config = self.config
        batches = len(batches_of_epoch(self.dataset, self.batch_size, config.seed, 1))
        per_epoch = math.ceil(batches / config.gradient_accumulation)
        total = config.max_steps or per_epoch * config.epochs
        return Length(batches, per_epoch, total, math.ceil(total / per_epoch), warmup_steps(config.warmup, total, config.scheduler))

    # -- precision -----------------------------------------------------------------------------------------------

    def _load_trying(self) -> BaseModel:
        """The base model in the run's precision, or in float32 where the device gives no numbers in that one; kept, so that a resumed run knows."""
        own = self.runtime.precision
        known = self.team.tell(self._found_before(PRECISION, _precision_file))
        if known and known["instead_of"] == own:
            self.runtime = self.runtime.in_full_precision(known["fp8"])
            self.events.write("warning", message=f"This run goes on in fp32: {own} gave no numbers on this device.", precision="fp32")
            self.say_8_bits()
        model = self._load()
        if not self.runtime.half or not self.team.agree(int(not gives_numbers(model, self._largest()))):
            return model
        family = model.family
        del model  # both together may not fit
        self.to_full_precision(family)
        self.events.write("warning", message=f"{own} gives no numbers on this device: it is trained in fp32, which is slower.", precision="fp32")
        self.say_8_bits()
        model = self._load()
        if self.team.agree(int(not gives_numbers(model, self._largest()))):
            raise no_numbers(model.path)
        return model

    def _load(self) -> BaseModel:
        config, runtime = self.config, self.runtime
        model = load_base(config.base, runtime.device, runtime.dtype, vae=config.vae, prediction=config.prediction, fp8=runtime.fp8)
        model.clip_skip, model.max_tokens = config.clip_skip, config.max_tokens
        return model

    def say_8_bits(self) -> None:
        if self.runtime.fp8 and not self.config.fp8_base:
            self.events.write("warning", message="For fp32 there is not enough graphics memory: the base model is kept in 8 bits.")

    def to_full_precision(self, family: str) -> None:
        """From the next loading of the base model on, after a restart too, compute in float32; in 8 bits where that has no room else."""
        own = self.runtime.precision
        gc.collect()  # layers with a forward pass of their own hold themselves
        release_memory()
        fp8 = bool(self.team.agree(int(needs_8_bits(self.config, family, self.runtime.device))))
        self.runtime = self.runtime.in_full_precision(fp8)
        if self.team.main:
            _note(self.dir / PRECISION, {"instead_of": own, "fp8": fp8})

    def forget_model(self) -> None:
        """Let go of everything that lies on the device; nothing else may be asked of this object then but `to_full_precision`."""
        del self.model, self.network, self.optimizer, self.average, self.objective, self.latents, self.held_out_latents

    def gives_numbers(self) -> bool:
        """Whether the model with the LoRA as it is answers with numbers, in every process."""
        self.network.dropout.active = False
        return not self.team.agree(int(not gives_numbers(self.model, self._largest())))

    def _largest(self) -> tuple[int, int]:
        return max((e.bucket for e in self.dataset.examples), key=math.prod)

    def _warn_of_captions(self) -> None:
        tokenizer, limit = self.model.tokenizers[0], self.config.max_tokens
        long = sum(len(tokenizer.encode(", ".join(e.tags))) > limit for e in self.dataset.examples)
        if long:
            what = "caption is" if long == 1 else "captions are"
            self.events.write("warning", message=f"{long} {what} longer than {limit} tokens; what is beyond is not learned.")
        bare = sum(not e.tags and not e.is_reg for e in self.dataset.examples)
        if bare:
            whose = "picture has" if bare == 1 else "pictures have"
            self.events.write("warning", message=f"{bare} {whose} no caption at all: what is seen there goes to every prompt.")

    # -- latents -------------------------------------------------------------------------------------------------

    def _encode_pixels(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation, on the CPU. The VAE is float32 always: in half precision some give no numbers."""
        vae = self.model.vae
        with torch.no_grad():
            try:
                distribution = vae.encode(pixels.to(self.model.device)).latent_dist
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or in_tiles(vae):
                    raise
                release_memory()
                use_tiles(vae)
                self.events.write("warning", message="There is not enough memory to encode a picture at once: it is done in tiles.")
                distribution = vae.encode(pixels.to(self.model.device)).latent_dist
        return distribution.mean.cpu(), distribution.std.cpu()

    def _cache_latents(self) -> None:
        """Each process encodes its share; all of them stop where the first was asked to."""
        told = time.monotonic()
        keys = self.latents.keys()
        stopped = self.stop_asked()
        for done, total in () if stopped else self.latents.fill(keys[self.team.share(len(keys))]):
            if done == total or time.monotonic() - told > EVERY:
                told = time.monotonic()
                self.events.write("phase", name="latents", done=done, total=total)
            if stopped := self.stop_asked():
                break
        if self.team.agree(int(stopped)):
            raise StopAskedError
        self.latents.share(self.team.gather)
        if self.team.main:
            for _ in self.held_out_latents.fill():
                pass

    # -- memory --------------------------------------------------------------------------------------------------

    def _first_plan(self) -> Plan:
        """What an earlier start found out; else, on a graphics card, what a dry run says; else what the configuration says."""
        config = self.config
        known = self.team.tell(self._found_before(PLAN, Plan.from_dict))
        if known:
            return known
        if not (config.memory_plan and self.runtime.device.type == "cuda"):
            return self.plan
        self.events.write("phase", name="memory")
        free, total = torch.cuda.mem_get_info(self.runtime.device)
        most = limit(free, torch.cuda.memory_reserved(self.runtime.device), 8 * self.network.parameters)
        plans, asked = candidates(config.batch_size, config.gradient_checkpointing), self.plan
        with self._own_memory_only():
            plan, peak = choose(plans, self.measure, most)
        plan = plans[self.team.agree(plans.index(plan))]
        measured = {"peak": int(peak) if math.isfinite(peak) else None, "limit": int(most), "total": int(total)}
        self.events.write("phase", name="memory", **measured, plan=plan.words(config.batch_size))
        if plan != asked:
            self.events.write("warning", message=f"To fit the graphics memory, {plan.words(config.batch_size)}. The result is the same.")
        return plan

    @contextmanager
    def _own_memory_only(self) -> Iterator[None]:
        """Inside, what goes beyond the card's free memory is an error at once, where Windows would lend main memory and all would get slow.

        Afterwards the whole card is the limit: what others held may be free then, but more than the card has is still an error, with a
        smaller plan as its cure.
        """
        device = self.runtime.device
        if device.type != "cuda":
            yield
            return
        free, total = torch.cuda.mem_get_info(device)
        torch.cuda.set_per_process_memory_fraction(min(1.0, (free + torch.cuda.memory_reserved(device)) / total), device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, device)

    def measure(self, plan: Plan) -> float:
        """Peak graphics memory in bytes of one step with the largest pictures; infinite where memory runs out."""
        device = self.runtime.device
        self.follow(plan)
        release_memory()
        torch.cuda.reset_peak_memory_stats(device)
        try:
            self.rehearse()
            return float(torch.cuda.max_memory_reserved(device))
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            return math.inf
        finally:
            self.network.zero_grad()
            release_memory()

    def rehearse(self) -> None:
        """A step's forward and backward passes with the largest pictures; whoever calls it throws the gradients away."""
        config = self.config
        largest = max(range(len(self.dataset.examples)), key=lambda k: math.prod(self.dataset.examples[k].bucket))
        draws = draw_batch(self.dataset, [largest] * config.batch_size, config, 1, 0)
        noised = self.objective.draw(draws, 1, 0)
        for rows in self.plan.slices(len(noised)):
            self.objective.loss(noised[rows], preserve=config.prior_weight > 0).backward()

    def _choose_layout(self) -> None:
        """On a graphics card the order of numbers that is quicker there; kept, so that a resumed run computes as before."""
        file, unet, device = self.dir / LAYOUT, self.model.unet, self.runtime.device
        known = self.team.tell(self._found_before(LAYOUT, channels_last))
        if known is None and self.config.memory_plan and device.type == "cuda":
            try:
                with self._own_memory_only():
                    found = find_quicker(unet, self.rehearse, lambda: torch.cuda.synchronize(device))
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                found = False  # too tight for a rehearsal: as it is
            known = self.team.tell(found)
            self.network.zero_grad()
            release_memory()
            if self.team.main:
                _note(file, {"channels_last": known})
        lay_out(unet, bool(known))

    def _found_before(self, name: str, read: Callable[[Any], Found]) -> Found | None:
        """What an earlier start of the run measured; None where it did not, or where that cannot be used: it is measured anew."""
        file = self.dir / name
        try:
            return read(read_json(file)) if file.is_file() else None
        except UserError as error:
            self.events.write("warning", message=f"{error.message} It is found out anew.")
            return None

    def _compile(self) -> None:
        """Compile what is to be compiled, and look whether it computes the same; all processes or none."""
        kind, model = self.config.compile, self.model
        if kind == "off":
            return
        self.events.write("phase", name="compiling")

        def gradients() -> torch.Tensor:
            self.rehearse()
            found = torch.cat([flat.grad.clone() for flat in self.network.flat.values() if flat.grad is not None])
            self.network.zero_grad()
            return found

        reason = why(kind, model.device, self.runtime.card)
        if not self.team.agree(int(bool(reason))):
            model.graphs = kind == "graphs"
            with self._own_memory_only():
                reason = compile_blocks(model.unet, kind, gradients, model.dtype)
        if self.team.agree(int(bool(reason))):
            undo(model.unet)
            model.graphs = False
            reason = reason or "another process could not"
            self.events.write("warning", message=f"The model is not compiled ({reason}): it is trained as it is.")

    def spills(self) -> bool:
        """Whether the driver has begun to use the machine's memory for this training."""
        device = self.runtime.device
        if device.type != "cuda":
            return False
        free, total = torch.cuda.mem_get_info(device)
        return spills(torch.cuda.memory_reserved(device), free, total, lends=lends_memory())

    def follow(self, plan: Plan) -> None:
        """Train by this plan from now on."""
        if plan.checkpointing:
            self._checkpoint_gradients()
        elif self.plan.checkpointing:
            self.model.unet.disable_gradient_checkpointing()
            for encoder in self.model.text_encoders:
                encoder.gradient_checkpointing_disable()
        self.plan = plan

    def shrink(self) -> str:
        """Train by the next smaller plan from now on, after a restart too; says it in words, "" where there is none."""
        config = self.config
        plan = smaller(self.plan, config.batch_size, config.gradient_checkpointing)
        if plan is None:
            return ""
        self.follow(plan)
        self._remember_plan()
        return plan.words(config.batch_size)

    def _remember_plan(self) -> None:
        if self.team.main:
            _note(self.dir / PLAN, {"parts": self.plan.parts, "checkpointing": self.plan.checkpointing})

    def _checkpoint_gradients(self) -> None:
        self.model.unet.enable_gradient_checkpointing()
        if self.network.has("text"):
            for encoder in self.model.text_encoders:
                encoder.train()
                encoder.gradient_checkpointing_enable({"use_reentrant": False})
                # a checkpointed block whose input needs no gradient gives none to its LoRA either
                encoder.enable_input_require_grads()


def _precision_file(values: Any) -> dict[str, Any]:
    """What precision.json says. Raises RefusedError where it says something else."""
    found = mapping(values, "The run's precision.json")
    if found.get("instead_of") not in DTYPES or not isinstance(found.get("fp8"), bool):
        raise refuse("The run's precision.json", values, "names no precision")
    return dict(found)


def no_numbers(path: Path) -> UserError:
    return UserError(
        f"The base model {path.name} answers with no numbers, in fp32 too: the file is damaged.", "Download it again, or choose another base model."
    )


def _note(file: Path, known: Any) -> None:
    """Keep what was measured for the next start, which else measures it again: no reason to wait for a disk or another program."""
    with suppress(UserError), within(QUIET):
        atomic_write_json(file, known)


def no_memory_left() -> UserError:
    return UserError(
        "There is not enough memory for these settings, even with one picture at a time and gradient checkpointing.",
        "Use a smaller resolution or rank, set text_lr to 0, turn fp8_base on, and close other programs that use the card.",
    )
