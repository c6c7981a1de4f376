"""A project that somebody sent to do harm: whatever is done with it, by program, page or command, nothing outside of it is touched."""

from __future__ import annotations

import json
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_studio import owner
from lora_studio.cli import main
from lora_studio.crop import CropOptions, draft
from lora_studio.crop.applied import load_applied
from lora_studio.dataset import thumbnails, trash
from lora_studio.dataset.captions import LARGEST, CaptionError, caption_bytes, problem
from lora_studio.dataset.items import OUTSIDE, scan_folder
from lora_studio.editing import EditOptions, Op, Wanted, edit_dataset, history, journal, undo
from lora_studio.editing.index import open_index
from lora_studio.editing.journal import NOTES, Journal, opened
from lora_studio.editing.records import read_state
from lora_studio.errors import UserError
from lora_studio.evaluation import trash as lora_trash
from lora_studio.project import Project, in_place
from lora_studio.studio import Studio
from lora_studio.tagging import TagOptions
from lora_studio.tagging.store import Store
from lora_studio.untrusted import RefusedError
from tests import hostile_project as hostile
from tests.hostile_project import PLANTS, Watcher, World, build, link

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return build(tmp_path)


@pytest.fixture(autouse=True)
def small_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache of thumbnails is over its bounds with every picture, and every edit is one of many captions."""
    monkeypatch.setattr(journal, "MANY", 1)
    monkeypatch.setattr(thumbnails, "LARGEST", 1)
    monkeypatch.setattr(thumbnails, "LOOK_EVERY", 1)


def studio_of(world: World) -> Studio:
    return Studio(world.project.parent, world.lora_dir)


def use_cases(world: World) -> Iterator[tuple[str, Callable[[Studio, Project], Any]]]:
    """Everything that a person may do with a project up to its training."""
    yield "overview", lambda s, p: s.overview(p)
    yield "quality", lambda s, p: s.check(p)
    for where in ("raw", "dataset"):
        yield f"pictures {where}", lambda s, p, where=where: s.pictures(p, where)
        for name in ("a.png", "leak.jpg", "photo0.jpg", "../../owner/photo0.jpg"):
            yield f"thumbnail {name}", lambda s, p, where=where, name=name: (path := s.picture(p, where, name)) and s.thumbnail(p, path, 160)
        yield f"pack {where}", lambda s, p, where=where: list(s.pack(p, where))
    yield "captions", lambda s, p: s.captions(p, Wanted(), 100)
    yield "history", lambda s, p: s.history(p)
    yield "undo", lambda s, p: s.undo(p)
    yield "redo", lambda s, p: s.redo(p)
    yield "edit", lambda s, p: s.edit(p, EditOptions(trigger="hana", add=("x",)))
    yield "op", lambda s, p: s.edit_pictures(p, [Op("add", "b.png", "hat")])
    yield "edit again", lambda s, p: s.edit(p, EditOptions(remove=("x",)))
    yield "all back", lambda s, p: s.go_to(p, "")
    yield "first", lambda s, p: s.restore_captions(p)
    yield "mine", lambda s, p: s.adopt_history(p)
    yield "mine, then undo", lambda s, p: s.undo(p)
    yield "encodings", lambda s, p: s.repair_captions(p)
    yield "metadata", lambda s, p: s.take_metadata(p, {"a.png": {"tags": "metadata"}})
    yield "tag", lambda s, p: s.tag(p, TagOptions(model="demo", on_existing="overwrite"), infer=False)
    yield "tagging", lambda s, p: s.tagging(p)
    yield "missing", lambda s, p: s.missing_tags(p)
    yield "crops", lambda s, p: s.crops(p)
    yield "box", lambda s, p: s.change_crops(p, [{"source": "b.png", "box": [0, 0, 20, 20]}])
    yield "crop", lambda s, p: s.crop(p, CropOptions(size="32"), force=True)
    yield "crop again", lambda s, p: s.crop(p, CropOptions(size="32", format="webp", rename="{name}_x"))
    yield "remove and bring back", lambda s, p: s.restore_pictures(p, s.remove_pictures(p, "raw", ["b.png"]))
    for batch in (f"pictures_2020-01-01_00-00-0{k}" for k in range(3)):
        yield f"bring back {batch}", lambda s, p, batch=batch: s.restore_pictures(p, batch)
    yield "loras", lambda s, p: s.loras(p)
    yield "weight", lambda s, p: s.weigh_lora(p, "hana-01.safetensors", 0.7)
    yield "weight of a person's", lambda s, p: s.weigh_lora(p, "hana-09.safetensors", 0.7)
    for batch in ("2020-01-01_00-00-00", ""):
        yield f"put back {batch}", lambda s, p, batch=batch: s.restore_loras(p, batch)
    yield "keep", lambda s, p: s.keep_loras(p, ["hana-01.safetensors"])
    yield "import", lambda s, p: s.add_images(p, [world.owner])
    yield "import from elsewhere", lambda s, p: s.add_images(p, [other(world) / "dataset"])
    yield "copy to it", lambda s, p: s.transfer_pictures(s.open(other(world)), ["z.png"], p.dataset_dir)
    yield "bundles", lambda s, p: s.bundles(p)


def other(world: World) -> Path:
    """Another project of the person's own."""
    return world.project.parent / "mine"


def make_other(world: World) -> None:
    for part in ("raw", "dataset"):
        (other(world) / part).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32)).save(other(world) / "dataset" / "z.png")
    open_index(other(world) / "dataset").refresh(now=True)


def outside_of(world: World) -> Watcher:
    make_other(world)
    edit_dataset(other(world) / "dataset", EditOptions(trigger="z"))
    list(Studio(world.project.parent).pictures(Project.open(other(world)), "dataset").pictures)
    return Watcher(world)


@pytest.mark.parametrize("plant", PLANTS)
def test_no_use_case_touches_anything_outside(world: World, plant: str) -> None:
    PLANTS[plant](world)
    watcher = outside_of(world)
    studio = studio_of(world)
    done = 0
    for name, act in use_cases(world):
        try:
            act(studio, studio.open(world.project))
            done += 1
        except UserError:
            pass
        try:
            watcher.check()
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
    # what was planted does not take the rest of the project with it
    unusable = ("dataset linked", ".lora_studio linked", "raw linked", "a deep project.json")
    assert done >= (0 if plant == "a deep project.json" else 12 if plant in unusable else 25), done


API: tuple[tuple[str, str, Any], ...] = (
    ("get", "", None),
    ("get", "/pictures?where=raw", None),
    ("get", "/pictures?where=dataset", None),
    ("get", "/pictures/dataset/a.png?size=160", None),
    ("get", "/pictures/dataset/leak.jpg?size=160", None),
    ("get", "/pictures/dataset/leak.jpg", None),
    ("get", "/captions", None),
    ("get", "/captions/history", None),
    ("get", "/captions/encodings", None),
    ("post", "/captions/undo", {}),
    ("get", "/crop", None),
    ("post", "/captions/edit", {"options": {"trigger": "hana"}}),
    ("post", "/captions/ops", {"ops": [{"op": "add", "name": "b.png", "tag": "hat"}]}),
    ("post", "/captions/restore", {}),
    ("get", "/check", None),
    ("get", "/pictures/trash", None),
    ("get", "/loras", None),
    ("get", "/tagging", None),
    ("post", "/loras/restore", {}),
    ("post", "/pictures/restore", {"batch": "pictures_2020-01-01_00-00-00"}),
    ("get", "/archive/dataset", None),
    ("put", "/crop/boxes", {"changes": [{"source": "b.png", "excluded": True}]}),
)


def test_no_request_touches_anything_outside_or_ends_in_an_error_of_ours(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from lora_studio.host.standalone import Standalone
    from lora_studio.web.app import PREFIX, install
    from lora_studio.web.context import Context

    app = FastAPI()
    install(app, Context(Studio(tmp_path / "projects", tmp_path / "models" / "Lora"), Standalone(tmp_path / "projects", tmp_path / "models")))
    with TestClient(app, headers={"X-Lora-Studio": "1"}, raise_server_exceptions=False) as client:
        for number, (plant, make) in enumerate(PLANTS.items()):
            world = build(tmp_path, f"p{number}")
            make(world)
            watcher = Watcher(world)
            for method, path, body in API:
                more = {"json": body} if body is not None else {}
                answer = client.request(method, f"{PREFIX}/projects/p{number}{path}", **more)
                assert answer.status_code < 500, (plant, path, answer.text[:300])
                assert "leak" not in path or answer.status_code in (404, 422), (plant, path)
            assert client.get(f"{PREFIX}/projects").status_code == 200, plant
            try:
                watcher.check()
            except AssertionError as error:
                raise AssertionError(f"{plant}: {error}") from None


@pytest.mark.parametrize("plant", ["names in a history of one's own", "ids of edits", "thumbnails linked", "LoRAs in the trash", "names of crops"])
def test_no_command_touches_anything_outside(world: World, plant: str, capsys: pytest.CaptureFixture[str]) -> None:
    PLANTS[plant](world)
    watcher = Watcher(world)
    folder, common = str(world.project), ["--projects", str(world.project.parent), "--lora-dir", str(world.lora_dir)]
    for command in (
        ["undo", folder], ["edit", folder, "--trigger", "hana"], ["history", folder], ["history", folder, "--mine"], ["redo", folder],
        ["history", folder, "--restore"], ["crop", folder, "--size", "32", "--force"], ["check", folder], ["captions", folder, "repair"],
    ):  # fmt: skip
        assert main([*command, *common, "--quiet"]) in (0, 2), command
        watcher.check()


# -- each kind by itself: what is refused, and what goes on ---------------------------------------------------------------


@pytest.mark.parametrize("name", hostile.NAMES, ids=lambda name: ascii(name)[:20])
def test_a_history_names_only_captions_of_its_folder(world: World, name: Any) -> None:
    hostile.history(world, [hostile.row("a.txt", b"1girl, smile", b"hacked"), hostile.row(name, None, b"hacked")])
    with pytest.raises(UserError):
        edit_dataset(world.dataset, EditOptions(trigger="hana"))
    assert (world.dataset / "a.txt").read_text() == "1girl, smile", "all of an entry, or nothing"


IDS: tuple[Any, ...] = (*hostile.NAMES, "00001", "0000001234567", "../000001", "000001.jsonl", 1, "０００００１")


@pytest.mark.parametrize("identity", IDS, ids=lambda one: ascii(one)[:20])
def test_an_edit_s_id_is_of_our_form(identity: Any, tmp_path: Path) -> None:
    plain = {"version": 1, "last": 1, "done": [], "undone": [], "pending": None}
    for state in ({"done": [identity]}, {"undone": [identity]}, {"pending": {"action": "do", "entry": identity}}):
        hostile.write_json(tmp_path / "state.json", {**plain, **state})
        with pytest.raises((UserError, ValueError)):
            read_state(tmp_path / "state.json")


def test_names_that_only_windows_refuses_are_a_picture_s(world: World) -> None:
    """Somebody on Linux copied such pictures into dataset/ by hand; they are edited and taken back like others."""
    Image.new("RGB", (8, 8)).save(world.dataset / "re:zero.png")
    edit_dataset(world.dataset, EditOptions(trigger="hana"))
    assert (world.dataset / "re:zero.txt").read_text() == "hana"
    assert undo(world.dataset).done and not (world.dataset / "re:zero.txt").exists()


def test_a_history_from_elsewhere_is_put_aside_whole_and_told_once(world: World) -> None:
    hostile.history(world, [hostile.row("a.txt", b"1girl, smile", b"hacked")], mine=False)
    (world.history / "first").mkdir()
    (world.history / "first" / "a.txt").write_text("hacked")
    before = (world.history / "state.json").read_bytes()
    assert history(world.dataset) == [] and Journal(world.dataset).first_names() == []
    report = edit_dataset(world.dataset, EditOptions(trigger="hana"))
    assert report.note == NOTES[0] and report.entry == "000001"
    assert (world.dataset / "a.txt").read_text() == "hana, 1girl, smile"
    aside = world.studio / "history_from_elsewhere"
    assert (aside / "state.json").read_bytes() == before and (aside / "entries" / "000001.jsonl").is_file() and (aside / "first" / "a.txt").is_file()
    assert edit_dataset(world.dataset, EditOptions(add=("x",))).note == ""
    assert len(history(world.dataset)) == 2
    undo(world.dataset), undo(world.dataset)
    assert (world.dataset / "a.txt").read_text() == "1girl, smile"


def test_who_wrote_the_history_before_knows_the_new_one(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two machines with one disk between them: what one edits the other goes on with, and neither puts it aside again and again."""
    (tmp_path / "another").mkdir()
    (tmp_path / "another" / owner.FILE).write_text(json.dumps({"key": "22" * 32, "made": 1.0}))
    edit_dataset(world.dataset, EditOptions(trigger="one"))
    own = owner.key()
    monkeypatch.setenv("LORA_STUDIO_SETTINGS", str(tmp_path / "another"))
    assert owner.key() != own
    assert edit_dataset(world.dataset, EditOptions(add=("two",))).note == NOTES[0]
    monkeypatch.delenv("LORA_STUDIO_SETTINGS")
    assert owner.key() == own
    assert edit_dataset(world.dataset, EditOptions(add=("three",))).note == ""
    assert [line.kind for line in history(world.dataset)] == ["edit", "edit"]


def test_a_history_of_before_there_were_marks_stays_one_s_own(world: World) -> None:
    edit_dataset(world.dataset, EditOptions(trigger="hana"))
    plain = json.loads((world.history / "state.json").read_text())
    del plain["id"], plain["owners"]
    (world.history / "state.json").write_text(json.dumps(plain))
    key = owner.key()
    fresh = owner.Key(key.secret, key.made + 1000)  # made after this file was last changed
    owner._key.cache_clear()
    (owner.settings_dir() / owner.FILE).write_text(json.dumps({"key": fresh.secret.hex(), "made": fresh.made}))
    assert undo(world.dataset).done
    owner._key.cache_clear()
    state = json.loads((world.history / "state.json").read_text())
    assert state["owners"] == [fresh.mark(state["id"])]


def test_a_project_that_its_owner_moves_or_copies_keeps_its_history(world: World, tmp_path: Path) -> None:
    import shutil

    edit_dataset(world.dataset, EditOptions(trigger="hana"))
    shutil.copytree(world.project, tmp_path / "copy")
    world.project.rename(tmp_path / "moved")
    for folder in ("copy", "moved"):
        assert undo(tmp_path / folder / "dataset").done
        assert (tmp_path / folder / "dataset" / "a.txt").read_text() == "1girl, smile"


def test_a_history_can_be_made_one_s_own(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    hostile.history(world, [hostile.row("a.txt", b"before", b"1girl, smile")], mine=False, pending=None)
    assert main(["history", str(world.project)]) == 0 and "written by somebody else" in capsys.readouterr().out
    assert main(["history", str(world.project), "--mine"]) == 0
    assert undo(world.dataset).done and (world.dataset / "a.txt").read_text() == "before"


def test_a_key_that_cannot_be_kept_lets_work_go_on(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LORA_STUDIO_SETTINGS", str(tmp_path / "file" / "below"))
    edit_dataset(world.dataset, EditOptions(trigger="hana"))
    assert undo(world.dataset).done


def test_a_history_nobody_can_read_stops_no_edit(world: World) -> None:
    hostile.history_deep(world)
    assert edit_dataset(world.dataset, EditOptions(trigger="hana")).note == NOTES[1]
    assert undo(world.dataset).done


def test_only_spare_files_are_written_over(world: World) -> None:
    edit_dataset(world.dataset, EditOptions(trigger="hana"))
    own = world.history / "spare" / "my notes.txt"
    own.write_text("mine")
    os.link(world.owner / "notes.txt", world.history / "spare" / f"{0:012x}-1")
    for k in range(4):
        edit_dataset(world.dataset, EditOptions(add=(f"tag {k}",)))
    assert own.read_text() == "mine" and (world.owner / "notes.txt").read_text() == "mine: notes.txt"


def test_thumbnails_take_away_only_what_they_made(world: World) -> None:
    studio, project = studio_of(world), Project.open(world.project)
    own = world.studio / "thumbnails"
    own.mkdir(parents=True)
    (own / "my picture.jpg").write_bytes(bytes(1000))
    for name in ("a.png", "b.png"):
        studio.thumbnail(project, world.dataset / name, 160)
    assert (own / "my picture.jpg").exists()


def test_a_linked_dataset_is_read_and_nothing_else(world: World) -> None:
    """Pictures on another disk: shown, searched, packed; edits say how to go on."""
    elsewhere = world.root / "disk"
    world.dataset.rename(elsewhere)
    link(world.dataset, elsewhere)
    before = hostile.Watcher(world).look()
    studio, project = studio_of(world), Project.open(world.project)
    assert [p.name for p in studio.pictures(project, "dataset").pictures] == ["a.png", "b.png", "c 花.png"]
    assert studio.captions(project, Wanted())["captions"] == 3 and studio.thumbnail(project, world.dataset / "a.png", 160)
    assert zipfile.ZipFile(BytesIO(b"".join(studio.pack(project, "dataset")))).namelist()
    acts: tuple[Callable[[], Any], ...] = (
        lambda: studio.edit(project, EditOptions(trigger="x")),
        lambda: studio.crop(project),
        lambda: studio.remove_pictures(project, "dataset", ["a.png"]),
    )
    for act in acts:
        with pytest.raises(RefusedError, match="through a link"):
            act()
    assert hostile.Watcher(world).look() == before


def test_a_project_folder_that_is_a_link_is_the_owner_s_and_works(world: World) -> None:
    elsewhere = world.root / "disk"
    world.project.rename(elsewhere)
    link(world.project, elsewhere)
    studio = studio_of(world)
    project = studio.open("hana")
    assert studio.edit(project, EditOptions(trigger="x")).changed == 3 and studio.undo(project)["done"]
    assert studio.restore_pictures(project, studio.remove_pictures(project, "raw", ["a.png"])) == ["a.png", "a.txt"]


def test_only_this_folder_s_files_come_back_from_the_trash(world: World) -> None:
    hostile.picture_trash(world)
    project = Project.open(world.project)
    assert {(*one["names"], bool(one["problem"])) for one in trash.batches(project)} == {(True,)}, "a record that names other places is none"
    batch = trash.take_out(project, "raw", ["a.png"])
    (world.project / ".trash" / batch / "note of mine.md").write_text("kept")
    trash.bring_back(project, batch)
    assert (world.project / ".trash" / batch / "note of mine.md").read_text() == "kept"


STRANGE_MOVES: tuple[Any, ...] = (
    ["../../../../owner", "notes.txt"], ["output", "../../x.safetensors"], ["output", "run.bat"], ["lora", "C:\\x.safetensors"], "x",
)  # fmt: skip


@pytest.mark.parametrize("move", STRANGE_MOVES)
def test_only_loras_come_back_and_only_to_where_they_came_from(world: World, move: Any) -> None:
    hostile.lora_trash(world)
    record = world.project / ".trash" / "2020-01-01_00-00-00" / "moves.json"
    hostile.write_json(record, {"version": 1, "moves": [["output", "x.safetensors"], move]})
    with pytest.raises(RefusedError):
        lora_trash.restore(Project.open(world.project), world.lora_dir)
    hostile.write_json(record, {"version": 1, "moves": [["output", "x.safetensors"]]})
    assert lora_trash.restore(Project.open(world.project), world.lora_dir) == {"restored": ["x.safetensors"]}


def test_nothing_is_put_back_onto_a_link_that_leads_nowhere_yet(world: World) -> None:
    hostile.lora_trash(world)
    hostile.write_json(world.project / ".trash" / "2020-01-01_00-00-00" / "moves.json", {"moves": [["output", "x.safetensors"]]})
    link(world.project / "output" / "x.safetensors", world.owner / "not there")
    with pytest.raises(UserError, match="taken by newer files"):
        lora_trash.restore(Project.open(world.project), world.lora_dir)


def test_a_crop_s_plan_names_only_pictures_of_raw(world: World) -> None:
    hostile.crop_names(world)
    assert load_applied(Project.open(world.project)).made == {}
    hostile.crop_numbers(world)
    project = Project.open(world.project)
    assert draft.load(project) == draft.Draft() and load_applied(project).plan is None


@pytest.mark.parametrize("value", hostile.NUMBERS, ids=lambda value: ascii(value)[:12])
@pytest.mark.parametrize("field", ["box", "size", "source_size"])
def test_numbers_of_a_plan(value: Any, field: str, tmp_path: Path) -> None:
    from lora_studio.crop import read_plan

    entry = hostile.crop_entry(**{field: [value] * (4 if field == "box" else 2)})
    hostile.write_json(tmp_path / "plan.json", {"entries": [entry]})
    with pytest.raises(UserError, match=r"plan\.json"):
        read_plan(tmp_path / "plan.json")


def test_a_store_of_tags_that_unpacks_to_more_than_it_is_is_made_anew(world: World) -> None:
    hostile.tag_store(world)
    store = Store(world.studio / "tags_demo.npz", "x", 3)
    assert "unpacks to more" in store.problem and len(store) == 0


def test_links_that_lead_out_are_named_and_left_out(world: World) -> None:
    hostile.pictures_linked(world)
    link(world.dataset / "inside.png", world.project / "raw" / "b.png")
    studio, project = studio_of(world), Project.open(world.project)
    found = studio.pictures(project, "dataset")
    assert ("leak.jpg", OUTSIDE) in found.unreadable and "inside.png" in [p.name for p in found.pictures]
    assert studio.picture(project, "dataset", "leak.jpg") is None and studio.picture(project, "dataset", "inside.png") is not None
    archive = zipfile.ZipFile(BytesIO(b"".join(studio.pack(project, "dataset"))))
    assert "leak.jpg" not in archive.namelist() and "a.txt" not in archive.namelist() and "inside.png" in archive.namelist()
    assert "leak.jpg: it is a link" in archive.read("_left_out.txt").decode() and "a.txt: it is a link" in archive.read("_left_out.txt").decode()
    scan = scan_folder(world.dataset)
    assert {p.name for p, _ in scan.unreadable} == {"leak.jpg", "a.png"}, "neither the picture nor a caption from elsewhere is trained on"
    cards = studio.captions(project, Wanted(), 10)["pictures"]
    assert "leak.jpg" not in cards and cards["a.png"]["tags"] == () and "link" in cards["a.png"]["problem"]
    report = studio.edit(project, EditOptions(trigger="x"))
    assert [name for name, _ in report.refused] == ["a.txt"] and (world.dataset / "a.txt").is_symlink()
    assert studio.crops(project)["skipped"] == [{"source": "leak.jpg", "reason": OUTSIDE}]


def test_links_that_lead_out_are_in_no_bundle_and_copied_nowhere(world: World) -> None:
    from lora_studio.bundle.manifest import ALLOWED
    from lora_studio.bundle.packing import _Contents, _flat_folder

    hostile.pictures_linked(world)
    found = _Contents()
    _flat_folder(found, world.dataset, "dataset", ALLOWED["dataset"], "run")
    assert {name for name, _ in found.left_out} == {"dataset/leak.jpg", "dataset/a.txt"} and "dataset/b.png" in found.files
    for path in (world.project / "raw").iterdir():
        path.unlink()
    studio_of(world).crop(Project.open(world.project), CropOptions(size="32"))  # a folder without originals: its pictures are copied to raw/
    assert sorted(p.name for p in (world.project / "raw").iterdir()) == ["a.png", "b.png", "b.txt", "c 花.png", "c 花.txt"]
    link(world.project / "output" / "hana-01.png", world.owner / "photo0.jpg")
    assert studio_of(world).lora_preview(Project.open(world.project), "hana-01.safetensors") is None


def test_a_folder_of_one_s_own_links_can_be_imported(world: World) -> None:
    farm = world.root / "farm"
    farm.mkdir()
    link(farm / "one.jpg", world.owner / "photo1.jpg")
    link(farm / "one.txt", world.owner / "notes.txt")
    report = studio_of(world).new("fresh", [farm])
    assert [Path(p).name for p in report["added"]] == ["one.jpg"] and report["captions"] == 1
    assert not (world.project.parent / "fresh" / "raw" / "one.jpg").is_symlink()


def test_captions_have_a_limit_and_larger_ones_stay_as_they_are(world: World) -> None:
    huge = b"tag, " * (LARGEST // 5 + 2)
    (world.dataset / "a.txt").write_bytes(huge)
    (world.project / "raw" / "a.txt").write_bytes(huge)
    studio, project = studio_of(world), Project.open(world.project)
    with pytest.raises(CaptionError):
        caption_bytes(world.dataset / "a.txt")
    report = studio.edit(project, EditOptions(trigger="x"))
    assert report.changed == 2 and [name for name, why in report.refused] == ["a.txt"] and "1 MB" in report.refused[0][1]
    with pytest.raises(CaptionError):
        studio.edit_pictures(project, [Op("add", "a.png", "hat")])
    taken, _ = studio.take_metadata(project, {"a.png": {"tags": "x"}, "b.png": {"tags": "y"}})
    assert taken.changed == 1 and taken.refused[0][0] == "a.txt"
    with pytest.raises(UserError, match="could be tagged"):
        studio.tag(project, TagOptions(model="demo", on_existing="overwrite"), infer=False)
    assert (world.dataset / "a.txt").read_bytes() == huge
    assert {p.name for p, _ in scan_folder(world.dataset).unreadable} == {"a.png"}
    (world.dataset / "a.txt").unlink()
    assert any("stayed behind" in reason for _, reason in studio.crop(project, CropOptions(size="32"), force=True)["skipped"])


def test_no_edit_makes_a_caption_that_is_none(world: World) -> None:
    with pytest.raises(CaptionError, match="cannot be written"):
        studio_of(world).edit_pictures(Project.open(world.project), [Op("set", "a.png", tags=("x" * (LARGEST + 1),))])
    assert (world.dataset / "a.txt").read_text() == "1girl, smile"


def test_a_zip_s_caption_of_megabytes_stays_behind_and_is_named(world: World) -> None:
    file = world.root / "pack.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(world.owner / "photo0.jpg", "one.jpg")
        archive.writestr("one.txt", b"a" * (LARGEST + 1))
    report = studio_of(world).new("fresh", [file])
    assert [Path(p).name for p in report["added"]] == ["one.jpg"] and report["captions"] == 0
    assert [(Path(p).name, "1 MB" in why) for p, why in report["skipped"]] == [("one.txt", True)]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes by name")
def test_a_pipe_for_a_caption_keeps_nobody_waiting(world: World) -> None:
    (world.dataset / "a.txt").unlink()
    os.mkfifo(world.dataset / "a.txt")
    assert problem(world.dataset / "a.txt") == "it is not a file."
    asking = threading.Thread(target=lambda: studio_of(world).captions(Project.open(world.project), Wanted()), daemon=True)
    asking.start()
    asking.join(20)
    assert not asking.is_alive()


def test_the_record_of_a_crop_is_not_written_into_somebody_s_file(world: World) -> None:
    watcher = Watcher(world)
    hostile.crop_record_hard(world)
    studio_of(world).crop(Project.open(world.project), CropOptions(size="32"), force=True)
    watcher.check()


def test_in_place_follows_links_from_the_project_on(world: World) -> None:
    assert in_place(world.history / "spare") and in_place(world.studio / "thumbnails")
    link(world.studio / "thumbnails", world.owner)
    with pytest.raises(RefusedError):
        in_place(world.studio / "thumbnails")
    link(world.studio / "thumbnails", world.project / "raw")
    assert in_place(world.studio / "thumbnails"), "another place in the same project; its own names keep its cleaner from the pictures"
    loose = world.root / "loose"
    loose.mkdir()
    link(world.root / "link to loose", loose)
    assert in_place(world.root / "link to loose" / ".lora_studio"), "a folder of captions that was named by its path"


def test_a_change_waits_for_nobody_s_lock_elsewhere(world: World) -> None:
    PLANTS["a lock linked"](world)
    with pytest.raises(UserError, match="is a link"), opened(world.dataset):
        pass
    assert not (world.owner / "not_there_yet").exists()


def test_what_a_move_left_aside_is_deleted_only_in_the_project(world: World) -> None:
    """A link to somebody's photos among the leftovers of a move: each picture behind it was deleted by the next copy."""
    link(world.studio / "moved" / "x", world.owner)
    make_other(world)
    before = {p.name: p.read_bytes() for p in world.owner.iterdir() if p.is_file()}
    studio_of(world).transfer_pictures(Project.open(world.project), ["b.png"], other(world) / "dataset")
    assert {p.name: p.read_bytes() for p in world.owner.iterdir() if p.is_file()} == before
