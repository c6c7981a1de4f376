"""``python -m lora_studio.demo.build STEP [--work DIR] …``: see the package."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path

STEPS = ("pictures", "vae", "latents", "tagger", "text", "unet", "export", "card")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m lora_studio.demo.build")
    parser.add_argument("step", choices=(*STEPS, "all"))
    parser.add_argument("--work", type=Path, default=Path("build") / "demo_world")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=0, help="training steps; 0 = the step's own default")
    parser.add_argument("--minutes", type=float, default=math.inf, help="end a training step by then at the latest")
    parser.add_argument("--further", action="store_true", help="unet: go on from the weights that are there")
    parser.add_argument("--prediction", choices=("epsilon", "v_prediction"), default="epsilon", help="unet: what it learns to predict")
    parser.add_argument("--out", type=Path, help="export: a folder other than demo/assets")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for step in STEPS if args.step == "all" else (args.step,):
        run(step, args)


def run(step: str, args: argparse.Namespace) -> None:
    """One step, its modules imported only now: most need torch, the first does not."""
    work, processes = args.work, args.processes
    if step == "pictures":
        from . import pictures

        pictures.build(work, args.pictures, processes)
    elif step == "vae":
        from . import vae

        vae.train(work, processes, args.steps or 3500, args.minutes)
    elif step == "latents":
        from . import vae

        vae.whiten(work, processes)
    elif step == "tagger":
        from . import tagger

        tagger.train(work, args.steps or 1500, args.minutes)
    elif step == "text":
        from . import text

        text.pretrain(work, args.steps or 1500, args.minutes)
    elif step == "unet":
        from . import unet

        unet.train(work, processes, args.steps or 4000, args.minutes, args.further, args.prediction)
    elif step == "export":
        from . import ldm

        ldm.export(work, *([args.out] if args.out else []))
    elif step == "card":
        from . import card

        card.write(work)


if __name__ == "__main__":
    main()
