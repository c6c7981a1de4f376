"""The API of the WD14 tagger extension, answered by ours: its published request shapes, with the demo's tagger."""

from __future__ import annotations

import base64
import random
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest

from lora_studio.environment import Environment
from lora_studio.errors import UserError
from lora_studio.web.desk import TaggerDesk
from tests.web.test_gate import HERE

URL = "/tagger/v1"


def picture(color: str = "white", kind: str = "PNG") -> str:
    from PIL import Image

    data = BytesIO()
    Image.new("RGB", (32, 48), color).save(data, kind)
    return base64.b64encode(data.getvalue()).decode()


class FakeDesk:
    """Answers without a model; ``seen`` is what it was asked."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def interrogate(self, model: str, image: str) -> dict[str, Any]:
        self.seen.append((model, image))
        if image == "broken":
            raise UserError("The image is not base64.", "Send a PNG.")
        return {"tag": {"1girl": 0.99, "long_hair": 0.4, "smile": 0.05}, "rating": {"general": 0.8, "explicit": 0.01}, "provider": "CPU"}

    def unload(self) -> int:
        return 2


@pytest.fixture
def desk(context: Any) -> FakeDesk:
    context.desk = FakeDesk()
    return context.desk


@pytest.fixture
def plain(app: Any) -> Iterator[Any]:
    """A program: no header of ours, no browser's."""
    from fastapi.testclient import TestClient

    with TestClient(app, raise_server_exceptions=False) as own:
        yield own


def ask(client: Any, **body: Any) -> Any:
    return client.post(f"{URL}/interrogate", json={"model": "demo", **body})


def test_one_picture_is_answered_at_once(plain: Any, desk: FakeDesk) -> None:
    answer = ask(plain, image=picture(), threshold=0.35, queue="", name_in_queue="")
    assert answer.status_code == 200
    assert answer.json() == {"caption": {"tag": {"1girl": 0.99, "long_hair": 0.4}, "rating": {"general": 0.8, "explicit": 0.01}}}
    assert set(ask(plain, image=picture()).json()["caption"]["tag"]) == {"1girl", "long_hair", "smile"}, "the threshold is 0 where none is given"


def test_the_names_that_programs_know(plain: Any, desk: FakeDesk) -> None:
    models = plain.get(f"{URL}/interrogators").json()["models"]
    assert {"demo", "wd-swinv2-tagger-v3", "wd14-vit.v2", "wd-v1-4-moat-tagger.v2"} <= set(models)
    for name, meant in {
        "wd-v1-4-moat-tagger.v2": "wd-v1-4-moat-tagger-v2",
        "wd14-convnextv2.v1": "wd-v1-4-convnextv2-tagger-v2",
        "wd14-vit-v2-git": "wd-v1-4-vit-tagger-v2",
        "SmilingWolf/wd-vit-tagger-v3": "wd-vit-tagger-v3",
        "": "demo",
    }.items():
        assert ask(plain, image=picture(), model=name).status_code == 200
        assert desk.seen[-1][0] == meant
    assert ask(plain, image=picture(), model="../../etc").status_code == 404
    assert ask(plain, image=picture(), model="/").json()["detail"] == "Model not found"


def test_mistakes_are_told_as_fastapi_tells_them(plain: Any, desk: FakeDesk) -> None:
    assert ask(plain).json() == {"detail": "Image not found"}
    assert ask(plain, image="broken").json() == {"detail": "The image is not base64. Send a PNG."}
    assert ask(plain, image=picture(), threshold="much").status_code == 422
    assert plain.post(f"{URL}/interrogate", content=b"{").status_code == 422
    assert plain.post(f"{URL}/interrogate", content=b"[]").status_code == 404
    assert plain.post(f"{URL}/unload-interrogators").json() == "Successfully unload 2 model(s)"


def test_pictures_are_queued_and_asked_for_together(plain: Any, desk: FakeDesk) -> None:
    first = ask(plain, image=picture(), threshold=0.35, queue="hana", name_in_queue="a.png")
    assert first.json() == {"caption": {"demo": {"hana": 1.0}}}
    assert ask(plain, image=picture("red"), queue="hana", name_in_queue="a.png").json() == {"caption": {"demo": {"hana": 2.0}}}
    for _ in range(2):  # the same picture under its hash is kept once
        assert ask(plain, image=picture("blue"), queue="hana", name_in_queue="<sha256>").json()["caption"] == {"demo": {"hana": 3.0}}
    assert ask(plain, image="broken", queue="hana", name_in_queue="b.png").json()["caption"] == {"demo": {"hana": 4.0}}
    found = ask(plain, queue="hana").json()["caption"]
    assert found["a.png"] == {"1girl": 0.99, "long_hair": 0.4, "rating:general": 0.8, "rating:explicit": 0.01}
    assert set(found) >= {"a.png", "a.png#0", "b.png"} and len(found) == 4 and found["b.png"] == {}
    assert ask(plain, queue="hana").json() == {"caption": {}}, "a queue is gone once it is asked for"
    own = ask(plain, image=picture(), name_in_queue="a.png").json()["caption"]["demo"]
    assert len(own) == 1 and ask(plain, queue=next(iter(own))).json()["caption"]["a.png"]["1girl"] == 0.99


def test_queues_are_bounded(plain: Any, desk: FakeDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lora_studio.web.taggerv1.MOST_QUEUED", 2)
    for name in ("a", "b"):
        assert ask(plain, image=picture(), queue="x", name_in_queue=name).status_code == 200
    assert ask(plain, image=picture(), queue="y", name_in_queue="c").status_code == 429
    monkeypatch.setattr("lora_studio.web.taggerv1.LARGEST", 10)
    assert ask(plain, image=picture()).status_code == 413


def test_pages_of_other_sites_may_not_ask(plain: Any, desk: FakeDesk) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Origin": "null"}):
        assert plain.post(f"{URL}/interrogate", json={"image": picture()}, headers={**HERE, **headers}).status_code == 403
    assert not desk.seen


def test_a_password_for_programs(app: Any, context: Any, desk: FakeDesk) -> None:
    from fastapi.testclient import TestClient

    context.host.logins = (("me", "päss:word"),)
    with TestClient(app) as client:
        assert client.get(f"{URL}/interrogators").status_code == 401
        assert client.get(f"{URL}/interrogators").headers["www-authenticate"] == "Basic"
        for wrong in ("me:word", "you:päss:word", "", "me"):
            header = {"Authorization": "Basic " + base64.b64encode(wrong.encode()).decode()}
            assert client.get(f"{URL}/interrogators", headers=header).status_code == 401
        assert client.get(f"{URL}/interrogators", headers={"Authorization": "Basic %%%"}).status_code == 401
        right = {"Authorization": "Basic " + base64.b64encode("me:päss:word".encode()).decode()}
        assert client.get(f"{URL}/interrogators", headers=right).status_code == 200


def test_the_extension_s_own_routes_stay_its_own(app: Any, context: Any, desk: FakeDesk) -> None:
    """It may be installed beside us, and register after us."""
    from fastapi.testclient import TestClient

    app.add_api_route(f"{URL}/interrogators", lambda: {"models": ["theirs"]})
    with TestClient(app) as client:
        assert client.get(f"{URL}/interrogators").json() == {"models": ["theirs"]}
        assert client.post(f"{URL}/unload-interrogators").status_code == 404


@pytest.mark.slow
def test_a_real_tagger_stays_open_and_ends(plain: Any, context: Any) -> None:
    from lora_studio.demo.drawer import draw
    from lora_studio.demo.scene import sample_scene, scene_tags
    from lora_studio.tagging import load_tagger

    rng = random.Random(3)
    scene = sample_scene(rng)
    drawn = draw(scene, rng)
    data = BytesIO()
    drawn.save(data, "PNG")
    text = "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
    context.desk = own = TaggerDesk(lambda: Environment(python=sys.executable), idle=3.0)
    caption = ask(plain, image=text, threshold=0.5).json()["caption"]
    assert {tag.replace(" ", "_") for tag in scene_tags(scene)} <= set(caption["tag"])
    with load_tagger("demo") as tagger:
        expected = tagger.predict([drawn])[0]
    names = [label.name for label in tagger.labels]
    assert all(abs(p - float(expected[names.index(tag)])) < 1e-5 for tag, p in caption["tag"].items())
    child = own._child
    assert child is not None and own.running
    assert ask(plain, image=picture(kind="JPEG")).status_code == 200 and own._child is child, "the same process"
    assert ask(plain, image="AAAA").status_code == 500 and own.running, "a broken picture does not end it"
    assert plain.post(f"{URL}/unload-interrogators").json() == "Successfully unload 1 model(s)" and not own.running
    assert ask(plain, image=picture()).status_code == 200
    child = own._child
    assert child is not None
    child.kill()  # whatever kills it, the next request starts another
    child.wait()
    assert ask(plain, image=picture()).status_code == 200
    deadline = time.monotonic() + 30
    while own.running and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not own.running, "it ends when nobody asks"
