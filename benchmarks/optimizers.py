"""How well each optimizer teaches the demo model its character: likeness of the last epoch, one training a row.

    python benchmarks/optimizers.py OUT [--only adamw/lora/text ...] [--threads 2] [--epochs 5] [--v-base CHECKPOINT]

Rows are optimizer / lora or locon / text or frozen (text encoder trained or not) / epsilon or v. What is done is kept in
OUT/matrix.jsonl and not done again, so that the whole (72 trainings of a few minutes) can be spread over days. The demo
model predicts noise: a v-prediction training asks it for something it has not learned, which a LoRA of this size cannot give
it; its rows say how much of the v-loss is learned instead. With --v-base they are measured like the others, on a demo model that predicts v:

    python -m lora_studio.demo.build unet --work WORK --further --prediction v_prediction
    python -m lora_studio.demo.build export --work WORK --out FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lora_studio.crop import CropOptions
from lora_studio.demo.pipeline import TRIGGER, draw_pictures
from lora_studio.demo.scene import parse_character
from lora_studio.editing import GROUPS, OPTIONAL_GROUPS, EditOptions
from lora_studio.evaluation import EvaluateOptions, evaluate
from lora_studio.project import Project
from lora_studio.studio import DEMO_BASE, Studio
from lora_studio.tagging import TagOptions
from lora_studio.training.events import read_events

CHARACTER = "blue hair, red eyes, cat ears"
#: learning rates (UNet and text encoder) that suit the demo model's 640 short steps
RATES = {
    "adamw": (2e-3, 2e-3),
    "adamw8bit": (2e-3, 2e-3),
    "lion": (3e-4, 3e-4),
    "adafactor": (2e-3, 2e-3),
    "prodigy": (1.0, 1.0),
    "dadapt_adam": (0.5, 0.5),  # at 1 it overshoots: the loss rises to five times its start
    "dadapt_lion": (0.5, 0.5),
    "came": (3e-4, 3e-4),  # at 1e-3 the loss rises and every picture shows the character
    "sgd_nesterov": (8.0, 8.0),  # below it hardly moves, at 20 and above some layers burst while others still hardly move
}
#: what suits one optimizer besides its rates
MORE: dict[str, dict[str, Any]] = {}


def rows() -> list[str]:
    """Every combination, the most telling ones first."""
    kinds = ("lora/text", "locon/text", "lora/frozen", "locon/frozen")
    return [f"{name}/{kind}/{prediction}" for prediction in ("epsilon", "v") for kind in kinds for name in RATES]


def settings(row: str, epochs: int, threads: int, v_base: Path | None) -> dict[str, Any]:
    name, network, text, prediction = row.split("/")
    unet, encoder = RATES[name]
    values: dict[str, Any] = {"optimizer": name, "unet_lr": unet, "text_lr": encoder if text == "text" else 0.0, "epochs": epochs, "threads": threads}
    if network == "locon":
        values |= {"conv_dim": 4, "conv_alpha": 4}
    if prediction == "v" and v_base is None:
        values |= {"prediction": "v_prediction", "max_steps": 200}
    return {**values, **MORE.get(name, {}), "save_every_epochs": epochs, "sample_every_epochs": 0, "seed": 1}


def project_of(studio: Studio, out: Path) -> Project:
    """The demo's pictures, cropped, tagged and edited once for all rows."""
    who = parse_character(CHARACTER)
    if not (studio.projects_dir / "matrix").is_dir():
        pictures = draw_pictures(out / "pictures", who, 1, 20)
        studio.new("matrix", pictures)
        folder = studio.projects_dir / "matrix"
        studio.crop(studio.open(folder), CropOptions(size="128"))
        studio.tag(studio.open(folder), TagOptions(model="demo"))
        studio.edit(studio.open(folder), EditOptions(dedupe=True, remove_traits=(*GROUPS, *OPTIONAL_GROUPS), remove=who.traits, trigger=TRIGGER))
        replace(studio.open(folder), traits=who.traits).save()
    return studio.open(studio.projects_dir / "matrix")


def train_row(studio: Studio, project: Project, row: str, epochs: int, threads: int, v_base: Path | None) -> dict[str, Any]:
    started = time.monotonic()
    base = str(v_base) if row.endswith("/v") and v_base is not None else DEMO_BASE
    config = studio.configure(project, base, "demo", {**settings(row, epochs, threads, v_base), "output_name": row.replace("/", "_")})
    run = studio.train(project, config)
    status = run.follow(lambda event: None)
    found: dict[str, Any] = {"row": row, "state": status.state, "step": status.step, "minutes": round((time.monotonic() - started) / 60, 1)}
    losses = [e.data["loss_average"] for e in read_events(run.events_path) if e.type == "step"]
    found |= {"loss_first": round(losses[0], 4), "loss_last": round(losses[-1], 4)} if losses else {}
    found["warnings"] = list(status.warnings)
    if status.state != "finished":
        return {**found, "message": status.message}
    if not row.endswith("/v") or v_base is not None:
        options = EvaluateOptions(
            tagger="demo", traits=project.traits, steps=12, weights=(), trigger_pictures=12, flexibility_pictures=4, leakage_pictures=4, batch_size=12
        )
        scores = evaluate(run.folder, replace(options, epochs=(status.epoch,)))
        found |= {name: round(scores["epochs"][-1][name], 3) for name in ("likeness", "flexibility", "leakage")}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", default=[], help="rows that begin so")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--v-base", type=Path, help="a demo model that predicts v, with its yaml beside it")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    results = args.out / "matrix.jsonl"
    done = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()] if results.is_file() else []
    studio = Studio(args.out / "projects", args.out / "models" / "Lora")
    project = project_of(studio, args.out)
    for row in rows():
        if row in {d["row"] for d in done} or (args.only and not row.startswith(tuple(args.only))):
            continue
        done.append(train_row(studio, project, row, args.epochs, args.threads, args.v_base))
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(done[-1]) + "\n")
        print(json.dumps(done[-1]), flush=True)
    print(f"\n{'row':<32} {'likeness':>8} {'flexibility':>11} {'leakage':>8} {'loss':>18} {'minutes':>8}")
    for d in done:
        scores = [f"{d[name]:.2f}" if name in d else "-" for name in ("likeness", "flexibility", "leakage")]
        loss = f"{d['loss_first']:.3f} -> {d['loss_last']:.3f}" if "loss_first" in d else d["state"]
        print(f"{d['row']:<32} {scores[0]:>8} {scores[1]:>11} {scores[2]:>8} {loss:>18} {d['minutes']:>8}")


if __name__ == "__main__":
    main()
