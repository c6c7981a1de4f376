"""260 characters: what is too long is said before anything is written, in words, and only where the limit is."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lora_studio import files, longpaths, overlay_install
from lora_studio.errors import UserError
from lora_studio.files import LONGEST_NEW, atomic_write_text, explain_os_error, new_name, validate_name
from lora_studio.project import Project
from lora_studio.renaming import rename
from lora_studio.training import presets

LONG = "a" * (LONGEST_NEW + 1)


def windows(monkeypatch: pytest.MonkeyPatch, value: int | None) -> None:
    """As Windows whose registry says this of long paths; None: nothing."""

    class Key:
        def __enter__(self) -> Key:
            return self

        def __exit__(self, *_: object) -> None:
            """Closed."""

    def read(key: Any, name: str) -> tuple[int, int]:
        assert name == "LongPathsEnabled"
        if value is None:
            raise FileNotFoundError(name)
        return value, 4

    registry = ModuleType("winreg")
    registry.__dict__.update(HKEY_LOCAL_MACHINE=0, OpenKey=lambda root, path: Key(), QueryValueEx=read)
    monkeypatch.setitem(sys.modules, "winreg", registry)
    monkeypatch.setattr(longpaths, "sys", SimpleNamespace(platform="win32"))


@pytest.mark.parametrize(("value", "limited"), [(1, False), (0, True), (None, True)])
def test_windows_with_long_paths_switched_on_has_no_limit(monkeypatch: pytest.MonkeyPatch, value: int | None, limited: bool) -> None:
    windows(monkeypatch, value)
    assert longpaths.limited() is limited
    assert longpaths.excess(Path("/" + "x" * 200), 100) == (43 if limited else 0)  # 201 and the separator and 100
    assert longpaths.excess(Path("/short"), 100) == 0


def test_other_systems_have_none() -> None:
    assert sys.platform == "win32" or longpaths.excess(Path("/" + "x" * 2000), 1000) == 0


def test_the_packages_folder_is_looked_at_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    windows(monkeypatch, 0)
    monkeypatch.setattr(overlay_install.overlay.Facts, "read", staticmethod(lambda: overlay_install.overlay.Facts("2.1.2")))
    monkeypatch.setattr(overlay_install, "_Pip", lambda *_: pytest.fail("pip was started"))
    deep = tmp_path / ("d" * 100)
    with pytest.raises(UserError, match="characters too deep for Windows") as caught:
        overlay_install.install(deep, lambda *_: None)
    assert "Settings" in caught.value.hint and "LongPathsEnabled" in caught.value.hint


def test_what_an_installation_writes_is_no_deeper_than_was_measured() -> None:
    """Of the packages that are installed here: those of an overlay, and all."""
    site = next((Path(p) for p in sys.path if (Path(p) / "transformers").is_dir()), None)
    if site is None:
        pytest.skip("the trainer's packages are not installed")
    # the deepest of each kind, as found by looking through all 60,000 files of the pins
    deepest = site / "diffusers/pipelines/deprecated/stable_diffusion_variants"
    assert all(len(str(p.relative_to(site))) <= longpaths.IN_OVERLAY for p in deepest.rglob("*"))
    licenses = next(site.glob("torch-*.dist-info"), None)
    if licenses is not None:
        below = len("Lib/site-packages/")
        assert all(below + len(str(p.relative_to(site))) <= longpaths.IN_VENV for p in licenses.rglob("*"))


def os_error(number: int, winerror: int | None = None) -> OSError:
    error = OSError(number, "said by the system")
    if winerror is not None:
        error.winerror = winerror  # type: ignore[attr-defined,unused-ignore]
    return error


@pytest.mark.parametrize(
    ("error", "length", "said"),
    [
        (os_error(errno.ENAMETOOLONG), 40, "too long for this system"),
        (os_error(errno.ENOENT, 206), 300, "too long for this system"),
        (os_error(errno.ENOENT, 3), 300, "too long for this system"),
        (os_error(errno.ENOENT, 3), 40, "cannot be reached"),
        (os_error(errno.ENOENT), 40, None),
        (os_error(errno.ENOENT, 2), 40, None),
    ],
)
def test_the_systems_numbers_get_words(error: OSError, length: int, said: str | None) -> None:
    found = explain_os_error(error, Path("x" * length))
    assert (found is not None and said in found.message and bool(found.hint)) if said else found is None


def test_a_name_that_the_file_system_refuses_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="too long for this system"):
        atomic_write_text(tmp_path / ("x" * 300) / "caption.txt", "a")
    assert not list(tmp_path.iterdir())


def test_new_names_are_shorter_than_what_is_taken_of_old_ones(tmp_path: Path) -> None:
    assert new_name("a" * LONGEST_NEW) and validate_name(LONG) == LONG
    with pytest.raises(UserError, match="longer than 100 characters"):
        new_name(LONG)
    with pytest.raises(UserError, match="longer than 100 characters"):
        Project.create(tmp_path, LONG)
    with pytest.raises(UserError, match="longer than 100 characters"):
        presets.save(LONG, {}, tmp_path / "presets")
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="longer than 100 characters"):
        rename(Project.create(tmp_path, "short"), LONG)


def test_longer_ones_of_before_still_open_and_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LONG).mkdir()
    assert Project.create(tmp_path, LONG).name == LONG  # a folder that an earlier attempt left
    assert Project.open(tmp_path / LONG).name == LONG
    own = tmp_path / "presets"
    monkeypatch.setattr(files, "LONGEST_NEW", 200)
    presets.save(LONG, {}, own)
    monkeypatch.setattr(files, "LONGEST_NEW", 100)
    assert presets.save(LONG, {"epochs": 3}, own).exists()  # written anew under its name


def test_settings_of_a_lora_with_a_long_name_are_taken(tmp_path: Path) -> None:
    from lora_studio.studio import Studio
    from lora_studio.training.kohya_report import Imported
    from lora_studio.training.kohya_use import use

    studio = Studio(tmp_path / "projects")
    Project.create(studio.projects_dir, "p")
    use(Imported(values={"output_name": LONG, "epochs": 3}), studio.open("p"), studio.presets_dir)
    assert LONG.startswith(str(studio.open("p").settings["train"]["preset"])) and studio.open("p").settings["train"]["preset"]


@pytest.mark.parametrize(("output", "allowed"), [(LONG + "/output", True), ("short/output", False)])
def test_a_project_with_a_long_name_may_train(tmp_path: Path, output: str, allowed: bool) -> None:
    from lora_studio.training.config import TrainingConfig
    from lora_studio.training.preflight import preflight

    config = TrainingConfig.from_dict(
        {"base": "none.safetensors", "folders": [{"path": str(tmp_path)}], "output_name": LONG, "output_dir": str(tmp_path / output)}
    )
    assert any("output_name" in problem for problem in preflight(config).problems) is not allowed
