"""Downloading a base from a server on this machine: progress, going on, checksums, and what is refused."""

from __future__ import annotations

import hashlib
import json
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lora_studio.errors import UserError
from lora_studio.jobs import CancelledError
from lora_studio.training import bases
from lora_studio.training.bases import CATALOGUE, Base, download, listing


def checkpoint(size: int = 3_000_000) -> bytes:
    names = ("model.diffusion_model.out.2.weight", "cond_stage_model.transformer.text_model.final_layer_norm.weight")
    table = {n: {"dtype": "F32", "shape": [1], "data_offsets": [4 * k, 4 * k + 4]} for k, n in enumerate(names)}
    table["bulk"] = {"dtype": "U8", "shape": [size], "data_offsets": [8, 8 + size]}
    header = json.dumps(table).encode("utf-8")
    return struct.pack("<Q", len(header)) + header + bytes(8) + bytes(k % 251 for k in range(size))


CONTENT = checkpoint()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """Answers as Hugging Face does: a redirect that names the file's hash, then the file, whole or from a byte on."""

    protocol_version = "HTTP/1.1"
    content = CONTENT
    announced = SHA256
    breaks_after = 0  # bytes of the first answer, then the line is cut
    ranges: list[str] = []  # noqa: RUF012  # one server at a time

    def do_GET(self) -> None:
        if "/resolve/" in self.path:
            self.send_response(302)
            self.send_header("Location", f"/cdn/{self.path.rsplit('/', 1)[1]}")
            if self.announced:
                self.send_header("X-Linked-ETag", f'"{self.announced}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        wanted = self.headers.get("Range", "")
        type(self).ranges.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        body = self.content[start:]
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.breaks_after:
            body, type(self).breaks_after = body[: self.breaks_after], 0
            self.wfile.write(body)
            self.wfile.flush()
            self.connection.close()
            return
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    kind = type("OneHub", (Hub,), {"ranges": []})
    http = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{http.server_port}")
    yield kind
    http.shutdown()
    thread.join()
    http.server_close()


BASE = Base("small", "Small", "sd1", "small.safetensors", "someone/small/small.safetensors", len(CONTENT), ("", ""))


def test_a_base_arrives_whole_with_progress(server: type[Hub], tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    path = download(BASE, tmp_path / "new" / "folder", lambda *a: seen.append(a))
    assert path.read_bytes() == CONTENT and [p.name for p in path.parent.iterdir()] == ["small.safetensors"]
    assert seen[-1][:2] == (3, 4) and any(name == "small.safetensors" for *_, name in seen) and any("Checking" in name for *_, name in seen)
    assert download(BASE, path.parent) == path and len(server.ranges) == 1, "what is there is not fetched again"


def test_it_goes_on_where_the_line_was_cut(server: type[Hub], tmp_path: Path) -> None:
    server.breaks_after = 1_000_000
    with pytest.raises(UserError, match="could not be downloaded") as error:
        download(BASE, tmp_path)
    assert "goes on where it stopped" in error.value.hint and not (tmp_path / BASE.file).exists()
    part = (tmp_path / "small.safetensors.part").stat().st_size
    assert 0 < part <= 1_000_000
    assert download(BASE, tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["", f"bytes={part}-"]


def test_it_is_stopped_and_goes_on(server: type[Hub], tmp_path: Path) -> None:
    def stop(done: int, total: int, message: str) -> None:
        if done:
            raise CancelledError

    with pytest.raises(CancelledError):
        download(BASE, tmp_path, stop)
    assert not (tmp_path / BASE.file).exists()
    assert download(BASE, tmp_path).read_bytes() == CONTENT and server.ranges[1].startswith("bytes=")


@pytest.mark.parametrize("known", [True, False], ids=["the catalogue's", "the server's"])
def test_another_content_than_the_checksum_says_is_not_kept(server: type[Hub], tmp_path: Path, known: bool) -> None:
    server.announced = "" if known else "0" * 64
    with pytest.raises(UserError, match="arrived damaged or is another file"):
        download(replace(BASE, sha256="0" * 64) if known else BASE, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"<html>log in first</html>" * 99, CONTENT[:-5], b""], ids=["an error page", "cut short", "empty"])
def test_what_is_no_checkpoint_is_not_kept(server: type[Hub], tmp_path: Path, content: bytes) -> None:
    server.content, server.announced = content, ""
    with pytest.raises(UserError):
        download(BASE, tmp_path)
    assert not (tmp_path / BASE.file).exists()


def test_only_safetensors_are_fetched(server: type[Hub], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not a \.safetensors"):
        download(replace(BASE, file="small.ckpt"), tmp_path)
    assert server.ranges == [] and list(tmp_path.iterdir()) == []


def test_without_a_network_it_is_said_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="Small could not be downloaded") as error:
        download(BASE, tmp_path)
    assert f"put small.safetensors into {tmp_path}" in error.value.hint


@pytest.mark.parametrize(
    ("url", "file", "address", "name"),
    [
        ("https://example.org/a%20b.safetensors?token=1", "", "https://example.org/a%20b.safetensors?token=1", "a b.safetensors"),
        ("https://huggingface.co/x/y/blob/main/z.safetensors", "", "https://huggingface.co/x/y/resolve/main/z.safetensors", "z.safetensors"),
        ("https://bücher.example/my base.safetensors", "", "https://xn--bcher-kva.example/my%20base.safetensors", "my base.safetensors"),
        (" https://civitai.com/api/download/models/1 ", "mine.safetensors", "https://civitai.com/api/download/models/1", "mine.safetensors"),
    ],
)
def test_an_address_of_one_s_own(url: str, file: str, address: str, name: str) -> None:
    found = bases.own(url, file)
    assert (found.url, found.file) == (address, name)


@pytest.mark.parametrize(
    ("url", "file"),
    [
        ("http://example.org/a.safetensors", ""), ("file:///etc/passwd", "a.safetensors"), ("", ""), ("https://", "a.safetensors"),
        ("https://example.org/a.ckpt", ""), ("https://example.org/a.safetensors", "../../a.safetensors"), ("https://example.org/", ""),
        ("http://[", "a.safetensors"), ("https://[", "a.safetensors"),
        ("https://example.org:99999/a.safetensors", ""), ("ftp://example.org/a.safetensors", ""),
        ("https://user:word@example.org/a.safetensors", ""), ("https://exa mple.org/a.safetensors", ""), ("https:///a.safetensors", ""),
        ("https://example.org/..%2Fa.safetensors", "C:\\a.safetensors"), ("https://example.org/a.safetensors", ".safetensors"),
    ],
)  # fmt: skip
def test_addresses_and_names_that_are_refused(url: str, file: str) -> None:
    with pytest.raises(UserError):
        bases.own(url, file)


def test_the_catalogue_is_the_notebooks_lists(tmp_path: Path) -> None:
    titles = {base.title for base in CATALOGUE.values()}
    assert {b.family for b in CATALOGUE.values()} == {"sd1", "sdxl"} and len(titles) == 9
    for name, base in CATALOGUE.items():
        assert name == base.name and base.file.endswith(".safetensors") and all(base.about) and base.size > 10**9
        assert base.url.startswith("https://") and (not base.sha256 or len(base.sha256) == 64)
    (tmp_path / CATALOGUE["sdxl"].file).write_bytes(b"x")
    (tmp_path / (CATALOGUE["pony"].file + ".part")).write_bytes(b"x" * 7)
    listed = {x["name"]: (x["here"], x["fetched"]) for x in listing(tmp_path)}
    assert listed["sdxl"] == (True, 0) and listed["pony"] == (False, 7) and listed["sd15"] == (False, 0)
    for hostile in ("", "../x", "sdxl/../x", "SDXL"):
        with pytest.raises(UserError):
            bases.find(hostile)
