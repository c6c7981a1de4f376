"""Who is listening: one stream of server-sent events for each open page, whatever it is about."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from ..reading import finite

TICK = 0.5  # seconds between two looks whether the server wants to end: an open stream would hold it up for ever (gradio 3: "Reload UI" hangs)
HEARTBEAT = 10.0  # seconds: proxies close a silent stream, and a gone reader is noticed by writing to it
BEHIND = 1000  # messages that a page may be behind before it is told to load everything anew


@dataclass(eq=False)
class _Listener:
    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[tuple[str, str]]
    project: str

    def put(self, kind: str, text: str) -> None:
        if self.queue.qsize() >= BEHIND:
            while not self.queue.empty():
                self.queue.get_nowait()
            kind, text = "reload", "{}"
        self.queue.put_nowait((kind, text))


class Hub:
    """Passes what happens to the pages that look at that project. Safe to call from any thread."""

    def __init__(self) -> None:
        self._listeners: set[_Listener] = set()
        self._lock = threading.Lock()

    def publish(self, kind: str, project: str, data: dict[str, Any]) -> None:
        """Tell the pages that show ``project`` ("" = every page) of a ``kind``: job, run, dataset, project, loras …"""
        with self._lock:
            listeners = [x for x in self._listeners if not project or x.project == project]
        if not listeners:
            return
        text = json.dumps(finite({"project": project, **data}), ensure_ascii=False, allow_nan=False)
        for listener in listeners:
            try:
                listener.loop.call_soon_threadsafe(listener.put, kind, text)
            except RuntimeError:  # its loop is closed: the server is being reloaded
                with self._lock:
                    self._listeners.discard(listener)

    def watched(self) -> set[str]:
        """The projects that some page looks at now."""
        with self._lock:
            return {x.project for x in self._listeners}

    async def stream(self, project: str, ending: Callable[[], bool] = lambda: False) -> AsyncIterator[str]:
        """Server-sent events for one page, as text, until it goes away or the server is ``ending``."""
        listener = _Listener(asyncio.get_running_loop(), asyncio.Queue(), project)
        with self._lock:
            self._listeners.add(listener)
        try:
            yield "event: hello\ndata: {}\n\n"
            told = time.monotonic()
            while not ending():
                try:
                    kind, text = await asyncio.wait_for(listener.queue.get(), TICK)
                except asyncio.TimeoutError:
                    if time.monotonic() - told < HEARTBEAT:
                        continue
                    yield ": still here\n\n"
                else:
                    yield f"event: {kind}\ndata: {text}\n\n"
                told = time.monotonic()
        finally:
            with self._lock:
                self._listeners.discard(listener)
