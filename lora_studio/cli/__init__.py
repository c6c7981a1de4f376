"""Every use case as a command. Progress goes to stderr; with ``--json`` stdout is exactly one JSON object."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..failures import explained
from ..files import told_os_error
from ..owner import key
from ..patience import opened
from ..reading import finite
from ..studio import Studio, _plain
from . import captions, carrying, pictures, start, testing, training
from .console import Handler, Parser, printable, utf8_consoles


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0 done, 1 failed, 2 a mistake a person can mend, 130 interrupted."""
    utf8_consoles()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        args = build_parser().parse_args(given)
    except UserError as error:
        return _report(argparse.Namespace(json="--json" in given), error.message, error.hint, 2)
    key()  # made with the first command of all: what is brought here afterwards was written elsewhere
    try:
        result = args.handler(args, Studio(args.projects, args.lora_dir))
    except UserError as error:
        return _report(args, error.message, error.hint, 2)
    except KeyboardInterrupt:
        return _report(args, "Interrupted.", "", 130)
    except BrokenPipeError:
        return 0
    except OSError as error:  # a disk that is read-only, full or gone
        told = explained(error) or told_os_error(error)
        return _report(args, told.message, told.hint, 2)
    except Exception as error:  # the last line of defence: nobody is left with a bare traceback
        log = Path(tempfile.gettempdir()) / f"lora_studio_error_{os.getpid()}.log"  # several may fail at once
        try:
            with opened(log, "w", encoding="utf-8") as file:
                file.write(traceback.format_exc())
            hint = f"The details are in {log}; please report them."
        except OSError:
            hint = traceback.format_exc()
        if (known := explained(error)) is not None:
            return _report(args, known.message, f"{known.hint}\n{hint.removesuffix('; please report them.')}", 1)
        return _report(args, f"Something went wrong inside Lora Studio: {type(error).__name__}: {error}", hint, 1)
    if args.json:
        plain = finite(_plain(result.to_dict() if hasattr(result, "to_dict") else result))
        print(json.dumps(plain, ensure_ascii=False, indent=2, allow_nan=False))
    return 0


def _report(args: argparse.Namespace, message: str, hint: str, code: int) -> int:
    if args.json:
        print(json.dumps({"error": message, "hint": hint}, ensure_ascii=False))
    print(printable(message + (f"\n{hint}" if hint else "")), file=sys.stderr)
    return code


def build_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object")
    common.add_argument("--quiet", action="store_true", help="no progress")
    common.add_argument("--progress", choices=("text", "json"), default="text", help="json: one object a line on standard error, for programs")
    projects = Path(os.environ.get("LORA_STUDIO_PROJECTS", "projects"))
    lora = os.environ.get("LORA_STUDIO_LORA_DIR")
    common.add_argument("--projects", type=Path, default=projects, help="folder of the projects (default: projects)")
    common.add_argument("--lora-dir", type=Path, default=Path(lora) if lora else None, help="the WebUI's models/Lora: epochs are saved there too")
    parser = Parser(prog="lora_studio", description="From a folder of pictures to a tested LoRA.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, handler: Handler, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, parents=[common], help=text, description=text)
        sub.set_defaults(handler=handler)
        return sub

    for subject in (pictures, captions, training, carrying, testing, start):
        subject.register(add)
    return parser
