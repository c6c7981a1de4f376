"""A trained project without a training: LoRA files that hold next to nothing but say of themselves what real ones say."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

RUN = "2026-01-02_03-04-05"


def write_lora(path: Path, **metadata: str) -> Path:
    """A safetensors file of one tensor with this metadata (``__`` in a name is a dot)."""
    table = {
        "__metadata__": {k.replace("__", "."): v for k, v in metadata.items()},
        "lora_unet_x.lora_down.weight": {"dtype": "F16", "shape": [1, 1], "data_offsets": [0, 2]},
    }
    header = json.dumps(table).encode("utf-8")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0")
    return path


def trained_project(
    projects: Path,
    lora_dir: Path | None = None,
    name: str = "hana",
    epochs: Sequence[int] = (1, 2, 3),
    run: str = RUN,
    session: str = "s1",
    stem: str = "",
) -> Path:
    """``projects/name`` with a finished run whose epochs lie in its output and, if there is one, in the LoRA folder."""
    project, stem = projects / name, stem or name
    folder = project / "runs" / run
    for part in ("raw", "dataset", "output"):
        (project / part).mkdir(parents=True, exist_ok=True)
    (folder / "samples").mkdir(parents=True)
    facts = {"version": 1, "trigger": "mikuzu", "traits": ["red hair"], "settings": {"tag": {"model": "demo"}}}
    (project / "project.json").write_text(json.dumps(facts), encoding="utf-8")
    Image.new("RGB", (64, 64), "red").save(project / "dataset" / "a.png")
    (project / "dataset" / "a.txt").write_text("mikuzu, 1girl, smile", encoding="utf-8")
    config = {
        "base": "/models/ponyDiffusionV6XL.safetensors", "trigger": "mikuzu", "resolution": 64, "sample_cfg": 4.0,
        "folders": [{"path": str(project / "dataset"), "repeats": 1}], "output_dir": str(project / "output"), "output_name": stem,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "session.json").write_text(json.dumps({"id": session}), encoding="utf-8")
    events: list[dict[str, object]] = [{"type": "started"}]
    for epoch in epochs:
        for place in [project / "output", *([lora_dir / name] if lora_dir else [])]:
            path = write_lora(
                place / f"{stem}-{epoch:02d}.safetensors", ss_session_id=session, ss_epoch=str(epoch), ss_steps=str(10 * epoch),
                ss_base_model_version="sdxl_base_v1-0", ss_sd_model_name="ponyDiffusionV6XL.safetensors", ss_resolution="(1024, 1024)",
                ss_tag_frequency=json.dumps({"dataset": {"mikuzu": 10, "1girl": 10, "smile": 4}}),
                ss_dataset_dirs=json.dumps({"dataset": {"n_repeats": 1, "img_count": 10}}), modelspec__trigger_phrase="mikuzu",
            )  # fmt: skip
            sidecar = {"activation text": "mikuzu", "preferred weight": 0.8, "notes": "mine", "description": "日本"}
            path.with_suffix(".json").write_text(json.dumps(sidecar), encoding="utf-8")
            Image.new("RGB", (8, 8), "blue").save(path.with_suffix(".png"))
        at = {"epoch": epoch, "step": 10 * epoch}
        events.append({"type": "checkpoint", **at, "path": str(project / "output" / f"{stem}-{epoch:02d}.safetensors")})
        Image.new("RGB", (8, 8), "green").save(folder / "samples" / f"epoch-{epoch:02d}.png")
        events.append({"type": "sample", **at, "path": f"samples/epoch-{epoch:02d}.png", "index": 0, "prompt": "mikuzu, 1girl"})
    events.append({"type": "finished", "step": 10 * len(epochs)})
    lines = [json.dumps({"v": 1, "seq": k, "time": 1_700_000_000.0 + k, **event}) for k, event in enumerate(events, 1)]
    (folder / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return project
