"""Disks that can only be read, are full or gone: every route says what could not be written, and where. No route breaks."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_studio.files import told_os_error
from lora_studio.project import Project
from tests.loras import RUN, trained_project
from tests.web.catalogue import every_route

API = "/lora-studio/api/v1"
HANA = "/projects/hana"
#: what a person does that writes, and the answer's status where nothing is wrong with the disk
WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/projects", {"name": "yuki"}),
    ("PUT", HANA, {"trigger": "hanako"}),
    ("POST", HANA + "/rename", {"name": "yuki"}),
    ("POST", HANA + "/uploads?name=a.png", b"x"),
    ("POST", HANA + "/bundles/uploads?name=a.zip", b"x"),
    ("POST", HANA + "/bundles", {"run": RUN}),
    ("POST", HANA + "/pictures/remove", {"where": "raw", "names": ["a.png"]}),
    ("PUT", HANA + "/crop/options", {"format": "jpg"}),
    ("PUT", HANA + "/crop/boxes", {"changes": [{"source": "a.png", "excluded": True}]}),
    ("POST", HANA + "/captions/ops", {"ops": [{"op": "add", "name": "a.png", "tag": "smile"}]}),
    ("POST", HANA + "/captions/edit", {"options": {"add": ["smile"]}}),
    ("PUT", "/training/presets", {"name": "mine", "preset": "character", "settings": {"epochs": 3}}),
    ("POST", HANA + "/training/start", {"base": "demo"}),
    ("POST", HANA + "/loras/keep", {"keep": ["hana-01.safetensors"], "run": ""}),
    ("POST", HANA + "/loras/hana-01.safetensors/weight", {"weight": 0.5}),
    ("DELETE", HANA + f"/runs/{RUN}", None),
]


@pytest.fixture
def hana(context: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = trained_project(context.studio.projects_dir, context.studio.lora_dir)
    for where in ("raw", "dataset"):
        Image.new("RGB", (64, 64)).save(folder / where / "a.png")
    (folder / "dataset" / "a.txt").write_text("mikuzu, 1girl", encoding="utf-8")
    monkeypatch.setattr(context, "start_command", lambda *words, **more: {"started": True})
    return folder


def broken_disk(monkeypatch: pytest.MonkeyPatch, number: int) -> list[str]:
    """Whatever writes fails from now on; what it wanted to write."""
    wanted: list[str] = []

    def fail(path: Any) -> None:
        wanted.append(os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path))
        raise OSError(number, os.strerror(number), wanted[-1])

    def opening(real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            if set(mode) & set("wax+") and not isinstance(file, int) and str(file) != os.devnull:
                fail(file)
            return real(file, mode, *arguments, **named)

        return opened

    real_open = os.open

    def os_open(path: Any, flags: int, *arguments: Any, **named: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and str(path) != os.devnull:
            fail(path)
        return real_open(path, flags, *arguments, **named)

    for name in ("mkdir", "replace", "rename", "unlink", "remove", "rmdir", "link", "symlink", "truncate"):
        monkeypatch.setattr(os, name, lambda path, *_, **__: fail(path))
    monkeypatch.setattr(os, "open", os_open)
    monkeypatch.setattr(builtins, "open", opening(builtins.open))
    monkeypatch.setattr(io, "open", opening(io.open))
    return wanted


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO], ids=["read-only", "gone"])
@pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=lambda value: value if isinstance(value, str) else "")
def test_what_could_not_be_written_is_said(
    client: Any, hana: Path, monkeypatch: pytest.MonkeyPatch, number: int, method: str, path: str, body: Any
) -> None:
    client.get(API + HANA)  # the routes are made
    with monkeypatch.context() as disk:
        wanted = broken_disk(disk, number)
        answer = client.request(method, API + path, **({"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}))
    assert wanted, "this is no test of writing"
    assert answer.status_code == 422, answer.text
    told = answer.json()
    assert told["error"] and told["hint"] and "inside Lora Studio" not in told["error"]
    assert Project.open(hana).name == "hana"


def test_no_route_at_all_breaks(client: Any, context: Any, hana: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"project": "hana", "run": RUN, "where": "raw", "name": "a.png", "file": "hana-01.safetensors", "path": "x.webp", "what": "save"}
    client.get(API + HANA)
    with monkeypatch.context() as disk:
        broken_disk(disk, errno.EROFS)
        for route in every_route():
            if not route.path.endswith(("/events", "/environment/install")):
                answer = client.request(route.method, route.filled(**there), **({} if route.method == "GET" else {"json": {}}))
                assert answer.status_code < 500, (route, answer.text)


def test_jobs_and_commands_say_it_too(context: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from lora_studio.cli import main
    from lora_studio.studio import Studio

    def work(*_: Any) -> Any:
        raise OSError(errno.EROFS, "Read-only file system", "/mnt/x")

    job = context.jobs.wait(context.jobs.start("check", "hana", work).id, 30)
    assert job.state == "failed" and "can only be read: /mnt/x" in job.error and job.hint
    monkeypatch.setattr(Studio, "new", work)
    assert main(["new", "hana", "--images", str(tmp_path), "--projects", str(tmp_path)]) == 2
    assert "can only be read: /mnt/x" in capsys.readouterr().err


def test_how_it_is_told(tmp_path: Path) -> None:
    full = told_os_error(OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "a")))
    assert "disk is full" in full.message and str(tmp_path / "a") in full.message
    only = told_os_error(OSError(errno.EROFS, "Read-only file system", str(tmp_path / "a"), None, str(tmp_path / "b")))
    assert "can only be read" in only.message and str(tmp_path / "b") in only.message
    assert "could not do this: boom" in told_os_error(OSError("boom")).message
    odd = told_os_error(OSError(errno.EIO, "Input/output error", b"/x/\xff"))
    assert "Input/output error" in odd.message and odd.hint
    assert told_os_error(OSError(errno.EBADF, "Bad file descriptor", 7)).hint
