"""Our training step against a bare forward, backward and optimizer step on the same model: a ratio in one run.

    python benchmarks/training.py [--steps 40] [--batch 4] [--threads 2]

The bare loop is what anybody would write: peft's LoRA on the same modules, AdamW, one fixed batch that lies ready.
Ours does everything a run does: drawing captions, encoding them, noise, loss weights, events, learning-rate schedule.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch
from peft import LoraConfig

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lora_studio.demo import checkpoint_path
from lora_studio.demo.drawer import draw
from lora_studio.demo.scene import sample_scene, scene_tags
from lora_studio.trainer.loop import train
from lora_studio.trainer.models import load_base
from lora_studio.trainer.text import encode_prompts
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import EventWriter, read_events

UNET = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
RANK = 8


def bare(steps: int, batch: int) -> float:
    """Steps a second of the plain loop."""
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
    started = 0.0
    for k in range(steps + 5):
        if k == 5:
            started = time.perf_counter()
        answer = model.unet(a.sqrt() * latents + (1 - a).sqrt() * noise, t, encode_prompts(model, texts).hidden).sample
        torch.nn.functional.mse_loss(answer, noise).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return steps / (time.perf_counter() - started)


def ours(steps: int, batch: int, folder: Path, threads: int) -> tuple[float, float]:
    """Steps a second by the trainer's own clock (saving and drawing samples left out), and over the whole run."""
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
        "trigger": "mikuzu", "resolution": 128, "buckets": False, "batch_size": batch, "max_steps": steps, "network_dim": RANK, "network_alpha": RANK,
        "unet_lr": 1e-4, "text_lr": 1e-4, "threads": threads, "sample_every_epochs": 0,
    })  # fmt: skip
    started = time.perf_counter()
    train(run, config, EventWriter(run))
    whole = steps / (time.perf_counter() - started)
    speeds = [e.data["steps_per_second"] for e in read_events(run / "events.jsonl") if e.type == "step"]
    return float(speeds[-1]), whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    print(f"torch {torch.__version__}, {args.threads} threads, demo model, {args.steps} steps")
    print(f"{'batch':>5} {'bare steps/s':>13} {'ours':>8} {'ratio':>6} {'with start and save':>20}")
    for batch in args.batch:
        with tempfile.TemporaryDirectory() as folder:
            plain = bare(args.steps, batch)
            own, whole = ours(args.steps, batch, Path(folder), args.threads)
        print(f"{batch:>5} {plain:>13.2f} {own:>8.2f} {own / plain:>6.2f} {whole:>20.2f}")
    print(f"memory in use at the end {psutil.Process().memory_info().rss / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
