"""txt2img that draws the prompt's hash: the same request gives the same picture, another prompt, seed or checkpoint another one."""

import hashlib
from dataclasses import dataclass, field

from PIL import Image

from modules import sd_models, shared


@dataclass(repr=False)
class StableDiffusionProcessing:
    sd_model: object = None
    outpath_samples: str = None
    outpath_grids: str = None
    prompt: str = ""
    prompt_for_display: str = None
    negative_prompt: str = ""
    styles: list = None
    seed: int = -1
    sampler_name: str = None
    scheduler: str = None
    batch_size: int = 1
    n_iter: int = 1
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    do_not_save_samples: bool = False
    do_not_save_grid: bool = False
    override_settings: dict = None
    override_settings_restore_afterwards: bool = True
    scripts_value: object = field(default=None, init=False)
    closed: bool = field(default=False, init=False)

    def __post_init__(self):
        self.styles = self.styles or []
        self.override_settings = self.override_settings or {}

    def close(self):
        self.closed = True


class StableDiffusionProcessingTxt2Img(StableDiffusionProcessing):
    pass


class Processed:
    def __init__(self, p, images_list, seed=-1, info=""):
        self.images, self.seed, self.info = images_list, seed, info


requests = []  # what was asked for, for tests


def process_images(p):
    requests.append(p)
    stored = {k: shared.opts.data.get(k) for k in p.override_settings}
    try:
        if sd_models.checkpoint_aliases.get(p.override_settings.get("sd_model_checkpoint")) is None:
            p.override_settings.pop("sd_model_checkpoint", None)
        for k, v in p.override_settings.items():
            shared.opts.set(k, v, is_api=True, run_callbacks=False)
        model = sd_models.reload_model_weights()
        images = []
        shared.state.job_count = p.n_iter
        for number in range(p.n_iter):
            shared.state.job_no = number
            shared.state.sampling_steps = p.steps
            for step in range(p.steps):
                shared.state.sampling_step = step
            if shared.state.interrupted:
                break
            for k in range(p.batch_size):
                text = f"{p.prompt}|{p.negative_prompt}|{p.seed + number * p.batch_size + k}|{model.sd_checkpoint_info.title}|{p.sampler_name}"
                images.append(Image.new("RGB", (p.width, p.height), tuple(hashlib.sha256(text.encode()).digest()[:3])))
        return Processed(p, images, p.seed)
    finally:
        if p.override_settings_restore_afterwards:
            for k, v in stored.items():
                setattr(shared.opts, k, v)
