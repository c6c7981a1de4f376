"""Datasets for the tests of editing: pictures that need not be readable, and captions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hypothesis import strategies as st

WORDS = ("1girl", "long hair", "long_hair", "Smile", "smile", "red eyes", "hat", "猫耳", "saber \\(fate\\)", "^_^", "(blush:1.2)", "<img onerror=x>")
TAGS = st.lists(st.sampled_from(WORDS), max_size=6)
CAPTIONS = st.one_of(
    st.none(),
    TAGS.map(lambda tags: ", ".join(tags).encode()),
    st.sampled_from(
        [b"", b"\xef\xbb\xbf1girl,smile\r\n", "少女, 猫耳".encode("gbk"), "こんにちは, smile".encode("cp932"), b"a,,b,\n,c", b"\xff\xfe1\x00"]
    ),
)
DATASETS = st.dictionaries(st.sampled_from(["a", "b", "c 花", "d.e", "f"]), CAPTIONS, min_size=1, max_size=5)


def write(folder: Path, captions: Mapping[str, bytes | str | None]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, data in captions.items():
        (folder / f"{stem}.png").write_bytes(b"")
        if data is not None:
            (folder / f"{stem}.txt").write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    return folder


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.txt"))}
