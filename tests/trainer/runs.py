"""Short runs of small models, for the tests of the trainer."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from lora_studio.trainer.__main__ import main
from lora_studio.training.events import FILE, read_events


def make_run(folder: Path, base: Path, pictures: Path, **changes: Any) -> Path:
    run = folder / "run"
    (run / "control").mkdir(parents=True)
    values: dict[str, Any] = {
        "base": str(base),
        "folders": [{"path": str(pictures), "repeats": 1}],
        "output_name": "word",
        "output_dir": str(folder / "output"),
        "trigger": "word",
        "resolution": 64,
        "bucket_min": 64,
        "epochs": 2,
        "batch_size": 2,
        "network_dim": 4,
        "network_alpha": 2,
        "scheduler": "constant",
        "unet_lr": 1e-3,
        "text_lr": 1e-3,
        "threads": 1,
        "device": "cpu",
        "save_precision": "fp32",
    }
    values.update(changes)
    (run / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return run


def diary(run: Path) -> list[dict[str, Any]]:
    return [event.to_dict() for event in read_events(run / FILE)]


def start(run: Path, *words: str) -> list[dict[str, Any]]:
    assert main([*words, str(run)]) == 0, diary(run)[-1]
    return diary(run)


def digest(path: Path) -> str:
    """Of the tensors alone: metadata holds times."""
    data = path.read_bytes()
    (header,) = struct.unpack("<Q", data[:8])
    return hashlib.sha256(data[8 + header :]).hexdigest()
