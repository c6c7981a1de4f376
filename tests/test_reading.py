"""Whatever a JSON file holds, what is read of it is plain data, or a sentence says why not."""

from __future__ import annotations

import json
import math
import os
import random
from pathlib import Path
from typing import Any

import pytest

from lora_studio.errors import UserError
from lora_studio.files import atomic_write_json, read_json
from lora_studio.reading import DEEPEST, entries, is_deep, is_text, parse_json, parse_line, parse_lines, read_bytes, read_object
from tests.bad_files import ODD_TEXTS, changed, header, lora, specials, whole


def is_plain(value: Any) -> bool:
    """Without recursion, so that it is no matter how deep it is."""
    left = [value]
    while left:
        one = left.pop()
        left += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        if isinstance(one, float) and not math.isfinite(one):
            return False
        if isinstance(one, int) and abs(one) >= 10**21:
            return False
    return not is_deep(value) and is_text(value)


@pytest.mark.parametrize("name", ODD_TEXTS)
def test_a_text_is_plain_or_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.json").write_bytes(ODD_TEXTS[name])
    try:
        found = read_json(tmp_path / "a.json")
    except UserError as error:
        assert str(tmp_path / "a.json") in error.message and error.hint
    else:
        assert is_plain(found)
        atomic_write_json(tmp_path / "b.json", found)
        assert read_json(tmp_path / "b.json") == found
    assert all(is_plain(one) for one in parse_lines(read_bytes(tmp_path / "a.json")))


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    for name, make in specials(tmp_path):
        path = tmp_path / f"{name}.json"
        make(path)
        with pytest.raises(UserError, match="cannot be read"):
            read_json(path)
    with pytest.raises(UserError, match="does not exist"):
        read_bytes(tmp_path / "gone")
    with pytest.raises(UserError):
        read_bytes("a\0b")


def test_sizes_and_offsets(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    assert read_bytes(tmp_path / "a", 10) == b"0123456789" and read_bytes(tmp_path / "a", offset=7) == b"789"
    assert read_bytes(tmp_path / "a", offset=70) == b""
    with pytest.raises(UserError, match="larger"):
        read_bytes(tmp_path / "a", 9)


def test_depth() -> None:
    def nested(depth: int) -> str:
        return "[" * depth + "]" * depth

    assert parse_json(nested(DEEPEST)) and is_deep(json.loads(nested(DEEPEST + 1))) and not is_deep(5)
    with pytest.raises(ValueError, match="nested"):
        parse_json(nested(DEEPEST + 1))
    assert parse_json(json.dumps(["[" * 1000, "{" * 1000])) == ["[" * 1000, "{" * 1000]  # in texts they are none


def test_numbers() -> None:
    assert parse_json("[18446744073709551615, -0.5, 1e308]") == [2**64 - 1, -0.5, 1e308]
    for text in ("1e309", "-1e999", "NaN", "-Infinity", "9" * 22):
        with pytest.raises(ValueError, match="number"):
            parse_json(text)
        assert parse_line(b'{"a": %s, "b": 1}' % text.encode()) == {"a": None, "b": 1}


def test_numbers_that_are_none_are_never_saved(tmp_path: Path) -> None:
    atomic_write_json(tmp_path / "a.json", {"a": [math.nan, math.inf, 1.5], "b": (-math.inf,)})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [None, None, 1.5], "b": [None]}
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(UserError, match="nested"):
        atomic_write_json(tmp_path / "a.json", deep)
    with pytest.raises(UserError, match="not valid text"):
        atomic_write_json(tmp_path / "a.json", {"name": "a\udc80"})
    assert read_object(tmp_path / "a.json") == {"a": [None, None, 1.5], "b": [None]}


def test_folders(tmp_path: Path) -> None:
    assert entries(tmp_path / "gone") == [] and entries(__file__) == []
    (tmp_path / "b").touch()
    (tmp_path / "a").touch()
    assert [path.name for path in entries(tmp_path)] == ["a", "b"]


@pytest.mark.skipif(os.name == "nt", reason="rights of another kind")
def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(UserError, match="Permission denied"):
        entries(tmp_path)


# -- safetensors --------------------------------------------------------------------------


def test_headers_that_lie(tmp_path: Path) -> None:
    """Every header is refused with a sentence or can be gone through to its end."""
    from lora_studio.evaluation.loras import facts_of
    from lora_studio.training.basefile import read_header
    from lora_studio.training.inspect import inspect

    path, base = tmp_path / "a.safetensors", tmp_path / "base.safetensors"
    lora(path)
    table, rest = header(path.read_bytes())
    names = ("model.diffusion_model.input_blocks.1.1.proj_in.weight", "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight")
    base_table: dict[str, Any] = {key: {"dtype": "F16", "shape": [4, 4], "data_offsets": [32 * k, 32 * k + 32]} for k, key in enumerate(names)}
    base.write_bytes(whole(base_table, bytes(64)))
    sound = inspect(path, base)
    assert sound.modules == {"te": 1, "unet": 1} and sound.ranks == (2,)
    rng = random.Random(3)
    kept = refused = 0
    for _ in range(400):
        path.write_bytes(whole(changed(rng, table), rest))
        base.write_bytes(whole(changed(rng, base_table) if rng.random() < 0.5 else base_table, bytes(64)))
        try:
            found = read_header(path)
            facts_of(path.stem, found.metadata, {})
            json.dumps(inspect(path, base).to_dict())
            kept += 1
        except UserError as error:
            assert error.message and error.hint
            refused += 1
    assert kept > 30 and refused > 100


@pytest.mark.parametrize("length", [0, 1, 7, 2**63, 2**64 - 1, 60_000_000])
def test_lengths_that_lie(tmp_path: Path, length: int) -> None:
    from lora_studio.training.basefile import read_header

    path = tmp_path / "a.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + b'{"a": ')
    with pytest.raises(UserError, match="not a whole"):
        read_header(path)
