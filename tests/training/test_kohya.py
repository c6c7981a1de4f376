"""Settings of kohya's trainer: what public examples mean here, nothing lost on the way, and exports that its trainer takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_studio.cli import main
from lora_studio.errors import UserError
from lora_studio.studio import Studio
from lora_studio.training.config import OPTIONS, TrainingConfig
from lora_studio.training.kohya_export import HARMLESS, ONLY_HERE, PROMPTS, export
from lora_studio.training.kohya_not_here import UNNEEDED, UNSUPPORTED
from lora_studio.training.kohya_table import ARGUMENTS, COMBINED, OPTIMIZER_NAMES
from lora_studio.training.kohya_take import take
from lora_studio.training.kohya_toml import flat, parse_toml, read
from lora_studio.training.kohya_use import fit
from lora_studio.training.options import CHOICES, FINDS_RATE

EXAMPLES = Path(__file__).parent / "kohya"
LEAST: dict[str, Any] = {"base": "/m/base.safetensors", "folders": [{"path": "/d/a"}], "output_name": "名", "output_dir": "/o"}


def back(config: TrainingConfig, **edit: Any) -> TrainingConfig:
    """Exported and imported again, as text."""
    files = export(config, "/x").files
    values = {**flat(parse_toml(files["config.toml"], "c")), **edit}
    found = take(values, parse_toml(files["dataset.toml"], "d"), files.get(PROMPTS, ""))
    assert not found.unknown
    return TrainingConfig.from_dict(found.values)


numbers = st.sampled_from([0.02, 0.125, 0.3, 0.9])
folders = st.lists(
    st.fixed_dictionaries(
        {"path": st.sampled_from(["/d/a", "C:\\图片\\b c"]), "repeats": st.integers(1, 50)},
        optional={
            "keep_tokens": st.integers(0, 3),
            "flip": st.booleans(),
            "is_reg": st.booleans(),
            "class_tokens": st.sampled_from(["", "word", "one girl"]),
            "conditioning_data_dir": st.sampled_from(["", "/masks"]),
        },
    ),
    min_size=1,
    max_size=4,
)


@st.composite
def configurations(draw: st.DrawFn) -> TrainingConfig:
    """Any configuration: each option its default or something else."""
    optimizer = draw(st.sampled_from(CHOICES["optimizer"]))
    values: dict[str, Any] = {**LEAST, "folders": draw(folders), "optimizer": optimizer}
    if optimizer in FINDS_RATE:
        values.update(unet_lr=1.0, text_lr=draw(st.sampled_from([0.0, 1.0])))
    special: dict[str, Any] = {
        "trigger": st.sampled_from(["word", "词"]), "vae": st.just("/v.safetensors"), "lora_dir": st.just("/lora"),
        "resolution": st.sampled_from([512, [768, 1024]]), "bucket_min": st.just(320), "bucket_max": st.just(1280), "bucket_step": st.just(32),
        "max_tokens": st.sampled_from([75, 150]), "betas": st.just([0.8, 0.95]), "optimizer_args": st.just(["eps=1e-7"]),
        "network_weights": st.just("/w.safetensors"), "down_lr_weight": st.sampled_from(["cosine+.25", "1,1,0.5"]), "mid_lr_weight": st.just("0.5"),
        "up_lr_weight": st.just("1,2"), "sample_prompts": st.just(["word, smile", "1girl, 教室"]), "sample_cfg": st.just(6.5),
        "warmup": st.sampled_from([0, 0.1, 40.0]),
    }  # fmt: skip
    for option, field in TrainingConfig.__dataclass_fields__.items():
        if option in values or not draw(st.booleans()):
            continue
        if option in special:
            values[option] = draw(special[option])
        elif option in CHOICES:
            values[option] = draw(st.sampled_from(CHOICES[option]))
        elif isinstance(field.default, bool):
            values[option] = not field.default
        elif isinstance(field.default, int):
            values[option] = draw(st.integers(1, 9))
        elif isinstance(field.default, float):
            values[option] = draw(numbers)
    if values.get("prior_weight"):
        values.setdefault("trigger", "word")
    return TrainingConfig.from_dict(values)


@settings(max_examples=60)
@given(configurations())
def test_exported_and_imported_again_is_the_same(config: TrainingConfig) -> None:
    assert back(config) == config


def test_every_option_has_its_place() -> None:
    assert set(ONLY_HERE) <= set(OPTIONS) and set(HARMLESS) <= set(OPTIONS)
    keys = [set(ARGUMENTS), set(COMBINED), set(UNSUPPORTED), set(UNNEEDED)]
    assert sum(map(len, keys)) == len(set.union(*keys))
    assert set(OPTIMIZER_NAMES) == set(CHOICES["optimizer"])


def test_what_was_edited_after_the_export_counts() -> None:
    config = TrainingConfig.from_dict({**LEAST, "scheduler": "rex", "ema_decay": 0.99})
    assert back(config).scheduler == "rex"
    edited = back(config, lr_scheduler="cosine", max_train_epochs=3)
    assert (edited.scheduler, edited.epochs, edited.ema_decay) == ("cosine", 3, 0.99)


# -- what examples mean -------------------------------------------------------------


def test_the_sd1_notebook() -> None:
    found = read([EXAMPLES / "notebook_sd1.toml", EXAMPLES / "notebook_dataset.toml"])
    config = TrainingConfig.from_dict(found.values)
    assert (config.base, config.output_name) == ("/content/animefull.safetensors", "mira")
    assert (config.unet_lr, config.text_lr, config.optimizer, config.weight_decay, config.betas) == (5e-4, 1e-4, "adamw8bit", 0.1, (0.9, 0.99))
    assert (config.scheduler, config.scheduler_cycles, config.warmup) == ("cosine_with_restarts", 3, 87)
    assert (config.network_dim, config.network_alpha, config.conv_dim, config.conv_alpha) == (16, 8, 8, 4)
    assert (config.epochs, config.max_steps, config.save_every_epochs, config.keep_last) == (10, 0, 1, 10)
    assert (config.clip_skip, config.min_snr_gamma, config.max_tokens, config.precision, config.save_precision) == (2, 5, 225, "fp16", "fp16")
    assert (config.resolution, config.buckets, config.bucket_max, config.shuffle_captions, config.keep_tokens) == ((512, 512), True, 1024, True, 1)
    assert [(f.repeats, f.keep_tokens, f.flip, f.is_reg, f.class_tokens) for f in config.folders] == [
        (3, None, None, False, ""), (1, 2, True, False, ""), (1, None, None, True, "1girl"),
    ]  # fmt: skip
    assert (found.unknown, found.unsupported) == ([], [])
    assert {row[0].split(" ")[0] for row in found.unneeded} == {
        "xformers", "lowram", "max_data_loader_n_workers", "persistent_data_loader_workers", "logging_dir", "log_prefix",
    }  # fmt: skip


def test_what_a_file_does_not_say_is_kohya_s_default() -> None:
    config = TrainingConfig.from_dict({**LEAST, **take({"max_train_epochs": 2}).values})
    assert (config.min_snr_gamma, config.batch_size, config.network_dim, config.network_alpha) == (0, 1, 4, 1)
    assert (config.unet_lr, config.warmup, config.buckets, config.shuffle_captions, config.max_tokens) == (2e-6, 0, False, False, 75)
    assert (config.save_every_epochs, config.precision, config.save_precision, config.scheduler) == (2, "fp32", "fp32", "constant")
    assert take({}).values["max_steps"] == 1600


def test_the_sdxl_notebook_with_prodigy_and_v_prediction() -> None:
    found = read([EXAMPLES / "notebook_sdxl.toml"])
    config = TrainingConfig.from_dict({**LEAST, **found.values})
    assert (config.prediction, config.scale_v_pred_loss, config.zero_terminal_snr, config.scheduler) == ("v_prediction", True, True, "rex")
    assert (config.optimizer, config.weight_decay, config.optimizer_args) == ("prodigy", 0.01, ("bias_correction=True",))
    assert (config.multires_noise_iterations, config.ip_noise_gamma, config.gradient_checkpointing) == (6, 0.05, True)
    assert [row[0] for row in found.unsupported] == ["full_bf16 = true"]
    assert "folders" not in found.values and found.unknown == []


def test_a_base_in_8_bits_and_a_compiled_model_are_taken() -> None:
    found = take({"fp8_base": True, "torch_compile": True, "fp8_base_unet": True, "dynamo_backend": "inductor"})
    assert found.values["fp8_base"] is True and found.values["compile"] == "blocks"
    assert [row[0].split(" ")[0] for row in found.unneeded] == ["fp8_base_unet", "dynamo_backend"]
    assert take({"torch_compile": False}).values["compile"] == take({}).values["compile"] == "off"


def test_prodigy_without_arguments_is_kohya_s_prodigy() -> None:
    assert set(take({"optimizer_type": "prodigy"}).values["optimizer_args"]) == {"d_coef=1.0", "safeguard_warmup=False"}


def test_layers_of_a_dataset_file_and_what_differs_between_folders() -> None:
    found = read([EXAMPLES / "notebook_sd1.toml", EXAMPLES / "many_datasets.toml"])
    config = TrainingConfig.from_dict(found.values)
    assert [(f.path, f.keep_tokens, f.class_tokens) for f in config.folders] == [("C:\\pictures\\one", 2, "one girl"), ("C:\\pictures\\two", 3, "")]
    assert (config.batch_size, config.resolution, config.keep_tokens, config.buckets) == (4, (512, 512), 1, True)
    assert found.unknown == ["general.colour_shift = 3"]
    named = [row[0] for row in found.unsupported]
    assert 'datasets[0].subsets[1].caption_prefix = "masterpiece, "' in named
    assert "datasets[0].subsets[1]: caption_tag_dropout_rate = 0.1" in named
    assert "datasets[1].subsets[0]" in named and len(named) == 4  # and its metadata_file


def test_a_preset_of_the_gui() -> None:
    found = read([EXAMPLES / "gui.json"])
    config = TrainingConfig.from_dict(fit(found))
    assert (config.optimizer, config.weight_decay, config.unet_lr, config.text_lr, config.max_grad_norm) == ("adamw", 0.02, 1e-4, 0, 0.5)
    assert (config.conv_dim, config.rank_dropout, config.epochs, config.warmup, config.clip_skip) == (8, 0.1, 4, 0.1, 2)
    assert (config.noise_offset, config.multires_noise_iterations, config.resolution, config.bucket_step) == (0.05, 0, (512, 648), 64)
    assert (config.seed, config.precision, config.save_precision) == (1234, "bf16", "bf16")
    assert found.unknown == []
    assert [row[0].split(" = ")[0] for row in found.unsupported] == ["adaptive_noise_scale", "bucket_step", "resolution"]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"optimizer_type": "Lamb", "optimizer_args": ["a=1"]}, ["optimizer_type", "optimizer_args"]),
        ({"network_module": "lycoris.kohya", "network_args": ["algo=loha", "conv_dim=4"]}, ["network_args algo"]),
        ({"network_module": "networks.oft"}, ["network_module"]),
        ({"network_args": ["block_dims=2,4"]}, ["network_args block_dims"]),
        ({"lr_scheduler": "inverse_sqrt"}, ["lr_scheduler"]),
        ({"text_encoder_lr": [1e-4, 1e-5]}, ["text_encoder_lr"]),
        ({"loss_type": "l1"}, ["loss_type"]),
        ({"max_timestep": 900}, ["max_timestep"]),
        ({"train_data_dir": "/nowhere"}, ["train_data_dir"]),
        ({"save_model_as": "ckpt"}, ["save_model_as"]),
        ({"network_args": ["algo=lora"], "network_module": "lycoris.kohya", "color_aug": False, "max_timestep": 1000, "metadata_file": ""}, []),
    ],
)
def test_what_is_not_done_here_is_listed_with_its_reason(values: dict[str, Any], named: list[str]) -> None:
    found = take(values)
    assert [row[0].split(" = ")[0] for row in found.unsupported] == named
    assert all(reason for _, reason in found.unsupported) and found.unknown == []
    TrainingConfig.from_dict({**LEAST, **found.values})


def test_one_value_that_is_not_possible_here_does_not_refuse_the_file() -> None:
    found = take({"network_dim": 100000, "bucket_reso_steps": 1, "resolution": "512,650", "max_train_epochs": 3})
    config = TrainingConfig.from_dict({**LEAST, **found.values})
    default = TrainingConfig.from_dict(LEAST)
    assert (config.network_dim, config.bucket_step, config.resolution, config.epochs) == (default.network_dim, default.bucket_step, (512, 648), 3)
    assert sorted(what for what, _ in found.unsupported) == ["bucket_step = 1", "network_dim = 100000", "resolution = [512, 650]"]
    assert take({"resolution": "513"}).values["resolution"] == [512]


def test_a_config_finds_its_dataset_and_prompts(tmp_path: Path) -> None:
    config = TrainingConfig.from_dict({**LEAST, "sample_prompts": ["word, smile", "word"], "sample_steps": 30, "sample_seed": 7})
    files = export(config, "/elsewhere").files
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert TrainingConfig.from_dict(read([tmp_path / "config.toml"]).values) == config


def test_older_folder_names(tmp_path: Path) -> None:
    (tmp_path / "5_one girl").mkdir()
    found = take({"train_data_dir": str(tmp_path), "caption_extension": ".txt"})
    assert found.values["folders"] == [{"path": str(tmp_path / "5_one girl"), "repeats": 5, "is_reg": False, "class_tokens": "one girl"}]


@pytest.mark.parametrize(("name", "text"), [("a.toml", "a = [1"), ("b.json", "[1]"), ("c.json", "{")])
def test_files_that_are_none(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=name[0]):
        read([tmp_path / name])
    with pytest.raises(UserError, match="does not exist"):
        read([tmp_path / "none.toml"])


# -- what kohya's trainer takes -------------------------------------------------------

# Facts of sd-scripts 0.10: where a key may stand in a dataset file (library/config_util.py), and choices of its arguments.
DATASET_KEYS = {"batch_size": int, "bucket_no_upscale": bool, "bucket_reso_steps": int, "enable_bucket": bool, "max_bucket_reso": int,
                "min_bucket_reso": int, "validation_seed": int, "validation_split": float, "resolution": (int, list)}  # fmt: skip
SUBSET_KEYS = {"flip_aug": bool, "num_repeats": int, "shuffle_caption": bool, "keep_tokens": int, "token_warmup_min": int,
               "token_warmup_step": (int, float), "caption_extension": str}  # fmt: skip
DROPOUT_KEYS = {"caption_dropout_every_n_epochs": int, "caption_dropout_rate": (int, float), "caption_tag_dropout_rate": (int, float)}
PLAIN = {**SUBSET_KEYS, **DROPOUT_KEYS, "class_tokens": str, "image_dir": str, "is_reg": bool, "alpha_mask": bool}
MASKED = {**SUBSET_KEYS, "image_dir": str, "conditioning_data_dir": str}
CHOSEN = {"mixed_precision": ("no", "fp16", "bf16"), "save_precision": ("float", "fp16", "bf16"), "max_token_length": (150, 225),
          "loss_type": ("l1", "l2", "huber", "smooth_l1"), "huber_schedule": ("constant", "exponential", "snr"),
          "lr_scheduler": ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup")}  # fmt: skip


def check(values: dict[str, Any], known: dict[str, Any]) -> None:
    assert set(values) <= set(known)
    for name, value in values.items():
        kinds = known[name] if isinstance(known[name], tuple) else (known[name],)
        assert type(value) in kinds, name


@settings(max_examples=60)
@given(configurations())
def test_kohya_s_trainer_takes_the_export(config: TrainingConfig) -> None:
    files = export(config).files
    values = flat(tomlkit.parse(files["config.toml"]).unwrap())
    assert set(values) <= {*ARGUMENTS, *COMBINED, "own_options", "own_instead", "sdpa"}
    for name, choices in CHOSEN.items():
        assert name not in values or values[name] in choices or (name == "max_token_length" and config.max_tokens not in (75, 150, 225))
    assert not (values["lr_scheduler"] == "constant" and values.get("lr_warmup_steps"))
    warmup = values.get("lr_warmup_steps", 0)
    assert isinstance(warmup, int) or warmup < 1
    assert ("max_train_epochs" in values) != ("max_train_steps" in values)
    dataset = tomlkit.parse(files["dataset.toml"]).unwrap()
    check(dataset["general"], {**DATASET_KEYS, **SUBSET_KEYS, **DROPOUT_KEYS})
    for one in dataset["datasets"]:
        masked = [("conditioning_data_dir" in s) for s in one["subsets"]]
        assert len(set(masked)) == 1 and set(one) == {"subsets"}
        for subset in one["subsets"]:
            check(subset, MASKED if masked[0] else PLAIN)


# -- in a project -----------------------------------------------------------------------


def test_import_into_a_project_and_export_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    dataset = tmp_path / "projects" / "mira" / "dataset"
    dataset.mkdir(parents=True)
    for k in range(3):
        Image.new("RGB", (64, 64), (k * 60, 0, 0)).save(dataset / f"{k}.png")
        (dataset / f"{k}.txt").write_text("word, smile", encoding="utf-8")
    common = ["--projects", str(tmp_path / "projects"), "--json"]
    source = [str(EXAMPLES / "notebook_sd1.toml"), str(EXAMPLES / "notebook_dataset.toml")]
    assert main(["config", "import", *source, "--project", "mira", "--base", "demo", *common]) == 0
    taken = json.loads(capsys.readouterr().out)
    assert taken["preset"] == "mira" and taken["base"] == "demo"
    assert len([n for n in taken["notes"] if "left out" in n]) == 3  # folders of another machine
    studio = Studio(tmp_path / "projects")
    config = studio.last_choice(studio.open("mira"))
    assert (config.epochs, config.network_dim, config.conv_dim, config.optimizer) == (10, 16, 8, "adamw8bit")
    assert config.folders[0].path == str(dataset)
    assert main(["config", "export", "mira", "--out", str(tmp_path / "kohya"), *common]) == 0
    again = read([tmp_path / "kohya" / "config.toml"])
    assert TrainingConfig.from_dict(again.values) == config and again.unknown == []


def test_a_single_folder_elsewhere_is_the_project_s_own(tmp_path: Path) -> None:
    from lora_studio.training.kohya_report import Imported
    from lora_studio.training.kohya_use import use

    (tmp_path / "p" / "dataset").mkdir(parents=True)
    studio = Studio(tmp_path)
    found = Imported(values={"folders": [{"path": "/content/x", "repeats": 7}], "epochs": 3})
    taken = use(found, studio.open("p"), studio.presets_dir)
    assert taken.settings["repeats"] == 7 and len(taken.notes) == 1
    assert "folders" not in studio.open("p").settings


def test_folders_that_are_here_are_trained_on(tmp_path: Path) -> None:
    from PIL import Image

    from lora_studio.training.kohya_report import Imported
    from lora_studio.training.kohya_use import use

    for name in ("good", "reg"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (64, 64)).save(tmp_path / name / "a.png")
    (tmp_path / "p" / "dataset").mkdir(parents=True)
    studio = Studio(tmp_path)
    folders = [{"path": str(tmp_path / "good"), "repeats": 7}, {"path": str(tmp_path / "reg"), "repeats": 1, "is_reg": True}]
    use(Imported(values={"folders": folders}), studio.open("p"), studio.presets_dir, base=Path("demo"))
    config = studio.last_choice(studio.open("p"))
    assert [(f.path, f.repeats, f.is_reg) for f in config.folders] == [(str(tmp_path / "good"), 7, False), (str(tmp_path / "reg"), 1, True)]


def test_a_python_without_toml_has_a_child_do_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_studio.training import kohya_toml

    (tmp_path / "p" / "dataset").mkdir(parents=True)
    (tmp_path / "wrong.toml").write_text("a = [", encoding="utf-8")
    studio = Studio(tmp_path)
    monkeypatch.setattr(kohya_toml, "reads_toml", lambda: False)
    taken = studio.import_settings(studio.open("p"), [EXAMPLES / "notebook_sd1.toml"], "mine", Path("demo"))
    assert isinstance(taken, dict) and (taken["preset"], taken["base"]) == ("mine", "demo")
    with pytest.raises(UserError, match=r"wrong.toml is not TOML"):
        studio.import_settings(studio.open("p"), [tmp_path / "wrong.toml"])
    config = TrainingConfig.from_dict({**LEAST, "scheduler": "rex"})
    assert [option for option, _ in studio.export_settings(config, tmp_path / "out")] == ["scheduler", "precision"]
    assert TrainingConfig.from_dict(read([tmp_path / "out" / "config.toml"]).values) == config
