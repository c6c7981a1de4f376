"""Our training step against a bare forward, backward and optimizer step on the same model: a ratio in one run.

    python benchmarks/training.py [--model demo sd1 sdxl] [--batch 4 8] [--steps 40] [--rounds 3] [--set compile=true ...]

The bare loop is what anybody would write: peft's LoRA on the same modules, AdamW, one fixed batch that lies ready.
Ours does everything a run does: drawing captions, encoding them, noise, loss weights, events, learning-rate schedule.
Both are timed in turn, and the medians of the rounds compared: by the clock, and by processor time, which other programs
on the machine disturb less (on a processor). "outside" is the share of our step's time that is not forward, backward or the
optimizer (on a processor). "of peak": operations of the bare step (counted by torch), at our rate, against a large matrix
product in the same precision on the same device. Memory is the most that torch had in use on a graphics card.

sd1 and sdxl are models of the published sizes with random weights, at 512 and 1024 pixels unless --size says otherwise. On a
processor a step of theirs takes minutes: --steps 2 --warm 1 --rounds 1.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
import torch
from peft import LoraConfig
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from shapes import OWN_SIZE, random_base

from lora_studio.demo import checkpoint_path
from lora_studio.demo.drawer import draw
from lora_studio.demo.scene import sample_scene, scene_tags
from lora_studio.trainer import prepared
from lora_studio.trainer.loop import TrainingRun, train
from lora_studio.trainer.models import BaseModel, load_base
from lora_studio.trainer.objective import Objective
from lora_studio.trainer.optimizer import Optimizer
from lora_studio.trainer.runtime import choose_device, choose_precision
from lora_studio.trainer.sampling import autocast
from lora_studio.trainer.text import encode_prompts, predict
from lora_studio.training.config import TrainingConfig, parse_overrides
from lora_studio.training.events import EventWriter

UNET = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
RANK = 8
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Case:
    """What is trained, how large a batch, and for how long."""

    model: str
    size: int
    batch: int
    steps: int
    warm: int
    device: torch.device
    precision: str
    threads: int
    settings: dict[str, Any] = field(default_factory=dict)

    def base(self, fp8: bool = False) -> BaseModel:
        if self.model == "demo":
            return load_base(checkpoint_path(), self.device, DTYPES[self.precision], fp8=fp8)
        return random_base(self.model, self.device, DTYPES[self.precision], fp8=fp8)


@dataclass(frozen=True)
class Speed:
    """Seconds a step by the clock and of the processor; `outside` of them are not forward, backward or optimizer; bytes at most."""

    clock: float
    processor: float
    outside: float = 0.0
    memory: int = 0
    operations: int = 0


def settled(device: torch.device) -> float:
    """The time, when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def emptied(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def most_memory(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else psutil.Process().memory_info().rss


def bare(case: Case) -> Speed:
    """The plain loop."""
    emptied(case.device)
    model = case.base()
    model.unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=UNET))
    for encoder in model.text_encoders:
        encoder.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TEXT))
    params = [p for m in (model.unet, *model.text_encoders) for p in m.parameters() if p.requires_grad]
    for p in params:
        p.data = p.data.float()
    optimizer = torch.optim.AdamW(params, lr=1e-4, fused=case.device.type == "cuda")
    rng = random.Random(0)
    texts = [", ".join(scene_tags(sample_scene(rng))) for _ in range(case.batch)]
    latents, noise = torch.randn(2, case.batch, 4, case.size // 8, case.size // 8, device=case.device)
    t = torch.randint(0, 1000, (case.batch,), device=case.device)
    a = model.alphas_cumprod[t].view(-1, 1, 1, 1)

    def step() -> None:
        with autocast(model):
            answer = predict(model, (a.sqrt() * latents + (1 - a).sqrt() * noise).to(model.dtype), t, encode_prompts(model, texts))
        torch.nn.functional.mse_loss(answer.float(), noise).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    with FlopCounterMode(display=False) as counter:
        step()
    for _ in range(case.warm - 1):
        step()
    started, worked = settled(case.device), time.process_time()
    for _ in range(case.steps):
        step()
    clock, processor = settled(case.device) - started, time.process_time() - worked
    return Speed(clock / case.steps, processor / case.steps, 0.0, most_memory(case.device), counter.get_total_flops())


def pictures(case: Case, folder: Path) -> None:
    """Drawn ones for the demo model; few, and of noise, for the large ones."""
    rng, noise = random.Random(0), np.random.default_rng(0)
    for k in range(20 if case.model == "demo" else max(2, case.batch)):
        scene = sample_scene(rng)
        picture = draw(scene, rng) if case.model == "demo" else Image.fromarray(noise.integers(0, 256, (case.size, case.size, 3), dtype=np.uint8))
        picture.save(folder / f"{k:02d}.png")
        (folder / f"{k:02d}.txt").write_text(", ".join(["mikuzu", *scene_tags(scene)]), encoding="utf-8")


def ours(case: Case, folder: Path) -> Speed:
    """The trainer itself, from the end of its warm-up steps to the last step."""
    emptied(case.device)
    data, run = folder / "data", folder / "run"
    for path in (data, run / "control", run / "state", run / "samples"):
        path.mkdir(parents=True)
    pictures(case, data)
    config = TrainingConfig.from_dict({
        "base": str(checkpoint_path()), "folders": [{"path": str(data), "repeats": 1000}], "output_name": "bench", "output_dir": str(folder / "out"),
        "trigger": "mikuzu", "resolution": case.size, "buckets": False, "batch_size": case.batch, "max_steps": case.steps + case.warm + 1,
        "network_dim": RANK, "network_alpha": RANK, "unet_lr": 1e-4, "text_lr": 1e-4, "threads": case.threads, "sample_every_epochs": 0,
        "device": str(case.device), "precision": case.precision, "memory_plan": False, **case.settings,
    })  # fmt: skip
    marks: list[tuple[float, float, float]] = []
    inside = [0.0]

    def timed(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                inside[0] += time.perf_counter() - began

        return call

    def marked(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> None:
            edge = len(marks) in (case.warm, case.warm + case.steps)
            if len(marks) == case.warm and case.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(case.device)  # without what encoding the pictures took
            marks.append((settled(case.device) if edge else time.perf_counter(), time.process_time(), inside[0]))
            work(*args)

        return call

    def base(*args: Any, fp8: bool = False, **kwargs: Any) -> BaseModel:
        return case.base(fp8)

    with ExitStack() as stack:
        for place, name in ((Objective, "loss"), (Optimizer, "backward"), (Optimizer, "step")):
            stack.enter_context(patch.object(place, name, timed(getattr(place, name))))
        stack.enter_context(patch.object(TrainingRun, "_step", marked(TrainingRun._step)))
        stack.enter_context(patch.object(prepared, "load_base", base))
        train(run, config, EventWriter(run))
    first, last = marks[case.warm], marks[case.warm + case.steps]
    clock = last[0] - first[0]
    outside = 1.0 - (last[2] - first[2]) / clock
    return Speed(clock / case.steps, (last[1] - first[1]) / case.steps, outside, most_memory(case.device))


def peak_rate(device: torch.device, precision: str) -> float:
    """Operations a second of a large matrix product."""
    side = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, side, side, device=device).to(DTYPES[precision])
    rounds = 20 if device.type == "cuda" else 3
    a @ b
    started = settled(device)
    for _ in range(rounds):
        a @ b
    return 2 * side**3 * rounds / (settled(device) - started)


def report(case: Case, rounds: int, peak: float) -> None:
    plain, own = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            plain.append(bare(case))
            own.append(ours(case, Path(folder)))
    theirs, here = (median(s.clock for s in speeds) for speeds in (plain, own))
    processor = median(s.processor for s in plain) / median(s.processor for s in own)
    on_card = case.device.type == "cuda"
    print(
        f"{case.model:>5} {case.size:>5} {case.batch:>5} {1 / theirs:>13.3f} {1 / here:>8.3f} {theirs / here:>6.2f} "
        + (f"{'-':>17} {'-':>8}" if on_card else f"{processor:>17.2f} {median(s.outside for s in own):>8.1%}")
        + f" {case.batch / here:>11.2f} {plain[0].operations / here / peak:>8.1%} "
        + f"{max(s.memory for s in plain) / 1e9:>8.2f} {max(s.memory for s in own) / 1e9:>8.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["demo"], choices=["demo", *OWN_SIZE])
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warm", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", *DTYPES])
    parser.add_argument("--set", nargs="+", default=[], help="settings of our run alone, key=value")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    device = choose_device(args.device)
    precision = choose_precision(args.precision, device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{args.threads} threads"
    peak = peak_rate(device, precision)
    print(f"torch {torch.__version__}, {name}, {precision}, {args.rounds} rounds of {args.steps} steps; matrix product {peak / 1e12:.2f} TFLOP/s")
    print(
        f"{'model':>5} {'size':>5} {'batch':>5} {'bare steps/s':>13} {'ours':>8} {'ratio':>6} {'ratio, processor':>17} {'outside':>8} "
        f"{'pictures/s':>11} {'of peak':>8} {'GB bare':>8} {'GB ours':>8}"
    )
    for model in args.model:
        for batch in args.batch:
            size = args.size or OWN_SIZE.get(model, 128)
            case = Case(model, size, batch, args.steps, args.warm, device, precision, args.threads, parse_overrides(args.set))
            report(case, args.rounds, peak)


if __name__ == "__main__":
    main()
