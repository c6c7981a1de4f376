"""Called by the WebUI at every start, in a process of its own. It installs nothing: the WebUI's Python stays as it is.

What training and tagging need on top goes into a folder of our own, from the tab, with a progress bar (lora_studio/overlay_install.py). Here is only
looked whether that is still to be done. Never fails the start; not called at all with --skip-install.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
SETTING = "lora_studio_packages_dir"


def packages_dir() -> Path:
    """Where the overlays are, as host/webui.py has it, without loading the WebUI: the variable, the setting, the data folder."""
    if named := os.environ.get("LORA_STUDIO_PACKAGES"):
        return Path(named)
    arguments = os.environ.get("COMMANDLINE_ARGS", "")
    data = Path(_flag(arguments, "--data-dir") or Path.cwd())
    settings = Path(_flag(arguments, "--ui-settings-file") or data / "config.json")
    chosen = ""
    with suppress(OSError, ValueError, AttributeError):
        text = settings.read_text(encoding="utf-8")
        if SETTING in text:
            import json

            chosen = str(json.loads(text).get(SETTING) or "").strip()
    return data / (chosen or "lora_studio/packages")


def _flag(arguments: str, name: str) -> str:
    """A flag's value from COMMANDLINE_ARGS: what else stood on the WebUI's command line does not reach this process."""
    if name not in arguments:
        return ""
    import shlex

    words = [word.strip('"') for word in shlex.split(arguments.replace(f"{name}=", f"{name} "), posix=os.name != "nt")]
    return words[words.index(name) + 1] if name in words[:-1] else ""


def notice(packages: Path) -> str:
    """One line for the WebUI's window; "" when all is there."""
    if os.environ.get("LORA_STUDIO_PYTHON"):
        return ""
    from lora_studio import overlay

    target = overlay.folder(packages)
    if overlay.is_complete(target) or not overlay.missing(target):
        return ""
    if overlay.others(packages, target):
        return "Lora Studio: its list of packages (or PyTorch, or Python) has changed; the Lora Studio tab offers to bring them up to date."
    return "Lora Studio: the training packages are not set up yet; the Lora Studio tab offers to do it. Nothing of the WebUI's is changed."


def main() -> None:
    try:
        sys.path.insert(0, str(HERE))
        line = notice(packages_dir())
    except Exception as error:  # a start of the WebUI is worth more than anything found here
        line = f"Lora Studio: could not look at its packages ({error}); the tab will say more."
    if line:
        print(line)


if __name__ == "__main__":
    main()
