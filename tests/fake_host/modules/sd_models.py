"""Checkpoints by title, and the one that is loaded. `model.device` says where it is; nothing is read."""

import os

from modules import paths, shared

model_dir = "Stable-diffusion"
model_path = os.path.abspath(os.path.join(paths.models_path, model_dir))
checkpoints_list = {}
checkpoint_aliases = {}
moves = []  # what was done with models, for tests


class CheckpointInfo:
    def __init__(self, filename):
        self.filename = filename
        folder = os.path.abspath(shared.cmd_opts.ckpt_dir) if shared.cmd_opts.ckpt_dir else model_path
        path = os.path.abspath(filename)
        self.name = path[len(folder) :].lstrip("\\/") if path.startswith(folder) else os.path.basename(filename)
        self.is_safetensors = filename.lower().endswith(".safetensors")
        self.name_for_extra = os.path.splitext(os.path.basename(filename))[0]
        self.sha256 = self.shorthash = None
        self.title = self.short_title = self.name

    def register(self):
        checkpoints_list[self.title] = self
        for alias in (self.title, self.name, self.name_for_extra):
            checkpoint_aliases[alias] = self


class Model:
    def __init__(self, info):
        self.sd_checkpoint_info = info
        self.device = shared.device
        self.lowvram = False

    def to(self, device=None):
        self.device = device
        moves.append(("to", str(device)))
        return self


class SdModelData:
    def __init__(self):
        self.sd_model = None
        self.loaded_sd_models = []
        self.was_loaded_at_least_once = False

    def get_sd_model(self):
        if self.sd_model is None and not self.was_loaded_at_least_once:
            load_model()
        return self.sd_model

    def set_sd_model(self, v, already_loaded=False):
        self.sd_model = v
        self.was_loaded_at_least_once = True
        self.loaded_sd_models = [] if v is None else [v]


model_data = SdModelData()


def list_models():
    checkpoints_list.clear()
    checkpoint_aliases.clear()
    folder = shared.cmd_opts.ckpt_dir or model_path
    for where, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            if name.lower().endswith((".ckpt", ".safetensors")):
                CheckpointInfo(os.path.join(where, name)).register()


def get_closet_checkpoint_match(search_string):
    return checkpoint_aliases.get(search_string) or next((i for i in checkpoints_list.values() if search_string and search_string in i.title), None)


def select_checkpoint():
    found = checkpoint_aliases.get(shared.opts.sd_model_checkpoint) or next(iter(checkpoints_list.values()), None)
    if found is None:
        raise FileNotFoundError("No checkpoints found.")
    return found


def load_model(checkpoint_info=None, already_loaded_state_dict=None):
    return _load(checkpoint_info)


def _load(checkpoint_info=None):
    model = Model(checkpoint_info or select_checkpoint())
    moves.append(("load", model.sd_checkpoint_info.title))
    model_data.set_sd_model(model)
    return model


def reload_model_weights(sd_model=None, info=None, forced_reload=False):
    wanted = info or select_checkpoint()
    loaded = sd_model or model_data.sd_model
    return loaded if loaded is not None and loaded.sd_checkpoint_info is wanted and not forced_reload else _load(wanted)


def send_model_to_cpu(m):
    if m is not None:
        m.to("cpu")


def send_model_to_device(m):
    m.to(shared.device)


def send_model_to_trash(m):
    m.to(device="meta")


def unload_model_weights(sd_model=None, info=None):
    send_model_to_cpu(sd_model or shared.sd_model)
    return sd_model
