"""The fault drill at full length: runs of a small random model killed 100 times across all phases, with faults injected.

    python benchmarks/faults.py [--kills 100] [--seed 1]

Prints how often was killed where, which faults were injected, and everything that went wrong: nothing should. Needs fork (no Windows).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lora_studio.training.options import RANGES
from tests.trainer.conftest import write_pictures, write_tiny_checkpoint
from tests.trainer.drill import drill


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    RANGES["state_every_minutes"] = (0, float("inf"))
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        report = drill(place, write_tiny_checkpoint(place / "base"), write_pictures(place / "pictures"), args.kills, args.seed)
    print(f"{sum(report.kills.values())} kills in {report.runs} runs, {time.monotonic() - started:.0f} s")
    print("killed while: " + ", ".join(f"{phase} {n}" for phase, n in report.kills.most_common()))
    print("injected: " + ", ".join(f"{kind} {n}" for kind, n in report.faults.most_common()))
    print("\n".join(report.problems) or "every run finished; no half-written LoRA; runs without injected faults equal the undisturbed one to the bit")
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
