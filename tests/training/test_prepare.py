"""From choices to a configuration: what presets and bases bring, and each mistake at its own option."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_studio.errors import UserError
from lora_studio.project import Project
from lora_studio.studio import Studio
from lora_studio.training import presets
from lora_studio.training.bases import CATALOGUE
from lora_studio.training.prepare import by_field

SD1 = ("model.diffusion_model.out.2.weight", "cond_stage_model.transformer.text_model.final_layer_norm.weight")
SDXL = (SD1[0], "conditioner.embedders.0.transformer.x", "conditioner.embedders.1.model.ln_final.weight")


def checkpoint(path: Path, names: tuple[str, ...]) -> Path:
    """A whole .safetensors file with one number under each name."""
    table = {n: {"dtype": "F32", "shape": [1], "data_offsets": [4 * k, 4 * k + 4]} for k, n in enumerate(names)}
    header = json.dumps(table).encode("utf-8")
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * len(names)))
    return path


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path / "projects", tmp_path / "Lora")


@pytest.fixture
def project(studio: Studio) -> Project:
    """Ten captioned pictures and a trigger word."""
    project = Project(Project.create(studio.projects_dir, "hana").folder, "hana", trigger="hanako")
    project.save()
    for k in range(10):
        Image.new("RGB", (512, 512)).save(project.dataset_dir / f"{k}.png")
        (project.dataset_dir / f"{k}.txt").write_text("hanako, 1girl, smile", encoding="utf-8")
    return project


def test_the_form_starts_from_preset_family_and_project(studio: Studio, project: Project, tmp_path: Path) -> None:
    found = studio.draft_training(project, checkpoint(tmp_path / "a.safetensors", SD1), "character", {})
    assert (found.family, found.problems) == ("sd1", {})
    v = found.values
    assert (v["resolution"], v["network_dim"], v["unet_lr"], v["repeats"], v["trigger"]) == ([512, 512], 16, 5e-4, 30, "hanako")
    assert v["sample_prompts"] == ["hanako, 1girl", "hanako, 1girl, smile"] and "base" not in v and "output_dir" not in v
    assert found.check is not None and (found.check.images, found.check.steps) == (10, 1500)
    xl = studio.draft_training(project, checkpoint(tmp_path / "b.safetensors", SDXL), "face", {})
    assert (xl.values["resolution"], xl.values["batch_size"], xl.values["gradient_checkpointing"]) == ([1024, 1024], 4, True)


def test_what_was_changed_comes_over_it_and_is_what_is_trained(studio: Studio, project: Project, tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "a.safetensors", SD1)
    settings = {"epochs": "3", "repeats": "4", "resolution": "512x768", "flip": True, "sample_prompts": "hanako\n\n1girl"}
    found = studio.draft_training(project, base, "character", settings)
    assert found.check is not None and (found.check.steps, found.check.images_with_repeats) == (60, 40)
    assert found.values["epochs"] == 10, "the values are the preset's, that the page can say what was changed"
    config = studio.configure(project, base, "character", settings)
    assert (config.epochs, config.folders[0].repeats, config.resolution, config.flip) == (3, 4, (512, 768), True)
    assert config.sample_prompts == ("hanako", "1girl")


def test_mistakes_are_told_at_their_options(studio: Studio, project: Project, tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "a.safetensors", SD1)
    wrong = {"epochs": "0", "unet_lr": "fast", "betas": "0.9", "repeats": "many", "output_name": "a/b"}
    found = studio.draft_training(project, base, "character", wrong)
    assert set(found.problems) == set(wrong) and found.check is None
    assert found.problems["epochs"] == ["must be from 1 to 10000, got '0'"]
    together = studio.draft_training(project, base, "character", {"unet_lr": 0, "text_lr": "0"})
    assert set(together.problems) == {"unet_lr", "text_lr"}
    assert set(studio.draft_training(project, base, "character", {"output_name": "a/b"}).problems) == {"output_name"}
    nowhere = studio.draft_training(project, tmp_path / "no.safetensors", "character", {"epochs": 0})
    assert set(nowhere.problems) == {"base", "epochs"} and nowhere.values["epochs"] == 10
    with pytest.raises(UserError, match="cannot be set here: lora_dir"):
        studio.draft_training(project, base, "character", {"lora_dir": "/etc"})
    unknown = studio.draft_training(project, base, "character", {"epoch": 3})
    assert unknown.problems == {"": ["epoch: there is no such option; do you mean epochs?"]}


def test_masks_and_regularisation_pictures_are_folders_of_the_run(studio: Studio, project: Project, tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "a.safetensors", SD1)
    reg, masks = project.folder / "reg", project.folder / "masks"
    for folder in (reg, masks):
        folder.mkdir()
    Image.new("RGB", (512, 512)).save(reg / "1.png")
    settings = {"mask_dir": str(masks), "reg_dir": str(reg), "reg_repeats": "2", "repeats": "5", "masked_loss": True}
    found = studio.draft_training(project, base, "character", settings)
    assert not found.problems and found.check is not None and found.check.images_with_repeats == 50
    assert any("1 regularisation picture is" in w for w in found.check.warnings)
    one, two = studio.configure(project, base, "character", settings).folders
    assert (one.repeats, one.conditioning_data_dir, one.is_reg) == (5, str(masks), False)
    assert (two.path, two.repeats, two.conditioning_data_dir, two.is_reg) == (str(reg), 2, "", True)
    wrong = studio.draft_training(project, base, "character", {"reg_dir": str(reg), "reg_repeats": "0", "mask_dir": str(masks / "no")})
    assert set(wrong.problems) == {"reg_repeats"}
    assert set(studio.draft_training(project, base, "character", {"mask_dir": str(masks / "no")}).problems) == {"mask_dir"}
    assert found.values["reg_dir"] == "" and found.values["reg_repeats"] == 1


def test_folders_that_an_import_chose_are_shown_and_can_be_changed(studio: Studio, project: Project, tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "a.safetensors", SD1)
    reg = project.folder / "reg"
    reg.mkdir()
    folders = [{"path": str(project.dataset_dir), "repeats": 7}, {"path": str(reg), "repeats": 3, "is_reg": True}]
    imported = Project(project.folder, project.name, project.trigger, settings={"folders": folders})
    imported.save()
    values = studio.draft_training(imported, base, "character", {}).values
    assert (values["repeats"], values["reg_dir"], values["reg_repeats"]) == (7, str(reg), 3)
    config = studio.configure(imported, base, "character", {"repeats": 2, "reg_dir": ""})
    assert [(f.repeats, f.is_reg) for f in config.folders] == [(2, False)]


def test_a_project_without_pictures_has_a_form_too(studio: Studio, tmp_path: Path) -> None:
    empty = Project.create(studio.projects_dir, "empty")
    found = studio.draft_training(empty, checkpoint(tmp_path / "a.safetensors", SD1), "style", {})
    assert found.problems == {"": ["There are no pictures to train on yet."]} and found.values["network_dim"] == 32


def test_a_base_of_the_catalogue_brings_what_suits_it(studio: Studio, project: Project, tmp_path: Path) -> None:
    vpred = checkpoint(tmp_path / CATALOGUE["noobai-vpred"].file, SDXL)
    found = studio.draft_training(project, vpred, "character", {})
    assert (found.values["prediction"], found.values["zero_terminal_snr"], found.values["scale_v_pred_loss"]) == ("v_prediction", True, True)
    assert studio.configure(project, vpred, "character", {"zero_terminal_snr": "false"}).zero_terminal_snr is False
    anime = checkpoint(tmp_path / CATALOGUE["animefull"].file.upper(), SD1)
    assert studio.draft_training(project, anime, "character", {}).values["clip_skip"] == 2


def test_every_card_suits_the_embedded_model(studio: Studio, project: Project) -> None:
    for name in ("character", "face", "style", "quick"):
        found = studio.draft_training(project, "demo", name, {})
        assert found.values["resolution"] == [128, 128] and not found.problems
    assert studio.draft_training(project, "demo", "character", {}).preset == "demo"
    assert studio.draft_training(project, "demo", "quick", {}).values["epochs"] == 2


def test_own_presets_follow_the_family_of_the_base(studio: Studio, project: Project, tmp_path: Path) -> None:
    studio.save_preset("我的 style", {"epochs": "7", "trigger": "private", "output_name": "private", "repeats": "9"}, "style")
    assert json.loads((studio.presets_dir / "我的 style.json").read_text(encoding="utf-8")) == {"preset": "style", "epochs": "7"}
    listed = studio.training_form()["presets"]
    assert [p["name"] for p in listed] == ["character", "face", "style", "quick", "我的 style"]
    assert listed[-1] == {"name": "我的 style", "own": True, "preset": "style", "settings": {"epochs": "7"}}
    one = studio.draft_training(project, checkpoint(tmp_path / "a.safetensors", SD1), "我的 style", {})
    xl = studio.draft_training(project, checkpoint(tmp_path / "b.safetensors", SDXL), "我的 style", {})
    assert (one.values["epochs"], one.values["resolution"], one.values["flip"], one.values["trigger"]) == (7, [512, 512], True, "hanako")
    assert (xl.values["epochs"], xl.values["resolution"]) == (7, [1024, 1024])
    studio.remove_preset("我的 style")
    with pytest.raises(UserError, match="no preset named 我的 style"):
        studio.draft_training(project, "demo", "我的 style", {})


@pytest.mark.parametrize("name", ["character", "../up", "a/b", "a\\b", "", ".", "con", "x" * 300, "a\x00b"])
def test_names_that_no_preset_can_have(studio: Studio, name: str) -> None:
    with pytest.raises(UserError):
        studio.save_preset(name, {"epochs": 1}, "character")
    assert not list(studio.projects_dir.rglob("*.json")) and not list(studio.projects_dir.parent.glob("*.json"))


def test_a_broken_preset_is_named_in_the_list_and_when_chosen(studio: Studio) -> None:
    studio.presets_dir.mkdir(parents=True)
    (studio.presets_dir / "broken.json").write_text("{", encoding="utf-8")
    (studio.presets_dir / "list.json").write_text("[1]", encoding="utf-8")
    listed = {p["name"]: p.get("problem") for p in presets.listing(studio.presets_dir)}
    assert {name for name, problem in listed.items() if not problem} == {"character", "face", "style", "quick"}
    assert "broken.json" in str(listed["broken"]) and "list.json" in str(listed["list"])
    with pytest.raises(UserError):
        presets.settings("list", "sd1", studio.presets_dir)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("  unet_lr, text_lr: both are 0", {"unet_lr": ["both are 0"], "text_lr": ["both are 0"]}),
        ("folders[0].repeats: must be at least 1", {"repeats": ["must be at least 1"]}),
        ("folders[1].repeats: must be at least 1", {"reg_repeats": ["must be at least 1"]}),
        ("folders[0].nothing: is not known", {"": ["folders[0].nothing: is not known"]}),
        ("The folder C: is gone.", {"": ["The folder C: is gone."]}),
        ("base: line one\nline two", {"base": ["line one\nline two"]}),
    ],
)
def test_lines_are_sorted_by_option(line: str, found: dict[str, Any]) -> None:
    assert by_field([line]) == found
