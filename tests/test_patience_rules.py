"""Nobody replaces, renames, deletes or opens for writing but through patience.py, read from the source: a held file must end nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lora_studio"
#: of a module: what changes files
OF_MODULES = {
    "os": {"replace", "rename", "renames", "unlink", "remove", "rmdir", "removedirs", "open", "truncate"},
    "shutil": {"rmtree", "move", "copyfile", "copy", "copy2", "copytree"},
    "tempfile": {"TemporaryDirectory", "NamedTemporaryFile", "mkstemp"},
    "io": {"open", "FileIO"},
    "safetensors": {"save_file"},
}
#: of a path, or of anything: what is called so nowhere else
OF_PATHS = {"unlink", "rmdir", "rename", "touch", "write_text", "write_bytes"}
NAMED_ALIKE = {"studio.rename"}
#: what a picture or an array is saved to has to be an open file, never one of these
PATHS = {"path", "temporary", "target", "out", "file_path"}
#: made by us, once, on a machine of our own: no user runs it
EXEMPT = ("lora_studio/patience.py", "lora_studio/demo/build/")


def offences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, call) of each call that does not wait. Within ``patient(lambda: …)`` all are fine."""

    def walk(node: ast.AST, waited_for: bool) -> Iterator[tuple[int, str]]:
        if isinstance(node, ast.Call):
            if not waited_for and (found := _offence(node)):
                yield node.lineno, found
            if isinstance(node.func, ast.Name) and node.func.id == "patient":
                waited_for = True
        for child in ast.iter_child_nodes(node):
            yield from walk(child, waited_for)

    return walk(tree, False)


def _offence(call: ast.Call) -> str:
    text = ast.unparse(call.func)
    if isinstance(call.func, ast.Name):
        return text if text == "open" and _writes(call, 1) and "os.devnull" not in ast.unparse(call) else ""
    if not isinstance(call.func, ast.Attribute):
        return ""
    owner, name = ast.unparse(call.func.value), call.func.attr
    if owner == "patience":
        return ""
    if text == "os.open" and "os.O_RDONLY" in ast.unparse(call):
        return ""
    if owner in OF_MODULES:
        return text if name in OF_MODULES[owner] and not (name == "open" and owner == "io" and not _writes(call, 1)) else ""
    if name in OF_PATHS and text not in NAMED_ALIKE:
        return text
    if name == "replace" and len(call.args) == 1 and not call.keywords:  # a text's takes two
        return text
    if name == "open" and _writes(call, 0):
        return text
    if name == "save" and call.args and ast.unparse(call.args[0]).removeprefix("os.fspath(").rstrip(")") in PATHS:
        return text
    if name == "ZipFile" and len(call.args) > 1 and ast.unparse(call.args[0]) in PATHS and _writes(call, 1):
        return text
    return ""


def _writes(call: ast.Call, place: int) -> bool:
    mode = next((k.value for k in call.keywords if k.arg == "mode"), call.args[place] if len(call.args) > place else None)
    return isinstance(mode, ast.Constant) and isinstance(mode.value, str) and len(mode.value) < 4 and bool(set("wax+") & set(mode.value))


def test_everything_that_changes_files_waits() -> None:
    wrong = []
    for path in (*sorted(PACKAGE.rglob("*.py")), ROOT / "launch.py", ROOT / "install.py"):
        place = path.relative_to(ROOT).as_posix()
        if not place.startswith(EXEMPT):
            wrong += [f"{place}:{line} {call}" for line, call in offences(ast.parse(path.read_text(encoding="utf-8")))]
    assert wrong == []


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("os.replace(a, b)", True), ("source.rename(target)", True), ("path.unlink(missing_ok=True)", True), ("shutil.rmtree(folder)", True),
        ("temporary.replace(target)", True), ("path.open('wb')", True), ("open(path, 'a')", True), ("os.open(path, flags)", True),
        ("picture.save(temporary, format='PNG')", True), ("picture.save(os.fspath(temporary), 'PNG')", True), ("zipfile.ZipFile(path, 'x')", True),
        ("path.write_text(text)", True), ("tempfile.TemporaryDirectory()", True), ("path.open('r+b')", True), ("path.open(mode='x')", True),
        ("patient(lambda: os.open(path, flags))", False), ("text.replace('a', 'b')", False), ("path.open('rb')", False), ("path.open()", False),
        ("picture.save(buffer, 'PNG')", False), ("zipfile.ZipFile(data, 'w')", False), ("unlink(path)", False), ("patience.unlink(path)", False),
        ("os.open(path, os.O_RDONLY)", False),
        ("studio.rename(project, name)", False),
        ("project.save()", False), ("archive.open(name)", False),
    ],
)  # fmt: skip
def test_the_reader_sees_them(code: str, wrong: bool) -> None:
    assert bool(list(offences(ast.parse(code)))) is wrong
