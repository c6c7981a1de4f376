"""What a training decides on a graphics card that is not there (see fake_card.py), and what it does where half precision gives no numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_studio.errors import UserError
from lora_studio.trainer import compiled, guard, loop, objective, optimizer, plan, prepared, runtime, sampling, team, trial
from lora_studio.trainer.__main__ import explain, main
from lora_studio.trainer.models import BaseModel, load_base
from tests.trainer.conftest import write_pictures
from tests.trainer.fake_card import CARDS, GB, TORCHES, Machine, choices, machine
from tests.trainer.runs import diary, make_run, start

pytestmark = pytest.mark.torch
HOSTS = ["2.1.2", "2.3.1", "2.13.0"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures: one step of two an epoch."""
    return write_pictures(tmp_path_factory.mktemp("few"), 2)


def warnings(events: list[dict[str, Any]]) -> list[str]:
    return [e["message"] for e in events if e["type"] == "warning"]


# -- the device ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", HOSTS)
@pytest.mark.parametrize(
    ("name", "home", "whole"),
    [
        ("auto", "", "cuda:0"), ("cuda", "", "cuda:0"), ("cuda:1", "", "cuda:1"), ("auto", "cuda:1", "cuda:1"), ("cuda", "cuda:1", "cuda:1"),
        ("cuda:0", "cuda:1", "cuda:0"), ("auto", "cuda:7", "cuda:0"),
    ],
)  # fmt: skip
def test_devices_are_whole(monkeypatch: pytest.MonkeyPatch, version: str, name: str, home: str, whole: str) -> None:
    fake = machine(version, "RTX 3060", "RTX 4090").put_in(monkeypatch)
    monkeypatch.setenv(runtime.HOME, home)
    device, notes = runtime.choose_device(name)
    assert str(device) == whole and notes == ()
    card = runtime.set_up(device)
    assert card is not None and fake.current == device.index == card.index
    assert torch.cuda.mem_get_info(device)[1] == card.total  # which torch before 2.5 refuses for a device that is not whole


def test_the_fake_refuses_what_the_hosts_torch_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in HOSTS:
        machine(version, "RTX 3060").put_in(monkeypatch)
        with nullcontext() if version == "2.13.0" else pytest.raises(ValueError, match="specified index"):
            torch.cuda.mem_get_info(torch.device("cuda"))


@pytest.mark.parametrize(
    ("name", "beside", "words"),
    [
        ("cuda:2", 1, "no graphics card cuda:2"), ("cuda:x", 1, "cuda:0 \\(RTX 3060"), ("cuda:1", 2, "need one each"),
        ("auto", 3, "3 processes need"), ("gpu", 1, "'gpu'"),
    ],
)  # fmt: skip
def test_a_card_that_is_not_there_is_refused_with_those_that_are(monkeypatch: pytest.MonkeyPatch, name: str, beside: int, words: str) -> None:
    machine("2.1.2", "RTX 3060", "RTX 4090").put_in(monkeypatch)
    with pytest.raises(UserError, match=words) as caught:
        runtime.choose_device(name, 0, beside)
    assert caught.value.hint


def test_each_of_several_processes_has_its_own_card(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = machine("2.1.2", "RTX 3060", "RTX 4090").put_in(monkeypatch)
    monkeypatch.setenv(runtime.HOME, "cuda:1")
    assert [str(runtime.choose_device("auto", k, 2)[0]) for k in range(2)] == ["cuda:0", "cuda:1"]
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    asked: list[Any] = []
    monkeypatch.setattr(team.dist, "is_initialized", lambda: False)
    monkeypatch.setattr(team.dist, "init_process_group", lambda backend, timeout: asked.append(backend))
    joined = team.Team.join("auto")
    assert (joined.local, joined.beside, fake.current, len(asked)) == (1, 2, 1, 1)
    with pytest.raises(UserError, match="need one each"):
        team.Team.join("cuda:0")


def test_another_card_is_taken_where_this_torch_cannot_use_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    machine("2.13.0", "GTX 1080", "RTX 3060").put_in(monkeypatch)
    device, notes = runtime.choose_device("auto")
    assert str(device) == "cuda:1" and "no code for the GTX 1080" in notes[0]
    with pytest.raises(UserError, match="no code for the GTX 1080") as caught:
        runtime.choose_device("cuda:0")
    assert "cu126" in caught.value.hint


def test_missing_code_is_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = machine("2.1.2", "RTX 5090").put_in(monkeypatch)
    monkeypatch.setattr(torch.cuda, "get_arch_list", list)  # a build that does not tell
    monkeypatch.setattr(runtime, "try_out", Machine.try_out.__get__(fake))
    with pytest.raises(UserError, match="no kernel image") as caught:
        runtime.choose_device("auto")
    assert "torch==2.7.1" in caught.value.hint and "cu128" in caught.value.hint
    message, hint = explain(RuntimeError("CUDA error: no kernel image is available for execution on the device"))
    assert "built without this graphics card" in message and "doctor" in hint


def test_an_old_driver_is_said_and_the_processor_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    machine("2.13.0", "RTX 3060", driver="560.94").put_in(monkeypatch)
    device, notes = runtime.choose_device("auto")
    assert device == CPU and "580 or newer" in " ".join(notes) and "processor" in notes[0]
    with pytest.raises(UserError, match=r"560\.94 is too old"):
        runtime.choose_device("cuda")


# -- the precision -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", HOSTS)
@pytest.mark.parametrize(("name", "precision"), [("GTX 1660", "fp16"), ("RTX 2080", "fp16"), ("RTX 3060", "bf16"), ("RTX 4090", "bf16")])
def test_precision_is_the_chosen_card_s(monkeypatch: pytest.MonkeyPatch, version: str, name: str, precision: str) -> None:
    """is_bf16_supported says yes for every card from torch 2.4 on, and asks the first card."""
    machine(version, "RTX 3060" if precision == "fp16" else "GTX 1660", name).put_in(monkeypatch)
    device, _ = runtime.choose_device("cuda:1")
    assert runtime.choose_precision("auto", device, runtime.set_up(device)) == (precision, ())
    assert torch.backends.cudnn.benchmark is (name == "GTX 1660")


def test_bf16_asked_for_on_a_card_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    machine("2.13.0", "RTX 2080").put_in(monkeypatch)
    device, _ = runtime.choose_device("auto")
    precision, notes = runtime.choose_precision("bf16", device, runtime.set_up(device))
    assert precision == "bf16" and "emulates" in notes[0]
    machine("2.1.2", "RTX 2080").put_in(monkeypatch)
    with pytest.raises(UserError, match="does not compute in bf16"):
        runtime.choose_precision("bf16", device, runtime.set_up(device))
    machine("2.1.2", "RTX 3060").put_in(monkeypatch)
    assert runtime.choose_precision("bf16", device, runtime.set_up(device)) == ("bf16", ())


def test_precision_without_a_card() -> None:
    for device in (CPU, torch.device("mps")):
        assert runtime.choose_precision("auto", device, None) == ("fp32", ())
        with pytest.raises(UserError, match="fp16 training does not work on"):
            runtime.choose_precision("fp16", device, None)
    assert runtime.choose_precision("bf16", CPU, None) == ("bf16", ())
    with pytest.raises(UserError, match="bf16 on a Mac"):  # there is none here; torch before 2.5 says the same on one
        runtime.choose_precision("bf16", torch.device("mps"), None)


# -- Macs ----------------------------------------------------------------------------------------------------------


def test_macs_are_not_asked_for_autocast_in_full_precision(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = replace(load_base(tiny_checkpoint), device=torch.device("mps"))

    def unsupported(device_type: str, **_: Any) -> Any:
        raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'")

    monkeypatch.setattr(torch, "autocast", unsupported)
    with sampling.autocast(model):
        pass
    with pytest.raises(RuntimeError):
        sampling.autocast(replace(model, dtype=torch.float16))


def test_copies_do_not_block_only_from_pinned_memory_to_cuda() -> None:
    class Tensor:
        pinned = False

        def pin_memory(self) -> Tensor:
            found = Tensor()
            found.pinned = True
            return found

        def to(self, device: torch.device, non_blocking: bool = False) -> tuple[str, bool, bool]:
            return device.type, self.pinned, non_blocking

    assert [objective.on(torch.device(name), Tensor()) for name in ("mps", "cpu", "cuda:0")] == [  # type: ignore[arg-type]
        ("mps", False, False), ("cpu", False, False), ("cuda", True, True),
    ]  # fmt: skip
    for path in Path(loop.__file__).parents[1].rglob("*.py"):
        assert "non_blocking=True" not in path.read_text(encoding="utf-8") or path.name == "objective.py"


def test_a_mac_s_memory_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: emptied.append("mps"))
    guard.release_memory()
    assert emptied == ["mps"]


# -- compiling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "name", "blocks", "graphs"),
    [
        ("2.1.2", "RTX 3060", "", "PyTorch 2.1.2 has no cudagraph_mark_step_begin"),
        ("2.3.1", "RTX 3060", "", ""),
        ("2.3.1", "GTX 1080", "Triton", "Triton"),
    ],
)
def test_where_it_cannot_be_compiled(monkeypatch: pytest.MonkeyPatch, version: str, name: str, blocks: str, graphs: str) -> None:
    machine(version, name).put_in(monkeypatch)
    if version != "2.1.2" and not hasattr(torch.compiler, "cudagraph_mark_step_begin"):
        pytest.skip("the torch that is installed has none")
    card = replace(CARDS[name])
    for kind, expected in (("blocks", blocks), ("graphs", graphs)):
        reason = compiled.why(kind, torch.device("cuda", 0), card)
        assert reason.startswith(expected) if expected else reason == ""


def test_no_graph_is_marked_where_it_is_not_compiled(tmp_path: Path, tiny_checkpoint: Path, few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch 2.1.2 has no mark of steps: it was called in the rehearsal before anything could say so."""
    monkeypatch.delattr(torch.compiler, "cudagraph_mark_step_begin", raising=False)
    events = start(make_run(tmp_path, tiny_checkpoint, few, epochs=1, compile="graphs"))
    assert events[-1]["type"] == "finished" and "not compiled" in warnings(events)[0]


# -- whole runs on a card that is not there ------------------------------------------------------------------------

Takes = Callable[[prepared.Prepared], int]


def on_card(monkeypatch: pytest.MonkeyPatch, fake: Machine, takes: Takes = lambda parts: GB, broken: tuple[str, ...] = ()) -> list[tuple[str, bool]]:
    """Runs of this machine are decided on the card and computed on the processor. takes: bytes of a step; broken: precisions without numbers there.

    Returns what is loaded, as it is: (precision, in 8 bits).
    """
    fake.put_in(monkeypatch)
    loaded: list[tuple[str, bool]] = []

    def load(base: str, device: torch.device, dtype: torch.dtype, **options: Any) -> BaseModel:
        assert device.index is not None
        precision = next(name for name, own in runtime.DTYPES.items() if own == dtype)
        loaded.append((precision, options.pop("fp8")))
        model = load_base(base, CPU, torch.float32, **options)
        model.asked = precision  # type: ignore[attr-defined]
        return model

    def gives_numbers(model: Any, size: tuple[int, int]) -> bool:
        return model.asked not in broken and trial.gives_numbers(model, size)

    rehearse = prepared.Prepared.rehearse

    def rehearsal(self: prepared.Prepared) -> None:
        fake.used.clear()
        fake.take(takes(self))
        rehearse(self)

    monkeypatch.setattr(prepared, "load_base", load)
    monkeypatch.setattr(prepared, "gives_numbers", gives_numbers)
    monkeypatch.setattr(prepared.Prepared, "rehearse", rehearsal)
    monkeypatch.setattr(optimizer, "_grad_scaler", lambda: torch.cuda.amp.GradScaler(enabled=False))
    monkeypatch.setattr(trial.eight_bit, "allowed", lambda device: True)
    return loaded


@pytest.mark.filterwarnings("ignore:.*GradScaler.*")
@pytest.mark.parametrize(
    ("version", "name", "precision"), [("2.1.2", "RTX 3060", "bf16"), ("2.3.1", "GTX 1080", "fp16"), ("2.13.0", "RTX 2080", "fp16")]
)
def test_a_training_on_a_card_runs_through(
    tmp_path: Path, tiny_checkpoint: Path, few: Path, monkeypatch: pytest.MonkeyPatch, version: str, name: str, precision: str
) -> None:
    fake = machine(version, "RTX 4090", name)
    loaded = on_card(monkeypatch, fake)
    events = start(make_run(tmp_path, tiny_checkpoint, few, epochs=1, device="cuda:1"))
    assert (events[0]["device"], events[0]["card"], events[0]["precision"]) == ("cuda:1", CARDS[name].name, precision)
    assert loaded == [(precision, False)] and events[-1]["type"] == "finished" and fake.current == 1
    measured = next(e for e in events if e.get("name") == "memory" and "limit" in e)
    assert measured["total"] == CARDS[name].total and 0.8 * CARDS[name].total < measured["limit"] < measured["total"] and warnings(events) == []
    assert (tmp_path / "run" / prepared.LAYOUT).exists() and fake.fractions[-1] == 1.0 and len(fake.fractions) == 4


@pytest.mark.filterwarnings("ignore:.*GradScaler.*")
def test_lent_memory_is_not_measured(tmp_path: Path, tiny_checkpoint: Path, few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows lends main memory: without a limit of its own, a step of 9 GB would fit a card of 8."""
    fake = machine("2.3.1", "RTX 2080")
    sizes: list[int] = []

    def takes(parts: prepared.Prepared) -> int:
        sizes.append(9 * GB // parts.plan.parts)
        return sizes[-1]

    on_card(monkeypatch, fake, takes)
    fake.take(9 * GB)  # the driver gives it, as it is
    fake.used.clear()
    events = start(make_run(tmp_path, tiny_checkpoint, few, epochs=1, batch_size=4, device="auto"))
    measured = next(e for e in events if e.get("name") == "memory" and "limit" in e)
    assert measured["plan"] == "batches of 4 go in parts of 2" and measured["peak"] == 9 * GB // 2
    assert sizes[:2] == [9 * GB, 9 * GB // 2] and fake.fractions[0] == pytest.approx(1 - 0.5 / 8) and fake.fractions[1] == 1.0
    assert any("To fit the graphics memory" in words for words in warnings(events))


def test_the_limit_and_the_notice_of_lent_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert plan.limit(6 * GB, GB, GB) == pytest.approx((0.92 * 7 - 1) * GB)
    fake = machine("2.1.2", "GTX 1660").put_in(monkeypatch)
    parts = object.__new__(prepared.Prepared)
    parts.runtime = runtime.Runtime(torch.device("cuda", 0), "fp16", torch.float16, 1)
    fake.used[0] = 6 * GB - fake.others
    monkeypatch.setattr(prepared, "lends_memory", lambda: False)
    assert not parts.spills()
    monkeypatch.setattr(prepared, "lends_memory", lambda: True)
    assert parts.spills()


# -- half precision that gives no numbers --------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*GradScaler.*")
def test_a_gtx_16_that_gives_no_numbers_trains_in_fp32(
    tmp_path: Path, tiny_checkpoint: Path, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = on_card(monkeypatch, machine("2.1.2", "GTX 1660"), broken=("fp16",))
    run = make_run(tmp_path, tiny_checkpoint, few, epochs=1, device="auto")
    events = start(run)
    assert loaded == [("fp16", False), ("fp32", False)] and torch.backends.cudnn.benchmark
    assert events[-1]["type"] == "finished" and "fp16 gives no numbers" in warnings(events)[0]
    assert [e.get("precision") for e in events if e["type"] in ("started", "warning")] == ["fp16", "fp32"]
    # a resumed run knows
    loaded.clear()
    values = json.loads((run / "config.json").read_text(encoding="utf-8"))
    (run / "config.json").write_text(json.dumps({**values, "epochs": 2}), encoding="utf-8")
    assert start(run)[-1]["type"] == "finished" and loaded == [("fp32", False)]


@pytest.mark.filterwarnings("ignore:.*GradScaler.*")
def test_where_memory_is_short_fp32_goes_in_8_bits(tmp_path: Path, tiny_checkpoint: Path, few: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = on_card(monkeypatch, machine("2.1.2", "GTX 1660"), broken=("fp16",))
    monkeypatch.setattr(trial.memory, "needed", lambda config, family, parameters: 6 * GB if config.precision == "fp32" else 0)
    events = start(make_run(tmp_path, tiny_checkpoint, few, epochs=1, device="auto"))
    assert loaded == [("fp16", False), ("fp32", True)] and "in 8 bits" in warnings(events)[1]


@pytest.mark.filterwarnings("ignore:.*GradScaler.*")
def test_a_damaged_base_model_is_told_from_a_card_that_cannot(
    tmp_path: Path, tiny_checkpoint: Path, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_card(monkeypatch, machine("2.3.1", "GTX 1660"), broken=("fp16", "fp32"))
    run = make_run(tmp_path, tiny_checkpoint, few, epochs=1, device="auto")
    assert main([str(run)]) == 1 and "the file is damaged" in diary(run)[-1]["message"]


def test_the_trial_finds_what_is_no_number(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_base(tiny_checkpoint)
    assert trial.gives_numbers(model, (64, 96))
    model.unet.conv_out.weight[0, 0, 0, 0] = float("nan")
    assert not trial.gives_numbers(model, (64, 96))

    def short(*_: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(trial, "predict", short)
    assert trial.gives_numbers(model, (64, 96))  # other cures


def breaks_at(monkeypatch: pytest.MonkeyPatch, call: int, only: str = "") -> None:
    """The loss is no number at one call, in one precision."""
    original, calls = loop.Objective.loss, []

    def loss(self: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        calls.append(1)
        wrong = len(calls) >= call and getattr(self.model, "asked", "") == only if only else len(calls) == call
        return original(self, *args, **kwargs) * (float("nan") if wrong else 1.0)

    monkeypatch.setattr(loop.Objective, "loss", loss)


@pytest.mark.filterwarnings("ignore:.*GradScaler.*")
def test_no_number_at_the_first_steps_is_not_the_learning_rate_s_fault(
    tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = on_card(monkeypatch, machine("2.3.1", "RTX 2080"))
    monkeypatch.setattr(loop, "FIRST_STEPS", 10)
    breaks_at(monkeypatch, 1, "fp16")
    run = make_run(tmp_path, tiny_checkpoint, pictures, memory_plan=False, device="auto")
    events = start(run)
    said = warnings(events)
    assert loaded == [("fp16", False), ("fp32", False)] and events[-1]["type"] == "finished" and events[-1]["step"] == 6
    assert len(said) == 1 and "does not come from the learning rate" in said[0] and "fp32" in said[0]
    steps = [e for e in events if e["type"] == "step"]
    assert all(e["lr"] == pytest.approx(1e-3) for e in steps), "the rate stays as it was set"
    assert json.loads((run / prepared.PRECISION).read_text(encoding="utf-8")) == {"instead_of": "fp16", "fp8": False}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*GradScaler.*")
@pytest.mark.parametrize("finite", [True, False])
def test_later_it_depends_on_whether_the_precision_gives_numbers(
    tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, finite: bool
) -> None:
    loaded = on_card(monkeypatch, machine("2.3.1", "RTX 2080"))
    monkeypatch.setattr(loop, "FIRST_STEPS", 0)
    breaks_at(monkeypatch, 5)
    if not finite:
        monkeypatch.setattr(prepared.Prepared, "gives_numbers", lambda self: not self.runtime.half)
    events = start(make_run(tmp_path, tiny_checkpoint, pictures, memory_plan=False, device="auto"))
    assert events[-1]["type"] == "finished" and [e.get("rate") for e in events if e["type"] == "warning"] == [0.5 if finite else None]
    assert loaded == [("fp16", False)] + ([] if finite else [("fp32", False)])


@pytest.mark.slow
def test_a_scaler_that_still_searches_is_left_alone_and_a_lost_one_is_not(
    tmp_path: Path, tiny_checkpoint: Path, few: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Scaler:
        """torch's, with gradients that overflow at every scale."""

        found = 65536.0

        def scale(self, loss: torch.Tensor) -> torch.Tensor:
            return loss

        def unscale_(self, inner: Any) -> None: ...

        def step(self, inner: Any) -> None: ...

        def update(self) -> None:
            self.found /= 2

        def get_scale(self) -> float:
            return self.found

        def state_dict(self) -> dict[str, float]:
            return {"scale": self.found}

        def load_state_dict(self, state: dict[str, float]) -> None:
            self.found = state["scale"]

    loaded = on_card(monkeypatch, machine("2.3.1", "RTX 2080"))
    monkeypatch.setattr(optimizer, "_grad_scaler", Scaler)
    monkeypatch.setattr("lora_studio.trainer.reporter.REPORT_EVERY", 0.0)
    assert optimizer.LEAST_SCALE < 2**-8 * 65536, "a search of eight halvings is usual"
    monkeypatch.setattr(optimizer, "LEAST_SCALE", 65536 / 4)
    events = start(make_run(tmp_path, tiny_checkpoint, few, memory_plan=False, device="auto", epochs=4, save_every_epochs=4))
    assert loaded == [("fp16", False), ("fp32", False)] and events[-1]["step"] == 4
    first = [e["step"] for e in events if e["type"] == "step" and e["seq"] < next(w["seq"] for w in events if w["type"] == "warning")]
    assert max(first) == 2, "two halvings of three were still a search"


def test_in_full_precision_a_run_of_several_steps_halves_its_rate_as_before(
    tmp_path: Path, tiny_checkpoint: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks_at(monkeypatch, 2)
    events = start(make_run(tmp_path, tiny_checkpoint, pictures, epochs=1))
    assert [e["rate"] for e in events if e["type"] == "warning"] == [0.5]


# -- the rest ------------------------------------------------------------------------------------------------------


def test_an_evaluation_draws_in_fp32_where_half_precision_gives_no_numbers(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lora_studio.evaluation.painter import Canvas, ModelPainter
    from lora_studio.trainer import models

    machine("2.1.2", "RTX 4090", "GTX 1660").put_in(monkeypatch)
    loaded: list[tuple[str, torch.dtype]] = []

    def load(base: str, device: torch.device, dtype: torch.dtype, **options: Any) -> BaseModel:
        loaded.append((str(device), dtype))
        return load_base(base, CPU, torch.float32, **options)

    monkeypatch.setattr(models, "load_base", load)
    monkeypatch.setattr(trial, "gives_numbers", lambda model, size: False)
    monkeypatch.setenv(runtime.HOME, "cuda:1")
    painter = ModelPainter(str(tiny_checkpoint), "", "auto", 1, 75, Canvas(64, 64, 2, 4.0, "", 1), "auto")
    assert loaded == [("cuda:1", torch.float16), ("cuda:1", torch.float32)] and "fp32" in painter.notes[0] and painter.device == "cuda:1"


@pytest.mark.parametrize("version", HOSTS)
def test_the_table_of_choices(version: str) -> None:
    """Every card of every generation either trains or is told what helps."""
    rows = {name: choices(version, name) for name in CARDS}
    expected = {"GTX 1080": "fp16", "GTX 1660": "fp16", "RTX 2080": "fp16", "RTX 3060": "bf16", "RTX 4090": "bf16", "RTX 5090": "bf16"}
    for name, row in rows.items():
        card, build = CARDS[name], TORCHES[version]
        without = (card.capability < (7, 5)) if build.cuda.startswith("13") else (card.capability >= (10, 0))
        assert (row.device, row.precision) == (("none: refused", "-") if without else ("cuda:0", expected[name]))
        assert ("pip install" in row.advice) is without
    assert rows["RTX 4090"].plan == "batches of 4 go in one" and "parts" in rows["GTX 1660"].plan
