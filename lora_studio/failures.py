"""What an error of torch, ONNX Runtime, Windows or a driver means, and what to do next: tables from their texts to words for a person.

Everything that computes may end with one of these, in a process of its own or as the last thing that such a process printed.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from pathlib import Path

from .errors import UserError
from .files import explain_os_error

VC_REDIST = "https://aka.ms/vs/17/release/vc_redist.x64.exe"
#: lines of what a process printed that may say why it ended
LAST_LINES = 15
#: kinds of failure where less to compute at a time helps
MEMORY = ("card", "shared", "ram", "either")
#: a library of the card that did not start: for lack of memory, or because it does not fit
UNSTARTED = "unstarted"

FREE_CARD = (
    "Close other programs that use the graphics card, and take the WebUI's checkpoint out of its memory. "
    "Then choose a smaller batch size or resolution."
)
FREE_RAM = "Close other programs, above all browsers and a WebUI that has a checkpoint loaded, or choose a smaller batch size or resolution."
NEW_PACKAGES = "If that does not help, delete the environment's folder (.venv, or the packages folder of the settings) and set it up anew."


@dataclass(frozen=True)
class Failure:
    """``marks``: a regular expression, looked for in the lower-case text of an error."""

    kind: str
    marks: str
    message: str
    hint: str

    def error(self) -> UserError:
        return UserError(self.message, self.hint)


#: The first row that fits counts: those that tell more stand before those that tell less. Windows' texts are in the system's language, numbers stay.
FAILURES = (
    Failure(
        "pagefile",
        r"paging file is too small|winerror 1455|os error 1455|error code:? <?1455|页面文件太小|頁面檔(案)?太小|分頁檔太小",
        message="Windows cannot give out more memory: its page file is too small.",
        hint="Close other programs. Then let Windows manage the page file, on a drive with 30 GB free: Windows settings, System, About, "
        "Advanced system settings, Performance, Advanced, Virtual memory. Restart Windows afterwards.",
    ),
    Failure(
        "blocked",
        r"application control policy|winerror 4551|winerror 577\]|winerror 225\]|contains a virus|应用程序控制策略|應用程式控制原則",
        message="Windows does not let a file of the installed packages start: Smart App Control or a virus scanner blocks it.",
        hint="Allow the folder of the WebUI in the virus scanner, or turn Smart App Control off (Windows Security, App & browser control).",
    ),
    Failure(
        "shared",
        r"mps backend out of memory|invalid buffer size|kiogpucommandbuffercallbackerroroutofmemory|insufficient memory \(0000000",
        message="This Mac has not enough memory for these settings: the graphics part shares it with all programs.",
        hint=FREE_RAM,
    ),
    Failure(
        "card",
        r"8007000e|not enough gpu video memory|(cuda|hip|xpu) out of memory|cuda error: out of memory|cuda failure 2:|"
        r"(cublas|cudnn|cufft|cusolver|cusparse|hipblas|miopen)\w*_alloc_failed|out_of_device_memory|pi_error_out_of_resources|"
        r"out of memory|outofmemoryerror",
        message="The graphics card has not enough memory for these settings.",
        hint=FREE_CARD + " In a training, gradient_checkpointing and fp8_base save memory too.",
    ),
    Failure(
        "either",
        r"failed to allocate memory for requested buffer",
        message="There is not enough memory for this model and batch size.",
        hint=FREE_CARD,
    ),
    Failure(
        "ram",
        r"defaultcpuallocator|\bmemoryerror\b|can(no|')t allocate memory|not enough memory|unable to allocate|bad[_ ]alloc|\[enomem\]|"
        r"winerror (8|14|1450)\]|os error (8|14|1450)\)|内存资源不足|存储空间不足",
        message="There is not enough main memory (RAM).",
        hint=FREE_RAM + " On Windows a larger page file helps too.",
    ),
    Failure(
        UNSTARTED,
        r"(cublas|cudnn|cusolver|cusparse|hipblas)\w*_not_initialized|unable to find (an engine to execute|a valid cudnn algorithm)|"
        r"cudnn_status_internal_error",
        message="A library of the graphics card (cuBLAS or cuDNN) does not start. Most often the card's memory is full.",
        hint=FREE_CARD + " If the card's memory is free, update the graphics driver.",
    ),
    Failure(
        "kernels",
        r"no kernel image is available|invalid device function|not compatible with the current pytorch installation",
        message="The installed PyTorch was built without this graphics card: the card is newer, or older, than what it supports.",
        hint="doctor tells which PyTorch suits the card. RTX 50 cards need one built with CUDA 12.8 or newer, GTX 10 cards one with CUDA 12.",
    ),
    Failure(
        "driver",
        r"driver version is insufficient|driver on your system is too old|driver/library version mismatch|"
        r"forward compatibility was attempted|unsupported ptx version|provided ptx was compiled with an unsupported toolchain|"
        r"cuda failure 35:",
        message="The graphics driver is too old for the installed PyTorch or ONNX Runtime.",
        hint="Install the newest driver from https://www.nvidia.com/drivers and restart the computer.",
    ),
    Failure(
        "no card",
        r"found no nvidia driver|no cuda-capable device|no cuda gpus are available|cuda-capable device\(s\) is/are busy|"
        r"invalid device ordinal|cuda unknown error",
        message="The chosen graphics card is not there, or another program has it for itself.",
        hint="Set device to auto, or restart the computer. The command doctor tells more.",
    ),
    Failure(
        "no cuda",
        r"torch not compiled with cuda enabled",
        message="The installed PyTorch was built without CUDA: it can use no NVIDIA card.",
        hint="Set device to auto or cpu, or install a PyTorch with CUDA. The command doctor tells more.",
    ),
    Failure(
        "timeout",
        r"launch timed out",
        message="Windows took the graphics card away from the program because one step took longer than two seconds.",
        hint="Choose a smaller batch size or resolution, or use a card that draws no screen.",
    ),
    Failure(
        "assert",
        r"device-side assert",
        message="The graphics card met a number that the model does not allow, like a word that its vocabulary does not have.",
        hint="Try another base model: this one may be damaged or put together wrongly. "
        "If that does not help, please report it with console.log of the run.",
    ),
    Failure(
        "card stopped",
        r"unspecified launch failure|illegal memory access|illegal instruction was encountered|misaligned address|hardware stack error|"
        r"uncorrectable ecc error|gpu is lost|cuda error: unknown error|cublas_status_(execution_failed|internal_error)|"
        r"cudnn_status_execution_failed|887a000[5-7]|887a0020|device instance has been suspended|ur_result_error_device_lost",
        message="The graphics card stopped in the middle of its work.",
        hint="Do it again; a training is resumed where it was saved. If it happens again, undo overclocking and undervolting, "
        "update the graphics driver, and look at the card's temperature.",
    ),
    Failure(
        "cuda libraries",
        r"could not (load library|locate) \S*(cudnn|cublas|cufft)|unable to load any of \{lib|sublibrary_version_mismatch|"
        r"cudnn_status_version_mismatch|cudnn version incompatibility|cufft_internal_error|failed to open libnvrtc|"
        r"(cudnn|cublas|cufft|nvrtc|nvjitlink|cudart)\S*: (undefined symbol|cannot open shared object)|"
        r"onnxruntime_providers_(cuda|tensorrt|rocm)|winerror 12[67]\].*(cudnn|cublas|cufft|curand|cusolver|cusparse|cudart|nvrtc)",
        message="The CUDA libraries on this computer are incomplete, or mixed with those of another version.",
        hint="Take other CUDA and cuDNN folders out of PATH (on Linux out of LD_LIBRARY_PATH) and restart. " + NEW_PACKAGES,
    ),
    Failure(
        "runtime",
        r"winerror (126|127|1114)\].*(error loading|one of its dependencies)|dll load failed while importing|"
        r"redistributable is not installed",
        message="The Microsoft Visual C++ runtime, which PyTorch and ONNX Runtime need, is missing or too old.",
        hint=f"Install it from {VC_REDIST} (from Microsoft), restart Windows, and try again.",
    ),
    Failure(
        "old system",
        r"(glibcxx|glibc)_[\d.]+' not found",
        message="This Linux is too old for the installed packages.",
        hint="Use a newer release of the system, or older packages (doctor tells which ones are installed).",
    ),
    Failure(
        "disk",
        r"no space left on device|\[enospc\]|\[edquot\]|winerror (112|39)\]|os error (28|112|39)\)|not enough space on the disk|磁盘空间不足|"
        r"磁碟空間不足|pytorchstreamwriter failed",
        message="The disk is full.",
        hint="Free some space, then do it again; a training is resumed where it was saved.",
    ),
    Failure(
        "held",
        r"being used by another process|winerror (32|33|1224)\]|os error (32|33|1224)\)|另一个程序正在使用此文件|另一個程序正在使用",
        message="Another program holds a file that is needed.",
        hint="Close the program that has it open (the WebUI with this LoRA, a viewer, OneDrive, a virus scanner), then do it again.",
    ),
    Failure(
        "damaged",
        r"error while deserializing|safetensorerror.*(header|metadata|buffer)|failed finding central directory|unpicklingerror|"
        r"pytorchstreamreader failed|invalid_protobuf|protobuf parsing failed",
        message="A model file is damaged, or was not downloaded whole.",
        hint="Download it again: the base model, VAE, LoRA or tagger that was to be opened.",
    ),
    Failure(
        "new model",
        r"unsupported model ir version|opset \d+ is under development|no such operator|not a registered function/op",
        message="The model needs a newer ONNX Runtime.",
        hint="Update ONNX Runtime, or choose another tagger. Models of the third generation need ONNX Runtime 1.17 or newer.",
    ),
)  # fmt: skip


def find(text: str) -> Failure | None:
    """The row of the table that an error's text, or the end of what a process printed, fits."""
    text = text.lower()
    return next((row for row in FAILURES if re.search(row.marks, text)), None)


def failure_of(error: BaseException | None) -> Failure | None:
    """The row that an error fits, or the one that caused it."""
    while error is not None:
        if (row := find(_written(error))) is not None:
            return row
        error = error.__cause__
    return None


def _written(error: BaseException) -> str:
    """An error's type, its numbers and its text."""
    number = getattr(error, "winerror", None)
    code = errno.errorcode.get(error.errno or 0, "") if isinstance(error, OSError) else ""
    return f"{type(error).__name__}: {f'[WinError {number}]' if number else ''} {f'[{code}]' if code else ''} {error}"


def explained(error: BaseException) -> UserError | None:
    """The error in words for a person, None where its cause is not known."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and isinstance(error.filename, str) and (friendly := explain_os_error(error, Path(error.filename))) is not None:
        return friendly
    row = failure_of(error)
    return row.error() if row is not None else None


def because(error: BaseException | None, hint: str = "") -> tuple[str, str]:
    """Why something failed and what to do, to stand in a sentence of the caller's. hint: for an error that is not known."""
    known = explained(error) if error is not None else None
    if known is not None:
        return known.message, known.hint or hint
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300], hint
