"""Tags that a tagger saw and a caption lacks, by stored probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from lora_studio.tagging.missing import find_missing
from lora_studio.tagging.preview import known_of
from lora_studio.tagging.store import content_hash
from lora_studio.tagging.wd14 import TaggerFiles, files_here

LABELS = "tag_id,name,category,count\n9,general,9,9\n1,long_hair,0,9\n2,smile,0,9\n3,hat,0,9\n4,hana_(saga),4,9\n"


def tagger(folder: Path) -> TaggerFiles:
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"x")
    (folder / "selected_tags.csv").write_text(LABELS, encoding="utf-8")
    found = files_here(folder)
    assert found is not None
    return found


def test_what_seems_to_be_missing(tmp_path: Path) -> None:
    files, dataset = tagger(tmp_path / "mine"), tmp_path / "dataset"
    dataset.mkdir()
    captions = {"a": "Long Hair, smile", "b": "smile", "c": "hana \\(saga\\)", "d": "smile"}
    rows = {"a": [0.9, 0.9, 0.2, 0.9, 0.7], "b": [0.9, 0.8, 0.9, 0.9, 0.0], "c": [0.9, 0.6, 0.4, 0.1, 0.9]}
    store = known_of(dataset).store(files)
    for k, (name, text) in enumerate(captions.items()):
        Image.new("RGB", (8 + k, 8)).save(dataset / f"{name}.png")
        (dataset / f"{name}.txt").write_text(text, encoding="utf-8")
        if name in rows:
            store.put(content_hash(dataset / f"{name}.png"), np.array(rows[name], dtype=np.float32))
    store.save()
    found = find_missing(dataset, [files], "long_hair")
    # A hat was seen twice, but no caption has one: it was taken out, or never wanted. The rating is no tag.
    assert found == {
        "tagger": files.name, "stored": 3, "tags": [["Long Hair", 2, 1], ["hana \\(saga\\)", 1, 1]],
        "pictures": [["b.png", float(np.float32(0.8))], ["c.png", float(np.float32(0.6))]],
    }  # fmt: skip
    assert [row[0] for row in find_missing(dataset, [files], "smile", 0.4)["pictures"]] == ["c.png"]
    assert find_missing(dataset, [files], least=0.95)["tags"] == []


def test_nothing_is_known_without_stored_probabilities(tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    for folder, files in ((tmp_path / "none", []), (tmp_path / "dataset", []), (tmp_path / "dataset", [tagger(tmp_path / "mine")])):
        assert find_missing(folder, files)["tagger"] == ""
