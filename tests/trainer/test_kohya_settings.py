"""Settings of kohya's trainer are trained with as they were taken over, and go out again and come back from the finished run."""

from __future__ import annotations

import dataclasses
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from lora_studio.demo import checkpoint_path
from lora_studio.training.config import TrainingConfig
from lora_studio.training.kohya_export import export
from lora_studio.training.kohya_report import Imported
from lora_studio.training.kohya_toml import read
from lora_studio.training.kohya_use import fit
from tests.trainer.conftest import write_pictures
from tests.trainer.runs import start

pytestmark = [pytest.mark.torch, pytest.mark.slow]
EXAMPLES = Path(__file__).parents[1] / "training" / "kohya"
FILES = {
    "notebook": ["notebook_sd1.toml", "notebook_dataset.toml"],
    "notebook_xl": ["notebook_sdxl.toml"],
    "easy": ["easy.toml"],
    "lycoris": ["lycoris.toml"],
    "in_one": ["in_one.toml"],
    "gui": ["gui.json"],
    "gui_lycoris": ["gui_lycoris.json", "prompts.toml"],
}
#: where things are, and what makes a training of two small steps
HERE: dict[str, Any] = {
    "base": str(checkpoint_path()), "vae": "", "resolution": [64, 64], "bucket_min": 64, "bucket_max": 128, "bucket_step": 64, "epochs": 1,
    "max_steps": 2, "gradient_accumulation": 1, "save_every_epochs": 1, "sample_steps": 2, "device": "cpu", "threads": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_imported_trained_exported_and_imported_again(name: str, tmp_path: Path) -> None:
    values = fit(read([EXAMPLES / file for file in FILES[name]]))
    if values["folders"] == fit(Imported())["folders"]:  # the file names none that is here
        values["folders"] = [{"path": "", "repeats": 2}]
    for k, folder in enumerate(values["folders"]):
        folder["path"] = str(write_pictures(tmp_path / f"pictures{k}", 2))
    if values["precision"] == "fp16":  # needs a graphics card
        values["precision"] = "auto"
    if values["optimizer"] == "adamw8bit" and find_spec("bitsandbytes") is None:
        values["optimizer"] = "adamw"
    run = tmp_path / "run"
    (run / "control").mkdir(parents=True)
    (run / "config.json").write_text(json.dumps({**values, **HERE, "output_dir": str(tmp_path / "output")}), encoding="utf-8")
    events = start(run)
    assert events[-1]["type"] == "finished" and [e["step"] for e in events if e["type"] == "step"][-1] == 2
    assert list((tmp_path / "output").glob("*.safetensors"))
    config = TrainingConfig.from_dict(json.loads((run / "config.json").read_text(encoding="utf-8")))
    for file, text in export(config).files.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    again = read([tmp_path / "config.toml"])
    assert dataclasses.asdict(TrainingConfig.from_dict(again.values)) == dataclasses.asdict(config) and again.unknown == []
