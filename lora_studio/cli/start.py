"""Commands that show everything at once: the page, the demo, what this machine has."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ..studio import Studio
from .console import Add, progress_of, say
from .logins import read_logins
from .testing import scores_text


def _doctor(args: argparse.Namespace, studio: Studio) -> Any:
    from ..doctor import report

    facts = studio.doctor()
    say(args, report(facts))
    return facts


def _demo(args: argparse.Namespace, studio: Studio) -> Any:
    more: dict[str, Any] = {"keep_traits": args.keep_traits}
    if args.compare:
        more["compare"] = True
    report = studio.demo(args.out, args.character, args.seed, progress_of(args, "demo"), **more)
    say(args, scores_text(report))
    say(args, f"{report['images']} pictures, {report['steps']} steps, {report['seconds']:.0f} s. See {args.out / 'report.html'}")
    return report


def _ui(args: argparse.Namespace, studio: Studio) -> Any:
    from ..host.standalone import Standalone
    from ..ui.standalone import PageOptions, serve

    logins = read_logins(args.auth, args.auth_file)
    for warning in logins.warnings:
        print(warning, file=sys.stderr)
    auth = logins.pairs
    host = Standalone(studio.projects_dir, args.models, args.lora_dir, args.language, only_local=not args.listen, logins=auth)
    options = PageOptions(args.port, args.listen, not args.no_browser, auth, tuple(args.allow_host))
    serve(Studio(studio.projects_dir, host.lora_dir, studio.environment), host, options)
    return {}


def register(add: Add) -> None:
    """Make the commands."""
    sub = add("demo", _demo, "everything once, on the embedded models")
    sub.add_argument("--out", type=Path, default=Path("demo_output"))
    sub.add_argument("--character", default="purple hair, short hair, yellow eyes, cat ears, glasses")
    sub.add_argument("--seed", type=int, default=1)
    sub.add_argument("--keep-traits", action="store_true", help="leave the captions whole, to see what that costs")
    sub.add_argument("--compare", action="store_true", help="train both ways and show both in the report")

    add("doctor", _doctor, "what this machine has and what is wrong")

    sub = add("ui", _ui, "the page")
    sub.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    sub.add_argument("--models", type=Path, default=Path("models"), help="folder with Stable-diffusion/ and Lora/, e.g. a WebUI's models folder")
    sub.add_argument("--language", default="", choices=("", "en", "zh_CN"), help="default: the browser's")
    sub.add_argument("--listen", action="store_true", help="reachable from other machines; use --auth-file with it")
    sub.add_argument("--auth-file", type=Path, metavar="FILE", help="let in only who logs in: NAME=PASSWORD, a line each; or in LORA_STUDIO_AUTH")
    sub.add_argument("--auth", action="append", default=[], metavar="NAME=PASSWORD", help="the same, where nobody else uses this machine")
    sub.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="a name that the page may be opened by, such as a proxy's")
    sub.add_argument("--no-browser", action="store_true", help="do not open the browser")
