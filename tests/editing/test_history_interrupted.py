"""An edit, undo or redo broken off at any of its writes: every caption old or new, and undo still brings every byte back."""

from __future__ import annotations

import random
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from lora_studio import files
from lora_studio.editing import EditOptions, edit_dataset, redo, undo

CAPTIONS = (
    b"\xef\xbb\xbf1girl, black hair , Black_Hair, solo\r\n",
    "黒髪, 女の子, black hair".encode("cp932"),
    "黑发, 女孩, 长发, black hair".encode("gbk"),
    b"",
    None,
    b"1girl,, (black hair:1.2), x_x,  x_x",
    "black hair, 😀, blue eyes".encode("utf-16"),
)
EDITS = (
    EditOptions(dedupe=True),
    EditOptions(trigger="zed"),
    EditOptions(remove_traits=(), trigger="zed"),
    EditOptions(remove_traits=(), trait_frequency=0.0, include_states=True),
    EditOptions(add=("new tag",)),
    EditOptions(remove=("1girl",)),
    EditOptions(replace=(("black hair", "blonde hair"),)),
    EditOptions(sort="frequency"),
)


class PowerCut(BaseException):
    """Nothing catches it."""


class Writes:
    """Stands in for the last act of every atomic write and fails at the one it is told to."""

    def __init__(self, real) -> None:
        self.real = real
        self.left: int | None = None

    def __call__(self, temporary: Path, path: Path) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise PowerCut
        self.real(temporary, path)


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    stand_in = Writes(files.replace)
    monkeypatch.setattr(files, "replace", stand_in)
    return stand_in


def make_dataset(folder: Path) -> None:
    folder.mkdir()
    for number, caption in enumerate(CAPTIONS):
        Image.new("RGB", (4, 4)).save(folder / f"图 {number}.png")
        if caption is not None:
            (folder / f"图 {number}.txt").write_bytes(caption)


def captions(folder: Path) -> dict[str, bytes | None]:
    paths = [path.with_suffix(".txt") for path in folder.glob("*.png")]
    return {path.name: path.read_bytes() if path.exists() else None for path in paths}


def test_an_edit_cut_off_at_every_write_leaves_old_or_new_captions(tmp_path: Path, writes: Writes) -> None:
    edit = EditOptions(trigger="zed", remove=("black hair",))
    make_dataset(tmp_path / "whole")
    edit_dataset(tmp_path / "whole", edit)
    new = captions(tmp_path / "whole")
    for cut in range(200):
        folder = tmp_path / f"cut {cut}"
        make_dataset(folder)
        old = captions(folder)
        writes.left = cut
        try:
            edit_dataset(folder, edit)
        except PowerCut:
            finished = False
        else:
            finished = True
        writes.left = None
        now = captions(folder)
        assert all(now[name] in (old[name], new[name]) for name in old), cut
        while undo(folder).done:
            pass
        assert captions(folder) == old, cut
        assert not list(folder.rglob(f"{files.TEMPORARY_PREFIX}*"))
        if finished:
            break
    assert finished
    assert cut > len(CAPTIONS)  # it was really cut off between captions


@pytest.mark.parametrize("seed", range(8))
def test_any_course_of_interrupted_steps_can_be_undone_to_the_first_bytes(tmp_path: Path, writes: Writes, seed: int) -> None:
    folder = tmp_path / "dataset"
    make_dataset(folder)
    first = captions(folder)
    rng = random.Random(seed)
    for _ in range(6):
        writes.left = rng.choice((None, rng.randrange(25)))
        step = rng.choice((*EDITS, undo, redo))
        with suppress(PowerCut):
            edit_dataset(folder, step) if isinstance(step, EditOptions) else step(folder)
        writes.left = None
    while undo(folder).done:
        pass
    assert captions(folder) == first
