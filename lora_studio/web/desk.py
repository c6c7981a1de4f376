"""The process that keeps a tagger open for clients that send single pictures; it ends when nobody asks for a while."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .. import parent, processes
from ..endings import died
from ..environment import Environment
from ..errors import UserError

IDLE = 300.0  # seconds until its memory is given back


class TaggerDesk:
    """One for a Context. `environment` is asked when the process starts: packages may have come since."""

    def __init__(self, environment: Callable[[], Environment], idle: float = IDLE) -> None:
        self._environment = environment
        self._idle = idle
        self._child: subprocess.Popen[str] | None = None
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def interrogate(self, model: str, image: str) -> dict[str, Any]:
        """{"tag": {name: probability}, "rating": {…}, "provider"} of a picture in base64. Raises UserError."""
        return self._ask({"model": model, "image": image})

    def unload(self) -> int:
        """Give the memory back; how many taggers were open."""
        if not self.running:
            return 0
        count = int(self._ask({"unload": True})["unloaded"])
        self.close()
        return count

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            try:
                found = self._exchange(request)
            finally:
                self._timer = threading.Timer(self._idle, self.close)
                self._timer.daemon = True
                self._timer.start()
        if "error" in found:
            raise UserError(str(found["error"]), str(found.get("hint", "")))
        return found

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        child = self._child if self.running else self._start()
        assert child is not None and child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(json.dumps(request) + "\n")
            child.stdin.flush()
            found = json.loads(child.stdout.readline())
        except (OSError, ValueError):
            code = None
            with suppress(subprocess.TimeoutExpired):
                code = child.wait(1.0)
            self._end()
            hint = "Its last words are in the console; see also: doctor"
            raise died(message="The tagger's process ended without an answer.", code=code, hint=hint) from None
        return found if isinstance(found, dict) else {}

    def _start(self) -> subprocess.Popen[str]:
        self._end()  # of one that was ended from outside
        environment = self._environment()
        if missing := environment.missing():
            raise UserError(f"Not installed yet: {', '.join(missing)}.", "Install the packages from the Lora Studio tab first.")
        self._child = subprocess.Popen(
            environment.module("lora_studio.tagging.serve"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8",
            errors="replace", env=environment.variables() | parent.helper(), **processes.hidden(),
        )  # fmt: skip
        return self._child

    def close(self) -> None:
        """End the process, once it has answered what it was asked."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        for stream in (child.stdin, child.stdout):
            if stream is not None:
                with suppress(OSError):  # it is gone already
                    stream.close()
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
