"""A project under another name: what it knows of where it lies follows, what people have in their LoRA folder is not called otherwise."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_studio import owner, staged
from lora_studio.errors import UserError
from lora_studio.project import Project
from lora_studio.studio import Studio


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path / "projects", tmp_path / "models" / "Lora")


def trained(project: Project, studio: Studio) -> Path:
    """A run's folder as a training leaves it, and a LoRA of it."""
    assert studio.lora_dir is not None
    run = project.runs_dir / "2026-01-01_00-00-00"
    (studio.lora_dir / project.name).mkdir(parents=True)
    (studio.lora_dir / project.name / f"{project.name}-01.safetensors").write_bytes(b"lora")
    run.mkdir(parents=True)
    folders = [{"path": str(project.dataset_dir), "repeats": 2}, {"path": str(project.folder) + " too"}]
    config = {"output_dir": str(project.output_dir), "lora_dir": str(studio.lora_dir / project.name), "folders": folders, "output_name": project.name}
    (run / "config.json").write_text(json.dumps(config, ensure_ascii=True), encoding="utf-8")
    event = {"seq": 1, "type": "checkpoint", "path": str(project.output_dir / f"{project.name}-01.safetensors")}
    (run / "events.jsonl").write_text(json.dumps(event, ensure_ascii=False) + "\n", encoding="utf-8")
    return run


def test_folder_settings_and_runs_follow(studio: Studio) -> None:
    project = replace(Project.create(studio.projects_dir, "花 hana"), trigger="word", settings={"train": {"settings": {"mask_dir": "x"}}})
    project.save()
    (project.raw_dir / "a.png").write_bytes(b"picture")
    trained(project, studio)
    renamed = studio.rename(project, " yuki ")
    assert (renamed.name, renamed.trigger, renamed.settings) == ("yuki", "word", project.settings)
    assert not project.folder.exists() and Project.open(studio.projects_dir / "yuki") == renamed
    assert (renamed.raw_dir / "a.png").read_bytes() == b"picture"
    config = json.loads((renamed.runs_dir / "2026-01-01_00-00-00" / "config.json").read_text(encoding="utf-8"))
    assert studio.lora_dir is not None
    assert config["output_dir"] == str(renamed.output_dir) and config["lora_dir"] == str(studio.lora_dir / "yuki")
    assert [f["path"] for f in config["folders"]] == [str(renamed.dataset_dir), str(project.folder) + " too"]
    assert config["output_name"] == "花 hana"
    event = json.loads((renamed.runs_dir / "2026-01-01_00-00-00" / "events.jsonl").read_text(encoding="utf-8"))
    assert event["path"] == str(renamed.output_dir / "花 hana-01.safetensors")
    assert [p.name for p in studio.lora_dir.iterdir()] == ["yuki"]
    assert [p.name for p in (studio.lora_dir / "yuki").iterdir()] == ["花 hana-01.safetensors"]


def test_a_folder_elsewhere_keeps_its_name(studio: Studio, tmp_path: Path) -> None:
    folder = tmp_path / "Loras" / "old"
    (folder / "dataset").mkdir(parents=True)
    renamed = studio.rename(Project.open(folder), "new")
    assert renamed.folder == folder and Project.open(folder).name == "new"
    folder.rename(tmp_path / "Loras" / "copy")  # who renames the folder means the project
    assert Project.open(tmp_path / "Loras" / "copy").name == "copy"


@pytest.mark.parametrize("kind", ["project", "loras"])
def test_a_name_that_is_taken_changes_nothing(studio: Studio, kind: str) -> None:
    project = Project.create(studio.projects_dir, "hana")
    trained(project, studio)
    assert studio.lora_dir is not None
    taken = (studio.projects_dir if kind == "project" else studio.lora_dir) / "yuki"
    taken.mkdir(parents=True)
    with pytest.raises(UserError, match="there already"):
        studio.rename(project, "yuki")
    assert Project.open(project.folder).name == "hana" and (studio.lora_dir / "hana").is_dir()


def test_names_that_are_none_and_the_same_name(studio: Studio) -> None:
    project = Project.create(studio.projects_dir, "hana")
    with pytest.raises(UserError, match="cannot be used"):
        studio.rename(project, "../x")
    assert studio.rename(project, "hana") == project


def test_not_while_it_is_trained(studio: Studio) -> None:
    import psutil

    project = Project.create(studio.projects_dir, "hana")
    run = trained(project, studio)
    me = {"pid": os.getpid(), "created": psutil.Process().create_time(), "began": 0}
    (run / "process.json").write_text(json.dumps(me), encoding="utf-8")
    with pytest.raises(UserError, match="is running"):
        studio.rename(project, "yuki")
    assert project.folder.is_dir()


def test_all_or_nothing(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two folders cannot be renamed (on Windows: a LoRA is open): the first is put back."""
    project = Project.create(studio.projects_dir, "hana")
    trained(project, studio)
    before = tree(studio.projects_dir.parent)
    real, loras = os.rename, studio.lora_dir
    assert loras is not None

    def stubborn(source: str | Path, target: str | Path) -> None:
        if loras in Path(source).parents:
            raise PermissionError(13, "Permission denied", str(source))
        real(source, target)

    monkeypatch.setattr(os, "rename", stubborn)
    with pytest.raises(UserError, match="No permission"):
        studio.rename(project, "yuki")
    assert tree(studio.projects_dir.parent) == before


def test_files_in_any_encoding_are_no_obstacle(studio: Studio) -> None:
    project = Project.create(studio.projects_dir, "hana")
    run = trained(project, studio)
    (run / "note.json").write_bytes('{"trigger": "\u732b\u8033"}'.encode("gbk"))
    (run / "config.json").write_bytes(b"\xff\xfe\x00" + (run / "config.json").read_bytes())
    (run / "list.json").mkdir()
    renamed = studio.rename(project, "yuki")
    assert (renamed.runs_dir / run.name / "note.json").read_bytes() == '{"trigger": "\u732b\u8033"}'.encode("gbk")
    assert str(renamed.output_dir).encode() in (renamed.runs_dir / run.name / "config.json").read_bytes()


def test_a_file_that_changes_meanwhile_is_not_lost(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    project = Project.create(studio.projects_dir, "hana")
    run = trained(project, studio)
    real = staged.atomic_write_bytes

    def writing(path: Path, data: bytes, sync: bool = False) -> None:
        with (run / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write("more\n")
        real(path, data, sync)

    monkeypatch.setattr(staged, "atomic_write_bytes", writing)
    with pytest.raises(UserError, match="changed just now"):
        studio.rename(project, "yuki")
    assert (run / "events.jsonl").read_text(encoding="utf-8").endswith("more\n") and not (studio.projects_dir / "yuki").exists()


# -- whatever happens in between --------------------------------------------------------

Tree = dict[str, bytes]
OPERATIONS = ("rename", "replace", "unlink", "mkdir", "rmdir", "open", "fsync")


class KilledError(BaseException):
    """The process is gone: nothing is done any more, also not what would be done on the way out."""


def tree(root: Path) -> Tree:
    """Every file below a folder, as if it lay elsewhere."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and not path.name.startswith(".renaming-"))
    own = json.dumps(str(root))[1:-1].encode()
    return {path.relative_to(root).as_posix(): path.read_bytes().replace(own, b"ROOT") for path in files}


def a_project(root: Path, elsewhere: bool) -> tuple[Studio, Project]:
    studio = Studio(root / "projects", root / "Lora")
    project = Project.create(root / "other" if elsewhere else studio.projects_dir, "hana")
    trained(project, studio)
    if elsewhere:  # as the notebooks leave it
        (project.folder / "project.json").unlink()
    return studio, project


def disturbed(monkeypatch: pytest.MonkeyPatch, at: int, trouble: str) -> list[int]:
    """From now on the file operation of this number does not work; returns the count of those begun."""
    count = [0]

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*arguments: Any, **named: Any) -> Any:
            count[0] += 1
            if trouble == "killed" and count[0] >= at:
                raise KilledError
            if count[0] == at or (trouble == "broken disk" and count[0] > at):
                raise OSError(errno.ENOSPC, "No space left on device", str(arguments[0]))
            return real(*arguments, **named)

        return operation

    for name in OPERATIONS:
        monkeypatch.setattr(os, name, wrap(getattr(os, name)))
    return count


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("trouble", ["full disk", "broken disk", "killed"])
def test_the_old_or_the_new_whatever_happens(tmp_path: Path, trouble: str, elsewhere: bool) -> None:
    studio, project = a_project(tmp_path / "clean", elsewhere)
    old = tree(tmp_path / "clean")
    with pytest.MonkeyPatch.context() as patch:
        count = disturbed(patch, 10**9, trouble)
        studio.rename(project, "yuki")
    new, operations = tree(tmp_path / "clean"), count[0]
    assert old != new and operations > 15
    seen = set()
    for at in range(1, operations + 1):
        root = tmp_path / str(at)
        studio, project = a_project(root, elsewhere)
        said = None
        with pytest.MonkeyPatch.context() as patch:
            disturbed(patch, at, trouble)
            try:
                studio.rename(project, "yuki")
            except UserError as error:
                said = error
            except KilledError:
                pass
        if trouble == "full disk" and said is not None:
            assert {k: v for k, v in tree(root).items() if "/.renaming/" not in k} == old, at  # at once, before anybody opens it
        for folder in [path for place in ("projects", "other") if (root / place).is_dir() for path in (root / place).iterdir()]:
            opened = Project.open(folder)
        found = tree(root)
        assert found in (old, new), (at, {k for k in {*found, *new} if found.get(k) != new.get(k)})
        assert opened.name == ("yuki" if found == new else "hana")
        assert trouble == "killed" or (said is None) == (found == new) or trouble == "broken disk"
        seen.add("new" if found == new else "old")
    assert seen == {"old", "new"}


@pytest.mark.parametrize(
    "plan",
    [
        "{", "[]", "{}", {"before": "hana", "after": "../x", "beside": [], "token": "t", "files": [], "fresh": []},
        {"before": "x", "after": "hana", "beside": ["/etc", "/etc2"], "token": "../../x", "files": [], "fresh": []},
        {"before": "x", "after": "hana", "beside": [], "token": "t", "files": ["../../stolen.json"], "fresh": []},
        {"before": "x", "after": "hana", "beside": [], "token": "t", "files": ["/abs.json"], "fresh": []},
    ],
)  # fmt: skip
def test_a_plan_that_somebody_sent_moves_nothing(studio: Studio, plan: Any) -> None:
    project = Project.create(studio.projects_dir, "hana")
    trained(project, studio)
    stage = project.folder / ".renaming"
    stage.mkdir()
    (stage / "new-0").write_bytes(b"evil")
    before = {k: v for k, v in tree(studio.projects_dir.parent).items() if "/.renaming/" not in k}
    (stage / "plan.json").write_text(plan if isinstance(plan, str) else json.dumps(plan), encoding="utf-8")
    assert Project.open(project.folder).name == "hana"
    assert {k: v for k, v in tree(studio.projects_dir.parent).items() if "/.renaming/" not in k} == before
    assert studio.rename(project, "yuki").name == "yuki"


def test_a_way_back_that_somebody_sent_renames_no_project(studio: Studio) -> None:
    project, empty = Project.create(studio.projects_dir, "hana"), studio.projects_dir / "empty"
    empty.mkdir()
    (project.folder / ".renaming").mkdir()
    for name in ("empty", "new"):
        plan = {"before": name, "after": "hana", "beside": [], "token": "t", "files": [], "fresh": []}
        (project.folder / ".renaming" / "back.json").write_text(json.dumps(plan), encoding="utf-8")
        assert Project.open(project.folder).name == "hana"
    assert sorted(p.name for p in studio.projects_dir.iterdir()) == ["empty", "hana"]


def test_a_folder_beside_is_only_touched_where_this_user_named_it(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even looked at: on Windows a look at another machine's folder sends it the person's log-in."""
    project = Project.create(studio.projects_dir, "hana")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / ".renaming-t").touch()
    (project.folder / ".renaming").mkdir()
    monkeypatch.setattr(staged.os.path, "isfile", lambda path, real=os.path.isfile: str(path).startswith(str(project.folder)) and real(path))
    for beside in ([str(mine), str(mine) + "2"], [r"\\evil\share\a", r"\\evil\share\b"]):
        plan = {"before": "x", "after": "hana", "beside": beside, "token": "t", "files": [], "fresh": [], "signed": "0" * 32}
        (project.folder / ".renaming").mkdir(exist_ok=True)
        (project.folder / ".renaming" / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        assert Project.open(project.folder).name == "hana" and not (project.folder / ".renaming").exists()
        assert (mine / ".renaming-t").is_file()


def test_a_stage_that_is_a_link_is_left_alone(studio: Studio, tmp_path: Path) -> None:
    project, mine = Project.create(studio.projects_dir, "hana"), tmp_path / "mine"
    mine.mkdir()
    (mine / "photo.jpg").write_bytes(b"photo")
    (project.folder / ".renaming").symlink_to(mine, target_is_directory=True)
    assert Project.open(project.folder).name == "hana" and (mine / "photo.jpg").is_file()


def test_a_plan_that_somebody_sent_does_not_move_other_folders(studio: Studio, tmp_path: Path) -> None:
    project = Project.create(studio.projects_dir, "hana")
    other = tmp_path / "models" / "Lora" / "other"
    other.mkdir(parents=True)
    (project.folder / ".renaming").mkdir()
    plan = {"before": "x", "after": "hana", "beside": [str(other), str(other) + "2"], "token": "t", "files": [], "fresh": []}
    (project.folder / ".renaming" / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    assert Project.open(project.folder).name == "hana" and other.is_dir()


def test_a_project_that_came_from_elsewhere_takes_no_other_name(studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name goes the folder of its LoRAs: under another project's, "keep only" and a renaming moved that one's."""
    own = Project.create(tmp_path / "elsewhere", "hana")
    assert studio.rename(own, "yuki").name == "yuki" and Project.open(own.folder).name == "yuki"
    monkeypatch.setenv("LORA_STUDIO_SETTINGS", str(tmp_path / "another user"))
    owner.key()
    file = own.folder / "project.json"
    file.write_bytes(file.read_bytes())  # as it comes out of an archive, after that user's first start
    assert Project.open(own.folder).name == "hana"
