"""``python -m lora_studio COMMAND``."""

from __future__ import annotations

import sys

from .parent import end_with_parent

if __name__ == "__main__":
    end_with_parent()  # before the slow imports: who asked may be gone while they last
    from .cli import main

    sys.exit(main())
