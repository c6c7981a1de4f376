"""Uploads: they wait in batches, with their folders, until they are in the project or given up."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from lora_studio.dataset.uploads import INCOMING, KEPT, OPEN
from lora_studio.project import Project
from lora_studio.web import uploads as subject
from tests.web.test_projects_routes import API, finished, names, png

BATCH = "b" * 24


def upload(client: Any, name: str, content: bytes, batch: str = "", project: str = "hana") -> Any:
    more = {"batch": batch} if batch else {}
    return client.post(API + f"projects/{project}/uploads", params={"name": name, **more}, content=content)


class Slow:
    """An upload that stops in the middle until ``go`` is set, straight into the application: a test client sends only what it has whole."""

    def __init__(self, app: Any, name: str, batch: str, first: bytes, second: bytes) -> None:
        self.app, self.parts = app, [first, second]
        self.query = urlencode({"name": name, "batch": batch}).encode()
        self.going, self.go = threading.Event(), threading.Event()
        self.status = 0

    def run(self) -> int:
        asyncio.run(self._ask())
        return self.status

    async def _ask(self) -> None:
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http", "root_path": "",
            "path": API + "projects/hana/uploads", "raw_path": b"", "query_string": self.query, "state": {},
            "headers": [(b"host", b"localhost"), (b"x-lora-studio", b"1")], "client": ("127.0.0.1", 1), "server": ("localhost", 80),
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            if len(self.parts) == 1:
                self.going.set()
                assert await asyncio.to_thread(self.go.wait, 30)
            part = self.parts.pop(0) if self.parts else b""
            return {"type": "http.request", "body": part, "more_body": bool(self.parts)}

        async def send(message: dict[str, Any]) -> None:
            self.status = message.get("status", self.status)

        await self.app(scope, receive, send)


def home(context: Any, project: str = "hana") -> Path:
    return context.studio.projects_dir / INCOMING / project


def waiting(context: Any) -> set[str]:
    """The files that wait, as <batch>/<copy>/<path>."""
    return {path.relative_to(home(context)).as_posix() for path in home(context).rglob("*") if path.is_file()}


def bring(client: Any, **body: Any) -> dict[str, Any]:
    answer = client.post(API + "projects/hana/import", json=body)
    assert answer.status_code == 202, answer.json()
    return finished(client, answer.json())


def picture(number: int, size: int = 48) -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.new("RGB", (size, size), (number * 20 % 256, number * 7 % 256, 90)).save(data, "PNG")
    return data.getvalue()


def packed(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def imported(project: Project) -> dict[bytes, str]:
    """Each picture of raw/ and its caption."""
    found = {}
    for path in project.raw_dir.iterdir():
        if path.suffix != ".txt":
            caption = path.with_suffix(".txt")
            found[path.read_bytes()] = caption.read_text(encoding="utf-8") if caption.exists() else ""
    return found


def test_uploads_become_pictures(client: Any, context: Any, project: Project, tmp_path: Path) -> None:
    good = png(tmp_path / "a.png").read_bytes()
    assert upload(client, "花 a.png", good).json() == {"name": "花 a.png", "batch": OPEN, "bytes": len(good)}
    assert upload(client, "花 a.txt", b"1girl, smile").status_code == 200
    assert upload(client, "broken.png", b"no picture").status_code == 200  # whether it is one is told by the import
    done = bring(client)
    assert done["state"] == "done", done
    assert len(done["result"]["added"]) == 1 and [path for path, _ in done["result"]["skipped"]] == ["broken.png"]
    assert names(project.raw_dir) == {"花 a.png", "花 a.txt"}
    assert not waiting(context)
    assert client.post(API + "projects/hana/import", json={}).status_code == 422  # nothing was uploaded since


def test_captions_stay_with_the_pictures_of_their_folder(client: Any, context: Any, project: Project) -> None:
    """As in every dataset of kohya's: the same names in several folders, some with captions, some without."""
    wanted = {}
    files: list[tuple[str, bytes]] = []
    for k, (folder, suffix) in enumerate([("10_mira red", "jpg"), ("3_mira blue", "png"), ("1_girl", "png")]):
        for number in (1, 2, 3):
            content = picture(10 * k + number)
            files.append((f"drop/{folder}/{number}.{suffix}", content))
            wanted[content] = f"mira, {folder}, {number}" if k < 2 else ""
            if k < 2:
                files.append((f"drop/{folder}/{number}.txt", wanted[content].encode()))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: upload(client, *one, batch=BATCH).status_code, reversed(files)))
    assert set(answers) == {200} and len(waiting(context)) == len(files)
    assert bring(client, batch=BATCH)["state"] == "done"
    assert imported(project) == wanted
    # The same dropped once more: nothing twice.
    for one in files:
        upload(client, *one, batch="c" * 24)
    again = bring(client, batch="c" * 24)["result"]
    assert again["added"] == [] and len(again["skipped"]) == 9 and imported(project) == wanted


def test_many_uploads_of_one_name_at_once_lose_nothing(client: Any, context: Any, project: Project) -> None:
    contents = [picture(k, 200) for k in range(12)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda content: upload(client, "cover.png", content).status_code, contents))
    assert set(answers) == {200}
    assert {path.read_bytes() for path in home(context).rglob("cover.png")} == set(contents)
    assert len(bring(client)["result"]["added"]) == 12 and set(imported(project)) == set(contents)
    assert not list((home(context).parent / ".parts").iterdir())


def test_where_it_is_not_clear_whose_caption_it_is_nobody_gets_it(client: Any, context: Any, project: Project) -> None:
    """Bare names, as a program of before sends them: the captions of two folders cannot be told apart. None is lost without a word."""
    for k, content in enumerate([picture(1), picture(2)]):
        upload(client, "1.png", content)
        upload(client, "1.txt", f"caption {k}".encode())
    upload(client, "2.png", picture(3))
    upload(client, "2.txt", b"clear")
    result = bring(client)["result"]
    assert imported(project) == {picture(1): "", picture(2): "", picture(3): "clear"}
    assert sorted(name for name, reason in result["skipped"] if "whose caption" in reason) == ["1.txt", "1.txt"]


def test_the_same_file_again_is_one_file(client: Any, context: Any, project: Project) -> None:
    for _ in range(3):  # an upload whose answer was lost is sent again
        assert upload(client, "x/a.png", picture(1), BATCH).json()["name"] == "x/a.png"
    assert waiting(context) == {f"{BATCH}/1/x/a.png"}


def test_two_uploads_of_one_name_are_two_files(client: Any, context: Any, project: Project) -> None:
    assert [upload(client, "a.png", bytes([n])).json()["name"] for n in range(3)] == ["a.png"] * 3
    assert waiting(context) == {"open/1/a.png", "open/2/a.png", "open/3/a.png"}


# -- ZIPs ------------------------------------------------------------------------


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "with a picture beside it"])
def test_a_zip_is_unpacked(client: Any, context: Any, project: Project, beside: bool) -> None:
    wanted = {picture(1): "one", picture(2): "two", **({picture(9): ""} if beside else {})}
    upload(client, "mira/set.zip", packed({"a/1.png": picture(1), "a/1.txt": b"one", "b/1.png": picture(2), "b/1.txt": b"two"}), BATCH)
    if beside:
        upload(client, "mira/p.png", picture(9), BATCH)
    done = bring(client, batch=BATCH)
    assert done["state"] == "done" and imported(project) == wanted and not waiting(context)


def test_a_zip_that_is_none_stays_and_is_named(client: Any, context: Any, project: Project) -> None:
    upload(client, "x/broken.zip", b"PK no zip", BATCH)
    upload(client, "x/good.zip", packed({"1.png": picture(1)}), BATCH)
    upload(client, "x/p.png", picture(2), BATCH)
    result = bring(client, batch=BATCH)["result"]
    assert set(imported(project)) == {picture(1), picture(2)}
    [[name, reason]] = result["skipped"]
    assert name == "x/broken.zip" and "cannot be unpacked" in reason
    assert waiting(context) == {f"{BATCH}/1/x/broken.zip"}
    [left] = client.get(API + "projects/hana/uploads").json()["batches"]
    assert (left["batch"], left["files"], left["names"], left["busy"]) == (BATCH, 1, ["x/broken.zip"], "")
    failed = bring(client, batch=BATCH)
    assert failed["state"] == "failed" and "cannot be unpacked" in failed["error"] and len(waiting(context)) == 1


def test_what_fails_stays_whole(client: Any, context: Any, project: Project) -> None:
    upload(client, "a/1.txt", b"a caption and no picture", BATCH)
    failed = bring(client, batch=BATCH)
    assert failed["state"] == "failed" and "no pictures" in failed["error"] and str(home(context)) not in failed["error"]
    assert waiting(context) == {f"{BATCH}/1/a/1.txt"}
    upload(client, "a/2.png", picture(1), BATCH)
    result = bring(client, batch=BATCH)["result"]
    assert len(result["added"]) == 1 and [name for name, _ in result["skipped"]] == ["a/1.txt"] and not waiting(context)


# -- one import, one batch ----------------------------------------------------------


def test_an_import_takes_one_batch_and_leaves_the_others(client: Any, context: Any, project: Project) -> None:
    for batch, number in ((BATCH, 1), ("c" * 8, 2), ("", 3)):
        upload(client, "a.png", picture(number), batch)
    assert bring(client, batch=BATCH)["state"] == "done" and set(imported(project)) == {picture(1)}
    assert waiting(context) == {"cccccccc/1/a.png", "open/1/a.png"}
    assert bring(client)["state"] == "done" and set(imported(project)) == {picture(1), picture(3)}
    assert waiting(context) == {"cccccccc/1/a.png"}
    for wrong in ("gone" * 4, "short", "../raw", "C" * 10, "a b c d e f"):
        assert client.post(API + "projects/hana/import", json={"batch": wrong}).status_code == 422
        assert upload(client, "a.png", picture(1), wrong).status_code == (200 if wrong == "gone" * 4 else 422)


def test_an_import_while_something_comes_in(app: Any, context: Any, project: Project) -> None:
    """The upload that is on its way is neither taken half nor deleted; its batch cannot be imported or thrown away yet."""
    from fastapi.testclient import TestClient

    slow = Slow(app, "a.png", BATCH, picture(1)[:20], picture(1)[20:])
    with TestClient(app, headers={"X-Lora-Studio": "1"}) as client:
        upload(client, "b.png", picture(2), BATCH)
        upload(client, "c.png", picture(3))
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(slow.run)
            assert slow.going.wait(30)
            [mine] = [one for one in client.get(API + "projects/hana/uploads").json()["batches"] if one["batch"] == BATCH]
            assert mine["busy"] == "uploading" and mine["files"] == 1
            refused = client.post(API + "projects/hana/import", json={"batch": BATCH})
            assert refused.status_code == 422 and "still coming in" in refused.json()["error"]
            assert client.delete(API + f"projects/hana/uploads/{BATCH}").status_code == 422
            assert bring(client)["state"] == "done"  # the others
            slow.go.set()
            assert coming.result() == 200
        assert bring(client, batch=BATCH)["state"] == "done"
    assert set(imported(project)) == {picture(1), picture(2), picture(3)}


def test_a_renamed_project_takes_its_uploads_along(client: Any, context: Any, project: Project) -> None:
    upload(client, "a.png", picture(1), BATCH)
    client.post(API + "projects/hana/bundles/uploads?name=x.zip", content=b"zip")
    (home(context, "雪") / ("d" * 8) / "1").mkdir(parents=True)  # of a project of that name that is gone
    (home(context, "雪") / ("d" * 8) / "1" / "z.png").write_bytes(picture(8))
    renamed = client.post(API + "projects/hana/rename", json={"name": "雪"}).json()
    url = API + "projects/" + quote(renamed["id"])
    assert {one["batch"] for one in client.get(url + "/uploads").json()["batches"]} == {BATCH, "d" * 8}
    assert len(client.get(url + "/bundles").json()["arrived"]) == 1 and not home(context).exists()
    done = finished(client, client.post(url + "/import", json={"batch": BATCH}).json())
    assert done["state"] == "done" and len(names(context.studio.projects_dir / "雪" / "raw")) == 1


def test_an_upload_that_ends_after_a_rename_says_so(app: Any, context: Any, project: Project) -> None:
    from fastapi.testclient import TestClient

    slow = Slow(app, "a.png", BATCH, b"x", b"y")
    with TestClient(app, headers={"X-Lora-Studio": "1"}) as client, ThreadPoolExecutor(1) as pool:
        coming = pool.submit(slow.run)
        assert slow.going.wait(30)
        assert client.post(API + "projects/hana/rename", json={"name": "yuki"}).status_code == 200
        slow.go.set()
        assert coming.result() == 422
    assert not list((home(context).parent / ".parts").iterdir()) and not home(context).exists()


# -- given up ---------------------------------------------------------------------


def test_what_waits_is_shown_and_thrown_away_only_when_told(client: Any, context: Any, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    upload(client, "x/a.png", picture(1), BATCH)
    assert [one["busy"] for one in client.get(API + "projects/hana/uploads").json()["batches"]] == ["uploading"]  # another page may be at it
    monkeypatch.setattr(subject, "QUIET", -1.0)
    [one] = client.get(API + "projects/hana/uploads").json()["batches"]
    assert one == {**one, "batch": BATCH, "files": 1, "bytes": len(picture(1)), "names": ["x/a.png"], "busy": ""}
    for wrong in ("..", "gone", "%2e%2e", "..%2f..%2fhana", "open%00"):
        assert client.delete(API + "projects/hana/uploads/" + wrong).status_code in (404, 405, 422)
    assert waiting(context)
    assert client.delete(API + f"projects/hana/uploads/{BATCH}").json() == {"batches": []}
    assert not waiting(context)
    assert client.delete(API + f"projects/hana/uploads/{BATCH}").status_code == 422


def test_what_an_older_version_left_is_taken_over(client: Any, context: Any, project: Project) -> None:
    home(context).mkdir(parents=True)
    (home(context) / "a.png").write_bytes(picture(1))
    (home(context) / "a.txt").write_bytes(b"1girl")
    assert [one["batch"] for one in client.get(API + "projects/hana/uploads").json()["batches"]] == [OPEN]
    assert bring(client)["state"] == "done" and imported(project) == {picture(1): "1girl"}


def test_after_two_days_it_is_cleaned_away(
    client: Any, context: Any, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what is ours by its form, and nothing behind a link."""
    monkeypatch.setattr(subject, "QUIET", -1.0)
    root = home(context).parent
    upload(client, "old.png", picture(1), BATCH)
    upload(client, "new.png", picture(2), "n" * 24)
    photos = tmp_path / "photos" / ("p" * 24)
    png(photos / "1" / "mine.png")
    png(root / "hana" / "not ours!" / "kept.png")
    png(root / "hana" / "loose.png")
    (root / ".parts" / ".tmp-dead.part").write_bytes(b"x")
    (root / ".parts" / "kept.part").write_bytes(b"x")
    (root / "_bundles" / "hana").mkdir(parents=True)
    (root / "_bundles" / "hana" / "bundle-1.zip").write_bytes(b"x")
    (root / "_bundles" / "hana" / "kept.zip").write_bytes(b"x")
    links = 0
    for link, target in ((root / "linked", tmp_path / "photos"), (root / "hana" / ("l" * 24), photos)):
        try:
            link.symlink_to(target, target_is_directory=True)
            links += 1
        except OSError:
            pass
    old = time.time() - KEPT - 60
    for path in [*root.rglob("*"), *photos.rglob("*"), photos]:
        if "n" * 24 not in path.parts and not path.is_symlink():
            os.utime(path, (old, old))
    client.get(API + "projects/hana/uploads")
    left = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and not any(p.is_symlink() for p in path.parents)}
    # What an older version left waits as a batch from now on.
    kept = {"hana/not ours!/kept.png", "hana/open/1/loose.png", f"hana/{'n' * 24}/1/new.png"}
    assert left == {*kept, ".parts/kept.part", "_bundles/hana/kept.zip"}
    assert (photos / "1" / "mine.png").exists() and (links == 0 or (root / "linked").is_symlink())


# -- names and disks ---------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["../../evil.png", "..\\..\\evil.png", "/etc/evil.png", "C:\\evil.png", "\\\\server\\share\\evil.png", "evil.png\0.txt", "con.png"]
)
def test_an_upload_stays_in_its_folder(client: Any, context: Any, project: Project, tmp_path: Path, name: str) -> None:
    answer = upload(client, name, b"x")
    assert answer.status_code in (200, 422)
    kept = {path for path in tmp_path.rglob("*") if path.is_file() and path.name != "project.json"}
    assert all((home(context) / OPEN / "1") in path.parents for path in kept) and len(kept) == (answer.status_code == 200)
    assert not any(part.split(".")[0].lower() == "con" for path in kept for part in path.parts)


def test_long_paths_are_stored_shorter_and_told_apart(client: Any, context: Any, project: Project) -> None:
    for k in range(2):
        long = "/".join(f"folder number {n} of a long way" for n in range(20)) + f"/{k}"
        upload(client, f"{long}/1.png", picture(k), BATCH)
        upload(client, f"{long}/1.txt", f"caption {k}".encode(), BATCH)
    assert all(len(one) < 140 for one in waiting(context))
    assert bring(client, batch=BATCH)["state"] == "done"
    assert imported(project) == {picture(k): f"caption {k}" for k in range(2)}


@pytest.mark.parametrize("name", ["a.exe", "a", "", "a.png.js", ".png", "a.svg", "a.html"])
def test_kinds_that_are_not_read(client: Any, context: Any, project: Project, name: str) -> None:
    assert upload(client, name, b"x").status_code == 422
    assert not waiting(context)


def test_an_upload_too_large_leaves_nothing(client: Any, context: Any, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "LARGEST", 1000)
    for content in (b"x" * 1001, iter([b"x" * 900, b"x" * 900])):
        answer = upload(client, "a.png", content)  # type: ignore[arg-type]
        assert answer.status_code == 422 and "larger than" in answer.json()["error"]
    assert not waiting(context) and not list((home(context).parent / ".parts").iterdir())
    assert upload(client, "a.png", b"x" * 1000).status_code == 200


def test_a_full_disk_is_said(client: Any, context: Any, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_studio import patience

    def full(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(patience, "replace", full)
    answer = upload(client, "a.png", b"x")
    assert answer.status_code == 422 and "disk is full" in answer.json()["error"]
    assert not waiting(context) and not list((home(context).parent / ".parts").iterdir())
