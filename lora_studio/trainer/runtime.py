"""Device, precision and threads: decided once, on purpose, before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from lora_studio import cores
from lora_studio.errors import UserError
from lora_studio.trainer import zluda
from lora_studio.training.config import TrainingConfig


@dataclass(frozen=True)
class Runtime:
    """`precision` fp32, fp16 or bf16; `dtype` of the frozen weights. The LoRA itself is always float32."""

    device: torch.device
    precision: str
    dtype: torch.dtype
    threads: int


def prepare(config: TrainingConfig, local: int = 0, beside: int = 1) -> Runtime:
    """Set threads and numerics for this process, the `local`-th of `beside` on this machine; UserError for a device that is not there."""
    threads = config.threads or cores.threads(beside)
    torch.set_num_threads(threads)
    # numbers below 1e-38 slow a CPU down many times and mean nothing here
    torch.set_flush_denormal(True)
    device = choose_device(config.device)
    if beside > 1 and device.type == "cuda":
        device = torch.device("cuda", local)
    precision = choose_precision(config.precision, device)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        zluda.settle(device)
    return Runtime(device, precision, {"fp16": torch.float16, "bf16": torch.bfloat16}.get(precision, torch.float32), threads)


def choose_device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        mps = getattr(torch.backends, "mps", None)
        return torch.device("mps" if mps is not None and mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"The device {name!r} cannot be used: {error}", "Set device to auto or cpu.") from error
    return device


def choose_precision(name: str, device: torch.device) -> str:
    if name != "auto":
        if name == "fp16" and device.type == "cpu":
            raise UserError("fp16 training does not work on a CPU.", "Set precision to auto or fp32.")
        return name
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
