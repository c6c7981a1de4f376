"""Put the demo checkpoint where a WebUI finds it."""

from __future__ import annotations

from pathlib import Path

from ..files import atomic_path, atomic_write_text
from ..patience import copy
from . import checkpoint_path

TEXT_ENCODER = "tiny_world_text_encoder"


def install_checkpoint(folder: Path) -> Path:
    """Copy checkpoint, yaml, text-encoder config and tokenizer into ``folder``; returns the checkpoint's new path.

    The WebUI resolves the yaml's text encoder from its own working directory and
    reads the tokenizer from there, so the copy names the folder absolutely and
    carries the CLIP vocabulary that the repository keeps only once.
    """
    from ..trainer.clip_tokens import write_tokenizer_files

    source = checkpoint_path()
    folder.mkdir(parents=True, exist_ok=True)
    encoder = (folder / TEXT_ENCODER).resolve()
    encoder.mkdir(exist_ok=True)
    config = (source.parent / TEXT_ENCODER / "config.json").read_text(encoding="utf-8")
    atomic_write_text(encoder / "config.json", config)
    write_tokenizer_files(encoder)
    description = source.with_suffix(".yaml").read_text(encoding="utf-8")
    absolute = encoder.as_posix().replace("'", "''")
    atomic_write_text(folder / "tiny_world.yaml", description.replace(f"version: {TEXT_ENCODER}", f"version: '{absolute}'"))
    target = folder / source.name
    with atomic_path(target) as temporary:
        copy(source, temporary)
    return target
