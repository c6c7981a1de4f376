"""The routes of the train step: form, presets, draft, runs and what pages are told of them, bases; and who may choose which path."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from lora_studio.host.base import Vram, VramChange
from lora_studio.project import Project
from lora_studio.training import runs as training_runs
from lora_studio.training.bases import CATALOGUE
from lora_studio.training.events import EventWriter
from lora_studio.training.runs import Run
from tests.trainer.fake_card import machine

URL = "/lora-studio/api/v1"
HANA = f"{URL}/projects/hana"
HOSTILE = ["..", ".", "../../etc/passwd", "..%2f..%2fx", "/etc/passwd", "C:\\x", "\\\\host\\share", "a\x00b", ".hidden", "<img onerror=x>"]
HOSTILE += ["last", "x" * 300]
SPAWN = training_runs.spawn

CHILD = """
import sys, time
from pathlib import Path
from lora_studio.training.events import EventWriter
run = Path(sys.argv[1])
print("hello from the trainer 你好", flush=True)
events = EventWriter(run)
events.write("started", device="cpu")
events.write("phase", name="training", done=0, total=2000, epochs=2)
for step in range(1, 2000):
    events.write("step", step=step, total=2000, epoch=1, epochs=2, loss=0.5, loss_average=0.5, lr=1e-4, steps_per_second=20.0, eta=1.0)
    if step == 3:
        (run / "samples" / "epoch-01.png").write_bytes(b"png")
        events.write("sample", path="samples/epoch-01.png", epoch=1, step=3, index=0, prompt="hana")
        events.write("checkpoint", path="o/hana-01.safetensors", epoch=1, step=3)
    for asked in ("save", "sample"):
        if (run / "control" / asked).exists():
            (run / "control" / asked).unlink(); events.write("warning", message=asked)
    if (run / "control" / "stop").exists(): events.write("stopped", step=step, epoch=1); sys.exit(0)
    if (run / "control" / "finish").exists(): break
    time.sleep(0.03)
events.write("finished", step=step, epoch=2)
"""


@pytest.fixture
def trainable(project: Project) -> Project:
    """``hana`` with four small pictures and captions."""
    for k in range(4):
        Image.new("RGB", (128, 128)).save(project.dataset_dir / f"{k}.png")
        (project.dataset_dir / f"{k}.txt").write_text("hana, 1girl", encoding="utf-8")
    return project


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """A stand-in for the trainer, which writes events until it is told otherwise. The folders of the runs started."""
    folders: list[Path] = []

    def spawn(command: list[str], log: Path, variables: dict[str, str]) -> Any:
        folders.append(Path(command[-1]))
        return SPAWN([sys.executable, "-c", CHILD, command[-1]], log, variables)

    monkeypatch.setattr(training_runs, "spawn", spawn)
    yield folders
    for folder in folders:
        child = training_runs._children.get(str(folder.resolve()))
        if child is not None and child.poll() is None:
            child.kill()
            child.wait()


@pytest.fixture
def told(context: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, dict[str, Any]]]:
    """What pages of ``hana`` are told; one is looking."""
    seen: list[tuple[str, str, dict[str, Any]]] = []
    monkeypatch.setattr(context.hub, "publish", lambda kind, project, data: seen.append((kind, project, data)))
    monkeypatch.setattr(context.hub, "watched", lambda: {"hana", ""})
    return seen


def coded(name: str) -> str:
    """A name as one piece of an address; a client would take plain dots for steps up."""
    return quote(name, safe="").replace(".", "%2E")


def until(what: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def start(client: Any, **more: Any) -> str:
    answer = client.post(f"{HANA}/training/start", json={"base": "demo", "preset": "quick", "settings": {"epochs": "2"}, **more})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["run"])


# -- the form ------------------------------------------------------------------


def test_the_form_has_groups_and_presets(client: Any) -> None:
    found = client.get(f"{URL}/training/form").json()
    assert [p["name"] for p in found["presets"]] == ["character", "face", "style", "quick"]
    field = next(f for g in found["groups"] for f in g["fields"] if f["name"] == "epochs")
    assert field["label"] == {"en": "Epochs", "zh": "轮次"} and field["help"]["zh"] and field["when"]["en"]


def test_a_draft_tells_mistakes_and_what_it_takes(client: Any, trainable: Project) -> None:
    good = client.post(f"{HANA}/training/draft", json={"base": "demo", "preset": "character", "settings": {}}).json()
    assert good["problems"] == {} and good["preflight"]["images"] == 4 and good["preset"] == "demo" and good["values"]["resolution"] == [128, 128]
    bad = client.post(f"{HANA}/training/draft", json={"base": "demo", "preset": "character", "settings": {"epochs": "x"}}).json()
    assert bad["problems"] == {"epochs": ["expected a whole number, got 'x'"]} and bad["preflight"] is None
    assert not trainable.runs_dir.exists() and "train" not in Project.open(trainable.folder).settings


@pytest.mark.parametrize(
    "body",
    [
        {"base": ""}, {"base": 3}, {}, {"base": "demo", "settings": []}, {"base": "demo", "preset": "nothing"}, {"base": "demo", "preset": ["x"]},
        {"base": "demo", "settings": {"output_dir": "/tmp"}}, {"base": "demo", "settings": {"folders": ["/etc"]}},
    ],
)  # fmt: skip
def test_requests_that_make_no_sense_are_refused(client: Any, trainable: Project, stand_in: list[Path], body: dict[str, Any]) -> None:
    for path in ("draft", "start"):
        answer = client.post(f"{HANA}/training/{path}", json=body)
        assert answer.status_code == 422 and answer.json()["error"]
    assert stand_in == []


def test_presets_are_saved_loaded_and_removed(client: Any, trainable: Project, context: Any) -> None:
    saved = client.put(f"{URL}/training/presets", json={"name": "我的 preset", "preset": "style", "settings": {"epochs": "4", "trigger": "x"}})
    assert saved.json()["presets"][-1] == {"name": "我的 preset", "own": True, "preset": "style", "settings": {"epochs": "4"}}
    values = client.post(f"{HANA}/training/draft", json={"base": "demo", "preset": "我的 preset"}).json()["values"]
    assert (values["epochs"], values["network_dim"], values["trigger"]) == (4, 32, "")
    assert len(client.delete(f"{URL}/training/presets/{quote('我的 preset')}").json()["presets"]) == 4
    assert client.delete(f"{URL}/training/presets/character").status_code == 422


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_presets(client: Any, context: Any, tmp_path: Path, name: str) -> None:
    before = sorted(p for p in tmp_path.rglob("*") if p.suffix == ".json")
    answers = [client.put(f"{URL}/training/presets", json={"name": name}), client.delete(f"{URL}/training/presets/{coded(name)}")]
    written = {p.parent.name for p in tmp_path.rglob("*") if p.suffix == ".json"} - {p.parent.name for p in before}
    assert written <= {"_presets"} and all(a.status_code in (200, 404, 405, 422) for a in answers)


# -- runs ----------------------------------------------------------------------


def test_a_run_is_started_followed_stopped_resumed_and_thrown_away(
    client: Any, trainable: Project, stand_in: list[Path], told: list[tuple[str, str, dict[str, Any]]]
) -> None:
    name = start(client)
    assert [p.name for p in stand_in] == [name]
    history = client.get(f"{HANA}/runs").json()
    assert history["runs"][0]["state"] == "running" and history["chosen"] == {"base": "demo", "preset": "quick", "settings": {"epochs": "2"}}
    detail = until(lambda: (d := client.get(f"{HANA}/runs/{name}").json()) and d["samples"] and d)
    assert (detail["state"], detail["total_steps"], detail["epochs"], detail["config"]["epochs"]) == ("running", 2000, 2, 2)
    assert detail["points"][0] == [1, 0.5, 0.5] and detail["marks"] == [{"step": 3, "epoch": 1}]
    picture = client.get(f"{HANA}/runs/{name}/samples/{detail['samples'][0]['file']}")
    assert picture.content == b"png" and picture.headers["content-type"] == "image/png"
    until(lambda: "你好" in client.get(f"{HANA}/runs/{name}/log").json()["text"])

    events = [e for kind, _, data in told if kind == "run" and data["run"] == name for e in data["events"]]
    until(lambda: len([e for kind, _, data in told if kind == "run" for e in data["events"]]) > len(events))
    seqs = [e["seq"] for kind, _, data in told if kind == "run" and data["run"] == name for e in data["events"]]
    assert seqs == list(range(1, len(seqs) + 1)), "every event once, in order"
    until(lambda: any(kind == "loras" for kind, _, _ in told))

    for asked in ("save", "sample"):
        assert client.post(f"{HANA}/runs/{name}/ask/{asked}").status_code == 200
        until(lambda asked=asked: asked in client.get(f"{HANA}/runs/{name}").json()["warnings"])
    assert client.post(f"{HANA}/runs/{name}/ask/format").status_code == 404
    assert client.delete(f"{HANA}/runs/{name}").status_code == 422, "it runs"
    assert client.post(f"{HANA}/runs/{name}/resume").status_code == 422, "it runs"

    client.post(f"{HANA}/runs/{name}/stop")
    until(lambda: client.get(f"{HANA}/runs/{name}").json()["state"] == "stopped")
    until(lambda: any(data.get("ended") for kind, _, data in told if kind == "run"))
    assert client.post(f"{HANA}/runs/{name}/stop").status_code == 422
    assert client.post(f"{HANA}/runs/{name}/resume").json()["run"] == name
    assert client.get(f"{HANA}/runs/{name}").json()["state"] == "running"
    (stand_in[0] / "control" / "finish").touch()
    until(lambda: client.get(f"{HANA}/runs/{name}").json()["state"] == "finished")

    gone = client.delete(f"{HANA}/runs/{name}").json()
    assert gone["runs"] == [] and gone["trash"] == [name] and client.get(f"{HANA}/runs/{name}").json() == {"gone": True}
    assert client.get(f"{HANA}/runs/{name}/evaluation").json() == {"gone": True} and client.get(f"{HANA}/runs/{name}/log").status_code == 422
    back = client.post(f"{HANA}/runs/{name}/restore").json()
    assert [r["name"] for r in back["runs"]] == [name] and back["trash"] == []


def test_a_run_that_was_started_elsewhere_is_told_of_too(client: Any, trainable: Project, told: list[tuple[str, str, dict[str, Any]]]) -> None:
    from lora_studio.training.config import TrainingConfig

    client.get(f"{HANA}/runs")
    time.sleep(1.0)  # the watching has begun
    run = Run.create(trainable.runs_dir, TrainingConfig.from_dict({"base": "b", "folders": ["d"], "output_name": "n", "output_dir": "o"}))
    EventWriter(run.folder).write("started")
    mine = until(lambda: [data for kind, _, data in told if kind == "run" and data["run"] == run.folder.name])
    assert [e["type"] for data in mine for e in data["events"]] == ["started"]


def test_the_host_s_model_makes_room_and_comes_back(
    client: Any, context: Any, trainable: Project, stand_in: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def change(what: str) -> VramChange:
        calls.append(what)
        return VramChange(Vram(1, 9), Vram(8, 9), "Free graphics memory: more now.")

    monkeypatch.setattr(type(context.host), "release_model", lambda self: change("release"))
    monkeypatch.setattr(type(context.host), "restore_model", lambda self: change("restore"))
    refused = client.post(f"{HANA}/training/start", json={"base": "demo", "settings": {"epochs": "x"}, "release": True})
    assert refused.status_code == 422 and calls == ["release", "restore"], "a training that does not start gives it back at once"
    calls.clear()
    answer = client.post(f"{HANA}/training/start", json={"base": "demo", "preset": "quick", "settings": {}, "release": True}).json()
    assert answer["released"]["message"] == "Free graphics memory: more now." and calls == ["release"]
    (stand_in[0] / "control" / "finish").touch()
    until(lambda: calls == ["release", "restore"])
    calls.clear()
    assert start(client) and calls == []


def test_the_page_s_figures_and_the_host_s_model_are_of_the_card_that_trains(
    client: Any, context: Any, trainable: Project, stand_in: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    host = type(context.host)
    monkeypatch.setattr(host, "release_model", lambda self: calls.append("release"))
    monkeypatch.setattr(host, "restore_model", lambda self: calls.append("restore"))
    monkeypatch.setattr(host, "vram", lambda self, device="auto": Vram(1, {"auto": 8, "cuda:1": 24}[device]))
    monkeypatch.setattr(host, "cards", lambda self: machine("2.13.0", "RTX 2080", "RTX 4090").cards)
    draft = {"base": "demo", "preset": "quick", "settings": {"device": "cuda:1"}}
    assert client.post(f"{HANA}/training/draft", json=draft).json()["vram"]["total"] == 24
    assert client.post(f"{HANA}/training/draft", json={**draft, "settings": {}}).json()["vram"]["total"] == 8
    slow = {**draft, "settings": {"precision": "bf16"}}
    assert [w for w in client.post(f"{HANA}/training/draft", json=slow).json()["preflight"]["warnings"] if "RTX 2080" in w and "bf16" in w]
    slow["settings"]["device"] = "cuda:1"
    assert not [w for w in client.post(f"{HANA}/training/draft", json=slow).json()["preflight"]["warnings"] if "bf16" in w]
    assert client.get(f"{URL}/host/vram", params={"device": "cuda:1"}).json()["total"] == 24
    groups = client.get(f"{URL}/training/form").json()["groups"]
    field = next(f for group in groups for f in group["fields"] if f["name"] == "device")
    assert [value for value, _ in field["choices"]] == ["auto", "cuda:0", "cuda:1", "cpu"]
    saved = client.put(f"{URL}/training/presets", json={"name": "mine", "preset": "quick", "settings": {"epochs": "3"}}).json()
    assert saved["groups"] == groups, "the page takes this for its form"
    assert client.delete(f"{URL}/training/presets/mine").json()["groups"] == groups
    answer = client.post(f"{HANA}/training/start", json={**draft, "release": True}).json()
    assert calls == [] and "stays loaded" in answer["released"]["message"]
    (stand_in[0] / "control" / "finish").touch()
    until(lambda: client.get(f"{HANA}/runs/{answer['run']}").json()["state"] == "finished")
    assert calls == []


def test_a_killed_trainer_is_noticed_and_resumed(
    client: Any, trainable: Project, stand_in: list[Path], told: list[tuple[str, str, dict[str, Any]]]
) -> None:
    name = start(client)
    until(lambda: client.get(f"{HANA}/runs/{name}").json()["points"])
    training_runs._children[str(stand_in[0].resolve())].kill()
    until(lambda: any(data.get("ended") for kind, _, data in told if kind == "run"))
    detail = client.get(f"{HANA}/runs/{name}").json()
    assert detail["state"] == "crashed" and "ended without a word" in detail["message"]
    offered = client.get(HANA).json()["cut_off"]
    assert offered["name"] == name and offered["step"] > 0 and offered["message"] == detail["message"]
    assert client.post(f"{HANA}/runs/{name}/resume").status_code == 200
    assert client.get(f"{HANA}/runs/{name}").json()["state"] == "running"
    assert client.get(HANA).json()["cut_off"] is None, "it goes on"
    (stand_in[-1] / "control" / "finish").touch()
    until(lambda: client.get(f"{HANA}/runs/{name}").json()["state"] == "finished")
    assert client.get(HANA).json()["cut_off"] is None


def test_a_training_of_another_project_is_told_of(client: Any, context: Any, trainable: Project, stand_in: list[Path]) -> None:
    other = Project.create(context.studio.projects_dir, "mei")
    Image.new("RGB", (128, 128)).save(other.dataset_dir / "1.png")
    start(client)
    draft = {"base": "demo", "preset": "quick", "settings": {}}
    assert client.post(f"{HANA}/training/draft", json=draft).json()["elsewhere"] == []
    assert client.post(f"{URL}/projects/mei/training/draft", json=draft).json()["elsewhere"] == ["hana"]
    (stand_in[0] / "control" / "finish").touch()
    until(lambda: client.post(f"{URL}/projects/mei/training/draft", json=draft).json()["elsewhere"] == [])


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_runs_and_samples(client: Any, trainable: Project, tmp_path: Path, name: str) -> None:
    run = trainable.runs_dir / "2026-01-01_00-00-00"
    (run / "samples").mkdir(parents=True)
    (run / "config.json").write_text("{}", encoding="utf-8")
    (run / "samples" / "notes.txt").write_text("secret", encoding="utf-8")
    quoted = coded(name)
    for method, path in (
        ("get", f"runs/{quoted}"), ("get", f"runs/{quoted}/log"), ("post", f"runs/{quoted}/stop"), ("post", f"runs/{quoted}/resume"),
        ("delete", f"runs/{quoted}"), ("post", f"runs/{quoted}/restore"), ("get", f"runs/{quoted}/samples/a.png"),
        ("get", f"runs/{run.name}/samples/{quoted}"),
    ):  # fmt: skip
        answer = getattr(client, method)(f"{HANA}/{path}")
        assert answer.status_code in (404, 405, 422), (path, answer.status_code, answer.text)
        assert "secret" not in answer.text and "root:" not in answer.text
    assert client.get(f"{HANA}/runs/{run.name}/samples/notes.txt").status_code == 404, "only pictures"
    assert run.is_dir()


def test_tensorboard_is_for_who_sits_at_this_machine(client: Any, trainable: Project) -> None:
    answer = client.post(f"{HANA}/tensorboard")  # the test client has no address of this machine
    assert answer.status_code == 422 and "on the machine that trains" in answer.json()["error"]


# -- paths and bases -----------------------------------------------------------


def test_where_paths_are_not_allowed_only_what_is_listed_can_be_chosen(client: Any, context: Any, trainable: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.safetensors"
    elsewhere.write_bytes(b"")
    assert client.post(f"{HANA}/training/draft", json={"base": str(elsewhere)}).status_code == 200
    context.host.only_local = False
    refused = client.post(f"{HANA}/training/draft", json={"base": str(elsewhere)})
    assert refused.status_code == 422 and "not one of the list" in refused.json()["error"]
    assert client.post(f"{HANA}/training/draft", json={"base": "demo"}).status_code == 200
    listed = client.get(f"{URL}/host/checkpoints").json()["checkpoints"][-1]["path"]
    assert client.post(f"{HANA}/training/draft", json={"base": listed}).status_code == 200
    inside = context.host.checkpoints_dir.parent / "VAE" / "x.safetensors"
    for vae, status in ((str(elsewhere), 422), (str(inside), 200), (f"{inside.parent}/../../x", 422), ("", 200)):
        answer = client.post(f"{HANA}/training/draft", json={"base": "demo", "settings": {"vae": vae}})
        assert answer.status_code == status, vae
    for name in ("network_weights", "mask_dir", "reg_dir"):
        assert client.post(f"{HANA}/training/draft", json={"base": "demo", "settings": {name: str(elsewhere)}}).status_code == 422
        assert client.post(f"{HANA}/training/draft", json={"base": "demo", "settings": {name: str(trainable.folder / "x")}}).status_code == 200


def test_bases_are_downloaded_into_the_host_s_folder(client: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = client.get(f"{URL}/training/bases").json()
    assert [b["name"] for b in found["bases"]] == list(CATALOGUE) and not any(b["here"] for b in found["bases"])

    def fetched(url: str, target: Path, progress: Any, **more: Any) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"x")

    monkeypatch.setattr("lora_studio.training.bases.fetch", fetched)
    job = client.post(f"{URL}/training/bases/sd15/download").json()
    done = context.jobs.wait(job["id"], 10)
    assert (done.state, done.result, done.project) == ("done", {"file": CATALOGUE["sd15"].file}, "")
    assert (context.host.checkpoints_dir / CATALOGUE["sd15"].file).is_file()
    assert [b["name"] for b in client.get(f"{URL}/training/bases").json()["bases"] if b["here"]] == ["sd15"]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_bases(client: Any, context: Any, name: str) -> None:
    assert client.post(f"{URL}/training/bases/{coded(name)}/download").status_code in (404, 405)
    assert not context.jobs.list()


def test_other_addresses_where_people_may_type_paths(client: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def fetched(url: str, target: Path, progress: Any, **more: Any) -> None:
        seen.append(url)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"x")

    monkeypatch.setattr("lora_studio.training.bases.fetch", fetched)
    path = f"{URL}/training/bases/download"
    assert client.post(path, json={"url": "http://example.org/a.safetensors"}).status_code == 422
    assert client.post(path, json={"url": "https://example.org/a.safetensors", "file": "../a.safetensors"}).status_code == 422
    for odd in ("https://[", "https://[x]/a.safetensors", "https://example.org:99999/a.safetensors", "https://a b/a.safetensors", "https://u:p@x/a.safetensors"):
        answer = client.post(path, json={"url": odd})
        assert answer.status_code == 422 and answer.json()["hint"], odd
    context.host.only_local = False
    assert client.post(path, json={"url": "https://example.org/a.safetensors"}).status_code == 422
    context.host.only_local = True
    job = client.post(path, json={"url": "https://example.org/a.safetensors", "file": "mine.safetensors"}).json()
    assert context.jobs.wait(job["id"], 10).result == {"file": "mine.safetensors"}
    assert seen == ["https://example.org/a.safetensors"] and (context.host.checkpoints_dir / "mine.safetensors").is_file()


def test_without_a_network_the_download_says_so(client: Any, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    job = client.post(f"{URL}/training/bases/sd15/download").json()
    done = context.jobs.wait(job["id"], 20)
    assert done.state == "failed" and "could not be downloaded" in done.error and "put v1-5-pruned-emaonly.safetensors into" in done.hint
