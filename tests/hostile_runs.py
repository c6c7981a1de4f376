"""Runs as somebody may send them: settings, sessions, events, plans and grids that want to write, delete or look elsewhere; and who watches."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.loras import write_lora

RUN = "2026-01-02_03-04-05"
HOST = "evilhost"
SHARE = rf"\\{HOST}\share"
#: names of a LoRA that are more than one plain name
NAMES = (
    "../../other/output/fin", "..\\..\\fin", "/tmp/fin", "C:\\fin", "C:fin", "fin:stream", "nul", "CON.x", "a/b", ".", "..",
    "", " ", "fin\0", "\ud800",
)  # fmt: skip
#: places of another machine, as Windows may write them
SHARES = (SHARE, f"//{HOST}/share", rf"\\?\UNC\{HOST}\share", rf"\??\UNC\{HOST}\share", rf"\/{HOST}\share", rf"\\.\pipe\{HOST}")


def received(folder: Path, config: dict[str, Any] | None = None, events: Sequence[dict[str, Any]] = (), **files: Any) -> Path:
    """A run, stopped after its first epoch, in a project folder that came from somewhere. ``files``: JSON beside its settings; returns its folder."""
    (folder / "dataset").mkdir(parents=True, exist_ok=True)
    (folder / "output").mkdir(exist_ok=True)
    for name in ("a", "b"):
        Image.new("RGB", (64, 64), "red").save(folder / "dataset" / f"{name}.png")
        (folder / "dataset" / f"{name}.txt").write_text("mira, smile", encoding="utf-8")
    run = folder / "runs" / RUN
    for part in ("control", "state", "samples", "tensorboard"):
        (run / part).mkdir(parents=True, exist_ok=True)
    base = write_base(folder / "base.safetensors")
    values = {
        "base": str(base), "folders": [{"path": str(folder / "dataset"), "repeats": 1}], "output_name": "mira", "output_dir": str(folder / "output"),
        "resolution": 64, "bucket_min": 64, **(config or {}),
    }  # fmt: skip
    (run / "config.json").write_text(json.dumps(values), encoding="utf-8")
    (run / "process.json").write_text(json.dumps({"pid": 1, "created": 1.0, "began": 1.0}), encoding="utf-8")
    step = {"type": "step", "step": 4, "total": 8, "epoch": 1, "epochs": 2, "loss_average": 0.5}
    told = [{"type": "started"}, step, *events, {"type": "stopped", "step": 4}]
    lines = [json.dumps({"v": 1, "seq": k, "time": 1_700_000_000.0 + k, **event}) for k, event in enumerate(told, 1)]
    (run / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, value in files.items():
        (run / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return run


def write_base(path: Path) -> Path:
    """A file that says in its header that it is a Stable Diffusion 1 checkpoint."""
    table = {
        name: {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]}
        for name in ("model.diffusion_model.input_blocks.0.0.weight", "cond_stage_model.transformer.text_model.x")
    }
    header = json.dumps(table).encode("utf-8")
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    return path


def victim(folder: Path, session: str = "victim") -> Path:
    """A finished LoRA of somebody's, with what lies beside it; returns its folder."""
    for epoch in (1, 2):
        path = write_lora(folder / f"fin-{epoch:02d}.safetensors", ss_session_id=session)
        path.with_suffix(".json").write_text('{"notes": "mine"}', encoding="utf-8")
        path.with_suffix(".png").write_bytes(b"my picture")
    return folder


def seen(root: Path, but: Sequence[Path] = ()) -> dict[str, str]:
    """Every file, folder and link below ``root`` with its content, but for what lies in the folders ``but``."""
    found = {}
    for place, folders, files in os.walk(root):
        folders[:] = [name for name in folders if Path(place, name) not in but]
        for name in [*folders, *files]:
            path = Path(place, name)
            if path.is_symlink():
                found[str(path)] = f"link to {os.readlink(path)}"
            else:
                found[str(path)] = "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@contextmanager
def nothing_changes(root: Path, *but: Path) -> Iterator[None]:
    """Whatever is done meanwhile writes, moves and deletes nothing below ``root``, but for the folders ``but``."""
    before = seen(root, but)
    yield
    after = seen(root, but)
    assert after == before, sorted(set(after.items()) ^ set(before.items()))


@pytest.fixture
def nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at a file of the other machine is what gives it the person's log-in: here it fails the test."""

    def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
        def ask(path: Any, *args: Any, **more: Any) -> Any:
            assert HOST not in os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else True, f"somebody looked at {path}"
            return real(path, *args, **more)

        return ask

    for name in ("stat", "lstat", "open", "scandir", "listdir", "readlink"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    monkeypatch.setattr(os.path, "realpath", guarded(os.path.realpath))
