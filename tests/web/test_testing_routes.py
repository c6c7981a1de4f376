"""Routes of the test step: evaluations, grids, saved epochs, folders."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from lora_studio.evaluation import EvaluateOptions, view
from lora_studio.training.runs import Run
from lora_studio.web import desktop
from lora_studio.web.testing import evaluate_arguments
from tests.loras import RUN, trained_project

API = "/lora-studio/api/v1/projects/hana"
ON = f"{API}/runs/{RUN}"
HOSTILE = (
    "..", "../..", "../report.png", "..%2freport.png", "..\\report.png", "%2e%2e/report.png", "/etc/passwd", "//etc/passwd", "C:\\x.png", "C:/x.png",
    "\\\\server\\share\\x.png", "base/../../report.png", "base/./trigger-01.webp", "base//trigger-01.webp", ".hidden.png", "base", "base/",
    "base/trigger-01.webp\0.png", "base/trigger-01.webp/x.png", "<img src=x onerror=alert(1)>.png", "link.webp", "report.json",
)  # fmt: skip


@pytest.fixture
def trained(context: Any) -> Path:
    return trained_project(context.studio.projects_dir, context.studio.lora_dir)


def evaluated(project: Path) -> Path:
    out = project / "runs" / RUN / "evaluation"
    prompts = [{"kind": k, "text": f"mikuzu {k}", "seed": 1, "looked_for": ["red hair"]} for k in ("trigger", "flexibility", "leakage")]
    scores = {"likeness": 0.5, "flexibility": 1.0, "leakage": 0.0, "score": 0.7}
    report = {
        "recommended": 2, "reason": "because", "reason_zh": "因为", "base": scores, "epochs": [{"epoch": n, **scores} for n in (1, 2, 3)],
        "prompts": prompts, "options": EvaluateOptions(weights=(0.5, 1.0)).to_dict(), "seconds": 60.0, "by_tag": {}, "notes": [],
        "base_model": "pony",
    }  # fmt: skip
    for folder in ("base", "epoch-01", "epoch-02", "epoch-03"):
        (out / "pictures" / folder).mkdir(parents=True)
        for prompt in prompts:
            Image.new("RGB", (8, 8), "red").save(out / "pictures" / folder / f"{prompt['kind']}-01.webp")
    (out / "report.json").write_text(json.dumps(report), encoding="utf-8")
    (out / "report.html").write_text("<script>alert(1)</script>", encoding="utf-8")
    return out


def encoded(path: str) -> str:
    """So that no client tidies it on the way."""
    return quote(path, safe="").replace(".", "%2E")


def wait(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    for _ in range(400):
        found = next(j for j in client.get("/lora-studio/api/v1/jobs").json()["jobs"] if j["id"] == job["id"])
        if found["state"] != "running":
            return found
        time.sleep(0.02)
    raise AssertionError("the job does not end")


def commands(context: Any, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Notes the commands that would be started, and starts none."""
    started: list[Sequence[str]] = []

    def start(kind: str, project: str, *words: str) -> Any:
        started.append((kind, project, *words))
        return context.jobs.start(kind, project, lambda progress: {})

    monkeypatch.setattr(context, "start_command", start)
    return started


# -- evaluations ---------------------------------------------------------------


def test_runs_and_what_is_known_of_them(client: Any, trained: Path) -> None:
    found = client.get(f"{API}/test").json()
    (run,) = found["runs"]
    assert run["name"] == RUN and run["state"] == "finished" and run["epochs"] == [1, 2, 3] and not run["evaluated"]
    assert run["base"] == "ponyDiffusionV6XL.safetensors" and run["tagger"] == "demo" and found["taggers"] == ["demo", "none"]
    found = client.get(f"{ON}/evaluation").json()
    assert found["report"] is None and [s["file"] for s in found["samples"]] == ["epoch-01.png", "epoch-02.png", "epoch-03.png"]
    assert client.get(f"{ON}/evaluation/samples/epoch-01.png").headers["content-type"] == "image/png"


def test_an_evaluation_and_its_pictures(client: Any, trained: Path) -> None:
    evaluated(trained)
    assert client.get(f"{API}/test").json()["runs"][0]["recommended"] == 2
    assert client.get(f"{API}/test").json()["runs"][0]["seconds_per_picture"] == pytest.approx(60 / (4 * 3 + 3), abs=0.01)
    found = client.get(f"{ON}/evaluation").json()
    assert [c["epoch"] for c in found["columns"]] == [0, 1, 2, 3]
    for column in found["columns"]:
        for address in column["pictures"]:
            answer = client.get(f"{ON}/evaluation/pictures/{address}")
            assert answer.status_code == 200 and answer.headers["content-type"] == "image/webp"
            assert answer.headers["x-content-type-options"] == "nosniff"
    (trained / "runs" / RUN / "evaluation" / "pictures" / "base" / "trigger-01.webp").unlink()
    assert client.get(f"{ON}/evaluation").json()["columns"][0]["pictures"][0] is None


@pytest.mark.parametrize("path", HOSTILE)
def test_hostile_picture_paths(client: Any, trained: Path, path: str) -> None:
    out = evaluated(trained)
    (out / "report.png").write_bytes(b"secret")
    (out / "pictures" / "link.webp").symlink_to(out / "report.png")
    for base in (f"{ON}/evaluation/pictures/", f"{ON}/evaluation/samples/"):
        answer = client.get(base + encoded(path))
        assert answer.status_code == 404 and b"secret" not in answer.content
    assert view.picture(out / "pictures", path) is None


@pytest.mark.parametrize("run", ["..", "nobody", "%2e%2e", "2026-01-02_03-04-05%2f..", "last.", "<b>"])
def test_only_runs_of_the_list_are_opened(client: Any, trained: Path, run: str) -> None:
    evaluated(trained)
    assert client.get(f"{API}/runs/{run}/evaluation").status_code in (404, 422)


def test_the_report_is_downloaded_and_never_a_page_of_ours(client: Any, trained: Path) -> None:
    assert client.get(f"{ON}/evaluation/report.html").status_code == 404
    evaluated(trained)
    answer = client.get(f"{ON}/evaluation/report.html")
    assert answer.headers["content-disposition"].startswith("attachment") and "sandbox" in answer.headers["content-security-policy"]


def test_evaluating_is_a_job_of_its_own_process(client: Any, context: Any, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = commands(context, monkeypatch)
    pictures = {"trigger_pictures": 2, "flexibility_pictures": 3, "leakage_pictures": 4}
    body = {"tagger": "demo", **pictures, "weights": [], "epochs": [1, 3], "negative": "--out=x"}
    job = client.post(f"{ON}/evaluate", json=body)
    assert job.status_code == 200, job.json()
    kind, project, *words = started[0]
    assert (kind, project) == ("evaluate", "hana")
    from lora_studio.cli import build_parser

    args = build_parser().parse_args(words)
    assert args.run == str(context.studio.projects_dir / "hana" / "runs" / RUN)
    assert (args.pictures, args.epochs, args.weights, args.negative, args.out) == ([2, 3, 4], [1, 3], [], "--out=x", None)


@pytest.mark.parametrize(
    "body",
    [{"out": "/x"}, {"device": "cuda"}, {"tagger": "/somewhere/else"}, {"steps": 1}, {"speed": 3}, {"weights": "1"}, {"epochs": [1.5]}],
)
def test_what_a_page_may_not_ask_for(client: Any, context: Any, trained: Path, body: dict[str, Any]) -> None:
    answer = client.post(f"{ON}/evaluate", json=body)
    assert answer.status_code == 422 and answer.json()["error"]
    assert not context.jobs.list()


def test_every_option_reaches_the_command() -> None:
    from lora_studio.cli import build_parser

    options = EvaluateOptions(tagger="none", traits=("a", "b c"), cfg=5.5, width=512, height=768, seed=7, steps=30, weights=(0.4, 1.0))
    args = build_parser().parse_args(evaluate_arguments(Run(Path("x")), options))
    assert (args.tagger, args.traits, args.cfg, args.size) == ("none", "a, b c", 5.5, "512x768")
    assert (args.seed, args.steps, args.weights) == (7, 30, [0.4, 1.0])


# -- grids -----------------------------------------------------------------------


class Txt2img:
    """What the test's host draws with: a picture for each request, once it is let."""

    def __init__(self, context: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[Any] = []
        monkeypatch.setattr(type(context.host), "has_txt2img", True)
        monkeypatch.setattr(context.host, "draw", self.draw, raising=False)

    def draw(self, request: Any, progress: Any) -> list[Image.Image]:
        progress(1, 2, "Step 1")
        self.requests.append(request)
        return [Image.new("RGB", (request.width, request.height), "red")]


def test_a_grid_by_the_host_s_txt2img(client: Any, context: Any, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Txt2img(context, monkeypatch)
    body = {"prompts": ["mikuzu"], "epochs": [1, 2], "weights": [0.5, 1], "seeds": [3], "steps": 2, "width": 64, "height": 64}
    answer = client.post(f"{ON}/grids", json=body).json()
    assert wait(client, answer["job"])["state"] == "done"
    assert [r.prompt for r in host.requests] == [f"mikuzu, <lora:hana-0{e}:{w}>" for e in (1, 2) for w in ("0.5", "1")]
    (listed,) = client.get(f"{ON}/grids").json()["grids"]
    assert listed["name"] == answer["grid"] and listed["drawn"] == listed["total"] == 4
    shown = client.get(f"{ON}/grids/{answer['grid']}").json()
    for cell in shown["cells"]:
        assert client.get(f"{ON}/grids/{answer['grid']}/pictures/{cell['file']}").headers["content-type"] == "image/png"
    sheet = client.get(f"{ON}/grids/{answer['grid']}/sheet.png")
    assert sheet.headers["content-type"] == "image/png" and sheet.headers["content-disposition"].startswith("attachment")
    for path in HOSTILE:
        assert client.get(f"{ON}/grids/{answer['grid']}/pictures/{encoded(path)}").status_code == 404, path
    assert client.get(f"{ON}/grids/{encoded('../grids')}").status_code in (404, 422)


def test_a_failed_grid_can_be_gone_on_with(client: Any, context: Any, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Txt2img(context, monkeypatch)
    for path in (context.studio.lora_dir / "hana").glob("hana-02.*"):
        path.rename(path.with_name("aside-" + path.name))
    body = {"prompts": ["mikuzu"], "epochs": [1, 2], "weights": [1], "width": 64, "height": 64}
    answer = client.post(f"{ON}/grids", json=body).json()
    failed = wait(client, answer["job"])
    assert failed["state"] == "failed" and "LoRA folder" in failed["error"]
    for path in (context.studio.lora_dir / "hana").glob("aside-*"):
        path.rename(path.with_name(path.name.removeprefix("aside-")))
    again = client.post(f"{ON}/grids/{answer['grid']}/resume").json()
    assert wait(client, again["job"])["state"] == "done" and len(host.requests) == 2


def test_without_txt2img_a_child_process_draws(client: Any, context: Any, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = commands(context, monkeypatch)
    answer = client.post(f"{ON}/grids", json={"prompts": ["--mikuzu"], "weights": [1]}).json()
    assert started == [("grid", "hana", "grid", str(context.studio.projects_dir / "hana" / "runs" / RUN), f"--resume={answer['grid']}")]


@pytest.mark.parametrize(
    "body", [{}, {"prompts": []}, {"prompts": [" "]}, {"prompts": ["a"], "epochs": [9]}, {"prompts": ["a"], "out": "x"}, {"prompts": "a"}]
)
def test_grids_that_cannot_be_drawn(client: Any, trained: Path, body: dict[str, Any]) -> None:
    assert client.post(f"{ON}/grids", json=body).status_code == 422
    assert client.get(f"{ON}/grids").json()["grids"] == []


# -- saved epochs ------------------------------------------------------------------


def test_keep_and_put_back(client: Any, context: Any, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(context.hub, "publish", lambda kind, project, data: told.append((kind, project)))
    assert [x["epoch"] for x in client.get(f"{API}/loras").json()["loras"]] == [1, 2, 3]
    moved = client.post(f"{API}/loras/keep", json={"keep": ["hana-02.safetensors"], "run": RUN}).json()
    after = client.get(f"{API}/loras").json()
    assert [x["epoch"] for x in after["loras"]] == [2] and after["trash"][0]["batch"] == moved["batch"]
    client.post(f"{API}/loras/restore", json={"batch": moved["batch"]})
    assert len(client.get(f"{API}/loras").json()["loras"]) == 3 and told == [("loras", "hana")] * 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("keep", {"keep": []}), ("keep", {"keep": "hana-01.safetensors"}), ("keep", {"keep": [1]}), ("keep", {"keep": ["../../x.safetensors"]}),
        ("keep", {"keep": ["hana-01.safetensors"], "run": "../x"}), ("restore", {}), ("restore", {"batch": "../runs"}), ("restore", {"batch": 1}),
        ("hana-01.safetensors/weight", {"weight": "1"}), ("hana-01.safetensors/weight", {"weight": True}),
        ("hana-01.safetensors/weight", {"weight": 99}), ("..%2fproject.json/weight", {"weight": 1}), ("project.json/weight", {"weight": 1}),
    ],
)  # fmt: skip
def test_requests_that_change_nothing(client: Any, trained: Path, path: str, body: dict[str, Any]) -> None:
    before = {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()}
    assert client.post(f"{API}/loras/{path}", json=body).status_code in (404, 405, 422)
    assert {p: p.read_bytes() for p in trained.rglob("*") if p.is_file()} == before


def test_weight_and_preview(client: Any, trained: Path) -> None:
    assert client.post(f"{API}/loras/hana-01.safetensors/weight", json={"weight": 0.7}).json() == {"weight": 0.7}
    assert client.get(f"{API}/loras").json()["loras"][0]["usage"]["lora"] == "<lora:hana-01:0.7>"
    assert client.get(f"{API}/loras/hana-01.safetensors/preview").headers["content-type"] == "image/png"
    for path in (trained / "output", trained.parent.parent / "models" / "Lora" / "hana"):
        (path / "hana-01.png").unlink()
    assert client.get(f"{API}/loras/hana-01.safetensors/preview").status_code == 404
    assert client.get(f"{API}/loras/..%2f..%2fproject.json/preview").status_code in (404, 422)


# -- folders -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("client_host", "headers", "here"),
    [
        ("127.0.0.1", {"Host": "127.0.0.1:7860"}, True), ("127.0.0.1", {"Host": "localhost:7860", "Origin": "http://localhost:7860"}, True),
        ("::1", {"Host": "[::1]:7860"}, True), ("192.168.1.5", {"Host": "192.168.1.2:7860"}, False),
        ("127.0.0.1", {"Host": "abc.gradio.live"}, False),  # gradio's tunnel ends on this machine
        ("127.0.0.1", {"Host": "127.0.0.1:7860", "Origin": "https://abc.gradio.live"}, False),
        ("127.0.0.1", {"Host": "127.0.0.1:7860", "X-Forwarded-For": "8.8.8.8"}, False), ("127.0.0.1", {"Host": ""}, False),
    ],
)  # fmt: skip
def test_who_sits_at_this_machine(client_host: str, headers: dict[str, str], here: bool) -> None:
    from fastapi import Request

    raw = [(k.lower().encode(), v.encode()) for k, v in headers.items()]
    scope = {"type": "http", "method": "POST", "scheme": "http", "path": "/", "query_string": b"", "headers": raw, "server": ("x", 1)}
    assert desktop.at_this_machine(Request({**scope, "client": (client_host, 1)})) is here


def test_a_folder_is_opened_here_and_only_named_elsewhere(client: Any, context: Any, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Path] = []
    monkeypatch.setattr("lora_studio.web.testing.open_folder", lambda place: opened.append(place) or True)
    monkeypatch.setattr("lora_studio.web.testing.at_this_machine", lambda request: True)
    places = {"project": trained, "output": trained / "output", "run": trained / "runs" / RUN, "lora": context.studio.lora_dir / "hana"}
    for which, place in places.items():
        assert client.post(f"{API}/folder/open", json={"which": which, "run": RUN}).json() == {"path": str(place), "opened": True}
    assert opened == list(places.values())
    monkeypatch.setattr("lora_studio.web.testing.at_this_machine", lambda request: False)
    assert client.post(f"{API}/folder/open", json={"which": "output"}).json() == {"path": str(trained / "output"), "opened": False}
    for body in ({"which": "/etc"}, {}, {"which": "run", "run": "../.."}):
        assert client.post(f"{API}/folder/open", json=body).status_code == 422
    assert len(opened) == 4


def test_no_desktop_no_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert desktop.open_folder(tmp_path) is False
    assert desktop.open_folder(tmp_path / "nowhere") is False
