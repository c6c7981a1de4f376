"""``/tagger/v1``: the requests and answers of the WD14 tagger extension's API, so that programs written for it work with us.

POST interrogate {image, model, threshold, queue, name_in_queue} -> {"caption": {"tag": {name: p}, "rating": {name: p}}};
GET interrogators -> {"models": [name]}; POST unload-interrogators -> text. With queue and name_in_queue a picture is kept for the queue, and the
answer says {model: {queue: pictures}}; with a queue alone, {picture: {tag: p, "rating:…": p}} of all that was sent to it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response

from ..errors import UserError
from ..reading import parse_json
from ..tagging.catalogue import CATALOGUE
from .app import NO_STORE
from .brake import address_of, is_one_of
from .context import Context
from .desk import TaggerDesk
from .gate import in_thread, known_name, logged_in, same_site

LARGEST = 64 * 2**20  # bytes of a request
MOST_QUEUED = 1000  # pictures of all queues

# The names that programs know these taggers by.
ALIASES = {
    "wd14-vit.v1": "wd-v1-4-vit-tagger",
    "wd14-vit.v2": "wd-v1-4-vit-tagger-v2",
    "wd14-convnext.v1": "wd-v1-4-convnext-tagger",
    "wd14-convnext.v2": "wd-v1-4-convnext-tagger-v2",
    "wd14-convnextv2.v1": "wd-v1-4-convnextv2-tagger-v2",
    "wd14-swinv2-v1": "wd-v1-4-swinv2-tagger-v2",
    "wd-v1-4-moat-tagger.v2": "wd-v1-4-moat-tagger-v2",
}
OLDER = {
    "wd14-vit": "wd-v1-4-vit-tagger",
    "wd14-convnext": "wd-v1-4-convnext-tagger",
    "wd14-vit-v2": "wd-v1-4-vit-tagger-v2",
    "wd14-vit-v2-git": "wd-v1-4-vit-tagger-v2",
    "wd14-convnext-v2": "wd-v1-4-convnext-tagger-v2",
    "wd14-convnext-v2-git": "wd-v1-4-convnext-tagger-v2",
    "wd14-convnextv2-v2": "wd-v1-4-convnextv2-tagger-v2",
    "wd14-convnextv2-v2-git": "wd-v1-4-convnextv2-tagger-v2",
    "wd14-swinv2-v2": "wd-v1-4-swinv2-tagger-v2",
    "wd14-swinv2-v2-git": "wd-v1-4-swinv2-tagger-v2",
    "wd14-moat-v2": "wd-v1-4-moat-tagger-v2",
}


@dataclass(frozen=True)
class Asked:
    """A request. threshold: tags above it are told. queue, name_in_queue: "" for an answer at once."""

    image: str
    model: str
    threshold: float = 0.0
    queue: str = ""
    name_in_queue: str = ""

    @classmethod
    def read(cls, data: Any) -> Asked:
        """Raises HTTPException 404 without an image, 422 for what is no request."""
        data = data if isinstance(data, dict) else {}
        queue, name = (str(data.get(key) or "") for key in ("queue", "name_in_queue"))
        image = str(data.get("image") or "")
        if not image and not (queue and not name):
            raise HTTPException(404, "Image not found")
        try:
            return cls(image, str(data.get("model") or ""), float(data.get("threshold") or 0.0), queue, name)
        except (TypeError, ValueError):
            raise HTTPException(422, "threshold is not a number") from None


@dataclass
class Queues:
    """Pictures sent under a queue's name until the queue is asked for. ``work``: tags and ratings of one request."""

    work: Callable[[Asked], dict[str, dict[str, float]]]
    _waiting: dict[str, dict[str, Future[dict[str, float]]]] = field(default_factory=dict)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="tagger queue"))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, asked: Asked) -> dict[str, dict[str, float]]:
        """Queue a picture; {model: {queue: pictures in it}}. Raises HTTPException 429 when too many wait."""
        with self._lock:
            queue = asked.queue or secrets.token_hex(4).upper()
            if sum(map(len, self._waiting.values())) >= MOST_QUEUED:
                raise HTTPException(429, f"{MOST_QUEUED} pictures are queued already: ask for the results of a queue first.")
            known = self._waiting.setdefault(queue, {})
            name = asked.name_in_queue
            if name == "<sha256>":
                name = hashlib.sha256(asked.image.encode()).hexdigest()
            elif name in known:
                name = next(f"{name}#{k}" for k in range(MOST_QUEUED + 1) if f"{name}#{k}" not in known)
            if name not in known:
                known[name] = self._pool.submit(self._flat, asked)
            return {asked.model: {queue: float(len(known))}}

    def _flat(self, asked: Asked) -> dict[str, float]:
        found = self.work(asked)
        return {**found["tag"], **{f"rating:{name}": value for name, value in found["rating"].items()}}

    def take(self, queue: str) -> dict[str, dict[str, float]]:
        """What was found in a queue's pictures, all of them; the queue is then gone. Nothing for one that could not be read."""
        with self._lock:
            waiting = self._waiting.pop(queue, {})
        found: dict[str, dict[str, float]] = {}
        for name, future in waiting.items():
            found[name] = {}
            with suppress(UserError):
                found[name] = future.result()
        return found


def api(context: Context, app: Any) -> Any:
    """All routes, their paths below ``/tagger/v1``; ``app`` is the host's, which knows who has logged in."""
    own = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    own.include_router(_routes(context, app))
    return own


def _routes(context: Context, app: Any) -> APIRouter:
    studio = context.studio
    if context.desk is None:
        context.desk = TaggerDesk(lambda: context.host.environment)
    desk = context.desk

    def model_of(name: str) -> str:
        known = {m["name"]: m for m in studio.tagger_models()}
        plain = ALIASES.get(name) or OLDER.get(name) or name.removeprefix("SmilingWolf/")
        if not name:  # whoever names none takes what is here
            plain = next((m for m in known if known[m]["here"]), "")
        if plain not in known:
            raise HTTPException(404, "Model not found")
        return studio.tagger_model(plain)

    def interrogate(asked: Asked) -> dict[str, dict[str, float]]:
        found = desk.interrogate(model_of(asked.model), asked.image)
        return {"tag": {name: p for name, p in found["tag"].items() if p > asked.threshold}, "rating": found["rating"]}

    queues = Queues(interrogate)

    async def who(request: Request) -> None:
        await _let_in(request, app, context)

    own = APIRouter(dependencies=[Depends(who)])

    @own.post("/interrogate")
    async def _interrogate(request: Request) -> Response:
        asked = Asked.read(await _body(request))
        await in_thread(model_of, asked.model)
        try:
            if asked.name_in_queue:
                found = queues.put(asked)
            elif asked.queue:
                found = await in_thread(queues.take, asked.queue)
            else:
                found = await in_thread(interrogate, asked)
        except UserError as error:
            raise HTTPException(500, f"{error.message} {error.hint}".strip()) from None
        return _json({"caption": found})

    @own.get("/interrogators")
    async def _interrogators() -> Response:
        models = sorted(await in_thread(studio.tagger_models), key=lambda m: not m["here"])
        return _json({"models": [m["name"] for m in models] + [alias for alias, name in ALIASES.items() if name in CATALOGUE]})

    @own.post("/unload-interrogators")
    async def _unload() -> Response:
        return _json(f"Successfully unload {await in_thread(desk.unload)} model(s)")

    return own


async def _let_in(request: Request, app: Any, context: Context) -> None:
    """Programs name themselves by the host's API password, people by its login. Raises 401 for neither, 403 for another site's page."""
    shown = Request({**request.scope, "app": app})
    if not known_name(shown) or not same_site(shown, header=False):
        raise HTTPException(403, "This request came from another site.")
    passwords, given = context.host.api_logins(), _basic(request)
    if given and passwords:
        if wait := context.brake.take(address_of(request.scope)):
            seconds = math.ceil(wait)
            raise HTTPException(429, f"There were too many wrong passwords. Try again in {seconds} seconds.", headers={"Retry-After": str(seconds)})
        if is_one_of(given, [f"{name}:{word}".encode() for name, word in passwords]):
            context.brake.right(address_of(request.scope))
            return
    asks_people = getattr(app, "auth", None) is not None or getattr(app, "auth_dependency", None) is not None
    if (asks_people or not passwords) and await logged_in(shown):
        return
    raise HTTPException(401, "Incorrect username or password", headers={"WWW-Authenticate": "Basic"})


def _basic(request: Request) -> bytes:
    """``name:password`` of an Authorization header, empty without one."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    with suppress(binascii.Error, ValueError):
        return base64.b64decode(value) if kind.lower() == "basic" else b""
    return b""


async def _body(request: Request) -> Any:
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST:
            raise HTTPException(413, "The request is too large.")
    try:
        return parse_json(bytes(data))
    except ValueError:
        raise HTTPException(422, "The request is not JSON.") from None


def _json(content: Any) -> Response:
    return Response(json.dumps(content), media_type="application/json", headers=NO_STORE)
