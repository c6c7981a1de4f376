"""Makes an overlay with pip: the host's own resolver says what is missing; that list and nothing else goes into a new folder, then swapped in.

pip runs in the host's Python, so what the host has counts as installed, and its torch is a constraint: it is never fetched, moved or replaced.
What was fetched stays in a cache folder until all is done, so a stopped or broken installation goes on where it was.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from . import longpaths, overlay, patience, pins, processes, proxies
from .endings import died
from .environment import Environment
from .errors import UserError
from .files import atomic_write_json, atomic_write_text
from .longpaths import SWITCH
from .moving import move_all
from .patience import HeldError, rmtree
from .progress import Progress

REPORTS = (22, 2)  # the first pip that can say what it would install without doing it
MODERN = (24, 1)  # the first that tells how far a download is
ROOM = 2 * 10**9
UNUSED = 14 * 86400  # seconds: another WebUI, or a run that outlived a restart, may still be using an overlay that is not ours
# A try that fails here would fail in the middle of a training run.
TRY = "import torch, onnxruntime, pandas, PIL, psutil, yaml, safetensors.torch, tensorboard; import lora_studio.trainer.loop; print('works')"
HOST_OWNED = re.compile(r"(torch|torchvision|torchaudio|triton|nvidia-.*)$")
#: how pip says that another program held a file
HELD = re.compile(r"\[WinError (?:5|32|33)\][^\n]*" + (r"|\[Errno 13\][^\n]*" if patience.WINDOWS else ""))
#: seconds between two tries of unpacking, when it was that
UNPACK_AGAIN = (5.0, 20.0)
AGAIN = "Then press Install again: what was fetched is kept, it goes on where it was."


def install(packages: Path, progress: Progress) -> dict[str, Any]:
    """The overlay for this Python in ``packages``. Returns ``{"folder", "installed": ["name==version", …]}``.

    Raises:
        UserError: no torch, no network, no room, no versions that fit together, or packages that do not start.
    """
    facts = overlay.Facts.read()
    if not facts.torch:
        hint = "Start the WebUI once without --skip-install: it then installs its own packages."
        raise UserError("PyTorch is not installed in the WebUI's Python.", hint)
    target = overlay.folder(packages, facts)
    if overlay.is_complete(target) and not overlay.missing(target):
        return {"folder": str(target), "installed": []}
    _make_room(packages)
    new = packages / f"new-{target.name}-{os.getpid()}"
    if excess := longpaths.excess(new, longpaths.IN_OVERLAY):
        what = f"The folder for the training packages is {excess} characters too deep for Windows: {packages}"
        raise UserError(what, f"Choose a shorter one under Settings → Lora Studio (C:\\lora-packages), {SWITCH}.")
    pip = _Pip(packages, progress)
    pip.modernise()
    chosen = pip.resolve(overlay.requirements(facts, pins.wanted_versions()), overlay.constraints(facts))
    try:
        pip.unpack(chosen, new)
        _try(new, packages, lambda: progress(len(chosen) + 1, len(chosen) + 2, "Trying the packages out"))
        stamp = {"installed": chosen, "torch": facts.torch, "python": facts.python, "pins": pins.digest(), "time": int(time.time())}
        atomic_write_json(new / overlay.STAMP, stamp)
        _swap(new, target)
    finally:
        rmtree(new, ignore_errors=True)
    for old in [packages / "cache", *(o for o in overlay.others(packages, target) if overlay.unused_for(o) > UNUSED)]:
        rmtree(old, ignore_errors=True)
    progress(len(chosen) + 2, len(chosen) + 2, "")
    return {"folder": str(target), "installed": chosen}


def _make_room(packages: Path) -> None:
    """The folder, without what an earlier try left half-made, and with room on its disk."""
    try:
        packages.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(packages).free
    except OSError as error:
        raise UserError(f"The folder {packages} cannot be written: {error}", "Choose another one under Settings → Lora Studio.") from error
    if free < ROOM:
        what = f"Only {free / 1e9:.1f} GB are free at {packages}; the training packages need {ROOM / 1e9:.0f}."
        raise UserError(what, "Free some space, or choose another folder under Settings → Lora Studio.")
    for left in packages.glob("new-*"):
        if time.time() - left.stat().st_mtime > 3600:  # not another process's that is at it
            rmtree(left, ignore_errors=True)


def _swap(new: Path, target: Path) -> None:
    """Under its name at once and whole. Somebody else's that came first is as good; a broken one of ours gives way."""
    broken = target.with_name(f"new-old-{target.name}-{os.getpid()}")
    try:
        move_all([*([(target, broken)] if target.exists() else []), (new, target)])
    except UserError as error:
        raise UserError(error.message, AGAIN) from error
    rmtree(broken, ignore_errors=True)


def _try(new: Path, packages: Path, tell: Callable[[], None]) -> None:
    """Import everything in a process of its own, as a training run will."""
    variables = Environment(packages=packages).variables()
    variables["PYTHONPATH"] = os.pathsep.join([str(new), variables["PYTHONPATH"]])
    code = f"import os, sys; sys.path[:0] = os.environ['PYTHONPATH'].split(os.pathsep); {TRY}"
    lines: list[str] = []
    if ended := _run([sys.executable, "-c", code], variables, lines.append, tell):
        raise died(message="The training packages were installed but do not start.", code=ended, printed="\n".join(lines))


class _Pip:
    """pip of the host's Python, told to leave the host alone."""

    def __init__(self, packages: Path, progress: Progress) -> None:
        self.packages, self.progress = packages, progress
        self.tools = packages / "tools"
        self.version: tuple[int, ...] = (0, 0)
        # Settings of the person's own (an index, a proxy, a certificate) stay; those that name another target go.
        away = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_NO_CACHE_DIR", "PIP_REQUIRE_VIRTUALENV", "PIP_REPORT", "PIP_QUIET", "PIP_DRY_RUN")
        self.variables = {**{k: v for k, v in os.environ.items() if k not in away}, "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        if index := os.environ.get("INDEX_URL", "").strip():  # a mirror, named as the WebUI takes it: before pip's own setting, as there
            self.variables["PIP_INDEX_URL"] = index
        self.variables |= {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "PIP_NO_INPUT": "1", "PIP_NO_COLOR": "1"}
        self.meter = _Meter(progress)

    def modernise(self) -> None:
        """A pip of our own where the host's is too old to tell how far it is. One that at least reports will do without."""
        found = pins.installed_version("pip")
        if found is None:
            raise UserError("The WebUI's Python has no pip.", f"Run: {sys.executable} -m ensurepip")
        own = pins.installed([str(self.tools)]).get("pip")
        if pins.numbers(found) >= MODERN:
            self.version = pins.numbers(found)
        elif own is not None and pins.numbers(own) >= MODERN:
            self._use_own(own)
        else:
            self.version = pins.numbers(found)
            lines = self._pip("install", "--no-deps", "--upgrade", "--target", str(self.tools), "pip>=24.1", check=pins.numbers(found) < REPORTS)
            own = pins.installed([str(self.tools)]).get("pip") if lines is not None else None
            if own is not None:
                self._use_own(own)
        self.meter = _Meter(self.progress)

    def _use_own(self, version: str) -> None:
        self.version = pins.numbers(version)
        self.variables["PYTHONPATH"] = os.pathsep.join(filter(None, (str(self.tools), self.variables.get("PYTHONPATH", ""))))

    def resolve(self, wanted: Sequence[str], constraints: Sequence[str]) -> list[str]:
        """What has to be installed so that everything wanted is there, as ``name==version``. Nothing is changed."""
        files = self.packages / "cache"
        files.mkdir(exist_ok=True)
        for name, lines in (("requirements.txt", wanted), ("constraints.txt", constraints)):
            atomic_write_text(files / name, "\n".join(lines) + "\n")
        report = files / "report.json"
        self._pip(
            "install", "--dry-run", "--report", str(report), "--constraint", str(files / "constraints.txt"), "-r", str(files / "requirements.txt")
        )
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
        chosen = [f"{item['metadata']['name']}=={item['metadata']['version']}" for item in found]
        if wrong := [name for name in chosen if HOST_OWNED.match(name.split("==")[0].lower())]:
            what = f"The training packages would need {', '.join(wrong)} instead of the WebUI's own."
            raise UserError(what, "Nothing was changed. The WebUI's PyTorch is too old or too new: see the list of supported versions in the guide.")
        return chosen

    def unpack(self, chosen: Sequence[str], folder: Path) -> None:
        """Exactly these packages into a new folder; again, when another program held one of their files."""
        raw = ("--progress-bar", "raw") if self.version >= MODERN else ()
        for again in (*UNPACK_AGAIN, None):
            rmtree(folder)
            folder.mkdir(parents=True)
            if not chosen:
                return
            self.meter = _Meter(self.progress, len(chosen))
            try:
                self._pip("install", "--no-deps", "--target", str(folder), *raw, *chosen)
                return
            except HeldError:
                if again is None:
                    raise
            self.progress(0, 0, "Another program holds a file: trying again")
            patience.sleep(again)

    def _pip(self, *arguments: str, check: bool = True) -> list[str] | None:
        """Run it; what it printed. Raises UserError where it fails, or gives None when that is not to be checked."""
        lines: list[str] = []

        def read(line: str) -> None:
            self.meter.see(line)
            if not line.startswith("Progress "):
                lines.append(line)

        command = [sys.executable, "-X", "utf8", "-m", "pip", *arguments, "--cache-dir", str(self.packages / "cache")]
        if processes.isolated() and "PYTHONPATH" in self.variables:
            boot = f"import runpy, sys; sys.path.insert(0, {str(self.tools)!r}); runpy.run_module('pip', None, '__main__', True)"
            command[3:5] = ["-c", boot]
        if _run(command, self.variables, read, self.meter.tell) == 0:
            return lines
        if check:
            raise explain(lines)
        return None


def explain(lines: Sequence[str]) -> UserError:
    """pip's failure as a message with a way out."""
    text = "\n".join(lines)
    said = "\n".join([line for line in lines if line.startswith(("ERROR", "error", "OSError"))][-3:] or list(lines)[-3:])
    if re.search(r"No space left|Errno 28|WinError 112", text):
        return UserError("The disk is full.", f"Free some space. {AGAIN}")
    if "Long Path support" in text or re.search(r"WinError (3|206)\b|Errno 36", text):
        return UserError("A path became too long for Windows.", f"Choose a shorter folder under Settings → Lora Studio, {SWITCH}.")
    if "SOCKS support" in text:
        return UserError("pip cannot use a SOCKS proxy.", proxies.SOCKS_HINT)
    if found := HELD.search(text):
        what = f"Another program held a file of the training packages (a virus scanner, often): {found.group(0)}"
        return HeldError(what, f"Wait a moment, or make an exception for the folder of the packages. {AGAIN}")
    if re.search(r"NewConnectionError|Max retries|NameResolution|ConnectTimeout|ReadTimeout|ProxyError|SSLError|Temporary failure|getaddrinfo", text):
        return UserError("The package index cannot be reached.", f"Check the network, a proxy or a mirror (pip config). {AGAIN}\npip said: {said}")
    if found := re.search(r"No matching distribution found for (\S+)", text):
        hint = f"Offline, or an index that lacks it: check the network, a proxy or a mirror (pip config). {AGAIN}\npip said: {said}"
        return UserError(f"The package {found.group(1)} could not be found.", hint)
    if "ResolutionImpossible" in text:
        return UserError("The training packages do not fit together with the WebUI's.", f"pip said: {said}")
    return UserError("pip could not install the training packages.", f"{AGAIN}\npip said: {said}")


class _Meter:
    """Reads pip's lines: how many of the packages have been fetched, which is on its way and how far."""

    def __init__(self, progress: Progress, total: int = 0) -> None:
        self.progress, self.total = progress, total
        self.begun: list[str] = []
        self.message = "Looking up what is needed" if not total else "Fetching"

    def see(self, line: str) -> None:
        text = line.strip()
        if found := re.match(r"(?:Downloading|Using cached|Processing) (\S+)(?:\s+\(([\d.]+ \w?B)\))?", text):
            file = found.group(1).replace("\\", "/").rsplit("/", 1)[-1]
            name = re.split(r"-\d", file)[0]
            if not file.endswith(".metadata") and name not in self.begun:
                self.begun.append(name)
            self.message = f"Fetching {name} ({found.group(2)})" if found.group(2) else f"Fetching {name}"
        elif found := re.match(r"Progress (\d+) of (\d+)$", text):
            done, size = int(found.group(1)), int(found.group(2))
            if self.begun and size > 10**6:
                self.message = f"Fetching {self.begun[-1]} ({done / 1e6:.0f} of {size / 1e6:.0f} MB)"
        elif text.startswith("Installing collected packages"):
            self.message = "Unpacking"

    def tell(self) -> None:
        if not self.total:
            self.progress(0, 0, self.message)
            return
        fetched = self.total if self.message == "Unpacking" else max(0, min(len(self.begun), self.total) - 1)
        self.progress(fetched, self.total + 2, self.message)


def _run(command: Sequence[str], variables: Mapping[str, str], read: Callable[[str], None], tell: Callable[[], None]) -> int:
    """Run a program to its end, reading its lines; ``tell`` is called several times a second and may raise, which ends it."""
    process = subprocess.Popen(
        list(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(variables),
        **processes.hidden(),
    )  # fmt: skip

    def follow() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if text := line.decode("utf-8", "replace").rstrip():
                read(text)

    reader = threading.Thread(target=follow, daemon=True)
    with process:
        reader.start()
        try:
            while reader.is_alive():
                reader.join(0.25)
                tell()
        except BaseException:
            process.kill()
            reader.join()
            raise
        return process.wait()
