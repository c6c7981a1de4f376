"""Opening a folder in the system's file manager: only for who sits at this machine."""

from __future__ import annotations

import ipaddress
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import Request

FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "cf-connecting-ip")


def at_this_machine(request: Request) -> bool:
    """Whether the browser runs on this machine. A tunnel (``--share``) also comes from 127.0.0.1, but its page has another address."""
    if request.client is None or not _loopback(request.client.host):
        return False
    if any(name in request.headers for name in FORWARDED):
        return False
    addresses = [request.url.hostname or "", urlsplit(request.headers.get("origin") or "").hostname or ""]
    return all(_loopback(a) for a in addresses if a) and bool(addresses[0])


def _loopback(host: str) -> bool:
    if host.lower().rstrip(".") in ("localhost", "ip6-localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def opener() -> list[str] | None:
    """The command that shows a folder, None where there is no desktop (Windows needs none)."""
    if sys.platform == "darwin":
        return ["open"]
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        found = shutil.which("xdg-open")
        return [found] if found else None
    return None


def open_folder(folder: Path) -> bool:
    """Show a folder in the file manager; False where that is not possible."""
    if not folder.is_dir():
        return False
    try:
        if sys.platform == "win32":
            os.startfile(folder)
            return True
        command = opener()
        if command is None:
            return False
        quiet = subprocess.DEVNULL
        subprocess.Popen([*command, str(folder)], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
        return True
    except OSError:
        return False
