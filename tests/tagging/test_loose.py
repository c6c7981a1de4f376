"""Pictures anywhere: files, folders with what is below, patterns; asked about, or captioned where they lie."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from lora_studio import cli
from lora_studio.dataset import read_caption
from lora_studio.demo import tagger_dir
from lora_studio.demo.drawer import draw
from lora_studio.demo.scene import sample_scene, scene_tags
from lora_studio.editing import undo
from lora_studio.errors import UserError
from lora_studio.tagging import TagOptions, tag_folder
from lora_studio.tagging.loose import find, see


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, dict[str, set[str]]]:
    """Pictures in a folder and in one inside it, and what they show."""
    rng = random.Random(11)
    truth = {}
    for name in ("一 1.png", "inner folder/two.jpg", "inner folder/[3].webp", "inner folder/.hidden/four.png"):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        scene = sample_scene(rng)
        draw(scene, rng).save(path)
        truth[path.name] = set(scene_tags(scene))
    (tmp_path / "pictures" / "note.md").write_text("no picture", encoding="utf-8")
    return tmp_path / "pictures", truth


def test_what_a_place_means(places: tuple[Path, dict[str, set[str]]]) -> None:
    root, _ = places

    def names(*given: str, recursive: bool = False) -> list[str]:
        return [p.name for p in find(given, recursive)]

    assert names(str(root)) == ["一 1.png"]
    assert names(str(root), recursive=True) == ["一 1.png", "[3].webp", "two.jpg"]
    assert names(str(root / "**" / "*.jpg")) == ["two.jpg"]
    assert names(str(root / "inner folder" / "[3].webp")) == ["[3].webp"], "a name with brackets is itself"
    assert names(str(root), str(root / "*.png")) == ["一 1.png"], "once"
    for nothing in (str(root / "nothing.png"), str(root / "*.bmp"), str(root / "inner folder" / ".hidden")):
        if nothing.endswith(".hidden"):
            assert names(nothing) == ["four.png"], "asked for by its name"
        else:
            with pytest.raises(UserError, match="no picture"):
                find([nothing])


def test_pictures_are_read_in_their_order_and_nothing_is_written(places: tuple[Path, dict[str, set[str]]]) -> None:
    root, truth = places
    (root / "broken.png").write_bytes(b"no picture")
    before = sorted(p for p in root.rglob("*"))
    told: list[tuple[int, int]] = []
    seen = see(find([str(root)], recursive=True), TagOptions(model="demo", batch_size=1), progress=lambda done, total, _: told.append((done, total)))
    assert [Path(one.path).name for one in seen] == ["broken.png", "一 1.png", "[3].webp", "two.jpg"]
    assert "cannot be read" in seen[0].reason and not seen[0].tags
    assert sum(len(truth[Path(one.path).name] ^ set(one.tags)) for one in seen[1:]) <= 2
    assert all(one.rating for one in seen[1:]) and told[-1] == (4, 4)
    assert sorted(p for p in root.rglob("*")) == before


def test_the_same_tags_as_a_dataset_gets(places: tuple[Path, dict[str, set[str]]], tmp_path: Path) -> None:
    root, _ = places
    shutil.copytree(tagger_dir(), tmp_path / "mine")
    options = TagOptions(model=f"demo+{tmp_path / 'mine'}", general_threshold=0.05)
    seen = see(find([str(root / "inner folder")]), options)
    tag_folder(root / "inner folder", options)
    assert [one.tags for one in seen] == [read_caption(Path(one.path).with_suffix(".txt")).tags for one in seen]


def test_written_beside_them_and_taken_back(places: tuple[Path, dict[str, set[str]]], capsys: pytest.CaptureFixture[str]) -> None:
    root, _ = places
    inner = root / "inner folder"
    (inner / "two.txt").write_text("my words", encoding="utf-8")
    assert cli.main(["interrogate", str(root), "--recursive", "--write", "--model", "demo", "--json"]) == 0
    told = {Path(one["path"]).name: one for one in json.loads(capsys.readouterr().out)["pictures"]}
    assert [told[name]["written"] for name in ("一 1.png", "[3].webp", "two.jpg")] == [True, True, False]
    assert read_caption(inner / "two.txt").tags == ("my words",), "captions that are there stay unless asked"
    assert list(read_caption(inner / "[3].txt").tags) == told["[3].webp"]["tags"]
    assert cli.main(["interrogate", str(inner / "two.jpg"), "--write", "--model", "demo", "--on-existing", "append"]) == 0
    assert read_caption(inner / "two.txt").tags[0] == "my words" and len(read_caption(inner / "two.txt").tags) > 3
    assert cli.main(["undo", str(inner)]) == 0
    assert (inner / "two.txt").read_text(encoding="utf-8") == "my words"
    undo(inner)
    assert not (inner / "[3].txt").exists() and (root / "一 1.txt").exists()
