"""The package set-up: mirrors, Pythons and failures as people have them; nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lora_studio import overlay_install, processes
from lora_studio.overlay_install import _Pip, explain


def pip(packages: Path) -> _Pip:
    packages.mkdir(exist_ok=True)
    return _Pip(packages, lambda *_: None)


@pytest.mark.parametrize(
    ("environ", "index"),
    [
        ({"INDEX_URL": "https://mirror/simple"}, "https://mirror/simple"),
        ({"INDEX_URL": "https://mirror/simple", "PIP_INDEX_URL": "https://other/simple"}, "https://mirror/simple"),  # as the WebUI does
        ({"PIP_INDEX_URL": "https://other/simple"}, "https://other/simple"),
        ({"INDEX_URL": " "}, ""),
    ],
)
def test_the_webuis_mirror_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, environ: dict[str, str], index: str) -> None:
    """Asked of pip itself."""
    for name in ("INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert (pip(tmp_path)._pip("config", "get", ":env:.index-url", check=False) or [""])[-1] == index


def test_a_pip_of_our_own_is_found_by_a_python_that_ignores_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []

    def run(command: Sequence[str], variables: Mapping[str, str], *_: Any) -> int:
        ran.append(command)
        return 0

    monkeypatch.setattr(overlay_install, "_run", run)
    own = pip(tmp_path)
    own._use_own("25.1")
    for isolated in (False, True):
        monkeypatch.setattr(processes, "isolated", lambda isolated=isolated: isolated)
        own._pip("install", "x")
    assert ran[0][3:5] == ["-m", "pip"]
    assert ran[1][3] == "-c" and str(tmp_path / "tools") in ran[1][4] and list(ran[1][5:]) == list(ran[0][5:])


@pytest.mark.parametrize(
    ("said", "message", "hint"),
    [
        ("ERROR: Could not install packages due to an OSError: Missing dependencies for SOCKS support.", "SOCKS proxy", "HTTPS_PROXY"),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 2] No such file or directory: 'C:\\\\x'\n"
            "HINT: This error might have occurred since this system does not have Windows Long Path support enabled.",
            "too long for Windows", "LongPathsEnabled",
        ),
        ("OSError: [WinError 206] The filename or extension is too long: 'C:\\\\x'", "too long for Windows", "Settings"),
        ("ERROR: ProxyError('Cannot connect to proxy.')", "cannot be reached", "proxy"),
    ],
)  # fmt: skip
def test_what_stands_in_the_way_is_named(said: str, message: str, hint: str) -> None:
    found = explain(said.splitlines())
    assert message in found.message and hint in found.hint
