"""The host's globals. As in the WebUI, `sd_model` is loaded when it is first asked for: whoever only wants to look asks sd_models.model_data."""

import os
import sys
import types

import gradio as gr

from modules import options, shared_cmd_options, shared_state
from modules.paths_internal import data_path, extensions_builtin_dir, extensions_dir, models_path, script_path  # noqa: F401

cmd_opts = shared_cmd_options.cmd_opts
parser = shared_cmd_options.parser
OptionInfo = options.OptionInfo
options_section = options.options_section
hide_dirs = {"visible": not cmd_opts.hide_ui_dir_config}
config_filename = os.path.join(data_path, "config.json")
device = "cpu"
demo = None
tab_names = []

options_templates = {}
options_templates.update(
    options_section(
        ("fake", "Fake"),
        {
            "localization": OptionInfo("None", "Localization", gr.Dropdown, lambda: {"choices": ["None"]}),
            "sd_model_checkpoint": OptionInfo(None, "Stable Diffusion checkpoint", gr.Dropdown, lambda: {"choices": []}),
            "outdir_txt2img_samples": OptionInfo("outputs/txt2img-images", "Output directory for txt2img images"),
            "outdir_txt2img_grids": OptionInfo("outputs/txt2img-grids", "Output directory for txt2img grids"),
            "hidden_tabs": OptionInfo([], "Hidden UI tabs"),
        },
    )
)
restricted_opts = {"outdir_txt2img_samples", "outdir_txt2img_grids"}
opts = options.Options(options_templates, restricted_opts)
state = shared_state.State()


class Tqdm:
    def clear(self):
        pass


total_tqdm = Tqdm()


class _Shared(types.ModuleType):
    @property
    def sd_model(self):
        from modules import sd_models

        return sd_models.model_data.get_sd_model()

    @sd_model.setter
    def sd_model(self, value):
        from modules import sd_models

        sd_models.model_data.set_sd_model(value)


sys.modules[__name__].__class__ = _Shared
