"""Settings in the shapes in which they are passed around: each is read as it is meant, goes out again and comes back the same."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_studio.training.config import TrainingConfig
from lora_studio.training.kohya_export import PROMPTS, export
from lora_studio.training.kohya_gui import OF_THE_WINDOW, OTHER_FAMILIES
from lora_studio.training.kohya_not_here import NEUTRAL, UNNEEDED, UNSUPPORTED
from lora_studio.training.kohya_report import Imported, equal
from lora_studio.training.kohya_table import ARGUMENTS, COMBINED
from lora_studio.training.kohya_take import take
from lora_studio.training.kohya_toml import flat, parse_toml, read
from lora_studio.training.kohya_use import fit

EXAMPLES = Path(__file__).parent / "kohya"
CONFIGS = sorted(path.name for path in EXAMPLES.iterdir() if path.name != "prompts.toml")


def example(name: str) -> tuple[Imported, TrainingConfig]:
    found = read([EXAMPLES / name])
    return found, TrainingConfig.from_dict(fit(found))


def named(rows: list[tuple[str, str]]) -> set[str]:
    return {row[0].split(" = ")[0] for row in rows}


@pytest.mark.parametrize("name", CONFIGS)
def test_out_again_and_in_again_it_is_the_same(name: str) -> None:
    config = example(name)[1]
    files = export(config).files
    found = take(flat(parse_toml(files["config.toml"], "c")), parse_toml(files["dataset.toml"], "d"), files.get(PROMPTS, ""))
    assert TrainingConfig.from_dict(found.values) == config and found.unknown == []


def leaves(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for name, value in values.items() if isinstance(values, dict) else enumerate(values):
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name), value


def means_nothing(name: str, value: Any, window: bool) -> bool:
    """Whether a value is the default of kohya's trainer, or of a window that shows much more than it gives to the trainer."""
    if window and (name in OF_THE_WINDOW or name.startswith("multires_noise") or OTHER_FAMILIES.match(name)):
        return True
    usual = [*NEUTRAL, *UNNEEDED.get(name, ((), ""))[0], *UNSUPPORTED.get(name, ((), ""))[0]]
    if name in ARGUMENTS:
        usual.append(ARGUMENTS[name].default)
    return any(equal(value, one) for one in usual)


#: says once more what another key of the file says, what is so here anyway, or the name of a thing in a window
SAID_ELSEWHERE = {
    "algo", "lr_scheduler_args", "learning_rate", "unet_lr", "lr_scheduler", "name", "gamma", "cache_text_encoder_outputs",
    "text_encoder_lr", "network_module", "network_train_unet_only", "caption_extension", "lr_scheduler_num_cycles", "num_repeats",
    "sdxl", "shuffle_caption", "save_model_as", "image_dir",
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_each_key_makes_a_difference_to_what_is_taken_or_told(name: str, tmp_path: Path) -> None:
    """Without it, the import says something else: so none was dropped in silence."""
    path = EXAMPLES / name
    values = json.loads(path.read_text(encoding="utf-8")) if path.suffix == ".json" else parse_toml(path.read_text(encoding="utf-8"), name)
    whole = read([path]).to_dict()
    other = tmp_path / "other.json"
    for place, value in leaves(values):
        if place[-1] in SAID_ELSEWHERE or means_nothing(place[-1], value, path.suffix == ".json"):
            continue
        if name == "many_datasets.toml" and place[:2] == ("datasets", 1):  # left out as a whole, which is told
            continue
        without = copy.deepcopy(values)
        inner = without
        for step in place[:-1]:
            inner = inner[step]
        del inner[place[-1]]
        other.write_text(json.dumps(without), encoding="utf-8")
        assert read([other]).to_dict() != whole, place


TOLD = {
    "v2": True, "dataset_repeats": 3, "conditioning_data_dir": "/m", "caption_extension": ".tags", "alpha_mask": True,
    "save_model_as": "ckpt", "sample_prompts": "a.txt", "dataset_config": "d.toml", "network_args": ["conv_dim=2"],
    "optimizer_args": ["eps=1"], "use_8bit_adam": True, "use_lion_optimizer": True, "own_options": {"threads": 1},
    "own_instead": {"unet_lr": {"there": 2e-06, "here": 1.0}}, "mixed_precision": "bf16", "save_precision": "bf16", "loss_type": "huber",
    "optimizer_type": "Lion", "lr_scheduler": "linear", "network_module": "networks.oft", "lr_scheduler_args": ["a=1"],
    "resolution": 768, "prior_loss_weight": 0.5, "huber_c": 0.2, "v_parameterization": True,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted({*ARGUMENTS, *COMBINED, *UNSUPPORTED, *UNNEEDED}))
def test_no_key_of_kohya_s_trainer_is_dropped_in_silence(name: str) -> None:
    assert take({name: TOLD.get(name, 7)}).to_dict() != take({}).to_dict()


def test_lora_easy() -> None:
    found, config = example("easy.toml")
    folders = [(f.path, f.repeats, f.keep_tokens, f.is_reg) for f in config.folders]
    assert folders == [("C:/pictures/face", 4, 1, False), ("C:/pictures/reg", 1, None, True)]
    assert (config.resolution, config.batch_size, config.bucket_min, config.bucket_max) == ((832, 1216), 3, 512, 2048)
    assert (config.optimizer, config.weight_decay, config.unet_lr, config.text_lr) == ("came", 0.05, 2e-4, 4e-5)
    assert (config.scheduler, config.warmup, config.epochs, config.scale_weight_norms) == ("rex", 0.1, 6, 2.5)
    assert (config.conv_dim, config.conv_alpha, config.rank_dropout, config.down_lr_weight.count(",")) == (6, 3, 0.1, 11)
    assert named(found.unsupported) == {"lr_scheduler_args min_lr", "datasets[0].subsets[0].random_crop"} and found.unknown == []
    assert ("wandb_api_key = …", "Every run keeps its own log here (TensorBoard in its folder).") in found.unneeded


def test_lycoris_means_convolutions_too_and_the_last_word_counts() -> None:
    found, config = example("lycoris.toml")
    assert (config.network_dim, config.conv_dim, config.conv_alpha, config.network_dropout) == (12, 12, 6, 0.1)
    assert (config.optimizer, config.weight_decay, config.betas, config.scheduler, config.warmup) == ("adamw8bit", 0.1, (0.9, 0.99), "cosine", 50)
    assert (config.resolution, config.epochs, config.max_steps, config.max_tokens) == ((640, 640), 4, 0, 150)
    assert found.unknown == ["lr_restart_cycles = 2"]
    assert named(found.unsupported) == {
        "Basics.resolution", "train_data_dir", "save_every_n_steps", "network_args use_tucker", "lr_scheduler", "lr_scheduler_min_lr_ratio",
        "full_fp16", "caption_extension", "weighted_captions",
    }  # fmt: skip
    assert {"mem_eff_attn", "cache_latents_to_disk"} <= named(found.unneeded)
    assert any("PagedAdamW8bit is taken as adamw8bit" in note for note in found.notes)


def test_arguments_and_folders_in_one_file() -> None:
    found, config = example("in_one.toml")
    assert [(f.path, f.repeats, f.flip, f.is_reg, f.class_tokens) for f in config.folders] == [
        ("/pictures/mira", 10, None, False, ""), ("/pictures/reg", 1, True, True, "girl"),
    ]  # fmt: skip
    assert (config.masked_loss, config.tag_dropout, config.bucket_no_upscale, config.resolution) == (True, 0.1, True, (768, 768))
    assert (config.optimizer, config.unet_lr, config.text_lr, config.scheduler, config.max_steps) == ("prodigy", 1, 0, "constant", 1200)
    assert set(config.optimizer_args) == {"d_coef=0.8", "bias_correction=True"}
    assert (config.sample_prompts, config.sample_seed) == (("mira, smile", "mira, walking"), 5)
    assert found.unknown == []
    assert named(found.unsupported) == {
        "datasets[0].keep_tokens_separator", "datasets[0].secondary_separator", "datasets[0].enable_wildcard",
        "datasets[0].subsets[0].caption_suffix", "datasets[0].subsets[2]: alpha_mask", "optimizer_args slice_p", "sample_every_n_steps",
    }  # fmt: skip
    assert any("subsets[1] names a folder of this dataset again" in note for note in found.notes)


def test_a_preset_of_the_gui_with_lycoris() -> None:
    found, config = example("gui_lycoris.json")
    assert (config.network_dim, config.conv_dim, config.text_lr, config.optimizer, config.betas) == (16, 0, 0, "lion", (0.95, 0.98))
    assert (config.scheduler, config.warmup, config.debiased_estimation, config.huber_schedule) == ("cosine", 0.05, True, "constant")
    assert config.sample_prompts == ("mira, smile", "mira, hat") and found.unknown == []
    assert {"network_args dora_wd", "lr_scheduler_type", "lr_scheduler_args T_max", "caption_extension", "full_bf16"} <= named(found.unsupported)
    assert ("sample_prompts: --n blurry", "Samples have no negative prompt here.") in found.unsupported
    assert {"num_processes", "vae_batch_size"} <= named(found.unneeded)


@pytest.mark.parametrize("kind", ["toml", "json"])
def test_prompts_in_tables(kind: str, tmp_path: Path) -> None:
    path = EXAMPLES / "prompts.toml"
    if kind == "json":
        both = parse_toml(path.read_text(encoding="utf-8"), "p")["prompt"]
        path = tmp_path / "prompts.json"
        path.write_text(json.dumps([{**{k: v for k, v in both.items() if k != "subset"}, **one} for one in both["subset"]]), encoding="utf-8")
    config = tmp_path / "c.toml"
    config.write_text(f'resolution = 768\nmax_train_epochs = 1\nsample_prompts = "/elsewhere/{path.name}"\n', encoding="utf-8")
    found = read([config, path])
    assert found.values["sample_prompts"] == ["mira, smile", "mira, hat"]
    assert [float(found.values[f"sample_{name}"]) for name in ("steps", "cfg", "seed")] == [24, 6.5, 3]
    assert named(found.unsupported) == {"sample_prompts: --n blurry", "sample_prompts: --w 512"}
    (tmp_path / "prompts.toml").write_bytes((EXAMPLES / "prompts.toml").read_bytes())
    config.write_text('resolution = 768\nsample_prompts = "/elsewhere/prompts.toml"\n', encoding="utf-8")
    assert read([config]).values["sample_prompts"] == ["mira, smile", "mira, hat"]


def test_rates_of_others_for_an_optimizer_that_finds_its_own() -> None:
    found = take({"optimizer_type": "Prodigy", "learning_rate": "1e-4", "text_encoder_lr": 0, "seed": -1, "max_token_length": 255})
    config = TrainingConfig.from_dict(fit(found))
    assert (config.unet_lr, config.text_lr, config.seed, config.max_tokens) == (1, 0, 42, 225)
    assert named(found.unsupported) == {"unet_lr", "seed", "max_tokens"}


def test_masks_that_kohya_s_trainer_would_not_look_at() -> None:
    dataset = {"datasets": [{"subsets": [{"image_dir": "/a"}]}]}
    assert any("transparency counts" in note for note in take({"masked_loss": True}, dataset).notes)
    masked = {"datasets": [{"subsets": [{"image_dir": "/a", "conditioning_data_dir": "/m"}]}]}
    assert not any("transparency" in note for note in take({"masked_loss": True}, masked).notes)
    assert take({"alpha_mask": True}, dataset).values["masked_loss"] is True


@settings(max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from(sorted({*ARGUMENTS, *COMBINED} - {"own_options", "own_instead"})),
        st.sampled_from([0, -1, 7, 0.5, "1e-4", "", "512,768", [512], True, "none", 1e9, [], ["a=1", "b"], {"a": 1}, "Prodigy"]),
        max_size=8,
    ),
    st.sampled_from([None, {"datasets": 3}, {"datasets": ["a"]}, {"datasets": [{"subsets": [{"image_dir": 5}, {"flip_aug": []}]}]}]),
)
def test_what_nobody_should_write_is_listed_and_the_rest_is_taken(values: dict[str, Any], dataset: dict[str, Any] | None) -> None:
    TrainingConfig.from_dict(fit(take(values, dataset)))


def test_a_folder_for_validation_is_not_trained_on() -> None:
    subsets = [{"image_dir": "/a"}, {"image_dir": "/b", "validation_split": 1.0}]
    found = take({}, {"datasets": [{"subsets": subsets}]})
    assert [folder["path"] for folder in found.values["folders"]] == ["/a"] and found.values["validation_split"] == 0
    assert "datasets[0].subsets[1]: validation_split" in named(found.unsupported)


def test_folders_without_a_dataset_around_them(tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text('[[datasets.subsets]]\nimage_dir = "/a"\nnum_repeats = 8\nalpha_mask = true\n', encoding="utf-8")
    found = read([tmp_path / "d.toml"])
    assert (found.values["folders"], found.values["masked_loss"]) == ([{"path": "/a", "repeats": 8}], True)


def test_a_dataset_file_whose_folders_are_still_to_be_named() -> None:
    datasets = [{"keep_tokens": 2, "resolution": 640, "subsets": [{"image_dir": ""}]}]
    found = take({}, {"general": {"learning_rate": 1, "is_reg": True, "resolution": 512}, "datasets": datasets})
    assert (found.values["keep_tokens"], found.values["resolution"]) == (2, 640)
    assert found.unknown == ["general.learning_rate = 1", "general.is_reg = true"]
