"""Paths and names made up to get out of the folders, against every route: nothing outside is read, written or removed, and nothing breaks."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

from lora_studio.project import Project
from tests.loras import RUN, trained_project
from tests.web.catalogue import Route, every_route

SECRET = b"SENTINEL-7f3a"
ROOT = "/lora-studio/api/v1"
PICTURE = "a.png"

# What lies outside, as seen from the folders of a project, and what somebody may hope for.
TARGETS = ("secret.png", "outside/secret.png", "outside/hana", "outside/hana/raw/a.png", "etc/passwd", "projects/secret.txt")
CLIMBS = ("../", "../../", "../../../", "../../../../", "../" * 8, "..\\", "..\\..\\..\\", "....//", "..;/", "./../", "raw/../../", "x/../../../")
WRITTEN = ("..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "%252e%252e%252f", "%c0%ae%c0%ae/", "..%c0%af", "%00/", "．．/", "‥/")
ABSOLUTE = (
    "/etc/passwd", "//etc/passwd", "/", "//", "///x", "C:\\Windows\\win.ini", "C:/Windows/win.ini", "C:", "c:secret.png", "D:..\\secret.png",
    "\\\\server\\share\\x.png",
    "//server/share/x.png", "\\\\?\\C:\\x.png", "\\\\.\\PhysicalDrive0", "\\??\\C:\\x", "file:///etc/passwd", "file://server/x.png",
    "http://127.0.0.1/x.png",
    "~/secret.png", "~root", "$HOME/secret.png", "${HOME}", "%USERPROFILE%\\x.png", "smb://server/x", "/proc/self/environ", "/dev/zero", "/dev/stdin",
)  # fmt: skip
WINDOWS = (
    "CON", "con", "NUL", "nul.png", "NUL.tar.gz", "PRN", "AUX.txt", "COM1", "com9.png", "LPT1", "lpt9.txt", "a.png:stream", "a.png::$DATA",
    "raw::$INDEX_ALLOCATION",
    "secret.png:$DATA", "a.png. ", "a.png...", "..\u200b", "CONIN$", "a?.png", "a*.png", "*", "?", "a|b", "a<b>c", 'a"b',
)  # fmt: skip
ODD = (
    "..", ".", "...", "....", ".. ", " ..", "..\t", "..\n", "", " ", "\t", "\n", "\0", "a.png\0", "a.png\0.txt", "\0/../x", "..\0", "\x7f",
    "\x1b[2J", "a\r\nSet-Cookie: x=1",
    "\u202egnp.exe", "a\u202e.png", "\ufeff", "\u2066x\u2069", "\u2028", "\ufffd", "\uffff", "x" * 256, "x" * 300 + ".png", "x" * 5000, "é" * 200,
    "😀" * 100, "../" * 400,
    "a/" * 300, ".hidden", ".git", ".trash", ".lora_studio", ".lora_studio/history", "project.json", "lora_studio.json", "_recent.json",
    "_incoming", "desktop.ini",
)  # fmt: skip
CODE = (
    "<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>.png", "<script>alert(1)</script>", "\"><svg onload=alert(1)>",
    "javascript:alert(1)", "' OR 1=1 --",
    "'; DROP TABLE x; --", "; rm -rf /", "| ls", "`id`", "$(id)", "&& dir", "--help", "-rf", "--out=/tmp/x", "{{7*7}}", "${7*7}", "%s%s%n",
    "{0.__class__}", "__proto__",
    "constructor", "None", "null", "undefined", "NaN", "true", "-1", "0", "1e309", "last.", "@0123456789abcdef", "@../..", "@",
)  # fmt: skip
CLIMBED = [*(climb + target for climb in CLIMBS for target in TARGETS), *(w * n + t for w in WRITTEN for n in (1, 4) for t in TARGETS[:3])]
HOSTILE = list(dict.fromkeys([*ODD, *ABSOLUTE, *WINDOWS, *CODE, *CLIMBED]))
GOOD = (
    "hana 花", "日本語のキャラ", "初音 未来", "émilie", "Ḧ-ü_ß", "🌸🌸", "한국어", "مثال", "Ωmega",
    "a'b", "a & b", "100%", "a+b=c", "(x) [y] {z}", "#1",
    "a,b;c", "e\u0301", "x" * 60,
)  # fmt: skip


def snapshot(*folders: Path, but: Iterable[Path] = ()) -> dict[str, str]:
    """Every file with what it holds, and every folder."""
    skipped = [p.resolve() for p in but]
    found: dict[str, str] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if not any(s == path.resolve() or s in path.resolve().parents for s in skipped):
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return found


@pytest.fixture
def world(tmp_path: Path, context: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project ``hana`` with a run and saved epochs, and beside projects/ the same things again, which are nobody's business here."""
    project = trained_project(context.studio.projects_dir, context.studio.lora_dir)
    Image.new("RGB", (64, 64)).save(project / "raw" / PICTURE)
    Image.new("RGB", (64, 64)).save(project / "dataset" / PICTURE)
    (project / "dataset" / "a.txt").write_text("mikuzu, 1girl", encoding="utf-8")
    outside = tmp_path / "outside"
    shutil.copytree(project, outside / "hana")
    for place in (tmp_path, outside, context.studio.projects_dir, outside / "hana", outside / "hana" / "raw", outside / "hana" / "runs" / RUN):
        for name in ("secret.png", "secret.txt", "secret.safetensors"):
            (place / name).write_bytes(SECRET)
    other = Project.create(context.studio.projects_dir, "other")
    (other.raw_dir / "secret.png").write_bytes(SECRET)
    monkeypatch.setattr(context.host, "paths_allowed", lambda: False)

    def start(kind: str, project: str, *words: str) -> Any:
        raise AssertionError(f"a command would be started: {words}")

    monkeypatch.setattr(context, "start_command", start)
    yield tmp_path


def outside_of(world: Path) -> dict[str, str]:
    """All but what belongs to ``hana``."""
    mine = [world / "projects" / "hana", world / "models" / "Lora" / "hana", world / "projects" / "_incoming" / "hana"]
    return snapshot(world, but=[*mine, world / "projects" / "_recent.json", world / "projects" / "_incoming"])


class Asker:
    """Requests straight into the application, as a server hands them over: no client tidies the paths."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.loop = asyncio.new_event_loop()

    def ask(
        self, method: str, path: str, body: Any = None, query: bytes = b"", headers: dict[str, str | None] | None = None
    ) -> tuple[int, bytes]:
        data = json.dumps(body if body is not None else {}).encode("utf-8")
        of_the_page = {"host": "localhost", "x-lora-studio": "1"} if headers is None else headers
        told = [(name.encode(), value.encode()) for name, value in {**of_the_page, "content-type": "application/json"}.items() if value is not None]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http", "path": path,
            "raw_path": b"", "root_path": "", "query_string": query, "headers": told, "state": {},
            "client": ("127.0.0.1", 1), "server": ("localhost", 80),
        }  # fmt: skip
        answer: dict[str, Any] = {"status": 0, "body": b""}
        sent = False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:
                await asyncio.sleep(30)
                return {"type": "http.disconnect"}
            sent = True
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer["status"] = message["status"]
            elif message["type"] == "http.response.body":
                answer["body"] += message.get("body", b"")

        self.loop.run_until_complete(self.app(scope, receive, send))
        return answer["status"], answer["body"]


@pytest.fixture
def asker(app: Any) -> Iterator[Asker]:
    own = Asker(app)
    yield own
    own.loop.close()


def refused(status: int, body: bytes, what: Any, allowed: Iterable[int] = ()) -> None:
    assert SECRET not in body, what
    assert 400 <= status < 500 or status in allowed, (what, status, body[:300])
    if status >= 400:
        told = json.loads(body)
        text = told.get("error", told.get("detail"))
        assert isinstance(text, str) and text and "Traceback" not in text, what


# Where an empty part, or one with a / in it, makes the address of another route.
OTHERS = {route.filled(project="hana", run=RUN, where="raw") for route in every_route() if not {"grid", "name"} & set(route.parameters)}
ROUTES = [route for route in every_route() if route.parameters]


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 200 and len(set(HOSTILE)) == len(HOSTILE)
    assert len(ROUTES) >= 50


def fill(route: Route, parameter: str, value: str) -> str:
    """The path with one hostile parameter; the others name what is there."""
    there = {"project": "hana", "run": RUN, "where": "raw", "name": PICTURE, "file": "hana-01.safetensors", "path": "base/x.webp", "what": "save"}
    return route.filled(**{name: there.get(name, "x") for name in route.parameters} | {parameter: value})


def attack(asker: Asker, route: Route, names: Sequence[str], parameters: Iterable[str]) -> None:
    for parameter in parameters:
        for name in names:
            path = fill(route, parameter, name)
            status, body = asker.ask(route.method, path)
            if status == 307:  # a / at the end is taken away
                path = path.rstrip("/")
                status, body = asker.ask(route.method, path)
            refused(status, body, (route.method, path), allowed=[200] if path in OTHERS else [])


def unchanged(world: Path) -> dict[str, str]:
    """What no hostile request may change of ``hana`` either."""
    project = world / "projects" / "hana"
    found = snapshot(project / "raw", project / "dataset", project / "runs", project / "output", world / "models")
    return {path: held for path, held in found.items() if ".lora_studio" not in path}


def test_no_path_leads_outside(world: Path, asker: Asker) -> None:
    """Some hostile names in every parameter of every route."""
    before, inside = outside_of(world), unchanged(world)
    for k, route in enumerate(ROUTES):
        attack(asker, route, HOSTILE[k % 60 :: 60], route.parameters)
    assert outside_of(world) == before and unchanged(world) == inside


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path.removeprefix(ROOT)}")
def test_no_path_at_all_leads_outside(world: Path, asker: Asker, route: Route) -> None:
    """All of them. Which project it is, all routes ask in the same way: there every fourth."""
    before, inside = outside_of(world), unchanged(world)
    attack(asker, route, HOSTILE, [p for p in route.parameters if p != "project" or len(route.parameters) == 1])
    if len(route.parameters) > 1:
        attack(asker, route, HOSTILE[ROUTES.index(route) % 4 :: 4], ["project"])
    assert outside_of(world) == before and unchanged(world) == inside


# -- names and paths in bodies ---------------------------------------------------

X = "<the hostile name>"
HANA = "/projects/hana"
#: method, path, body, and whether it may be answered with 200 when nothing has changed
BODIES: list[tuple[str, str, dict[str, Any], bool]] = [
    ("POST", "/projects/open", {"path": X}, False),
    ("POST", HANA + "/import", {"paths": [X]}, False),
    ("POST", HANA + "/pictures/remove", {"where": "raw", "names": [X]}, False),
    ("POST", HANA + "/pictures/remove", {"where": X, "names": [PICTURE]}, False),
    ("POST", HANA + "/pictures/restore", {"batch": X}, False),
    ("PUT", HANA + "/crop/boxes", {"changes": [{"source": X, "excluded": True}]}, False),
    ("PUT", HANA + "/crop/boxes", {"changes": [{"source": PICTURE, "method": X}]}, False),
    ("PUT", HANA + "/crop/options", {"plan_file": X}, False),
    ("PUT", HANA + "/crop/options", {"format": X}, False),
    ("PUT", HANA + "/crop/plan-file", {"plan": X}, False),
    ("PUT", HANA + "/crop/plan-file", {"plan": {"version": 1, "options": {}, "entries": [{"source": X, "box": [0, 0, 8, 8]}]}}, False),
    ("POST", HANA + "/captions/read", {"names": [X]}, True),
    ("POST", HANA + "/captions/ops", {"ops": [{"op": "add", "name": X, "tag": "smile"}]}, False),
    ("POST", HANA + "/captions/ops", {"ops": [{"op": X, "name": "a", "tag": "smile"}]}, False),
    ("POST", HANA + "/captions/edit", {"options": {"remove_duplicates": True}, "names": [X]}, True),
    ("POST", HANA + "/captions/goto", {"entry": X}, False),
    ("POST", HANA + "/loras/keep", {"keep": [X], "run": ""}, False),
    ("POST", HANA + "/loras/keep", {"keep": ["hana-01.safetensors"], "run": X}, False),
    ("POST", HANA + "/loras/restore", {"batch": X}, False),
    ("POST", HANA + "/folder/open", {"which": X}, False),
    ("POST", HANA + "/folder/open", {"which": "run", "run": X}, False),
    ("POST", HANA + "/training/draft", {"base": X}, False),
    ("POST", HANA + "/training/start", {"base": X}, False),
    ("POST", HANA + "/training/start", {"base": "demo", "preset": X}, False),
    ("POST", HANA + "/training/start", {"base": "demo", "settings": {"vae": X}}, False),
    ("POST", HANA + "/training/start", {"base": "demo", "settings": {"mask_dir": X}}, False),
    ("POST", HANA + "/training/start", {"base": "demo", "settings": {"network_weights": X}}, False),
    ("POST", HANA + "/training/start", {"base": "demo", "settings": {"folders": [{"path": X}]}}, False),
    ("POST", HANA + "/training/start", {"base": "demo", "settings": {"output_dir": X, "lora_dir": X}}, False),
    ("POST", HANA + f"/runs/{RUN}/evaluate", {"tagger": X}, False),
    ("POST", HANA + f"/runs/{RUN}/evaluate", {"out": X}, False),
]
SURROGATES = ("\ud800", "a\udfff.png", "\ud83d", "..\udc2f")


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path", "body", "may"), BODIES, ids=lambda value: json.dumps(value) if isinstance(value, dict) else None)
def test_no_name_in_a_body_leads_outside(world: Path, asker: Asker, method: str, path: str, body: dict[str, Any], may: bool) -> None:
    before, inside = outside_of(world), unchanged(world)
    names = (*HOSTILE, *SURROGATES, str(world / "outside" / "hana"), str(world / "outside" / "secret.png"), str(world / "secret.txt"))
    # "" is nothing at all: no file is named.
    for name in [n for n in names if n.strip() or path.endswith(("/pictures/remove", "/crop/boxes", "/projects/open"))]:
        status, answer = asker.ask(method, ROOT + path, with_name(body, name))
        refused(status, answer, (method, path, name), allowed=[200] if may else [])
    assert outside_of(world) == before
    assert unchanged(world) == inside


def with_name(value: Any, name: str) -> Any:
    if isinstance(value, dict):
        return {k: with_name(v, name) for k, v in value.items()}
    return [with_name(v, name) for v in value] if isinstance(value, list) else name if value == X else value


@pytest.mark.slow
def test_projects_are_made_only_where_projects_are(world: Path, asker: Asker) -> None:
    """Some of the names are fine, though odd; each then is a folder right in projects/."""
    before, projects = snapshot(world, but=[world / "projects"]), world / "projects"
    there = {p.name for p in projects.iterdir()}
    for name in (*HOSTILE, *SURROGATES):
        status, body = asker.ask("POST", ROOT + "/projects", {"name": name})
        refused(status, body, name, allowed=[201])
        assert snapshot(world, but=[projects]) == before
        made = [p for p in projects.iterdir() if p.name not in there]
        assert len(made) == (status == 201), name
        if made:
            assert made[0].name == json.loads(body)["id"] == made[0].name.strip(" .")
            assert not set(made[0].name) & set('<>:"/\\|?*\0\n\r\t') and made[0].name.split(".")[0].lower() not in ("con", "nul", "aux", "prn")
            shutil.rmtree(made[0])


@pytest.mark.parametrize("name", GOOD)
def test_good_names_work(world: Path, asker: Asker, name: str) -> None:
    status, body = asker.ask("POST", ROOT + "/projects", {"name": name})
    assert status == 201, body
    identity = json.loads(body)["id"]
    assert identity == unicodedata.normalize("NFC", name)
    folder = world / "projects" / identity
    picture = f"{name}.png"
    Image.new("RGB", (32, 32), "red").save(folder / "raw" / picture)
    status, body = asker.ask("GET", f"{ROOT}/projects/{identity}/pictures")
    assert status == 200 and [p["name"] for p in json.loads(body)["pictures"]] == [picture]
    for query in (b"", b"size=64"):
        status, body = asker.ask("GET", f"{ROOT}/projects/{identity}/pictures/raw/{picture}", query=query)
        assert status == 200 and body[:3] in (b"\x89PN", b"\xff\xd8\xff")
    status, body = asker.ask("PUT", f"{ROOT}/projects/{identity}", {"trigger": name})
    assert status == 200 and json.loads(body)["trigger"] == name
    status, body = asker.ask("PUT", f"{ROOT}/projects/{identity}/crop/boxes", {"changes": [{"source": picture, "excluded": True}]})
    assert status == 200 and json.loads(body)["entries"][0]["source"] == picture
    status, body = asker.ask("POST", f"{ROOT}/projects/{identity}/pictures/remove", {"where": "raw", "names": [picture]})
    assert status == 200 and not (folder / "raw" / picture).exists()
    status, body = asker.ask("POST", f"{ROOT}/projects/{identity}/pictures/restore", {"batch": json.loads(body)["batch"]})
    assert status == 200 and (folder / "raw" / picture).is_file()


def test_uploads_stay_where_uploads_go(world: Path, asker: Asker) -> None:
    before, inside = outside_of(world), unchanged(world)
    incoming = world / "projects" / "_incoming"
    for name in HOSTILE:
        for suffix in ("", ".png", "/x.png", "\\x.txt"):
            query = urlencode({"name": name + suffix}).encode("ascii")
            status, body = asker.ask("POST", f"{ROOT}/projects/hana/uploads", {"any": "thing"}, query)
            refused(status, body, name + suffix, allowed=[200])
            if status == 200:
                (file,) = [path for path in (incoming / "hana").rglob("*") if path.is_file()]
                stored = file.relative_to(incoming / "hana" / "open" / "1")
                assert stored.as_posix() == json.loads(body)["name"] and file.suffix in (".png", ".txt", ".zip")
                assert all(part[0] != "." and part[-1] not in ". " and len(part) <= 210 for part in stored.parts) and len(str(stored)) < 400
                assert file.name.split(".")[0].strip().lower() not in ("con", "nul", "aux", "prn", "com1", "lpt1")
                assert not set("".join(stored.parts)) & set('<>:"/\\|?*\0\n\r\t')
                shutil.rmtree(incoming / "hana")
    assert {p.name for p in incoming.iterdir()} <= {"hana", ".parts"} and not list((incoming / ".parts").iterdir())
    assert outside_of(world) == before and unchanged(world) == inside


def test_presets_of_any_name_stay_in_their_file(world: Path, asker: Asker) -> None:
    before, inside = outside_of(world), unchanged(world)
    (world / "projects" / "hana" / "x").mkdir()
    for name in (*HOSTILE, *SURROGATES):
        status, body = asker.ask("PUT", ROOT + "/training/presets", {"name": name, "preset": "character", "settings": {"epochs": 3}})
        refused(status, body, name, allowed=[200])
    now = outside_of(world)
    assert {k: v for k, v in now.items() if k in before} == before
    new = [Path(k) for k in now if k not in before]
    assert all("preset" in path.name or "preset" in path.parent.name for path in new), new
    assert unchanged(world) == inside


def test_grids_say_what_they_cannot_draw(world: Path, asker: Asker) -> None:
    """Prompts and names of checkpoints are texts: a grid may hold any, and draws none here."""
    before = outside_of(world)
    for name in HOSTILE[::5]:
        for body in ({"prompts": [name], "epochs": [name]}, {"prompts": ["1girl"], "unknown": name}, {"prompts": name}):
            refused(*asker.ask("POST", f"{ROOT}/projects/hana/runs/{RUN}/grids", body), name)
    assert outside_of(world) == before


def test_links_out_of_a_project_lead_nowhere(world: Path, asker: Asker) -> None:
    """A picture that is a link to something outside is not shown, nor is what lies behind a linked folder of a run."""
    project = world / "projects" / "hana"
    try:
        (project / "runs" / RUN / "samples" / "link.png").symlink_to(world / "secret.png")
        (project / "runs" / "linked").symlink_to(world / "outside" / "hana" / "runs" / RUN, target_is_directory=True)
    except OSError:
        pytest.skip("this system makes no links")
    for path in (f"runs/{RUN}/samples/link.png", f"runs/{RUN}/evaluation/samples/link.png"):
        refused(*asker.ask("GET", f"{ROOT}/projects/hana/{path}"), path)
