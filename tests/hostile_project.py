"""Projects as somebody may send them who means harm, and a watcher that says whether anything outside of them was touched.

Each function below plants one thing in a project of `build`; `PLANTS` lists those of the folders `dataset/.lora_studio` and `.trash`, and of
`project.json`. Their targets lie in `World.owner`, the files of the person who opens the project.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lora_studio import owner
from lora_studio.dataset.captions import LARGEST

#: of files: upwards, absolute, with a drive, a stream, a device, a separator, nothing, too much, no text at all
NAMES: tuple[Any, ...] = (
    "../../owner/notes.txt", "../../../escaped.txt", "..\\..\\owner\\notes.txt", "sub/notes.txt",
    "C:\\x.txt", "C:x.txt",
    "notes.txt:stream.txt", "con.txt", "nul .txt", "x\x00.txt", "", ".", "..", "a" * 5000 + ".txt", "\ud800.txt", 7, None, ["a.txt"], {"a": 1}, True,
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (-1, 10**400, 1e999, float("nan"), True, "7", None, [], {})
SIZE = (64, 48)


@dataclass(frozen=True)
class World:
    """root: all of it; project: what came from elsewhere; owner: the files of the person who opens it; lora_dir: the WebUI's LoRA folder."""

    root: Path
    project: Path
    owner: Path
    lora_dir: Path

    @property
    def dataset(self) -> Path:
        return self.project / "dataset"

    @property
    def studio(self) -> Path:
        return self.dataset / ".lora_studio"

    @property
    def history(self) -> Path:
        return self.studio / "history"


def build(root: Path, name: str = "hana") -> World:
    """A small project with everything in its place, in the folder of projects, and a person's own files beside (those stay if they are there)."""
    owner.key()  # the person has used the program before
    world = World(root, root / "projects" / name, root / "owner", root / "models" / "Lora")
    fresh = not world.owner.exists()
    for folder in (world.project / "raw", world.dataset, world.project / "output", world.owner / "sub", world.lora_dir):
        folder.mkdir(parents=True, exist_ok=True)
    for k, stem in enumerate(("a", "b", "c 花")):
        for folder in (world.project / "raw", world.dataset):
            Image.effect_noise(SIZE, 40 + k).convert("RGB").save(folder / f"{stem}.png")
            (folder / f"{stem}.txt").write_text("1girl, smile", encoding="utf-8")
    for stem in ("hana-01", "hana-02"):
        (world.project / "output" / f"{stem}.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    write_json(world.project / "project.json", {"version": 1, "name": name, "folder": name, "trigger": "", "traits": [], "settings": {}})
    if fresh:
        _make_owner(world)
    return world


def _make_owner(world: World) -> None:
    for k in range(3):
        Image.effect_noise(SIZE, 90 + k).convert("RGB").save(world.owner / f"photo{k}.jpg")
        Image.effect_noise(SIZE, 90 + k).convert("RGB").save(world.owner / f"photo{k}.webp")
    texts = ("notes.txt", "a.txt", "lock", "moves.json", "pictures.json", f"{0:012x}-1", f"{'0' * 40}.jpg", "sub/inner.txt", "hana-09.safetensors")
    for name in texts:
        (world.owner / name).write_text(f"mine: {name}", encoding="utf-8")
    (world.owner / ".tmp-000000000000.png").write_bytes(b"mine")
    for path in world.owner.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))


class Watcher:
    """Everything below `root` but what may change: by content, links by where they lead."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.before = self.look()

    def look(self) -> dict[str, str]:
        found = {}
        for place, folders, files in os.walk(self.world.root):
            here = Path(place)
            folders[:] = [n for n in folders if here / n not in (self.world.project, self.world.lora_dir) and not (here / n).is_symlink()]
            for name in [*files, *folders]:
                path = here / name
                if path.is_symlink():
                    found[str(path)] = os.readlink(path)
                elif path.is_file():
                    found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
                else:
                    found[str(path)] = "folder"
        return {name: what for name, what in found.items() if not name.endswith(("_recent.json", "_incoming"))}

    def check(self) -> None:
        """Raises AssertionError when anything outside was written, moved or deleted."""
        now = self.look()
        assert now == self.before, sorted(set(now.items()) ^ set(self.before.items()))


def write_json(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")


def deep(levels: int = 100_000) -> str:
    return "[" * levels + "]" * levels


def link(path: Path, target: Path) -> None:
    """A link in the place of whatever is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        path.rename(path.with_name(path.name + ".away"))
    path.unlink(missing_ok=True)
    path.symlink_to(target, target_is_directory=target.is_dir())


# -- the history of the captions ---------------------------------------------------------------------------------------


def history(world: World, rows: list[Any], mine: bool = True, pending: Any = "do", state: dict[str, Any] | None = None) -> None:
    """A history of one entry. mine: it bears the mark of the person who opens it, as after a round trip. pending: the change under way."""
    identity, entry = "0" * 32, "000001"
    head = {"id": entry, "kind": "edit", "when": time.time(), "count": len(rows), "details": {"project": {"trigger": [1, 2], "added": 7}}}
    path = world.history / "entries" / f"{entry}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(head) + "\n" + json.dumps(rows) + "\n", encoding="utf-8")
    change = {"action": "do", "entry": entry} if pending == "do" else pending
    plain = {"version": 1, "last": 1, "done": [] if pending == "do" else [entry], "undone": [], "pending": change, "id": identity}
    write_json(world.history / "state.json", {**plain, "owners": owner.marked(identity, ()) if mine else ["0" * 32], **(state or {})})


def row(name: Any, before: bytes | None, after: bytes | None) -> list[Any]:
    return [name, *(None if data is None else base64.b64encode(data).decode() for data in (before, after))]


def history_names(world: World, mine: bool) -> None:
    """Every hostile name in an entry that is about to be done, and in one that can be taken back; also the name of a file that is there."""
    names = [*NAMES, str(world.owner / "notes.txt")]
    history(world, [row("a.txt", b"1girl, smile", b"hacked"), *(row(name, b"mine: notes.txt", b"hacked") for name in names)], mine)


def history_undo(world: World) -> None:
    history(world, [row(str(world.owner / "new.txt"), b"hacked", None), row("../../../owner/notes.txt", b"hacked", b"mine: notes.txt")], pending=None)


def history_ids(world: World) -> None:
    entry = {"done": ["../../../../owner/notes"], "undone": ["/etc/passwd"]}
    history(world, [row("a.txt", None, b"x")], pending={"action": "undo", "entry": "../../../../../owner/notes", "merged": "../x"}, state=entry)


def history_merged(world: World) -> None:
    change = {"action": "do", "entry": "000001", "merged": "../../../../../owner/notes"}
    history(world, [row("a.txt", None, b"x")], pending=change, state={"done": []})


def history_firsts(world: World) -> None:
    history(world, [row("a.txt", b"1girl, smile", b"1girl, smile")], pending=None)
    link(world.history / "first" / "a.txt", world.owner / "notes.txt")
    (world.history / "first" / "con.txt").write_text("hacked", encoding="utf-8")


def history_deep(world: World) -> None:
    history(world, [], pending=None)
    (world.history / "entries" / "000001.jsonl").write_text('{"id": "000001", "details": ' + deep() + "}\n" + deep() + "\n", encoding="utf-8")
    (world.history / "state.json").write_text(deep(), encoding="utf-8")


def history_numbers(world: World) -> None:
    history(world, [], pending=None, state={"last": 10**400, "done": [1, None, "000001", "000001"], "undone": "000001", "owners": 7})


def spare(world: World) -> None:
    """Spare files that are a person's own, by a link to their folder and by hard links."""
    history(world, [], pending=None)
    link(world.history / "spare", world.owner)


def spare_files(world: World) -> None:
    history(world, [], pending=None)
    (world.history / "spare").mkdir()
    os.link(world.owner / "notes.txt", world.history / "spare" / f"{1:012x}-1")
    link(world.history / "spare" / f"{1:012x}-2", world.owner / "a.txt")
    os.link(world.owner / "a.txt", world.history / "spare" / "mine.txt")


def linked(*parts: str, to: str = "") -> Callable[[World], None]:
    """A link from a place in the project to the person's folder, or something in it."""
    return lambda world: link(world.project.joinpath(*parts), world.owner / to if to else world.owner)


# -- crops -------------------------------------------------------------------------------------------------------------


def crop_entry(**other: Any) -> dict[str, Any]:
    return {"source": "a.png", "source_size": list(SIZE), "box": [0, 0, 32, 32], "size": [32, 32], "method": "plan", **other}


def crop_plan(world: World, entries: list[Any]) -> None:
    stamps = {"a.png": [1, 2, 3, 4, 95]}
    write_json(world.studio / "crop_plan.json", {"version": 1, "options": {"size": "32"}, "entries": entries, "skipped": [], "stamps": stamps})


def crop_names(world: World) -> None:
    names = [str(world.owner / "photo0.jpg"), "../../owner/photo0.jpg", *NAMES]
    crop_plan(world, [crop_entry(source=name) for name in names if isinstance(name, str)])
    lines = [{"entry": crop_entry(), "name": name, "quality": 95, "source": [1, 1], "output": [1, 1]} for name in names]
    lines += [{"entry": crop_entry(source=name), "name": "a.png", "quality": 95, "source": [], "output": []} for name in names]
    lines += [{"begun": [name, 1, 1]} for name in names]
    (world.studio / "crop_written.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + deep() + "\n", encoding="utf-8")


def crop_numbers(world: World) -> None:
    crop_plan(world, [crop_entry(**{name: [n, n, n, n] if name == "box" else [n, n]}) for n in NUMBERS for name in ("box", "size", "source_size")])
    choice = {"method": "drawn", "box": [0, 0, 10**400, 1e999], "source_size": [10**400, 1]}
    options = {"bucket_max": 10**12, "size": "bucket", "split": float("nan")}
    draft = {"version": 1, "revision": 10**400, "options": options, "choices": {"a.png": choice}}
    write_json(world.studio / "crop_draft.json", {**draft, "past": [], "future": []})
    looks = {"a.png": [10**400, 1e999, 1, 1, [float("nan")] * 19, "", [[1e999] * 5], ""]}
    write_json(world.studio / "crop_looks.json", {"version": 2, "shapes": 19, "looks": looks})


def crop_deep(world: World) -> None:
    for name in ("crop_plan.json", "crop_draft.json", "crop_looks.json", "crop_written.jsonl"):
        (world.studio / name).parent.mkdir(parents=True, exist_ok=True)
        (world.studio / name).write_text(deep(), encoding="utf-8")


def crop_record_linked(world: World) -> None:
    world.studio.mkdir(parents=True, exist_ok=True)
    link(world.studio / "crop_written.jsonl", world.owner / "notes.txt")


def crop_record_hard(world: World) -> None:
    world.studio.mkdir(parents=True, exist_ok=True)
    os.link(world.owner / "notes.txt", world.studio / "crop_written.jsonl")


# -- caches, tags ------------------------------------------------------------------------------------------------------


def caches(world: World) -> None:
    for name in ("sizes_dataset", "sizes_raw", "quality_raw", "quality_dataset", "hashes"):
        facts = {}
        for folder in (world.project / "raw", world.dataset):
            for k, path in enumerate(sorted(folder.glob("*.png"))):
                stat = path.stat()
                fact = [[10**400, 1e999], [1e999, "f" * 400, 7], {"a": []}][k]
                facts[path.name] = [f"{stat.st_mtime_ns:x}-{stat.st_size:x}", fact]
        write_json(world.studio / f"{name}.json", {"version": 1, "kind": name.partition("_")[0], "files": facts})


def tag_store(world: World) -> None:
    """A store that unpacks to gigabytes, and shares of one that lead out."""
    world.studio.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(world.studio / "tags_demo.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("version", "fingerprint", "width", "hashes", "ends", "columns", "values"):
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.zeros(10**6, np.uint8))
    link(world.studio / "tags_demo.share-1-of-2.npz", world.owner / "photo0.jpg")
    link(world.studio / "tags_demo.share-2-of-2.npz", world.owner)


# -- trash -------------------------------------------------------------------------------------------------------------


def picture_trash(world: World) -> None:
    batch = world.project / ".trash" / "pictures_2020-01-01_00-00-00"
    write_json(batch / "pictures.json", {"version": 1, "where": "raw", "names": ["p.png", "../../../../owner/notes.txt", *NAMES]})
    Image.new("RGB", SIZE).save(batch / "p.png")
    other = world.project / ".trash" / "pictures_2020-01-01_00-00-01"
    link(other, world.owner)
    write_json(world.project / ".trash" / "pictures_2020-01-01_00-00-02" / "pictures.json", {"where": "../../owner", "names": ["p.png"]})


def lora_trash(world: World) -> None:
    batch = world.project / ".trash" / "2020-01-01_00-00-00"
    moves = [["../../../../owner", "notes.txt"], [str(world.owner), "notes.txt"], ["output", "../../../../owner/notes.txt"]]
    moves += [["output", "x.safetensors"]]
    write_json(batch / "moves.json", {"version": 1, "moves": [*moves, *(["output", name] for name in NAMES), *NAMES]})
    (batch / "output").mkdir()
    (batch / "output" / "x.safetensors").write_bytes(b"x")


def lora_trash_linked(world: World) -> None:
    batch = world.project / ".trash" / "2020-01-01_00-00-00"
    write_json(batch / "moves.json", {"version": 1, "moves": [["lora", "hana-09.safetensors"], ["output", "x.safetensors"], ["output", "notes.txt"]]})
    (batch / "output").mkdir()
    (batch / "output" / "x.safetensors").write_bytes(b"x")
    link(batch / "lora", world.owner)


# -- pictures, captions, the project itself ----------------------------------------------------------------------------


def pictures_linked(world: World) -> None:
    for folder in (world.project / "raw", world.dataset):
        link(folder / "leak.jpg", world.owner / "photo0.jpg")
        link(folder / "a.txt", world.owner / "notes.txt")
        link(folder / "gone.png", world.owner / "nothing.png")
        link(folder / "gone.txt", world.owner / "nothing.txt")


def captions_huge(world: World) -> None:
    for folder in (world.project / "raw", world.dataset):
        (folder / "a.txt").write_bytes(b"tag, " * (LARGEST // 5 + 2))
    if hasattr(os, "mkfifo"):
        (world.dataset / "b.txt").unlink()
        os.mkfifo(world.dataset / "b.txt")


def project_nonsense(world: World) -> None:
    settings = {"crop": [1, {"size": 1e999}], "tag": ["x"], "train": 7, "folders": {"a": None}}
    write_json(world.project / "project.json", {"version": 1, "name": "../../owner", "folder": world.project.name, "settings": settings})


def project_deep(world: World) -> None:
    text = json.dumps({"version": 1, "settings": {"crop": 0}}).replace("0", deep(400))
    (world.project / "project.json").write_text(text, encoding="utf-8")


PLANTS: dict[str, Callable[[World], None]] = {
    "names in a history of one's own": lambda world: history_names(world, mine=True),
    "names in a history from elsewhere": lambda world: history_names(world, mine=False),
    "names in an edit to take back": history_undo,
    "ids of edits": history_ids,
    "an edit merged into a file": history_merged,
    "first states": history_firsts,
    "a deep history": history_deep,
    "numbers of a history": history_numbers,
    "spare files in a person's folder": spare,
    "spare files that are a person's": spare_files,
    "history linked": linked("dataset", ".lora_studio", "history"),
    "entries linked": linked("dataset", ".lora_studio", "history", "entries"),
    "firsts linked": linked("dataset", ".lora_studio", "history", "first"),
    "a lock linked": linked("dataset", ".lora_studio", "history", "lock", to="not_there_yet"),
    "a state linked": linked("dataset", ".lora_studio", "history", "state.json", to="notes.txt"),
    ".lora_studio linked": linked("dataset", ".lora_studio"),
    "thumbnails linked": linked("dataset", ".lora_studio", "thumbnails"),
    "replaced linked": linked("dataset", ".lora_studio", "replaced"),
    "left_out linked": linked("dataset", ".lora_studio", "left_out"),
    "dataset linked": linked("dataset"),
    "raw linked": linked("raw"),
    "output linked": linked("output"),
    "trash linked": linked(".trash"),
    "bundles linked": linked("bundles"),
    "names of crops": crop_names,
    "numbers of crops": crop_numbers,
    "deep crops": crop_deep,
    "a record of crops linked": crop_record_linked,
    "a record of crops that is a person's file": crop_record_hard,
    "caches": caches,
    "a store of tags": tag_store,
    "pictures in the trash": picture_trash,
    "LoRAs in the trash": lora_trash,
    "LoRAs in a linked trash": lora_trash_linked,
    "pictures linked": pictures_linked,
    "captions of megabytes": captions_huge,
    "nonsense in project.json": project_nonsense,
    "a deep project.json": project_deep,
}
