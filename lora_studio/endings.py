"""What the exit code of a process that ended without a word means, read together with what it printed last."""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass

from .errors import UserError
from .failures import FREE_RAM, LAST_LINES, VC_REDIST, find

ONCE_MORE = "Do it again; a training is resumed where it was saved."
SHAKY = ONCE_MORE + " If it happens again, update the graphics driver, undo overclocking (of the main memory too), and run the command doctor."


@dataclass(frozen=True)
class Ending:
    """``sure``: it means this whatever the process printed before."""

    message: str
    hint: str
    sure: bool = False


KILLED = Ending(message="It was killed: most often the system does so because memory runs out.", hint=FREE_RAM, sure=True)
CRASHED = Ending(message="It crashed inside a library: a driver, a damaged package or unstable memory may be why.", hint=SHAKY)
CLOSED = Ending(message="It was ended from outside: the computer was shut down, or somebody closed it.", hint=ONCE_MORE)
OLD_PROCESSOR = Ending(message="The processor lacks an instruction that the installed packages use.", hint="Use older packages, or another computer.")
LOST_FILE = Ending(
    message="A file that was open could not be read any more: a drive was removed or failed, or memory for it ran out.",
    hint="Look whether the drive with the models is connected and has room. " + ONCE_MORE,
)
LIBRARIES = Ending(
    message="A library that it needs is missing or does not fit.",
    hint=f"Install the Microsoft Visual C++ runtime from {VC_REDIST} (from Microsoft), restart Windows, and try again.",
)

#: Windows' own, NTSTATUS
WINDOWS = {
    0xC0000005: CRASHED, 0xC0000409: CRASHED, 0xC0000374: CRASHED, 0xC00000FD: CRASHED,
    0xC0000006: LOST_FILE, 0xC000001D: OLD_PROCESSOR, 0xC0000135: LIBRARIES, 0xC0000139: LIBRARIES, 0xC0000142: LIBRARIES,
    0xC0000017: Ending(message="Windows had no memory left for it.", hint=FREE_RAM, sure=True),
    0xC000012D: Ending(
        message="Windows had no memory left for it: main memory and page file together are full.",
        hint=FREE_RAM + " A larger page file helps too.",
        sure=True,
    ),
    0xC000013A: CLOSED, 0x40010004: CLOSED,
}  # fmt: skip
#: POSIX signals by name: their numbers differ
SIGNALS = {
    "SIGKILL": KILLED, "SIGSEGV": CRASHED, "SIGABRT": CRASHED, "SIGILL": OLD_PROCESSOR, "SIGBUS": LOST_FILE,
    "SIGTERM": CLOSED, "SIGHUP": CLOSED, "SIGINT": CLOSED,
}  # fmt: skip


def meaning(code: int | None) -> Ending | None:
    """What an exit code says: of Windows signed or not, of POSIX minus the signal's number, or 128 and it as a shell tells it."""
    if code is None:
        return None
    if (known := WINDOWS.get(code & 0xFFFFFFFF)) is not None and not -64 < code < 0:
        return known
    number = -code if -64 < code < 0 else code - 128 if 128 < code < 160 and sys.platform != "win32" else 0
    try:
        return SIGNALS.get(signal.Signals(number).name)
    except ValueError:
        return None


def reason(code: int | None, printed: str = "") -> UserError | None:
    """Why a process ended that way, by its exit code and the end of what it printed; None where neither tells."""
    ending = meaning(code)
    said = find("\n".join(printed.strip().splitlines()[-LAST_LINES:]))
    if said is not None and not (ending and ending.sure):
        return said.error()
    return UserError(ending.message, ending.hint) if ending else None


def died(message: str, code: int | None, printed: str = "", hint: str = "") -> UserError:
    """The error for a process that ended without an answer. hint: what to do where nothing tells why."""
    tail = "\n".join(printed.strip().splitlines()[-LAST_LINES:])[-2000:]
    note = ""
    if (known := reason(code, printed)) is not None:
        message, hint = f"{message} {known.message}", known.hint
    elif code not in (None, 0, 1):  # 1 is what Python gives for any error
        note = f"Its exit code was {code if -64 < code < 256 else hex(code & 0xFFFFFFFF)}."
    return UserError(message, "\n".join(part for part in (hint, note, f"It printed last:\n{tail}" if tail else "") if part))
