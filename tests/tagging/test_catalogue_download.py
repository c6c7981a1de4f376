"""The catalogue, and downloads from a server of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lora_studio.errors import UserError
from lora_studio.tagging import CATALOGUE, find_model, thresholds_of
from lora_studio.tagging.catalogue import installed, taggers_dir
from lora_studio.tagging.download import download_model, fetch, url_of

CONTENT = bytes(range(256)) * 4000


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT under every name; breaks off after `cut` bytes when that is set."""

    cut = 0
    etag = '"one"'
    ranges: list[str]

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        type(self).ranges.append(asked)
        start = int(asked[6:-1]) if asked and self.headers.get("If-Range") == self.etag else 0
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        self.send_header("ETag", self.etag)
        self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(body[: self.cut] if self.cut else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Handler]]:
    handler = type("Own", (Handler,), {"ranges": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{http.server_port}")
        yield handler
        http.shutdown()
        thread.join()


MODEL = CATALOGUE["wd-vit-tagger-v3"]


def test_download_whole_and_with_progress(server: type[Handler], tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    folder = download_model(MODEL, tmp_path / "a b", lambda *step: seen.append(step))
    assert sorted(p.name for p in folder.iterdir()) == ["model.onnx", "selected_tags.csv"]
    assert (folder / "model.onnx").read_bytes() == CONTENT
    assert seen[-1] == (1, 2, "model.onnx")
    before = len(server.ranges)
    download_model(MODEL, folder)
    assert len(server.ranges) == before, "what is there is not fetched again"


def test_download_goes_on_where_it_broke_off(server: type[Handler], tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    server.cut = 300_000
    with pytest.raises(UserError) as caught:
        download_model(MODEL, tmp_path)
    assert "SmilingWolf/wd-vit-tagger-v3" in caught.value.hint and str(tmp_path) in caught.value.hint
    assert not (tmp_path / "selected_tags.csv").exists()
    with pytest.raises(OSError, match="broke off"):
        fetch(url_of(MODEL, "model.onnx"), target)
    server.cut = 0
    fetch(url_of(MODEL, "model.onnx"), target)
    assert server.ranges[-1] == "bytes=300000-"
    assert target.read_bytes() == CONTENT
    assert not list(tmp_path.glob("model.onnx.*"))


def test_a_file_that_changed_meanwhile_comes_whole(server: type[Handler], tmp_path: Path) -> None:
    target = tmp_path / "model.onnx"
    server.cut = 1000
    with pytest.raises(OSError):
        fetch(url_of(MODEL, "model.onnx"), target)
    server.cut, server.etag = 0, '"two"'
    fetch(url_of(MODEL, "model.onnx"), target)
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("endpoint", ["http://[", "ftp://mirror.example", "mirror.example", "https://mirror.example:99999"])
def test_a_mirror_that_is_no_address_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(UserError, match="is no address") as caught:
        download_model(MODEL, tmp_path / "x")
    assert str(tmp_path / "x") in caught.value.hint


def test_without_network_it_is_said_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError) as caught:
        download_model(MODEL, tmp_path / "x")
    assert "model.onnx" in caught.value.hint and str(tmp_path / "x") in caught.value.hint


def test_catalogue_has_three_generations() -> None:
    assert [sum(m.generation == g for m in CATALOGUE.values()) for g in (1, 2, 3)] == [2, 5, 5]
    assert find_model("SmilingWolf/WD-eva02-large-tagger-v3") is CATALOGUE["wd-eva02-large-tagger-v3"]
    assert thresholds_of("wd-swinv2-tagger-v3") == (0.2653, 0.85)
    assert thresholds_of("some/folder/wd-v1-4-moat-tagger-v2") == (0.3771, 0.85)
    assert thresholds_of("demo") == (0.35, 0.85)
    assert find_model("demo") is None


def test_files_of_other_programs_are_found(at_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_CACHE", "LORA_STUDIO_TAGGERS"):
        monkeypatch.delenv(name, raising=False)
    assert installed(MODEL.name) is None
    snapshot = at_home / "hub" / "models--SmilingWolf--wd-vit-tagger-v3" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for file in MODEL.files:
        (snapshot / file).write_bytes(b"x")
    assert installed(MODEL.name) == snapshot
    monkeypatch.setenv("LORA_STUDIO_TAGGERS", str(at_home / "taggers"))
    assert taggers_dir() == at_home / "taggers"
