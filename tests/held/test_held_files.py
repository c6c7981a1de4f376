"""Whatever another program holds, for a moment or for ever: no step of the product loses anything, and the same step done again succeeds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_studio.errors import UserError
from tests.held.cases import CASES, Case
from tests.held.faults import HOLDER, Faults

#: how long a call is refused
MODES = ("once", "three times", "a second", "for ever", "everything for ever")
PASSING = MODES[:3]


class Stage:
    """A step's folder, as it was before the step as often as wanted."""

    def __init__(self, case: Case, faults: Faults, place: Path) -> None:
        self.case, self.faults, self.here, self.template = case, faults, faults.root, place / "before"
        faults.release()
        case.prepare(self.here)
        shutil.copytree(self.here, self.template, symlinks=True)
        faults.begin()
        case.act(self.here)
        self.calls = list(faults.calls)
        faults.release()
        self.good = case.result(self.here)

    def again(self) -> None:
        """As before the step."""
        self.faults.release()
        shutil.rmtree(self.here)
        shutil.copytree(self.template, self.here, symlinks=True)

    def refuse(self, mode: str, number: int) -> None:
        """Do the step while a call is refused, and judge what comes of it."""
        case, faults, here = self.case, self.faults, self.here
        self.again()
        before = case.unchanged(here)
        {
            "once": lambda: faults.some(number, 1), "three times": lambda: faults.some(number, 3), "a second": lambda: faults.second(number),
            "for ever": lambda: faults.ever(number), "everything for ever": lambda: faults.everything(number),
        }[mode]()  # fmt: skip
        where = f"{case.name}, {mode}, call {number}: {self.calls[number]}"
        try:
            value = case.act(here)
        except UserError as error:
            faults.release()
            assert mode not in PASSING, f"{where} ended with {error.message}"
            assert HOLDER in error.message and error.hint, f"{where} says: {error.message}"
            if mode == "for ever":
                assert str(here) in error.message, f"{where} names no file: {error.message}"
                assert case.unchanged(here) == before, f"{where} left something else"
        else:
            faults.release()
            if not (told := case.told(value)):
                assert case.result(here) == self.good, f"{where} came to something else"
                return
            assert mode not in PASSING and HOLDER in told, where
        case.act(here)
        assert case.result(here) == self.good, f"{where}: the second try came to something else"


def thinned(calls: int, modes: tuple[str, ...], most: int) -> Iterator[tuple[str, int]]:
    """So many pairs at most, with every mode and the first and last calls among them."""
    pairs = [(mode, number) for number in range(calls) for mode in modes]
    step = max(1, -(-len(pairs) // most))
    while step > 1 and any(step % k == 0 and len(modes) % k == 0 for k in range(2, step + 1)):
        step += 1  # else a mode would never have its turn
    yield from pairs[::step]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_held_file_loses_nothing(case: Case, faults: Faults, tmp_path: Path, record: Callable[[str, Any], None]) -> None:
    stage = Stage(case, faults, tmp_path)
    assert stage.calls
    for mode, number in thinned(len(stage.calls), MODES if case.for_ever else PASSING, 14):
        stage.refuse(mode, number)
    record(case.name, (len(stage.calls), faults.failed))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_call_of_every_step(case: Case, faults: Faults, tmp_path: Path, record: Callable[[str, Any], None]) -> None:
    stage = Stage(case, faults, tmp_path)
    for mode, number in thinned(len(stage.calls), MODES if case.for_ever else PASSING, 120):
        stage.refuse(mode, number)
    record(case.name, (len(stage.calls), faults.failed))


@pytest.fixture
def record() -> Iterator[Callable[[str, Any], None]]:
    """Said with -s or when it fails: how many calls each step makes, and how many were refused."""

    def say(name: str, found: tuple[int, int]) -> None:
        print(f"\n{name}: {found[0]} calls, {found[1]} refused")

    yield say
