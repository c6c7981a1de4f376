"""Our training step against a bare forward, backward and optimizer step on the same model: a ratio in one run.

    python benchmarks/training.py [--steps 40] [--rounds 3] [--batch 4 8] [--threads 2]

The bare loop is what anybody would write: peft's LoRA on the same modules, AdamW, one fixed batch that lies ready.
Ours does everything a run does: drawing captions, encoding them, noise, loss weights, events, learning-rate schedule.
Both are timed in turn, and the medians of the rounds compared: by the clock, and by processor time, which other programs
on the machine disturb less. "outside" is the share of our step's time that is not forward, backward or the optimizer.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import psutil
import torch
from peft import LoraConfig

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lora_studio.demo import checkpoint_path
from lora_studio.demo.drawer import draw
from lora_studio.demo.scene import sample_scene, scene_tags
from lora_studio.trainer.loop import TrainingRun, train
from lora_studio.trainer.models import load_base
from lora_studio.trainer.objective import Objective
from lora_studio.trainer.optimizer import Optimizer
from lora_studio.trainer.text import encode_prompts
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import EventWriter

UNET = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
RANK = 8
WARM = 5


@dataclass(frozen=True)
class Speed:
    """Seconds a step by the clock and of the processor; `outside` of them are not forward, backward or optimizer."""

    clock: float
    processor: float
    outside: float = 0.0


def bare(steps: int, batch: int) -> Speed:
    """The plain loop."""
    model = load_base(checkpoint_path())
    encoder = model.text_encoders[0]
    model.unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=UNET))
    encoder.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=TEXT))
    params = [p for m in (model.unet, encoder) for p in m.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=1e-4)
    rng = random.Random(0)
    texts = [", ".join(scene_tags(sample_scene(rng))) for _ in range(batch)]
    latents, noise = torch.randn(2, batch, 4, 16, 16)
    t = torch.randint(0, 1000, (batch,))
    a = model.alphas_cumprod[t].view(-1, 1, 1, 1)
    started = worked = 0.0
    for k in range(steps + WARM):
        if k == WARM:
            started, worked = time.perf_counter(), time.process_time()
        answer = model.unet(a.sqrt() * latents + (1 - a).sqrt() * noise, t, encode_prompts(model, texts).hidden).sample
        torch.nn.functional.mse_loss(answer, noise).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return Speed((time.perf_counter() - started) / steps, (time.process_time() - worked) / steps)


def ours(steps: int, batch: int, folder: Path, threads: int) -> Speed:
    """The trainer itself, from the end of its warm-up steps to the last step."""
    data, run = folder / "data", folder / "run"
    for path in (data, run / "control", run / "state", run / "samples"):
        path.mkdir(parents=True)
    rng = random.Random(0)
    for k in range(20):
        scene = sample_scene(rng)
        draw(scene, rng).save(data / f"{k:02d}.png")
        (data / f"{k:02d}.txt").write_text(", ".join(["mikuzu", *scene_tags(scene)]), encoding="utf-8")
    config = TrainingConfig.from_dict({
        "base": str(checkpoint_path()), "folders": [{"path": str(data), "repeats": 100}], "output_name": "bench", "output_dir": str(folder / "out"),
        "trigger": "mikuzu", "resolution": 128, "buckets": False, "batch_size": batch, "max_steps": steps + WARM, "network_dim": RANK,
        "network_alpha": RANK, "unet_lr": 1e-4, "text_lr": 1e-4, "threads": threads, "sample_every_epochs": 0,
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
            marks.append((time.perf_counter(), time.process_time(), inside[0]))
            work(*args)

        return call

    with ExitStack() as stack:
        for place, name in ((Objective, "loss"), (Optimizer, "backward"), (Optimizer, "step")):
            stack.enter_context(patch.object(place, name, timed(getattr(place, name))))
        stack.enter_context(patch.object(TrainingRun, "_step", marked(TrainingRun._step)))
        train(run, config, EventWriter(run))
    first, last = marks[WARM], marks[-1]
    count = len(marks) - 1 - WARM
    clock = last[0] - first[0]
    return Speed(clock / count, (last[1] - first[1]) / count, 1.0 - (last[2] - first[2]) / clock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    print(f"torch {torch.__version__}, {args.threads} threads, demo model, {args.rounds} rounds of {args.steps} steps")
    print(f"{'batch':>5} {'bare steps/s':>13} {'ours':>8} {'ratio':>6} {'ratio, processor':>17} {'outside':>8} {'pictures/s':>11}")
    for batch in args.batch:
        plain, own = [], []
        for _ in range(args.rounds):
            with tempfile.TemporaryDirectory() as folder:
                plain.append(bare(args.steps, batch))
                own.append(ours(args.steps, batch, Path(folder), args.threads))
        theirs, here = (median(s.clock for s in speeds) for speeds in (plain, own))
        processor = median(s.processor for s in plain) / median(s.processor for s in own)
        outside = median(s.outside for s in own)
        print(f"{batch:>5} {1 / theirs:>13.2f} {1 / here:>8.2f} {theirs / here:>6.2f} {processor:>17.2f} {outside:>8.1%} {batch / here:>11.2f}")
    print(f"memory in use at the end {psutil.Process().memory_info().rss / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
