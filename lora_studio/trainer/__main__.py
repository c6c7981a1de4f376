"""`python -m lora_studio.trainer RUN_DIR`: train what RUN_DIR/config.json describes. Exit code 0 finished or stopped, 1 failed.

`--place DIR`: beside the run's project, it may write here; `--own`: the run was made on this machine, so what it says it wrote, it wrote.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from lora_studio.awake import awake
from lora_studio.errors import UserError
from lora_studio.failures import explained
from lora_studio.files import read_json
from lora_studio.parent import end_with_parent, helper
from lora_studio.patience import touch, within
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import FILE, TERMINAL, EventWriter, read_events
from lora_studio.training.places import Granted, check, granted
from lora_studio.untrusted import is_inside


def main(arguments: list[str]) -> int:
    try:
        run_dir, allowed = _given(arguments)
    except SystemExit:  # it has said why
        return 2
    if not run_dir.is_dir():
        print(f"{run_dir} is not a folder", file=sys.stderr)
        return 2
    if "WORLD_SIZE" in os.environ:
        end_with_parent()
    first = os.environ.get("RANK", "0") == "0"
    events: EventWriter | None = None
    previous = _stop_on_interrupt(run_dir)
    try:
        config = TrainingConfig.from_dict(read_json(run_dir / "config.json"))
        if first:  # the others write nothing
            check(config, run_dir, allowed.places)
        if config.processes > 1 and "WORLD_SIZE" not in os.environ:
            return _several(run_dir, arguments, config.processes)
        # late: a mistake in the configuration is reported without waiting for the ML libraries
        from lora_studio.trainer.loop import train

        events = EventWriter(run_dir)
        with awake("a training runs") if os.environ.get("LOCAL_RANK", "0") == "0" else nullcontext("") as sleepy:
            if sleepy and first:
                events.write("warning", message=sleepy)
            train(run_dir, config, events, own=allowed.own)
    except BaseException as error:
        traceback.print_exc()
        message, hint = explain(error)
        if first:
            _say_failed(run_dir, events, message, hint)
        return 1
    finally:
        signal.signal(signal.SIGINT, previous)
    return 0


def _given(arguments: list[str]) -> tuple[Path, Granted]:
    """The run's folder and what it may use: what was given, and what a person allowed it on this machine before."""
    parser = argparse.ArgumentParser(prog="python -m lora_studio.trainer")
    parser.add_argument("run", type=Path, metavar="RUN_DIR")
    parser.add_argument("--place", action="append", default=[], metavar="DIR", help="beside its project, the run may write here")
    parser.add_argument("--own", action="store_true", help="the run was made on this machine")
    args = parser.parse_args(arguments)
    known = granted(args.run)
    return args.run, Granted((*args.place, *known.places), args.own or known.own)


def _say_failed(run_dir: Path, events: EventWriter | None, message: str, hint: str) -> None:
    if is_inside(run_dir, run_dir / FILE):
        (events or EventWriter(run_dir)).write("failed", message=message, hint=hint)


def _several(run_dir: Path, arguments: list[str], processes: int) -> int:
    """Train with several processes on this machine: this one becomes their launcher, as `accelerate launch` would be."""
    if sys.platform == "win32":
        os.environ.setdefault("USE_LIBUV", "0")  # torch's Windows packages come without it
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    from lora_studio.trainer.team import launch_words, process_failed

    known = len(read_events(run_dir / FILE))
    os.environ.update(helper())  # one of the processes alone could be neither watched nor stopped
    try:
        torchrun(launch_words(arguments, processes))
    except ChildFailedError as error:
        # the first process tells its own failures; another's ended it in the middle of a word
        if not any(event.type in TERMINAL for event in read_events(run_dir / FILE)[known:]):
            raise process_failed(run_dir, processes, error.get_first_failure()[1].exitcode) from error
        return 1
    return 0


def _stop_on_interrupt(run_dir: Path) -> Any:
    """Ctrl-C in the trainer's own terminal stops it as `control/stop` does; a second one ends it at once. Returns the old handler."""

    def handle(number: int, frame: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            (run_dir / "control").mkdir(exist_ok=True)
            with within(2):
                touch(run_dir / "control" / "stop")
        except OSError as error:
            raise KeyboardInterrupt from error

    return signal.signal(signal.SIGINT, handle)


def explain(error: BaseException) -> tuple[str, str]:
    """What happened and what to do, in a person's words where the cause is known."""
    known = explained(error)
    if isinstance(error, KeyboardInterrupt):
        known = UserError("The trainer was interrupted.", "Resume the run to go on from its last saved state.")
    if known is None:
        known = UserError(f"{type(error).__name__}: {error}", "The whole message is in console.log of the run.")
    return known.message, known.hint


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
