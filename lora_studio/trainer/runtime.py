"""Device, precision and threads: decided once, on purpose, before anything is computed."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import torch

from lora_studio import cards, cores, nvidia
from lora_studio.cards import Build, Card
from lora_studio.errors import UserError
from lora_studio.trainer import zluda
from lora_studio.training.config import TrainingConfig

#: which device ``auto`` means for the host that started us (a WebUI with --device-id)
HOME = "LORA_STUDIO_DEVICE"
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
DEVICE_HINT = "Set device to auto, to one of these, or to cpu."
PRECISION_HINT = "Set precision to auto or fp32."


@dataclass(frozen=True)
class Runtime:
    """`precision` fp32, fp16 or bf16; `dtype` of the frozen weights, in 8 bits with `fp8`. The LoRA itself is always float32.

    `device` is whole ("cuda:0", never "cuda"); `card` where it is a graphics card of CUDA's. `notes`: what a person should know.
    """

    device: torch.device
    precision: str
    dtype: torch.dtype
    threads: int
    fp8: bool = False
    card: Card | None = None
    notes: tuple[str, ...] = ()

    @property
    def half(self) -> bool:
        return self.precision != "fp32"

    def in_full_precision(self, fp8: bool) -> Runtime:
        return replace(self, precision="fp32", dtype=torch.float32, fp8=self.fp8 or fp8)


def prepare(config: TrainingConfig, local: int = 0, beside: int = 1) -> Runtime:
    """Set threads and numerics for this process, the `local`-th of `beside` on this machine; UserError for a device that is not there."""
    threads = config.threads or cores.threads(beside)
    torch.set_num_threads(threads)
    # numbers below 1e-38 slow a CPU down many times and mean nothing here
    torch.set_flush_denormal(True)
    device, notes = choose_device(config.device, local, beside)
    card = set_up(device)
    precision, more = choose_precision(config.precision, device, card)
    return Runtime(device, precision, DTYPES[precision], threads, config.fp8_base, card, (*notes, *more))


def set_up(device: torch.device) -> Card | None:
    """Make a graphics card this process's own, with the numerics that suit it; its facts, None for other devices."""
    if device.type != "cuda":
        return None
    torch.cuda.set_device(device)  # else pinned memory, graphs and what names no device would open another card too
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    zluda.settle(device)
    card = cards.card_of(torch, device.index)
    if cards.breaks_half(card):
        torch.backends.cudnn.benchmark = True
    return card


# -- the device ----------------------------------------------------------------------------------------------------


def choose_device(name: str, local: int = 0, beside: int = 1) -> tuple[torch.device, tuple[str, ...]]:
    """The device that an option means, whole and tried, and what a person should know; UserError where it cannot be used.

    The `local`-th of `beside` processes on one machine takes the card of that number.
    """
    wanted = name.strip().lower()
    if wanted in cards.ANY or wanted.startswith("cuda:"):
        found = cards.cards_of(torch)
        if found:
            return _card(wanted, found, local, beside)
        trouble = _why_no_card()
        if wanted not in ("", "auto"):
            raise UserError(*(trouble or (f"The device {name!r} cannot be used: PyTorch finds no graphics card here.", "Set device to auto or cpu.")))
        mps = getattr(torch.backends, "mps", None)
        if mps is not None and mps.is_available():
            return torch.device("mps"), ()
        notes = ("This runs on the processor, which takes very long.", *trouble) if trouble else ()
        return torch.device("cpu"), notes
    try:
        device = torch.device(wanted)
        try_out(device)
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        raise UserError(f"The device {name!r} cannot be used: {first_line(error)}", "Set device to auto or cpu.") from error
    return device, ()


def _card(wanted: str, found: list[Card], local: int, beside: int) -> tuple[torch.device, tuple[str, ...]]:
    any_card = wanted in cards.ANY
    if beside > 1:
        if not any_card:
            words = f"device is {wanted}, one card; {beside} processes need one each."
            raise UserError(words, "Set device to auto (CUDA_VISIBLE_DEVICES chooses among the cards), or processes to 1.")
        if beside > len(found):
            words = f"{beside} processes need a graphics card each; here are {len(found)}: {cards.names(found)}."
            raise UserError(words, "Set processes to that number.")
        return _tried(found[local]), ()
    index = cards.index_of(wanted, os.environ.get(HOME, ""))
    if index is None or index >= len(found):
        if not any_card:
            raise UserError(f"There is no graphics card {wanted}; here are: {cards.names(found)}.", DEVICE_HINT)
        index = 0
    build = cards.build_of(torch)
    card = found[index]
    notes: tuple[str, ...] = ()
    if any_card and not cards.has_kernels(card, build):
        fits = next((other for other in found if cards.has_kernels(other, build)), None)
        if fits is not None:
            notes = (f"The {fits.words} ({fits.device}) is used: this {build.name} holds no code for the {card.words}.",)
            card = fits
    return _tried(card), notes


def _tried(card: Card) -> torch.device:
    """A card as a device, after one small computation on it."""
    build, device = cards.build_of(torch), torch.device("cuda", card.index)
    if not cards.has_kernels(card, build):
        raise UserError(*(cards.wrong(card, build, _driver()) or ("", "")))
    try:
        try_out(device)
    except (RuntimeError, AssertionError) as error:
        what = f"The {card.words} ({card.device}) cannot be used: {first_line(error)}"
        wrong = cards.wrong(card, build, _driver())
        hint = wrong[1] if wrong else "Close other programs that use the card, or restart the machine; then ask the doctor: python launch.py doctor."
        if cards.no_kernels(error):
            command = cards.build_for(card, build)
            hint = f'This PyTorch holds no code for it. Install another: "{command}".' if command else "Train on another card, or set device to cpu."
        raise UserError(what, hint) from error
    return device


def try_out(device: torch.device) -> None:
    """A small computation, waited for."""
    float(torch.ones(1, device=device).sum())


def _driver() -> str:
    return next((row.driver for row in nvidia.seen()), "")


def _why_no_card() -> tuple[str, str] | None:
    """Why torch sees none of the cards that the driver reports; None where there is none to see."""
    listed = nvidia.seen()
    if not listed:
        return None
    return cards.why(listed[0].card, cards.build_of(torch), listed[0].driver, os.environ.get("CUDA_VISIBLE_DEVICES"))


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


# -- the precision -------------------------------------------------------------------------------------------------


def choose_precision(name: str, device: torch.device, card: Card | None) -> tuple[str, tuple[str, ...]]:
    """fp32, fp16 or bf16, and what a person should know; UserError for one that the device does not compute."""
    if card is not None:
        return _on_card(name, card, cards.build_of(torch))
    if name in ("auto", "fp32"):
        return "fp32", ()
    where = {"cpu": "a processor", "mps": "a Mac"}.get(device.type, str(device))
    if name == "fp16":  # its gradients need a scaler, which torch has for CUDA
        raise UserError(f"fp16 training does not work on {where}.", PRECISION_HINT)
    if not autocasts(device, DTYPES[name]):
        raise UserError(f"This PyTorch ({torch.__version__}) does not compute in {name} on {where}.", PRECISION_HINT)
    return name, ()


def _on_card(name: str, card: Card, build: Build) -> tuple[str, tuple[str, ...]]:
    if name == "auto":
        return cards.precision_of(card, build), ()
    if name != "bf16" or cards.computes_bf16(card, build):
        return name, ()
    if not _emulates_bf16():
        words = f"The {card.words} does not compute in bf16, and {build.name} does not emulate it."
        raise UserError(words, "Set precision to auto (fp16 there) or fp32.")
    notes = (f"The {card.words} does not compute in bf16 itself: PyTorch emulates it, which is slow. precision=auto takes fp16 there.",)
    return name, notes


def _emulates_bf16() -> bool:
    """Whether torch would let autocast compute in bf16 on the current card."""
    try:
        return bool(torch.cuda.is_bf16_supported())
    except Exception:  # a broken driver answers in many ways
        return False


def autocasts(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether autocast computes in that number format there; on Macs torch before 2.5 has none at all."""
    try:
        with torch.autocast(device.type, dtype=dtype):
            product: Any = torch.ones(2, 2, device=device) @ torch.ones(2, 2, device=device)
    except (RuntimeError, TypeError):
        return False
    return product.dtype == dtype
