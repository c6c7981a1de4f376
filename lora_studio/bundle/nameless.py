"""What leaves this machine says nothing of it: no folder of its disk, no user's name, no host's name in settings, events, notes and logs."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
from pathlib import Path, PureWindowsPath
from typing import Any

from ..reading import parse_json

#: a whole path within a sentence, of any system: a drive, a share, or a folder at the top with something in it
IN_TEXT = re.compile(r"""(?<![\w/\\.:~-])(?:[A-Za-z]:[\\/]|\\\\[?.\w]|~[\\/]|/(?=[^\s/"'<>|]+/))[^"'<>|*?:;,\r\n]*[^"'<>|*?:;,.)\]\s]""")
WHOLE = re.compile(r"(?:[A-Za-z]:[\\/]|\\\\[^\\]|~[\\/]|/(?=[^/\s]+/))(?!.*, )[^\r\n]*")
#: of events and notes: what a person wrote, to be drawn, is left as it is; what is written for people may name a path anywhere in it
WRITTEN, SENTENCES = frozenset({"prompt", "prompts", "text", "trigger", "traits"}), frozenset({"message", "hint"})
HOST = "machine"


def last_part(path: str) -> str:
    """What a path names, without where it is."""
    return PureWindowsPath(path.rstrip("/\\")).name


def plain_text(text: str) -> str:
    """A text for people (a log, a message) in which each path is only its last part, and this machine and its user have no name."""
    found = IN_TEXT.sub(lambda match: last_part(match[0]) or "folder", text)
    for name, instead in _names():
        found = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", instead, found)
    return found


def plain_value(value: Any, key: str = "") -> Any:
    """JSON of ours with each path in it cut down to its last part. ``key``: under which it stands."""
    if key in WRITTEN:
        return value
    if isinstance(value, dict):
        return {k: plain_value(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [plain_value(v, key) for v in value]
    if not isinstance(value, str):
        return value
    if WHOLE.fullmatch(value) and key not in SENTENCES:
        return last_part(value)
    return plain_text(value) if key in SENTENCES else _only_folders(value)


def plain_json(data: bytes) -> bytes:
    """A JSON file of ours; as it is, where it is none."""
    try:
        return json.dumps(plain_value(parse_json(data, forgiving=True)), ensure_ascii=False, indent=2).encode("utf-8")
    except ValueError:
        return plain_text(data.decode("utf-8", "replace")).encode("utf-8")


def plain_lines(data: bytes) -> bytes:
    """A file with one JSON value a line. What a run said of its command line, which only this machine can follow, is left away."""
    lines = []
    for line in data.decode("utf-8", "replace").split("\n"):
        try:
            event = parse_json(line, forgiving=True)
        except ValueError:
            lines.append(plain_text(line))
            continue
        if isinstance(event, dict):
            event.pop("machines_command", None)
            event.pop("pid", None)
        lines.append(json.dumps(plain_value(event), ensure_ascii=False))
    return "\n".join(lines).encode("utf-8")


def plain_page(data: bytes) -> bytes:
    """A page of ours, with pictures in it: the folders that are known to be this machine's become their last part."""
    return _only_folders(data.decode("utf-8", "replace")).encode("utf-8")


def board_name(name: str) -> str:
    """A file of TensorBoard's without the host's name, which its writer puts between the time and the number of its process."""
    found = re.fullmatch(r"(events\.out\.tfevents\.\d+)\..+?((?:\.\d+)*)", name)
    return f"{found[1]}.{HOST}{found[2]}" if found else name


def _only_folders(text: str) -> str:
    home = str(Path.home())
    for folder in sorted({home, os.path.realpath(home)} - {"/", ""}, key=len, reverse=True):
        text = text.replace(folder, "~").replace(folder.replace("\\", "/"), "~")
    return text


def _names() -> list[tuple[str, str]]:
    """(name, what stands for it): of this machine and of who works at it; very short ones and such that everybody has are words."""
    found = []
    for ask, instead in ((socket.gethostname, HOST), (getpass.getuser, "user")):
        try:
            name = ask()
        except (OSError, KeyError, ImportError):  # nobody has a name in some containers
            continue
        for one in dict.fromkeys([name, name.split(".")[0]]):
            if len(one) > 2 and one not in ("localhost", "user", "root", "admin"):
                found.append((one, instead))
    return found
