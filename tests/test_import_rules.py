"""Who may know whom, read from the source; and what importing a package brings into the process."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lora_studio"
BASE = {"cores", "endings", "errors", "failures", "files", "moving", "network", "patience", "progress", "project", "reading", "untrusted"}
HEAVY = {"torch", "onnxruntime", "pandas", "diffusers", "transformers", "peft", "accelerate", "gradio"}

# package or module -> what of ours it may import (longest prefix given counts)
MAY_KNOW: dict[str, set[str]] = {
    "cards": {"pins", "torch_builds"},
    "cores": set(),
    "errors": set(),
    "progress": set(),
    "wording": set(),
    "patience": {"errors", "holders"},
    "untrusted": {"errors", "patience", "reading"},
    "files": {"errors", "patience", "reading"},
    "project": {"errors", "files", "moving", "owner", "patience", "reading", "staged", "untrusted"},
    "awake": set(),
    "network": set(),
    "failures": {"errors", "files"},
    "endings": {"errors", "failures"},
    "dataset": BASE,
    "crop": BASE | {"dataset"},
    # Tagging over captions that are there is a step of the editing history, which can be undone.
    "tagging": BASE | {"dataset", "demo", "editing", "fetching", "parent", "processes"},
    "editing": BASE | {"dataset", "owner", "processes"},
    "nvidia": {"cards", "processes"},
    "pins": set(),
    "overlay": {"pins"},
    "overlay_install": {
        "endings", "environment", "errors", "files", "longpaths", "moving", "overlay", "patience", "pins", "processes", "progress", "proxies",
        "reading",
    },
    "environment": {
        "endings", "errors", "files", "moving", "overlay", "overlay_install", "parent", "patience", "processes", "progress", "proxies", "reading",
    },
    # What it packs is a project's run; the package itself is imported for its version.
    "overview": {"dataset", "evaluation", "project"},
    # It knows when a training runs.
    "renaming": {"errors", "files", "moving", "patience", "project", "reading", "staged", "training", "untrusted"},
    "bundle": BASE | {"__init__", "dataset", "training"},
    "jobs": {"endings", "errors", "failures", "files", "parent", "processes", "progress", "reading"},
    "fetching": {"errors", "files", "patience", "progress", "proxies", "remote"},
    "training": BASE | {"backends", "cards", "dataset", "environment", "fetching", "parent", "processes"},
    "host": BASE | {"cards", "demo", "environment", "nvidia", "processes", "training.basefile"},
    "ui": BASE | {"environment", "host", "proxies", "studio", "web"},
    "trainer": {
        "awake", "cards", "cores", "dataset", "endings", "errors", "failures", "files", "nvidia", "parent", "patience", "processes", "progress",
        "reading", "training.basefile", "training.config", "training.events", "training.memory", "training.places", "untrusted",
    },
    # Of the steps only their settings, to offer them as flags: see the test below.
    "cli": {
        "awake", "crop", "doctor", "editing", "environment", "errors", "evaluation", "failures", "files", "host", "owner", "patience", "progress",
        "reading", "studio", "tagging", "training.config", "training.options", "ui", "wording",
    },
    "processes": set(),
    "backends": {"pins"},
    "parent": set(),
    "longpaths": set(),
    "proxies": {"errors"},
    "torch_builds": {"processes"},
    "holders": set(),
    "moving": {"errors", "files", "patience", "reading", "untrusted"},
    "owner": {"errors", "files", "reading", "untrusted"},
    "remote": {"errors"},
    "staged": {"errors", "files", "owner", "patience", "reading", "untrusted"},
    "reading": {"errors", "patience"},
}


def ours(path: Path) -> Iterator[str]:
    """What of lora_studio a file imports anywhere in it, as dotted names below the package."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("lora_studio."):
                    yield alias.name.removeprefix("lora_studio.")
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = ".".join(parts[: len(parts) - node.level])
                if len(parts) < node.level:
                    continue
                module = ".".join(filter(None, (base, node.module or "")))
            elif node.module and node.module.split(".")[0] == "lora_studio":
                module = node.module.removeprefix("lora_studio").lstrip(".")
            else:
                continue
            for alias in node.names:
                full = ".".join(filter(None, (module, alias.name)))
                # A name taken from a module belongs to the module; a submodule stands for itself.
                target = PACKAGE.joinpath(*full.split("."))
                yield full if target.is_dir() or target.with_suffix(".py").exists() else module


def sources(name: str) -> list[Path]:
    folder = PACKAGE / name
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [p for p in (PACKAGE / f"{name}.py",) if p.exists()]


@pytest.mark.parametrize("name", sorted(MAY_KNOW))
def test_knows_only_what_it_may(name: str) -> None:
    wrong = []
    for path in sources(name):
        for target in ours(path):
            allowed = MAY_KNOW[name] | {name}
            if target and not any(target == a or target.startswith(a + ".") for a in allowed):
                wrong.append(f"{path.relative_to(ROOT)} imports {target}")
    assert not wrong


def test_the_command_line_takes_only_settings_from_the_steps() -> None:
    settings = {"OPTIONS", "CHOICES", "HELP", "TrainingConfig", "parse_overrides", "report"}
    wrong = []
    for path in sources("cli"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            floors = ("awake", "errors", "failures", "files", "owner", "patience", "progress", "reading", "wording")
            doors = ("studio", *floors, "host.standalone", "ui.standalone", None)
            if isinstance(node, ast.ImportFrom) and node.level == 2 and node.module not in doors:
                wrong += [f"{node.module}.{a.name}" for a in node.names if a.name not in settings and not a.name.endswith("Options")]
    assert not wrong


def test_the_reader_of_imports_sees_relative_and_absolute_ones() -> None:
    assert "dataset.images" in set(ours(PACKAGE / "dataset" / "items.py"))
    assert "errors" in set(ours(PACKAGE / "dataset" / "items.py"))
    assert "dataset" in set(ours(PACKAGE / "crop" / "plan.py"))


def test_nothing_but_the_doors_imports_the_webui_or_gradio() -> None:
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        place = path.relative_to(PACKAGE).parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                top = name.split(".")[0]
                if (top == "gradio" and place[0] != "ui") or (top == "modules" and place != ("host", "webui.py")):
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_the_steps_start_without_machine_learning_libraries() -> None:
    names = [f"lora_studio.{name}" for name in ("dataset", "crop", "tagging", "editing", "training") if (PACKAGE / name / "__init__.py").exists()]
    names += [f"lora_studio.{p.stem}" for p in (PACKAGE / "studio.py", PACKAGE / "cli", PACKAGE / "doctor.py") if p.exists()]
    assert len(names) >= 3
    code = f"import sys, importlib; [importlib.import_module(n) for n in {names!r}]; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_no_pickle_is_read_outside_of_torch_s_safe_loader() -> None:
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
                call = f"{node.func.value.id}.{node.func.attr}"
                if call in {"pickle.load", "pickle.loads"}:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {call}")
                safe = any(k.arg == "weights_only" and isinstance(k.value, ast.Constant) and k.value.value is True for k in node.keywords)
                if call == "torch.load" and not safe:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} torch.load without weights_only=True")
    assert not wrong
