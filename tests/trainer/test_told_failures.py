"""What the trainer makes of errors: which mean too little memory, what its last word says, and that it is kept awake until then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_studio.trainer import __main__ as trainer
from lora_studio.trainer import guard, loop, optimizers
from lora_studio.trainer.guard import out_of_memory
from lora_studio.trainer.team import process_failed
from lora_studio.training.config import TrainingConfig
from lora_studio.training.events import read_events
from lora_studio.training.runs import Run

pytestmark = pytest.mark.torch
CONFIG = TrainingConfig.from_dict({"base": "b", "folders": ["d"], "output_name": "n", "output_dir": "o"})
GB = 2**30


def card(monkeypatch: pytest.MonkeyPatch, free: int | Exception) -> None:
    def info(*_: Any) -> tuple[int, int]:
        if isinstance(free, Exception):
            raise free
        return free, 8 * GB

    monkeypatch.setattr(guard.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(guard.torch.cuda, "mem_get_info", info)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:72] data. DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 5.56 GB)"), True),
        (RuntimeError("CUDA error: unspecified launch failure"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),  # a setting's text, not a device's
        (OSError("The paging file is too small for this operation to complete. (os error 1455)"), False),  # a smaller batch does not help there
    ],
)
def test_only_too_little_memory_makes_batches_smaller(error: Exception, expected: bool) -> None:
    assert out_of_memory(error) is expected


@pytest.mark.parametrize(
    ("free", "expected"), [(100 * 2**20, True), (5 * GB, False), (RuntimeError("CUDA error: unspecified launch failure"), False)]
)
@pytest.mark.parametrize("text", ["cuDNN error: CUDNN_STATUS_NOT_INITIALIZED", "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling"])
def test_a_library_that_does_not_start_means_memory_where_the_card_is_full(
    monkeypatch: pytest.MonkeyPatch, text: str, free: int | Exception, expected: bool
) -> None:
    card(monkeypatch, free)
    assert out_of_memory(RuntimeError(text)) is expected


def test_without_a_card_it_means_none() -> None:
    assert torch.cuda.is_available() or out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED")) is False


def in_project(project: Path) -> TrainingConfig:
    """A run writes to its own project only."""
    return replace(CONFIG, output_dir=str(project / "output"))


def test_the_trainer_is_kept_awake_while_it_trains_and_says_it_when_it_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state: list[str] = []

    class Held:
        def __enter__(self) -> str:
            state.append("awake")
            return "The computer may go to sleep."

        def __exit__(self, *_: Any) -> None:
            state.append("let go")

    def train(*_: Any, **__: Any) -> None:
        state.append("trains")
        raise RuntimeError("CUDA error: unspecified launch failure")

    run = Run.create(tmp_path / "runs", in_project(tmp_path))
    monkeypatch.setattr(trainer, "awake", lambda why: Held())
    monkeypatch.setattr(loop, "train", train)
    assert trainer.main([str(run.folder)]) == 1
    assert state == ["awake", "trains", "let go"]
    warning, failed = read_events(run.events_path)
    assert warning.data["message"] == "The computer may go to sleep."
    assert failed.data["message"] == "The graphics card stopped in the middle of its work." and "overclocking" in failed.data["hint"]
    state.clear()
    monkeypatch.setenv("LOCAL_RANK", "1")  # another process of the same training: the first one holds for all
    assert trainer.main([str(run.folder)]) == 1
    assert state == ["trains"]


def test_an_error_that_nobody_knows_keeps_its_own_text() -> None:
    assert trainer.explain(KeyError("unet")) == ("KeyError: 'unet'", "The whole message is in console.log of the run.")
    assert trainer.explain(KeyboardInterrupt())[0] == "The trainer was interrupted."


def test_one_of_several_processes_is_read_by_its_code_and_the_log(tmp_path: Path) -> None:
    assert process_failed(tmp_path, 2, -9).message.startswith("One of the 2 processes failed. It was killed")
    assert process_failed(tmp_path, 2, 1).hint == "Its message is in console.log of the run; resume the run when that is solved."
    (tmp_path / "console.log").write_text("RuntimeError: CUDA error: no kernel image is available for execution on the device\n", encoding="utf-8")
    assert "built without this graphics card" in process_failed(tmp_path, 2, 1).message


def test_an_optimizer_whose_library_does_not_start_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError(f"DLL load failed while importing {name}: The specified module could not be found.")

    monkeypatch.setattr(optimizers.importlib, "import_module", broken)
    name, kind = next((n, k) for n, k in optimizers.KINDS.items() if n == "adamw8bit")
    with pytest.raises(optimizers.UserError, match="does not start: The Microsoft Visual C"):
        optimizers._find(name, kind)


def test_the_launcher_of_several_reads_what_torchrun_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed.run
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    def torchrun(words: list[str]) -> None:
        raise ChildFailedError("lora_studio.trainer", {1: ProcessFailure(local_rank=1, pid=1, exitcode=-9, error_file="")})

    run = Run.create(tmp_path / "runs", replace(in_project(tmp_path), processes=2))
    monkeypatch.setattr(torch.distributed.run, "main", torchrun)
    assert trainer.main([str(run.folder)]) == 1
    (failed,) = read_events(run.events_path)
    assert failed.data["message"].startswith("One of the 2 processes failed. It was killed") and "Close other programs" in failed.data["hint"]
