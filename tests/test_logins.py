"""Where logins are said, and that no password is ever told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lora_studio.cli.logins import VARIABLE, Logins, read_logins
from lora_studio.errors import UserError
from lora_studio.host.standalone import Standalone

ROOT = Path(__file__).resolve().parent.parent


def test_from_a_file_the_environment_and_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "logins 花.txt"
    file.write_text("\ufeff# who may come in\nhana=a = long, password\n\n  yuki=雪 \n", encoding="utf-8")
    file.chmod(0o600)
    environment = {VARIABLE: "mira=b\nrin=c", "OTHER": "x"}
    found = read_logins(["me=d"], file, environment)
    assert found.pairs == (("me", "d"), ("mira", "b"), ("rin", "c"), ("hana", "a = long, password"), ("yuki", "雪"))
    assert environment == {"OTHER": "x"}, "no program that we start inherits it"
    assert len(found.warnings) == 1 and "--auth" in found.warnings[0]
    assert read_logins([], file, {}).warnings == () and read_logins([], None, {}) == Logins()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_a_file_that_others_can_read_is_named(tmp_path: Path) -> None:
    file = tmp_path / "logins"
    file.write_text("a=b", encoding="utf-8")
    file.chmod(0o644)
    [warning] = read_logins([], file, {}).warnings
    assert str(file) in warning and "chmod 600" in warning


@pytest.mark.parametrize("given", ["hunter2", "=hunter2", "hunter2=", "hunter2= ", " =hunter2"])
@pytest.mark.parametrize("where", ["flag", "file", "environment"])
def test_what_is_none_is_said_without_repeating_it(tmp_path: Path, given: str, where: str) -> None:
    file = tmp_path / "logins"
    file.write_text("good=one\n" + given, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_logins([given] if where == "flag" else [], file if where == "file" else None, {VARIABLE: given} if where == "environment" else {})
    assert "hunter2" not in caught.value.message + caught.value.hint and "NAME=PASSWORD" in caught.value.message


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("# nobody\n", encoding="utf-8")
    (tmp_path / "odd").write_bytes(b"a=\xff\xfe")
    for name in ("empty", "odd", "gone", ""):
        with pytest.raises(UserError):
            read_logins([], tmp_path / name, {})


def test_no_password_is_told() -> None:
    pairs = (("hana", "hunter2"),)
    assert "hunter2" not in repr(Logins(pairs)) + repr(Standalone(logins=pairs))
    from lora_studio.ui.standalone import PageOptions, _asker

    assert "hunter2" not in repr(PageOptions(auth=pairs))
    ask = _asker((*pairs, ("yuki", "雪")))
    assert ask("hana", "hunter2") and ask("yuki", "雪")
    assert not any(ask(*wrong) for wrong in (("hana", "雪"), ("", ""), ("hana", ""), ("hana\0hunter2", ""), ("yuki", "\ud800")))


def test_the_command_says_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lora_studio", "ui", "--auth", "hunter2", "--no-browser"], cwd=ROOT, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 2 and "hunter2" not in done.stdout + done.stderr and "NAME=PASSWORD" in done.stderr
