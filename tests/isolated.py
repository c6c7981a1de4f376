"""A Python as some WebUIs bring it: with a ``._pth`` file beside it, which makes it ignore PYTHONPATH and the folder it is started in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def make(folder: Path, bare: bool = False) -> Path:
    """Its executable, made from the Python that runs the tests; the packages of this one are in it unless ``bare``, Lora Studio is not."""
    if os.name == "nt" or sys.version_info < (3, 11):
        pytest.skip("only Python 3.11 and newer reads ._pth files on other systems than Windows")
    folder.mkdir(parents=True, exist_ok=True)
    python = folder / "python"
    shutil.copy2(os.path.realpath(sys.executable), python)
    root = str(Path(__file__).resolve().parents[1])
    paths = [p for p in sys.path if p and os.path.realpath(p) != os.path.realpath(root) and not (bare and "site-packages" in p)]
    (folder / "python._pth").write_text("\n".join(paths), encoding="utf-8")
    told = subprocess.run([python, "-c", "import sys; print(sys.flags.isolated)"], capture_output=True, text=True, check=False)
    if told.stdout.strip() != "1":
        pytest.skip(f"a copy of this Python cannot be isolated: {told.stderr[-200:]}")
    return python
