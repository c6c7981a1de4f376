"""A graphics card that is not there: torch.cuda answers as torch 2.1.2, 2.3.1 and 2.13 do on a machine with such cards.

What is honest about it: every question about devices, memory and capabilities is answered as the sources and builds of that torch answer
(lists of kernels as read from the builds; a device without an index is refused by mem_get_info before 2.5; bf16 is supported by emulation
from 2.4 on; memory beyond the limit of the process is an OutOfMemoryError). What is not: nothing is computed on a card. The tests
that run a whole training have the base model loaded on the processor, in float32 where fp16 was chosen, and say how much memory a step takes.

    python -m tests.trainer.fake_card     the table: card x torch -> precision, plan, compile, advice
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from lora_studio.cards import Build, Card

GB = 2**30
CUDA12 = ("sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90")
CUDA13 = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")
#: the hosts' torch and our own, with what their builds hold code for (torch._C._cuda_getArchFlags of each)
TORCHES = {
    "2.1.2": Build("2.1.2+cu121", "12.1", "", CUDA12),
    "2.3.1": Build("2.3.1+cu121", "12.1", "", CUDA12),
    "2.13.0": Build("2.13.0+cu130", "13.0", "", CUDA13),
    "2.13.0 cu126": Build("2.13.0+cu126", "12.6", "", CUDA12),
}
CARDS = {
    "GTX 1080": Card(0, "NVIDIA GeForce GTX 1080", (6, 1), 8 * GB, "GPU-1080"),
    "GTX 1660": Card(0, "NVIDIA GeForce GTX 1660", (7, 5), 6 * GB, "GPU-1660"),
    "RTX 2080": Card(0, "NVIDIA GeForce RTX 2080", (7, 5), 8 * GB, "GPU-2080"),
    "RTX 3060": Card(0, "NVIDIA GeForce RTX 3060", (8, 6), 12 * GB, "GPU-3060"),
    "RTX 4090": Card(0, "NVIDIA GeForce RTX 4090", (8, 9), 24 * GB, "GPU-4090"),
    "RTX 5090": Card(0, "NVIDIA GeForce RTX 5090", (12, 0), 32 * GB, "GPU-5090"),
}


class NoMemoryError(RuntimeError):
    """What the fake raises where torch itself is not imported."""


@dataclass
class Machine:
    """Cards, a torch and the driver's version. ``others``: bytes that other programs hold; ``used``: bytes this process holds now, of each card."""

    build: Build
    cards: list[Card]
    driver: str = "580.65"
    others: int = GB // 2
    used: dict[int, int] = field(default_factory=dict)
    fractions: list[float] = field(default_factory=list)
    current: int = 0
    peak: int = 0

    @property
    def version(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.build.torch.split("+")[0].split("."))

    @property
    def available(self) -> bool:
        """Whether the driver is new enough for this torch's CUDA."""
        return bool(self.cards) and bool(self.build.cuda) and int(self.driver.split(".")[0]) >= {"12": 525, "13": 580}[self.build.cuda[:2]]

    def take(self, size: int, index: int = 0) -> None:
        """As the caching allocator: beyond the process's own limit is an error; with lent memory, beyond the card is not."""
        allowed = (self.fractions[-1] if self.fractions else 100.0) * self.cards[index].total
        if self.used.get(index, 0) + size > allowed:
            raise self.error("CUDA out of memory.")
        self.used[index] = self.used.get(index, 0) + size
        self.peak = max(self.peak, self.used[index])

    error: Callable[[str], BaseException] = NoMemoryError

    # -- torch.cuda -------------------------------------------------------------------------------------------------

    def _index(self, device: Any, optional: bool = False) -> int:
        """torch.cuda._utils._get_device_index."""
        if device is None:
            return self.current
        if isinstance(device, int):
            return device
        if device.index is None:
            if not optional:
                raise ValueError(f"Expected a torch.device with a specified index or an integer, but got:{device}")
            return self.current
        return int(device.index)

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        index = self._index(device, optional=self.version >= (2, 5))
        total = self.cards[index].total
        return max(0, total - self.others - self.used.get(index, 0)), total

    def is_bf16_supported(self, including_emulation: bool = True) -> bool:
        own = self.cards[self.current].capability >= (8, 0)
        return own or (including_emulation and self.version >= (2, 4))

    def get_arch_list(self) -> list[str]:
        return list(self.build.kernels) if self.available or self.version >= (2, 5) else []

    def get_device_capability(self, device: Any = None) -> tuple[int, int]:
        return self.cards[self._index(device, True)].capability

    def get_device_name(self, device: Any = None) -> str:
        return self.cards[self._index(device, True)].name

    def get_device_properties(self, device: Any = None) -> Any:
        card = self.cards[self._index(device, True)]
        more = {"uuid": card.uuid.removeprefix("GPU-")} if self.version >= (2, 5) else {}
        return SimpleNamespace(name=card.name, major=card.capability[0], minor=card.capability[1], total_memory=card.total, **more)

    def set_device(self, device: Any) -> None:
        self.current = self._index(device)

    def set_per_process_memory_fraction(self, fraction: float, device: Any = None) -> None:
        self._index(device)
        if not isinstance(fraction, float) or not 0 <= fraction <= 1:
            raise ValueError(f"Invalid fraction value: {fraction}. Allowed range: 0~1")
        self.fractions.append(fraction)

    def answers(self) -> dict[str, Any]:
        """Everything that torch.cuda is asked."""
        return {
            "is_available": lambda: self.available,
            "device_count": lambda: len(self.cards) if self.available else 0,
            "current_device": lambda: self.current,
            "memory_reserved": lambda device=None: self.used.get(self._index(device, True), 0),
            "max_memory_reserved": lambda device=None: self.peak,
            "reset_peak_memory_stats": lambda device=None: setattr(self, "peak", self.used.get(self._index(device, True), 0)),
            "empty_cache": lambda: self.used.clear(),
            "synchronize": lambda device=None: None,
            **{
                name: getattr(self, name)
                for name in (
                    "mem_get_info", "is_bf16_supported", "get_arch_list", "get_device_capability", "get_device_name", "get_device_properties",
                    "set_device", "set_per_process_memory_fraction",
                )
            },
        }  # fmt: skip

    def module(self) -> Any:
        """A stand-in for torch itself, for what must work where it is not installed."""
        return SimpleNamespace(
            __version__=self.build.torch,
            version=SimpleNamespace(cuda=self.build.cuda or None, hip=self.build.hip or None),
            cuda=SimpleNamespace(**self.answers()),
            backends=SimpleNamespace(mps=None),
            get_num_threads=lambda: 2,
        )

    def put_in(self, monkeypatch: Any) -> Machine:
        """Have the torch that is installed answer so, and nvidia-smi too; what our code would try on a card it tries on the processor."""
        import torch

        from lora_studio import nvidia
        from lora_studio.trainer import runtime

        self.error = torch.cuda.OutOfMemoryError
        for name, answer in self.answers().items():
            monkeypatch.setattr(torch.cuda, name, answer)
        monkeypatch.setattr(torch, "__version__", self.build.torch)
        monkeypatch.setattr(torch.version, "cuda", self.build.cuda or None)
        monkeypatch.setattr(torch.version, "hip", self.build.hip or None)
        for name in ("_cuda_graph_capture_health_check", "_accelerator_graph_capture_health_check"):  # the optimizers ask the real card
            if hasattr(torch.optim.Optimizer, name):
                monkeypatch.setattr(torch.optim.Optimizer, name, lambda self: None)
        if self.version < (2, 2):
            monkeypatch.delattr(torch.compiler, "cudagraph_mark_step_begin", raising=False)
        monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
        monkeypatch.setattr(nvidia, "seen", self.seen)
        monkeypatch.setattr(runtime, "try_out", self.try_out)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.delenv(runtime.HOME, raising=False)
        return self

    def seen(self) -> list[Any]:
        from lora_studio.nvidia import Seen

        return [Seen(c.uuid, c.name, self.driver, c.total - self.others, c.total, c.capability) for c in self.cards]

    def try_out(self, device: Any) -> None:
        from lora_studio.cards import has_kernels

        if not has_kernels(self.cards[device.index], self.build):
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be …")


def machine(torch: str, *names: str, **more: Any) -> Machine:
    """A machine with these cards, numbered as they come."""
    cards = [Card(k, CARDS[name].name, CARDS[name].capability, CARDS[name].total, f"{CARDS[name].uuid}-{k}") for k, name in enumerate(names)]
    return Machine(TORCHES[torch], cards, **more)


# -- the table -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What is chosen for SD 1.5 at 512 pixels, batch 4, rank 16, on one card with one torch."""

    card: str
    torch: str
    device: str
    precision: str
    plan: str
    blocks: str
    graphs: str
    advice: str


def choices(torch_version: str, name: str, driver: str = "580.65") -> Row:
    """Every decision of a training, taken by the trainer's own functions."""
    import pytest
    import torch

    from lora_studio.errors import UserError
    from lora_studio.trainer import compiled, plan, runtime
    from lora_studio.training import memory
    from lora_studio.training.config import TrainingConfig

    def config(**changes: Any) -> TrainingConfig:
        return TrainingConfig.from_dict({"base": "b", "folders": ["d"], "output_name": "n", "output_dir": "o", "batch_size": 4, **changes})

    with pytest.MonkeyPatch.context() as patch:
        machine(torch_version, name, driver=driver).put_in(patch)
        try:
            device, notes = runtime.choose_device("auto")
        except UserError as error:
            return Row(name, torch_version, "none: refused", "-", "-", "-", "-", f"{error.message} {error.hint}")
        if device.type != "cuda":
            return Row(name, torch_version, str(device), "fp32", "-", "-", "-", " ".join(notes))
        card = runtime.set_up(device)
        precision, _ = runtime.choose_precision("auto", device, card)

        def step(one: plan.Plan) -> float:
            part = config(batch_size=-(-4 // one.parts), gradient_checkpointing=one.checkpointing, precision=precision)
            return float(memory.needed(part, "sd1", 19_000_000))

        free, _ = torch.cuda.mem_get_info(device)
        chosen, peak = plan.choose(plan.candidates(4, False), step, plan.limit(free, 0, 0))
        words = chosen.words(4) if peak <= plan.limit(free, 0, 0) else "does not fit"
        blocks, graphs = (compiled.why(kind, device, card) or "yes" for kind in ("blocks", "graphs"))
        advice = "cudnn.benchmark; tried before the first step, else fp32" if torch.backends.cudnn.benchmark else "tried before the first step"
        return Row(name, torch_version, str(device), precision, words, blocks, graphs, advice)


def table() -> str:
    rows = [choices(torch, name) for torch in TORCHES for name in CARDS]
    rows += [choices("2.13.0", name, "560.94") for name in ("GTX 1080", "RTX 3060")] + [choices("2.13.0", "RTX 5090", "572.16")]
    drivers = ["580"] * (len(rows) - 3) + ["560", "560", "572"]
    heads = ["card", "torch", "driver", "device", "precision", "plan (SD 1.5, 512, batch 4)", "compile=blocks", "compile=graphs", "said"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for row, driver in zip(rows, drivers, strict=True):
        cells = [row.card, row.torch, driver, row.device, row.precision, row.plan, row.blocks, row.graphs, row.advice]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
