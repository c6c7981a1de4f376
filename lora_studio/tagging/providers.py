"""ONNX Runtime sessions: on what device, with how many threads, and honest about both."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import cores
from ..errors import UserError
from ..failures import because

CPU = "CPUExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
PREFERENCE = (
    "CUDAExecutionProvider", "ROCMExecutionProvider", "MIGraphXExecutionProvider", "DmlExecutionProvider", "CoreMLExecutionProvider", OPENVINO, CPU,
)  # fmt: skip

#: DirectML takes the first adapter otherwise: on a laptop with two that is the one that saves power
PROVIDER_OPTIONS = {"DmlExecutionProvider": {"performance_preference": "high_performance"}}


def runtime() -> Any:
    """The onnxruntime module. Raises UserError when it is not installed or does not start."""
    try:
        import onnxruntime
    except Exception as error:  # a broken installation fails in many ways
        why, hint = because(error, hint="See: doctor")
        raise UserError(f"ONNX Runtime, which tagging needs, does not start: {why}", hint) from error
    return onnxruntime


def choose_providers(available: Sequence[str], asked: Sequence[str] | None = None) -> tuple[list[str], list[str]]:
    """Providers to try in order, always ending with the CPU, and warnings about asked ones that are not there.

    Short names (cuda, dml, coreml, cpu) are understood.
    """
    if asked is None:
        return [name for name in PREFERENCE if name in available or name == CPU], []
    by_short = {name.removesuffix("ExecutionProvider").lower(): name for name in available} | {"directml": "DmlExecutionProvider", "cpu": CPU}
    wanted = [by_short.get(name.lower().removesuffix("executionprovider"), name) for name in asked]
    missing = [name for name in wanted if name not in available and name != CPU]
    warnings = [f"{name} is not in this ONNX Runtime ({', '.join(available)})." for name in missing]
    chosen = [name for name in wanted if name not in missing]
    return list(dict.fromkeys([*chosen, CPU])), warnings


NAMES = {
    "CUDAExecutionProvider": "NVIDIA (CUDA)", "TensorrtExecutionProvider": "NVIDIA (TensorRT)", "ROCMExecutionProvider": "AMD (ROCm)",
    "MIGraphXExecutionProvider": "AMD (MIGraphX)", "DmlExecutionProvider": "DirectML", "CoreMLExecutionProvider": "Apple (Core ML)",
}  # fmt: skip


def explain(used: str, available: Sequence[str], asked: Sequence[str] | None, problems: Sequence[str]) -> str:
    """Why a model ran where it ran, in one sentence for people. problems: the warnings of `open_session` and of running."""
    if used == OPENVINO:
        why = "By Intel's OpenVINO, which runs on the processor unless it is set up otherwise."
    elif used != CPU:
        why = f"On the graphics card: {NAMES.get(used, used)}."
    elif asked is not None and all(name.lower().removesuffix("executionprovider") == "cpu" for name in asked):
        why = "On the processor, as chosen."
    elif problems:
        why = "On the processor, because the graphics card could not be used."
    elif not set(available) & set(NAMES):
        why = "On the processor: the ONNX Runtime installed here knows no graphics card (onnxruntime-gpu or onnxruntime-directml do)."
    else:
        why = "On the processor: no graphics card that ONNX Runtime can use was found."
    return why


def _session_options(ort: Any) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = cores.threads()
    options.inter_op_num_threads = 1
    # The threads' busy waiting would take the cores that decode the next pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def open_session(path: Path, asked: Sequence[str] | None = None) -> tuple[Any, list[str]]:
    """A session and warnings. What it runs on is `session.get_providers()[0]`.

    A device that does not work is left for the CPU, with a warning. Raises UserError for a file that is no model.
    """
    ort = runtime()
    providers, warnings = choose_providers(ort.get_available_providers(), asked)
    if "CUDAExecutionProvider" in providers and hasattr(ort, "preload_dlls"):
        with suppress(Exception):  # finds the CUDA libraries that came with PyTorch or pip; without them the CPU is used below
            ort.preload_dlls()
    attempts: list[list[Any]] = [providers] if providers == [CPU] else [providers, [CPU]]
    if any(name in PROVIDER_OPTIONS for name in providers):  # then again without, for a version that does not take them
        attempts.insert(0, [(name, PROVIDER_OPTIONS[name]) if name in PROVIDER_OPTIONS else name for name in providers])
    failure: Exception | None = None
    for attempt in attempts:
        try:
            session = ort.InferenceSession(str(path), _session_options(ort), providers=attempt)
        except Exception as error:
            failure = error
            if attempt is providers and providers != [CPU]:
                warnings.append(f"{providers[0]} failed, the CPU is used instead: {because(error)[0]}")
            continue
        used = session.get_providers()[0]
        wanted = CPU if attempt == [CPU] else providers[0]
        if used != wanted:
            warnings.append(f"{wanted} is installed but does not work here; {used} is used. See: doctor")
        return session, warnings
    why, hint = because(failure, hint="Download it again. Models of the third generation need ONNX Runtime 1.17 or newer.")
    raise UserError(f"{path} cannot be used as a model: {why}", hint) from failure
