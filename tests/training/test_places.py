"""What a run that came from elsewhere may write, look at and replace: by every door nothing outside of its project changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_studio.cli import main
from lora_studio.errors import UserError
from lora_studio.evaluation import EvaluateOptions
from lora_studio.evaluation.options import NO_TAGGER
from lora_studio.evaluation.xygrid import GridOptions
from lora_studio.studio import Studio
from lora_studio.training import places, presets, runs
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import read_events
from lora_studio.training.runs import Run
from tests.hostile_runs import HOST, NAMES, RUN, SHARE, SHARES, nobody_looks, nothing_changes, received, victim

__all__ = ["nobody_looks"]


class Ended:
    """A process that was started and is over."""

    pid = 2**22 + 1

    def poll(self) -> int:
        return 0


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands with which trainers would have been started."""
    commands: list[list[str]] = []

    def spawn(command: list[str], log: Path, variables: dict[str, str]) -> Any:
        commands.append(command)
        return Ended()

    monkeypatch.setattr(runs, "spawn", spawn)
    return commands


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    (tmp_path / "Lora").mkdir()
    (tmp_path / "projects").mkdir()
    victim(tmp_path / "projects" / "other" / "output")
    return Studio(tmp_path / "projects", tmp_path / "Lora")


def by_studio(studio: Studio, run: Path) -> None:
    studio.resume(Run.open(run))


def by_command(studio: Studio, run: Path) -> None:
    code = main(["runs", "resume", str(run), "--quiet", "--projects", str(studio.projects_dir), "--lora-dir", str(studio.lora_dir)])
    if code:
        raise UserError(str(code))


def by_page(studio: Studio, run: Path) -> None:
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from lora_studio.host.standalone import Standalone
    from lora_studio.web.app import install
    from lora_studio.web.context import Context

    host = Standalone(studio.projects_dir, studio.projects_dir.parent / "models", studio.lora_dir)
    context, app = Context(studio, host), FastAPI()
    install(app, context)
    with TestClient(app, headers={"X-Lora-Studio": "1"}) as client:
        project = context.remember(studio.open(run.parent.parent))
        answer = client.post(f"/lora-studio/api/v1/projects/{project}/runs/{run.name}/resume", json={})
    (studio.projects_dir / "_recent.json").unlink(missing_ok=True)
    (studio.projects_dir / "_recent.lock").unlink(missing_ok=True)
    if answer.status_code != 200:
        assert answer.status_code == 422, answer.text
        raise UserError(answer.json()["error"])


DOORS = pytest.mark.parametrize("door", [by_studio, by_command, by_page])


@DOORS
@pytest.mark.parametrize("settings", [
    *({"output_name": name} for name in (NAMES[0], NAMES[2], NAMES[3])),
    {"output_dir": "HERE/projects/other/output"}, {"output_dir": "HERE/elsewhere/mira/output/../../../projects/other/output"}, {"output_dir": "out"},
    {"lora_dir": "HERE/projects/other/output"}, {"lora_dir": "HERE/Lora/../projects/other"}, {"lora_dir": "HERE/Lora2"},
    {"output_dir": f"{SHARE}\\out"}, {"base": f"{SHARE}\\x.safetensors"},
])  # fmt: skip
def test_a_received_run_writes_nowhere_else(
    tmp_path: Path, studio: Studio, started: list[list[str]], nobody_looks: None, settings: dict[str, str], door: Callable[[Studio, Path], None]
) -> None:
    run = received(tmp_path / "elsewhere" / "mira", {k: v.replace("HERE", str(tmp_path)) for k, v in settings.items()})
    with nothing_changes(tmp_path), pytest.raises(UserError):
        door(studio, run)
    assert started == []


@DOORS
def test_what_lies_in_the_project_or_the_lora_folder_is_as_before(
    tmp_path: Path, studio: Studio, started: list[list[str]], door: Callable[[Studio, Path], None]
) -> None:
    run = received(tmp_path / "elsewhere" / "mira", {"lora_dir": str(tmp_path / "Lora" / "mira")})
    (run / "process.json").unlink()
    try:
        door(studio, run)
    except UserError:
        assert door is by_command  # the stand-in ends without a word, which is said
    assert len(started) == 1 and started[0][-1] == str(run) and started[0][-3:-1] == ["--place", str(tmp_path / "Lora")]


def test_names_are_checked_wherever_settings_come_from() -> None:
    least = {"base": "b", "folders": ["d"], "output_dir": "o"}
    for name in NAMES:
        with pytest.raises(UserError, match="output_name"):
            TrainingConfig.from_dict({**least, "output_name": name})
    for name in ("mira", "米拉 🙂", "a.b", "v1-01"):
        assert TrainingConfig.from_dict({**least, "output_name": name}).output_name == name
    for field, value in (("epochs", 10**400), ("unet_lr", 10**400), ("epochs", "1e999"), ("base", "a\0b"), ("sample_prompts", ["\ud800"])):
        with pytest.raises(UserError, match=field):
            TrainingConfig.from_dict({**least, "output_name": "n", field: value})


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("field", ["base", "vae", "network_weights", "folders", "masks"])
def test_files_of_other_machines_are_not_looked_at(tmp_path: Path, studio: Studio, nobody_looks: None, share: str, field: str) -> None:
    place = f"{share}\\x.safetensors"
    folder = {"path": str(tmp_path / "elsewhere" / "mira" / "dataset"), "conditioning_data_dir": place}
    settings: Any = {"folders": {"folders": [{"path": place}]}, "masks": {"folders": [folder]}}.get(field, {field: place})
    checkpoint = {"type": "checkpoint", "path": f"{share}\\mira-01.safetensors", "lora_path": f"{share}\\mira-01.safetensors", "epoch": 1, "step": 4}
    run = Run(received(tmp_path / "elsewhere" / "mira", settings, [checkpoint], session={"id": "x", "started": 1, "stem": "mira"}))
    project = studio.open(tmp_path / "elsewhere" / "mira")
    (project.folder / "output" / "mira-01.safetensors").write_bytes((studio.projects_dir / "other/output/fin-01.safetensors").read_bytes())
    with nothing_changes(tmp_path):
        # what is only shown is shown
        assert [line["name"] for line in studio.run_history(project)["runs"]] == [RUN]
        studio.tests(project), studio.overview(project), studio.run_detail(run), studio.loras(project), studio.runs(project)
        for use in (
            lambda: studio.resume(run), lambda: studio.bundle(project, run, tmp_path / "b.zip"), lambda: studio.settings_of(run),
            lambda: studio.evaluate(run, EvaluateOptions(tagger=NO_TAGGER)), lambda: studio.plan_grid(run, GridOptions(("x",))),
        ):  # fmt: skip
            with pytest.raises(UserError, match=HOST):
                use()


def test_a_projects_file_names_no_other_machine(tmp_path: Path, studio: Studio, nobody_looks: None) -> None:
    run = received(tmp_path / "elsewhere" / "mira")
    project = studio.open(run.parent.parent)
    base = f"{SHARE}\\base.safetensors"
    settings = {"train": {"base": base, "preset": "quick", "settings": {"vae": base, "epochs": 3}}, "folders": [{"path": SHARE}]}
    (project.folder / "project.json").write_text(json.dumps({"version": 1, "settings": settings}), encoding="utf-8")
    project = studio.open(project.folder)
    assert studio.run_history(project)["chosen"] == {"base": "", "preset": "quick", "settings": {"vae": "", "epochs": 3}}
    with pytest.raises(UserError, match="No base is chosen"):
        studio.last_choice(project)
    with pytest.raises(UserError, match="another machine"):
        studio.draft_training(project, project.folder / "base.safetensors", "quick", {})


def test_what_a_project_remembers_says_not_where_files_go(tmp_path: Path, studio: Studio) -> None:
    run = received(tmp_path / "elsewhere" / "mira")
    project = studio.open(run.parent.parent)
    chosen = {"base": str(project.folder / "base.safetensors"), "preset": "quick", "settings": {"output_dir": str(tmp_path / "projects" / "other")}}
    (project.folder / "project.json").write_text(json.dumps({"version": 1, "settings": {"train": chosen}}), encoding="utf-8")
    with pytest.raises(UserError, match="output_dir"):
        studio.last_choice(studio.open(project.folder))


def test_a_received_preset_says_not_where_files_go(tmp_path: Path, studio: Studio) -> None:
    studio.presets_dir.mkdir()
    (studio.presets_dir / "nice.json").write_text(json.dumps({"epochs": 2, "lora_dir": str(tmp_path)}), encoding="utf-8")
    with pytest.raises(UserError, match="lora_dir"):
        presets.settings("nice", "sd1", studio.presets_dir)


def test_settings_of_another_trainer_name_no_other_machine(tmp_path: Path, studio: Studio, nobody_looks: None) -> None:
    """What such a file names there is told, and the rest of it is taken."""
    pytest.importorskip("tomlkit")
    project = studio.open(received(tmp_path / "elsewhere" / "mira").parent.parent)
    config = tmp_path / "config.toml"
    names = ("pretrained_model_name_or_path", "vae", "train_data_dir", "dataset_config", "sample_prompts")
    config.write_text("".join(f"{name} = '{SHARE}\\x.toml'\n" for name in names) + "max_train_epochs = 7\n", encoding="utf-8")
    dataset = tmp_path / "dataset.toml"
    subsets = "".join(f"[[datasets.subsets]]\nimage_dir = '{SHARE}\\{name}'\n" for name in "de")
    dataset.write_text(f"[[datasets]]\n{subsets}", encoding="utf-8")
    taken = studio.import_settings(project, [config], "one")
    assert not isinstance(taken, dict) and (taken.base, taken.folders) == ("", ()) and HOST in " ".join(taken.notes)
    with_folders = studio.import_settings(project, [config, dataset], "two")
    assert not isinstance(with_folders, dict) and with_folders.folders == () and " ".join(with_folders.notes).count("not looked at") == 2


@pytest.mark.parametrize("part", ["samples", "state", "control", "tensorboard", "evaluation", "console.log", "events.jsonl", "session.json"])
def test_links_in_a_run_are_not_followed(tmp_path: Path, studio: Studio, started: list[list[str]], part: str) -> None:
    run = received(tmp_path / "elsewhere" / "mira", session={"id": "x", "started": 1, "stem": "mira"})
    mine = tmp_path / "mine"
    (mine / "step-1").mkdir(parents=True)
    (mine / "stop").write_text("mine", encoding="utf-8")
    target = mine / "stop" if "." in part else mine
    (run / part).rename(tmp_path / "moved") if (run / part).exists() else None
    (run / part).symlink_to(target, target_is_directory=target.is_dir())
    opened = Run(run)
    with nothing_changes(tmp_path):
        for use in (lambda: studio.resume(opened), lambda: opened.start(), lambda: studio.evaluate(opened, EvaluateOptions())):
            with pytest.raises(UserError, match=r"links to other places|not a training run"):
                use()
        if part == "control":
            with pytest.raises(UserError, match="link"):
                opened.command("stop")
    assert started == []


@pytest.mark.parametrize(
    "part", ["state/step-00000500", "state/step-00000001/state.json", "evaluation/grids", "evaluation/pictures", "tensorboard/x"]
)
def test_links_deep_in_a_run_are_not_followed(tmp_path: Path, studio: Studio, started: list[list[str]], part: str) -> None:
    """A state of a step to come that is a link to a folder of photos had all of them deleted when that step was saved."""
    checkpoint = {"type": "checkpoint", "path": "mira-01.safetensors", "epoch": 1, "step": 4}
    run = received(tmp_path / "elsewhere" / "mira", events=[checkpoint], session={"id": "x", "started": 1, "stem": "mira"})
    made = (studio.projects_dir / "other/output/fin-01.safetensors").read_bytes()
    (tmp_path / "elsewhere" / "mira" / "output" / "mira-01.safetensors").write_bytes(made)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "photo.jpg").write_bytes(b"photo")
    (run / part).parent.mkdir(parents=True, exist_ok=True)
    (run / part).symlink_to(mine, target_is_directory=True)
    opened = Run(run)
    uses: tuple[Callable[[], object], ...] = (
        lambda: studio.resume(opened), opened.start, lambda: studio.evaluate(opened, EvaluateOptions()),
        lambda: studio.plan_grid(opened, GridOptions(("x",), weights=(1.0,))),
    )  # fmt: skip
    with nothing_changes(tmp_path):
        for use in uses:
            with pytest.raises(UserError, match=f"links to other places: {part}"):
                use()
    assert started == []


def test_a_runs_links_show_nothing(tmp_path: Path, studio: Studio) -> None:
    run = received(tmp_path / "elsewhere" / "mira")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "secret.json").write_text('{"key": "secret"}', encoding="utf-8")
    for part in ("console.log", "config.json"):
        (run / part).unlink(missing_ok=True)
        (run / part).symlink_to(mine / "secret.json")
    assert "secret\"" not in studio.run_log(Run(run)) and "link" in studio.run_log(Run(run))
    detail = studio.run_detail(Run(run))
    assert detail["config"] == {} and "link" in detail["problem"]


@pytest.mark.parametrize("part", ["output", "runs", "bundles", ".trash"])
def test_links_in_a_project_are_not_followed(tmp_path: Path, studio: Studio, started: list[list[str]], part: str) -> None:
    run = received(tmp_path / "elsewhere" / "mira")
    project, mine = studio.open(run.parent.parent), tmp_path / "mine"
    mine.mkdir()
    config = Run(run).config()
    (project.folder / part).rename(mine / part) if (project.folder / part).exists() else (mine / part).mkdir()
    (project.folder / part).symlink_to(mine / part, target_is_directory=True)
    uses: dict[str, Callable[[], object]] = {
        "output": lambda: studio.train(project, config), "runs": lambda: studio.train(project, config),
        "bundles": lambda: studio.bundles_dir(project), ".trash": lambda: studio.trash_run(project, Run(run)),
    }  # fmt: skip
    with nothing_changes(tmp_path), pytest.raises(UserError):
        uses[part]()
    assert started == []


def test_a_process_that_somebody_names_is_none_of_ours(tmp_path: Path) -> None:
    run = Run(received(tmp_path / "mira"))
    me = os.getpid()
    odd: list[Any] = [{"pid": me, "created": 1.0}, {"pid": -1, "created": 1.0}, {"pid": 10**30, "created": 1}, {"pid": "1", "created": True}]
    for value in [*odd, [], None, {}, {"pid": 1e999, "created": 1e999}, {"pid": me, "created": {"a": 1}}]:
        (run.folder / "process.json").write_text(json.dumps(value), encoding="utf-8")
        assert not run.alive() and run.status().state == "stopped"


def test_events_of_no_sense_are_passed_over(tmp_path: Path, studio: Studio) -> None:
    odd: list[dict[str, Any]] = [
        {"type": "step", "step": "x", "total": []}, {"type": "step", "step": 1e999}, {"type": "checkpoint", "path": {"a": 1}, "epoch": 1},
        {"type": "checkpoint", "path": "..", "epoch": 1, "step": 1}, {"type": "checkpoint", "path": "/etc/passwd", "epoch": 1, "step": 1},
        {"type": "checkpoint", "path": "x/../..safetensors", "epoch": "1"}, {"type": ["step"]}, {"type": "phase", "name": 3},
        {"type": "sample", "path": "../../x.png"},
        {"type": "finished", "step": 10**400}, {"type": "step", "seq": -1, "step": 1}, {"type": "warning", "message": [1]},
    ]  # fmt: skip
    run = Run(received(tmp_path / "mira", events=odd))
    with run.events_path.open("a", encoding="utf-8") as file:
        file.write("[" * 100_000 + "\n[]\nnull\n3\n")
    project = studio.open(tmp_path / "mira")
    assert run.status().step == 4 and studio.run_history(project)["runs"][0]["state"] == "stopped"
    assert studio.tests(project)["runs"][0]["epochs"] == [] and studio.run_detail(run)["samples"] == []
    assert {e.type for e in read_events(run.events_path)} <= {"started", "step", "sample", "checkpoint", "stopped", "finished"}


def test_a_lora_elsewhere_counts_only_if_the_run_made_it(tmp_path: Path, studio: Studio) -> None:
    """Files that were put elsewhere are still found; somebody else's are not taken for epochs of a run that names them."""
    theirs = studio.projects_dir / "other" / "output"
    events = [{"type": "checkpoint", "path": str(theirs / f"fin-0{n}.safetensors"), "epoch": n, "step": n} for n in (1, 2)]
    run = Run(received(tmp_path / "mira", events=events, session={"id": "mine", "started": 1, "stem": "mira"}))
    project = studio.open(tmp_path / "mira")
    assert studio.tests(project)["runs"][0]["epochs"] == []
    with zipped(studio.bundle(project, run, tmp_path / "b.zip")) as names:
        assert not [n for n in names if n.startswith("output/")]
    (run.folder / "session.json").write_text(json.dumps({"id": "victim", "started": 1, "stem": "mira"}), encoding="utf-8")
    assert studio.tests(project)["runs"][0]["epochs"] == [1, 2]


def zipped(report: dict[str, Any]) -> Any:
    import zipfile
    from contextlib import closing

    class Names(list):  # type: ignore[type-arg]
        def close(self) -> None: ...

    with zipfile.ZipFile(report["file"]) as archive:
        return closing(Names(archive.namelist()))


def test_a_grid_writes_only_its_own_cells(tmp_path: Path, studio: Studio) -> None:
    run = Run(received(tmp_path / "mira", events=[{"type": "checkpoint", "path": "mira-01.safetensors", "epoch": 1, "step": 4}]))
    (tmp_path / "mira" / "output" / "mira-01.safetensors").write_bytes((studio.projects_dir / "other/output/fin-01.safetensors").read_bytes())
    name = studio.plan_grid(run, GridOptions(("x",), weights=(1.0,)))
    file = run.folder / "evaluation" / "grids" / name / "grid.json"
    good = json.loads(file.read_text(encoding="utf-8"))
    assert studio.grid(run, name)["cells"][0]["drawn"] is False
    (file.parent / "cells").mkdir()
    (file.parent / "cells" / "link.png").symlink_to(tmp_path / "secret.png")
    files = ("../../../../x.png", "/tmp/x.png", "cells/../x.png", "cells/a.exe", "cells/link.png", 3)
    bad: list[Any] = [{**good["cells"][0], "file": f} for f in files]
    bad += [{**good["cells"][0], key: 1e999} for key in ("epoch", "weight", "prompt", "seed")] + [{**good["cells"][0], "prompt": 7}, [], "x"]
    for cell in bad:
        file.write_text(json.dumps({**good, "cells": [cell]}), encoding="utf-8")
        with nothing_changes(tmp_path), pytest.raises(UserError):
            studio.draw_grid(run, name)
        assert [set(one) for one in studio.grids(run)] == [{"name", "problem"}]
    for change in ({"prompts": "x"}, {"steps": 10**9}, {"width": 10**9}, {"weights": [{}]}):
        file.write_text(json.dumps({**good, "options": {**good["options"], **change}}), encoding="utf-8")
        assert [set(one) for one in studio.grids(run)] == [{"name", "problem"}]


def test_a_report_of_no_sense_is_none(tmp_path: Path, studio: Studio) -> None:
    run = Run(received(tmp_path / "mira"))
    (run.folder / "evaluation").mkdir()
    good: dict[str, Any] = {"recommended": 1, "epochs": [{"epoch": 1}], "base": {}, "prompts": [{"kind": "trigger"}], "seconds": 3}
    good["options"] = {"weights": [1.0], "steps": 2}
    changes: list[dict[str, Any]] = [
        {"recommended": "x"}, {"epochs": 3}, {"epochs": [{"epoch": "../x"}]}, {"prompts": [1]}, {"options": []}, {"options": {"steps": 0}},
        {"base": None}, {"epochs": [{"epoch": 1, "likeness": 1e999}]}, {"prompts": [{"kind": ["a"]}]},
    ]  # fmt: skip
    for change in changes:
        (run.folder / "evaluation" / "report.json").write_text(json.dumps({**good, **change}), encoding="utf-8")
        assert studio.evaluation(run)["report"] is None and studio.tests(studio.open(tmp_path / "mira"))["runs"][0]["evaluated"] is False
    (run.folder / "evaluation" / "report.json").write_text(json.dumps(good), encoding="utf-8")
    assert studio.evaluation(run)["report"]["recommended"] == 1


# -- a person's own -----------------------------------------------------------------


def test_a_folder_that_a_person_named_is_theirs_at_the_start_and_later(tmp_path: Path, studio: Studio, started: list[list[str]]) -> None:
    """`train --lora-dir X`, then `runs resume` without it: as it always was, on this machine. A copy of the run elsewhere has no such right."""
    received(tmp_path / "projects" / "mira")
    project = studio.open("mira")
    typed = {"base": str(project.folder / "base.safetensors"), "output_dir": str(tmp_path / "mine")}
    begun = studio.train(project, studio.configure(project, typed["base"], "quick", typed))
    assert begun.config().lora_dir == str(tmp_path / "Lora" / "mira") and "--own" in started[0]
    plain = Studio(studio.projects_dir)
    plain.resume(begun)
    assert {str(tmp_path / "mine"), str(tmp_path / "Lora" / "mira")} <= set(started[1]) and "--own" in started[1]
    renamed = studio.rename(project, "mirabelle")
    there = Run(renamed.runs_dir / begun.folder.name)
    plain.resume(there)
    assert there.config().output_dir == str(tmp_path / "mine") and "--own" in started[2]
    copied = received(tmp_path / "elsewhere" / "mira", json.loads((there.folder / "config.json").read_text(encoding="utf-8")))
    with pytest.raises(UserError, match="outside of its project") as refused:
        plain.resume(Run(copied))
    assert "--trust" in refused.value.hint
    plain.resume(Run(copied), trust=True)
    plain.resume(Run(copied))
    assert len(started) == 5


def test_what_is_remembered_survives_many_at_once_and_nonsense(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from lora_studio.training.places import grant; "
    code += "[grant(Path(f'/r/{sys.argv[1]}/{k}'), ['/p']) for k in range(5)]"
    root = Path(places.__file__).resolve().parents[2]
    children = [subprocess.Popen([sys.executable, "-c", code, str(n)], cwd=root) for n in range(3)]
    assert [child.wait(120) for child in children] == [0, 0, 0]
    assert all(places.granted(Path(f"/r/{n}/{k}")).places == ("/p",) for n in range(3) for k in range(5))
    file = places.file_of_this_machine()
    for text in ("{", "[]", "null", '{"runs": []}', '{"runs": {"a": 3, "b": {"places": "x"}}}', "[" * 100_000):
        file.write_text(text, encoding="utf-8")
        assert places.granted(Path("/r/1/1")) == places.Granted()
    places.grant(tmp_path, ["x"], own=True)
    assert places.granted(tmp_path) == places.Granted(("x",), True)
