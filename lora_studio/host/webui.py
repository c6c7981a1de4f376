"""AUTOMATIC1111's WebUI v1.10.1 and Forge as the host. The only file that imports their ``modules``, and each only when it is needed.

What touches a model or draws does it under the host's own queue lock: a picture being generated is never cut, and while we work the host waits.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from .. import cards as rules
from ..cards import Card
from ..environment import Environment
from ..errors import UserError
from ..failures import because
from ..progress import Progress
from .base import DEFAULT_SETTINGS, Checkpoint, DrawRequest, Vram, VramChange, memory_message
from .families import known_checkpoint

SECTION = ("lora_studio", "Lora Studio")
LANGUAGES = {"Auto": "", "English": "en", "中文": "zh_CN"}
RELEASE = ("Auto", "Always", "Never")
# Below this a loaded checkpoint and a training run do not fit on one card together.
ROOMY_CARD = 24 * 10**9


class WebUI:
    """One for the process; it keeps nothing but the name of the checkpoint that was released."""

    has_txt2img = True

    def __init__(self) -> None:
        self._released = ""

    @property
    def name(self) -> str:
        return "forge" if "modules_forge" in sys.modules or _forge_memory() is not None else "webui"

    # -- folders ---------------------------------------------------------------

    @property
    def data_dir(self) -> Path:
        from modules.paths_internal import data_path

        return Path(data_path)

    @property
    def projects_dir(self) -> Path:
        return self._folder("lora_studio_projects_dir", "projects")

    @property
    def environment(self) -> Environment:
        """Our packages beside the host's own; LORA_STUDIO_PYTHON names another Python that has everything already."""
        if own := os.environ.get("LORA_STUDIO_PYTHON"):
            return Environment(python=own, device=self.device)
        named = os.environ.get("LORA_STUDIO_PACKAGES")
        return Environment(packages=Path(named) if named else self._folder("lora_studio_packages_dir", "packages"), device=self.device)

    @property
    def lora_dir(self) -> Path:
        from modules import shared
        from modules.paths_internal import models_path

        # The option is the built-in Lora extension's, which can be switched off.
        return Path(getattr(shared.cmd_opts, "lora_dir", None) or Path(models_path) / "Lora")

    @property
    def checkpoints_dir(self) -> Path:
        from modules import shared
        from modules.paths_internal import models_path

        return Path(getattr(shared.cmd_opts, "ckpt_dir", None) or Path(models_path) / "Stable-diffusion")

    def _folder(self, setting: str, default: str) -> Path:
        chosen = str(_option(setting, "") or "").strip()
        return self.data_dir / chosen if chosen else self.data_dir / "lora_studio" / default

    # -- what the person chose -------------------------------------------------

    def add_settings(self, radio: Any, dropdown: Any, slider: Any) -> None:
        """The section of the Settings tab. ``radio``, ``dropdown``, ``slider``: gradio's classes."""
        from modules import shared

        folder = {"component_args": shared.hide_dirs, "section": SECTION, "restrict_api": True}

        def option(name: str, default: Any, label: str, info: str = "", **more: Any) -> None:
            found = shared.OptionInfo(default, label, **{"section": SECTION, **more})
            shared.opts.add_option(f"lora_studio_{name}", found.info(info) if info else found)

        option("language", "Auto", "Language", "Auto: the WebUI's own; takes effect when the page is loaded anew", component=radio,
               component_args={"choices": list(LANGUAGES)})
        option("default_base", "", "Base model for new projects", "empty: the newest choice", component=dropdown,
               component_args=lambda: {"choices": ["", *(c.title for c in self._infos())]})
        option("release_model", RELEASE[0], "Take the loaded checkpoint out of the graphics card while training",
               "Auto: on cards with less than 24 GB", component=radio, component_args={"choices": list(RELEASE)})
        option("preferred_weight", 0.8, "LoRA weight to write into prompts and beside new LoRAs", component=slider,
               component_args={"minimum": 0.1, "maximum": 1.5, "step": 0.05})
        option("projects_dir", "", "Folder of the projects", "empty: lora_studio/projects in the data folder; takes effect after Reload UI", **folder)
        option("hosts", "", "Names that the page may be opened by",
               "besides this machine's own and its address in numbers; with commas, for example of a proxy without https", restrict_api=True)
        option("packages_dir", "", "Folder of the training packages", "empty: lora_studio/packages in the data folder", **folder)
        restricted = getattr(shared.opts, "restricted_opts", None)
        if isinstance(restricted, set):  # what --hide-ui-dir-config keeps from being changed
            restricted.update(("lora_studio_projects_dir", "lora_studio_packages_dir"))

    def settings(self) -> dict[str, Any]:
        total = self.vram().total
        release = _option("lora_studio_release_model", RELEASE[0])
        return {
            **DEFAULT_SETTINGS,
            "default_base": str(_option("lora_studio_default_base", "") or ""),
            "release_model": release == "Always" or (release == "Auto" and total is not None and total < ROOMY_CARD),
            "preferred_weight": float(_option("lora_studio_preferred_weight", DEFAULT_SETTINGS["preferred_weight"])),
        }

    def locale(self) -> str:
        chosen = LANGUAGES.get(str(_option("lora_studio_language", "Auto")), "")
        own = str(_option("localization", "None") or "None")
        return chosen or ("" if own == "None" else own)

    def paths_allowed(self) -> bool:
        """Not with --hide-ui-dir-config, nor where the page is open to others without --enable-insecure-extension-access."""
        from modules import shared

        return not (shared.cmd_opts.hide_ui_dir_config or getattr(shared.cmd_opts, "disable_extension_access", False))

    def page_names(self) -> Sequence[str]:
        """Settings → Lora Studio, and --server-name."""
        from modules import shared

        return [str(_option("lora_studio_hosts", "") or ""), str(getattr(shared.cmd_opts, "server_name", None) or "")]

    def tag_lists(self) -> Sequence[Path]:
        """Those of the tag completion extension, where it is installed."""
        folder = self.data_dir / "extensions" / "a1111-sd-webui-tagcomplete" / "tags"
        return sorted(p for p in folder.glob("*.csv") if p.is_file()) if folder.is_dir() else ()

    def api_logins(self) -> Sequence[tuple[str, str]]:
        """--api-auth: ``name:password,…``."""
        from modules import shared

        pairs = [pair.partition(":") for pair in str(getattr(shared.cmd_opts, "api_auth", None) or "").split(",")]
        return [(name.strip(), word) for name, colon, word in pairs if colon]

    # -- models ----------------------------------------------------------------

    def _infos(self) -> list[Any]:
        from modules import sd_models

        return list(sd_models.checkpoints_list.values())

    def checkpoints(self) -> Sequence[Checkpoint]:
        found = []
        for info in self._infos():
            path = Path(info.filename)
            if os.path.isfile(path):
                found.append(known_checkpoint(info.title, path))
        return found

    def refresh_checkpoints(self) -> None:
        from modules import sd_models

        # With no checkpoint at all the host would download one of its own choice.
        if any(p.suffix.lower() in (".safetensors", ".ckpt") for p in self.checkpoints_dir.rglob("*")):
            sd_models.list_models()

    def refresh_loras(self) -> None:
        # The built-in Lora extension's module; its folder is not on sys.path any more, the module stays.
        networks = sys.modules.get("networks")
        if networks is not None and hasattr(networks, "list_available_networks"):
            networks.list_available_networks()

    @property
    def device(self) -> str:
        """--device-id of the WebUI. (Forge's --gpu-device-id hides the other cards, from our children too.)"""
        from modules import shared

        chosen = str(getattr(shared.cmd_opts, "device_id", None) or "").strip().removeprefix("cuda:")
        return f"cuda:{int(chosen)}" if chosen.isdecimal() else ""

    def cards(self) -> Sequence[Card]:
        """As the host's own torch counts them, which a training uses too."""
        torch = sys.modules.get("torch")
        try:
            return rules.cards_of(torch) if torch is not None else []
        except Exception:  # a broken driver, a card that is no more: unknown
            return []

    def vram(self, device: str = "auto") -> Vram:
        torch, index = sys.modules.get("torch"), rules.index_of(device, self.device)
        try:
            if torch is None or index is None or not torch.cuda.is_available():
                return Vram()
            free, total = torch.cuda.mem_get_info(index)
            return Vram(int(free), int(total))
        except Exception:  # a broken driver, a card that is no more: unknown
            return Vram()

    def release_model(self) -> VramChange:
        """Forget the loaded checkpoint: graphics memory and main memory are free, and the next picture loads it again by itself.

        (Only moving it to main memory, as the host's own "unload" does, leaves a model behind on which the next picture fails.)
        """
        with _queue():
            before = self.vram()
            released = _release_forge() if _forge_memory() is not None else _release_webui()
            after = self.vram()
        if released:
            self._released = released
        return VramChange(before, after, memory_message(before, after) if released else "No checkpoint was loaded.")

    def restore_model(self) -> VramChange:
        """Load what was released again, unless a picture already did."""
        with _queue():
            before = self.vram()
            if self._released and _forge_memory() is None:
                _restore_webui()
            done = bool(self._released)
            self._released = ""
            after = self.vram()
        if not done:
            return VramChange(before, after, "Nothing was released.")
        if _forge_memory() is not None:
            return VramChange(before, after, "Forge loads the checkpoint again with the next picture.")
        return VramChange(before, after, "The checkpoint is loaded again.")

    # -- pictures --------------------------------------------------------------

    def draw(self, request: DrawRequest, progress: Progress) -> list[Image.Image]:
        """Pictures of the host's own txt2img, without its scripts. A stop ends the picture being drawn."""
        from modules import shared

        work = _Drawing(request, self._override(request.checkpoint))
        thread = threading.Thread(target=work.run, name="lora-studio draw", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                if not work.began:
                    progress(0, request.count, "Waiting for the WebUI to finish its own pictures")
                else:
                    progress(min(shared.state.job_no, request.count), request.count, f"Step {shared.state.sampling_step} of {request.steps}")
                thread.join(0.2)
        except BaseException:
            work.stopped = True
            if work.began:
                shared.state.interrupt()
            thread.join()
            raise
        if work.error is not None:
            why, hint = because(work.error, hint="The WebUI's own window says more.")
            raise UserError(f"The WebUI could not draw this: {why}", hint) from work.error
        progress(request.count, request.count, "")
        return work.images

    def _override(self, checkpoint: str) -> dict[str, Any]:
        if not checkpoint:
            return {}
        from modules import sd_models

        for info in self._infos():
            if checkpoint in (info.title, info.filename) or Path(info.filename) == Path(checkpoint):
                return {"sd_model_checkpoint": info.title}
        info = sd_models.get_closet_checkpoint_match(checkpoint)
        if info is None:
            raise UserError(f"The WebUI has no checkpoint {checkpoint}.", "Refresh its list of checkpoints, or choose another one.")
        return {"sd_model_checkpoint": info.title}


class _Drawing:
    """One request in a thread of its own, so that the caller can tell how far it is and stop it."""

    def __init__(self, request: DrawRequest, override: dict[str, Any]) -> None:
        self.request, self.override = request, override
        self.began = self.stopped = False
        self.images: list[Image.Image] = []
        self.error: Exception | None = None

    def run(self) -> None:
        from modules import shared

        try:
            with _queue():
                if self.stopped:
                    return
                shared.state.begin(job="lora-studio")
                self.began = True
                try:
                    self._draw()
                finally:
                    shared.state.end()
                    shared.total_tqdm.clear()
        except Exception as error:  # whatever a model, an extension or a card may raise
            self.error = error

    def _draw(self) -> None:
        from modules import processing, shared

        r = self.request
        with closing(
            processing.StableDiffusionProcessingTxt2Img(
                sd_model=shared.sd_model, prompt=r.prompt, negative_prompt=r.negative, seed=r.seed, sampler_name=r.sampler or "Euler a",
                batch_size=1, n_iter=r.count, steps=r.steps, cfg_scale=r.cfg, width=r.width, height=r.height,
                do_not_save_samples=True, do_not_save_grid=True, override_settings=self.override,
                outpath_samples=shared.opts.outdir_txt2img_samples, outpath_grids=shared.opts.outdir_txt2img_grids,
            )
        ) as p:
            done = processing.process_images(p)
        first = getattr(done, "index_of_first_image", 0)
        self.images = [image for image in done.images[first:] if isinstance(image, Image.Image)][: r.count]


@contextmanager
def _queue() -> Iterator[None]:
    from modules.call_queue import queue_lock

    with queue_lock:
        yield


def _option(name: str, default: Any) -> Any:
    from modules import shared

    return shared.opts.data.get(name, default) if getattr(shared, "opts", None) is not None else default


def _forge_memory() -> Any:
    """Forge's memory management (new and old); None in the WebUI."""
    return sys.modules.get("backend.memory_management") or sys.modules.get("ldm_patched.modules.model_management")


def _release_forge() -> str:
    memory = _forge_memory()
    memory.unload_all_models()
    memory.soft_empty_cache()
    return "forge"


def _release_webui() -> str:
    from modules import sd_models

    data = sd_models.model_data  # not shared.sd_model, which would load one
    loaded = [*getattr(data, "loaded_sd_models", []), data.sd_model]
    models = list({id(m): m for m in loaded if m is not None}.values())
    if not models:
        return ""
    title = str(models[0].sd_checkpoint_info.title)
    data.sd_model = None
    data.loaded_sd_models = []
    for model in models:
        sd_models.send_model_to_trash(model)
    return title


def _restore_webui() -> None:
    from modules import sd_models

    if sd_models.model_data.sd_model is not None:
        return
    try:
        sd_models.load_model()
    except Exception as error:
        why, hint = because(error, hint="Choose it at the top of the page, or restart the WebUI.")
        raise UserError(f"The checkpoint could not be loaded again: {why}", hint) from error
