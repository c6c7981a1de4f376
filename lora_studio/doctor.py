"""What is installed, what the machine offers, what is wrong and the exact way to put it right.

Standard library only until something is asked of torch or ONNX Runtime, so that it
works when the set-up does not: `python -m lora_studio.doctor`.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import backends, nvidia
from . import cards as rules
from .failures import because
from .pins import installed_version, satisfies, wanted_versions
from .processes import hidden

HERE = Path(__file__).resolve().parent.parent
GB = 2**30
LITTLE_DISK = 5 * GB
LITTLE_VRAM = 4 * GB
SET_UP = "python launch.py setup"

Problem = dict[str, str]


def python_facts() -> tuple[dict[str, Any], list[Problem]]:
    facts = {"version": platform.python_version(), "executable": sys.executable, "system": platform.platform(), "machine": platform.machine()}
    if sys.version_info < (3, 10):  # noqa: UP036 - whoever runs this may have any Python
        return facts, [{"what": f"Python {facts['version']} is too old.", "fix": "Install Python 3.10 to 3.13 and start launch.py with it."}]
    if sys.maxsize < 2**32:
        return facts, [{"what": "This Python is a 32-bit program; PyTorch has none.", "fix": "Install the 64-bit Python."}]
    return facts, []


def package_facts() -> tuple[dict[str, Any], list[Problem]]:
    facts: dict[str, Any] = {}
    missing, other = [], []
    for package, wanted in wanted_versions().items():
        version = installed_version(package)
        if package == "onnxruntime" and version is None:
            version = installed_version("onnxruntime-gpu") or installed_version("onnxruntime-directml")
        facts[package] = {"version": version, "wanted": wanted}
        if version is None:
            missing.append(package)
        elif not satisfies(version, wanted):
            other.append(f"{package} {version} instead of {wanted}")
    problems = []
    if missing:
        problems.append({"what": f"Not installed: {', '.join(missing)}.", "fix": SET_UP})
    if other:
        problems.append({"what": f"Other versions than the ones tried together: {'; '.join(other)}.", "fix": SET_UP})
    return facts, problems


def nvidia_facts() -> list[str]:
    """Names of the NVIDIA cards that the driver reports."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        command = [tool, "--query-gpu=name", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True, **hidden()).stdout.strip().splitlines()
    except (OSError, subprocess.SubprocessError):
        return []


def torch_facts(cards: list[str]) -> tuple[dict[str, Any], list[Problem]]:
    if installed_version("torch") is None:
        return {"version": None}, [{"what": "PyTorch is not installed.", "fix": SET_UP}]
    try:
        import torch
    except Exception as error:  # a broken installation fails in many ways
        why, fix = because(error, hint=f"Delete the folder {HERE / '.venv'} and run: {SET_UP}")
        return {"version": installed_version("torch"), "error": str(error)}, [{"what": f"PyTorch does not start: {why}", "fix": fix}]
    facts: dict[str, Any] = {"version": torch.__version__, "cuda_build": torch.version.cuda, "hip_build": getattr(torch.version, "hip", None)}
    problems: list[Problem] = []
    facts["device"] = "cpu"
    facts["threads"] = torch.get_num_threads()
    found = rules.cards_of(torch)
    if found:
        build, listed = rules.build_of(torch), nvidia.seen()
        driver = listed[0].driver if listed else ""
        facts |= {"device": "cuda", "count": len(found), "driver": driver, "cards": [_card_facts(torch, card, build) for card in found]}
        unusable = [wrong for card in found if (wrong := rules.wrong(card, build, driver))]
        problems += [{"what": what, "fix": _fix(fix)} for what, fix in unusable]
        chosen = next((c for c in facts["cards"] if c["kernels"]), facts["cards"][0])
        free, total = chosen["vram_free"], chosen["vram_total"]
        facts |= {"name": chosen["name"], "vram_free": free, "vram_total": total}
        if len(unusable) == len(found):
            pass  # how much memory it has does not matter
        elif total < LITTLE_VRAM:
            what = f"The card has {total / GB:.1f} GB: too little for Stable Diffusion at 512 pixels."
            problems.append({"what": what, "fix": "Train with --set device=cpu, or on a card with 6 GB or more."})
        elif free < LITTLE_VRAM:
            what = f"Only {free / GB:.1f} of the card's {total / GB:.1f} GB are free."
            problems.append({"what": what, "fix": "Close what uses the card: the WebUI (or unload its model), games, browsers."})
    elif getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
        facts["device"] = "mps"
    elif cards:
        seen = next(iter(nvidia.seen()), None)
        card, driver = (seen.card, seen.driver) if seen else (rules.Card(0, cards[0]), "")
        facts["driver"] = driver
        what, fix = rules.why(card, rules.build_of(torch), driver, os.environ.get("CUDA_VISIBLE_DEVICES"))
        problems.append({"what": what, "fix": _fix(fix)})
    return facts, problems


def _fix(fix: str) -> str:
    """Our own set-up chooses the build for the card and its driver by itself; in a WebUI it has to be told."""
    ours = Path(sys.prefix).resolve() == (HERE / ".venv").resolve() and not os.environ.get("TORCH_COMMAND")
    return f"Run: {SET_UP} (it installs the PyTorch that fits, or names the driver). Else: {fix}" if ours and "TORCH_COMMAND" in fix else fix


def _card_facts(torch: Any, card: rules.Card, build: rules.Build) -> dict[str, Any]:
    """A card as a training would take it: number formats, whether this PyTorch has code for it, memory in bytes."""
    kernels = rules.has_kernels(card, build)
    free, total = torch.cuda.mem_get_info(card.index) if kernels else (0, card.total)
    return {
        "device": card.device, "name": card.name, "capability": ".".join(map(str, card.capability)), "kernels": kernels,
        "precision": rules.precision_of(card, build), "breaks_half": rules.breaks_half(card), "vram_free": free, "vram_total": total,
    }


def backend_facts() -> tuple[dict[str, Any], list[Problem]]:
    """What training and tagging compute on where PyTorch is not one for NVIDIA."""
    found = backends.found()
    return ({} if found is None else found._asdict()), []


def onnx_facts(cards: list[str]) -> tuple[dict[str, Any], list[Problem]]:
    names = [n for n in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml") if installed_version(n)]
    if not names:
        return {"version": None, "packages": []}, [{"what": "ONNX Runtime, which tagging needs, is not installed.", "fix": SET_UP}]
    facts: dict[str, Any] = {"version": installed_version(names[0]), "packages": names}
    problems: list[Problem] = []
    if len(names) > 1:
        fix = f"{sys.executable} -m pip uninstall -y {' '.join(names)}, then {sys.executable} -m pip install {names[-1]}"
        problems.append({"what": f"{' and '.join(names)} overwrite each other's files.", "fix": fix})
    try:
        import onnxruntime

        facts["providers"] = onnxruntime.get_available_providers()
    except Exception as error:  # a broken installation fails in many ways
        why, fix = because(error, hint=f"{sys.executable} -m pip install --force-reinstall {names[0]}")
        problems.append({"what": f"ONNX Runtime does not start: {why}", "fix": fix})
        return facts, problems
    if cards and not {"CUDAExecutionProvider", "TensorrtExecutionProvider", "DmlExecutionProvider"} & set(facts["providers"]):
        facts["advice"] = "Tagging runs on the processor; onnxruntime-gpu instead of onnxruntime would use the card."
    return facts, problems


def disk_facts(folder: Path) -> tuple[dict[str, Any], list[Problem]]:
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    facts = {"folder": str(folder), "free": usage.free, "total": usage.total}
    if usage.free < LITTLE_DISK:
        what = f"Only {usage.free / GB:.1f} GB are free at {folder}."
        return facts, [{"what": what, "fix": "Free some space, or keep the projects on another disk."}]
    return facts, []


def _guarded(what: str, examine_part: Callable[[], tuple[dict[str, Any], list[Problem]]]) -> tuple[dict[str, Any], list[Problem]]:
    """A part that cannot be examined is a finding, not the end of the examination."""
    try:
        return examine_part()
    except Exception as error:
        return {"error": str(error)}, [{"what": f"{what} could not be examined: {error}", "fix": "Report this with the output of: doctor --json"}]


def examine(folder: str | Path = ".") -> dict[str, Any]:
    """Everything found, as JSON-ready facts.

    folder: where projects are kept, for the free space. Sizes are bytes.
    `problems` is a list of {"what", "fix"}; `ok` says that it is empty.
    """
    from . import __version__

    cards = nvidia_facts()
    parts = {
        "python": _guarded("Python", python_facts),
        "packages": _guarded("The packages", package_facts),
        "torch": _guarded("PyTorch", lambda: torch_facts(cards)),
        "backend": _guarded("The kind of PyTorch", backend_facts),
        "onnx": _guarded("ONNX Runtime", lambda: onnx_facts(cards)),
        "disk": _guarded("The disk", lambda: disk_facts(Path(folder))),
    }
    problems = [problem for _, found in parts.values() for problem in found]
    facts = {name: fact for name, (fact, _) in parts.items()}
    return {"lora_studio": __version__, **facts, "nvidia": cards, "problems": problems, "ok": not problems}


def _trains_in(card: dict[str, Any]) -> str:
    return f"{card['precision']} (fp32 if that gives no numbers)" if card["breaks_half"] else str(card["precision"])


def report(facts: dict[str, Any]) -> str:
    """The facts as lines for people."""
    python, torch, onnx, disk = facts["python"], facts["torch"], facts["onnx"], facts["disk"]
    lines = [f"Lora Studio   {facts['lora_studio']}"]
    if "version" in python:
        lines += [f"Python        {python['version']} on {python['system']}", f"              {python['executable']}"]
    device = torch.get("device", "-")
    if device == "cuda":
        device = f"CUDA {torch['cuda_build']}" if torch.get("cuda_build") else f"ROCm {torch.get('hip_build')}"
    elif device == "cpu":
        device = f"processor, {torch['threads']} threads"
    lines.append(f"PyTorch       {torch.get('version') or 'not installed'} ({device})")
    for card in torch.get("cards", ()):
        memory = f"{card['vram_free'] / GB:.1f} of {card['vram_total'] / GB:.1f} GB free" if card["kernels"] else "this PyTorch has no code for it"
        lines.append(f"{card['device']:<13} {card['name']}, compute capability {card['capability']}, trains in {_trains_in(card)}, {memory}")
    if torch.get("driver"):
        lines.append(f"Driver        {torch['driver']}")
    lines.append(f"ONNX Runtime  {onnx.get('version') or 'not installed'} ({', '.join(onnx.get('providers', [])) or '-'})")
    if "advice" in onnx:
        lines.append(f"              {onnx['advice']}")
    for part, name in (("note", "Training"), ("tagging", "Tagging")):
        if text := facts.get("backend", {}).get(part):
            lines.append(f"{name:<14}{text}")
    if "free" in disk:
        lines.append(f"Disk          {disk['free'] / GB:.1f} of {disk['total'] / GB:.1f} GB free at {disk['folder']}")
    versions = [f"{name} {fact['version']}" for name, fact in facts["packages"].items() if isinstance(fact, dict) and fact["version"]]
    lines.append(f"Packages      {', '.join(versions) or '-'}")
    for problem in facts["problems"]:
        lines += ["", f"PROBLEM  {problem['what']}", f"    fix  {problem['fix']}"]
    if facts["ok"]:
        lines += ["", "Nothing is wrong."]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """`python -m lora_studio.doctor [--json]`: exit status 0 when nothing is wrong, else 1."""
    arguments = sys.argv[1:] if arguments is None else arguments
    facts = examine()
    print(json.dumps(facts, indent=2) if "--json" in arguments else report(facts))
    return 0 if facts["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
