"""Bases that people train on, to be fetched when they are wanted: the notebooks' lists, with what suits each of them."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import UserError
from ..fetching import address, fetch
from ..files import explain_os_error, validate_name
from ..network import why
from ..progress import Progress, silent
from .basefile import family_of

#: v-prediction bases made with a noise schedule that ends in noise alone
V_PRED = {"prediction": "v_prediction", "scale_v_pred_loss": True, "zero_terminal_snr": True}


@dataclass(frozen=True)
class Base:
    """A published checkpoint. ``source``: repository and path on Hugging Face, or a whole address. ``size`` in bytes, about.

    ``sha256``: of the file where it is known; else the server's own word is taken. ``settings``: options that suit this base alone.
    """

    name: str
    title: str
    family: str
    file: str
    source: str
    size: int
    about: tuple[str, str]
    sha256: str = ""
    settings: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def url(self) -> str:
        """Where it is. HF_ENDPOINT names a mirror, as for other programs."""
        if self.source.startswith("https://"):
            return self.source
        endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        owner, repo, path = self.source.split("/", 2)
        return f"{endpoint.rstrip('/')}/{owner}/{repo}/resolve/main/{path}"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "about": {"en": self.about[0], "zh": self.about[1]}, "url": self.url}


_GUIDE = "hollowstrawberry/stable-diffusion-guide/models"

CATALOGUE: dict[str, Base] = {
    base.name: base
    for base in (
        Base(
            "illustrious", "Illustrious XL 0.1", "sdxl", "Illustrious-XL-v0.1.safetensors",
            "OnomaAIResearch/Illustrious-xl-early-release-v0/Illustrious-XL-v0.1.safetensors", 6_938_000_000,
            ("Anime; its LoRAs work with most anime SDXL models of today. The usual choice.",
             "动漫；训练出的 LoRA 适用于当今大多数动漫 SDXL 模型。首选。"),
        ),
        Base(
            "pony", "Pony Diffusion V6 XL", "sdxl", "ponyDiffusionV6XL.safetensors", "https://civitai.com/api/download/models/290640",
            6_938_041_050, ("For models made from Pony.", "用于 Pony 系模型。"),
            "67ab2fd8ec439a89b3fedb15cc65f54336af163c7eb5e4f2acc98f090a29b0b3",
        ),
        Base(
            "noobai-vpred", "NoobAI V-Pred 1.0", "sdxl", "NoobAI-XL-Vpred-v1.0.safetensors",
            "Laxhar/noobai-XL-Vpred-1.0/NoobAI-XL-Vpred-v1.0.safetensors", 7_106_000_000,
            ("Anime with deep blacks and strong colours; its LoRAs are for v-prediction models.",
             "动漫，明暗与色彩更强；训练出的 LoRA 用于 v 预测模型。"),
            settings=V_PRED,
        ),
        Base(
            "noobai-eps", "NoobAI Eps 1.1", "sdxl", "NoobAI-XL-v1.1.safetensors", "Laxhar/noobai-XL-1.1/NoobAI-XL-v1.1.safetensors",
            7_106_000_000, ("Anime; knows more characters and artists than Illustrious.", "动漫；认识的角色和画师比 Illustrious 更多。"),
            "6681e8e4b134c81f16533acedb0d406d7e5e366e1624b4105178c64d00b05d51",
        ),
        Base(
            "animagine", "Animagine XL 3.0", "sdxl", "animagine-xl-3.0.safetensors", "cagliostrolab/animagine-xl-3.0/animagine-xl-3.0.safetensors",
            6_938_000_000, ("For models made from Animagine.", "用于 Animagine 系模型。"),
        ),
        Base(
            "sdxl", "Stable Diffusion XL 1.0", "sdxl", "sd_xl_base_1.0.safetensors",
            "stabilityai/stable-diffusion-xl-base-1.0/sd_xl_base_1.0.safetensors", 6_938_078_334,
            ("Photographs and everything that is not anime.", "写实及其他非动漫内容。"),
            "31e35c80fc4829d14f90153f4c74cd59c90b779f6afe05a74cd6120b893f7e5b",
        ),
        Base(
            "animefull", "Anime (animefull-pruned)", "sd1", "animefull-final-pruned-fp16.safetensors",
            f"{_GUIDE}/animefull-final-pruned-fp16.safetensors", 2_130_000_000,
            ("The ancestor of nearly all anime SD1.5 models; LoRAs for them are trained on it.",
             "几乎所有动漫 SD1.5 模型的祖先；为它们训练 LoRA 时用它。"),
            settings={"clip_skip": 2},
        ),
        Base(
            "anylora", "AnyLoRA", "sd1", "AnyLoRA_noVae_fp16-pruned.safetensors", "Lykon/AnyLoRA/AnyLoRA_noVae_fp16-pruned.safetensors",
            2_130_000_000, ("Anime SD1.5, softer and more modern.", "动漫 SD1.5，画风更柔和、更现代。"), settings={"clip_skip": 2},
        ),
        Base(
            "sd15", "Stable Diffusion 1.5", "sd1", "v1-5-pruned-emaonly.safetensors",
            "stable-diffusion-v1-5/stable-diffusion-v1-5/v1-5-pruned-emaonly.safetensors", 4_265_146_304,
            ("Photographs and everything that is not anime, on small cards.", "写实及其他非动漫内容，适合小显存。"),
            "6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa",
        ),
    )
}  # fmt: skip


def settings_for(file: str) -> dict[str, Any]:
    """What suits a base of the catalogue, known by its file name; of another one nothing is known."""
    return next((dict(base.settings) for base in CATALOGUE.values() if base.file.lower() == file.lower()), {})


def listing(folder: Path) -> list[dict[str, Any]]:
    """The catalogue, each with whether it is in ``folder`` and how many bytes of it were fetched before."""
    found = []
    for base in CATALOGUE.values():
        part = folder / (base.file + ".part")
        found.append({**base.to_dict(), "here": (folder / base.file).is_file(), "fetched": part.stat().st_size if part.is_file() else 0})
    return found


def find(name: str) -> Base:
    """Raises UserError for what is not in the catalogue."""
    if name not in CATALOGUE:
        raise UserError(f"There is no base model {name} to download.", "Choose one of the list.")
    return CATALOGUE[name]


def own(url: str, file: str = "") -> Base:
    """A base at an address of the person's own; ``file``: its name here, by default the address's last part.

    Raises:
        UserError: not a secure address, or not the name of a .safetensors file.
    """
    if not url.strip().lower().startswith("https://"):
        raise UserError("The address has to begin with https://", "Copy the address of the file itself, not of the page about it.")
    plain = address(url)
    parts = urlsplit(plain)
    # The page of a file on Hugging Face, which is easily taken for the file.
    whole = plain.replace("/blob/", "/resolve/", 1) if (parts.hostname or "").endswith("huggingface.co") else plain
    name = file.strip() or unquote(parts.path).rsplit("/", 1)[-1]
    if not name.lower().endswith(".safetensors"):
        what = name or "This address"
        raise UserError(f"{what} is not a .safetensors file.", "Give the file a name that ends in .safetensors; other formats are not taken.")
    return Base("own", name, "", validate_name(name), whole, 0, ("", ""))


def download(base: Base, folder: Path, progress: Progress = silent) -> Path:
    """Fetch a base into the checkpoint folder; what was fetched before is kept and gone on with.

    Raises:
        UserError: no network, no room, another file than the published one, or one that is no checkpoint. Nothing half is left under its name.
    """
    target = folder / base.file
    if target.suffix.lower() != ".safetensors":
        raise UserError(f"{base.file} is not a .safetensors file; it was not downloaded.", "Other formats can run any program when they are opened.")
    if target.is_file():
        return target
    try:
        fetch(base.url, target, progress, sha256=base.sha256, check=family_of)
    except (OSError, ValueError) as error:
        friendly = explain_os_error(error, target) if isinstance(error, OSError) else None
        raise friendly or UserError(
            f"{base.title} could not be downloaded: {why(error)}.",
            f"Without a network, put {base.file} into {folder} yourself. Else try again: it goes on where it stopped. It is published at {base.url}",
        ) from error
    return target

