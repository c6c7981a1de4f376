from __future__ import annotations

import pytest

from lora_studio.evaluation.recommend import Scores, combined, recommend

BASE = Scores(0.2, 0.95, 0.1)


def test_combined_is_the_harmonic_mean() -> None:
    assert combined(Scores(1.0, 1.0, 0.1), BASE) == pytest.approx(1.0)
    assert combined(Scores(0.5, 1.0, 0.1), BASE) == pytest.approx(3 / (2 + 1 + 1))
    assert combined(Scores(1.0, 1.0, 0.6), BASE) == pytest.approx(3 / (1 + 1 + 2))


def test_less_leakage_than_the_base_is_no_bonus() -> None:
    assert combined(Scores(1.0, 1.0, 0.0), BASE) == pytest.approx(1.0)


def test_a_total_failure_cannot_be_paid_for() -> None:
    assert combined(Scores(1.0, 0.0, 0.0), BASE) == 0.0


def test_what_was_not_measured_is_left_out() -> None:
    assert combined(Scores(None, 0.8, None), BASE) == pytest.approx(0.8)
    assert combined(Scores(None, None, None), BASE) is None


def test_the_best_epoch_wins_and_a_tie_goes_to_the_earlier() -> None:
    epochs = [(1, Scores(0.5, 0.9, 0.1)), (2, Scores(0.95, 0.9, 0.1)), (3, Scores(0.955, 0.9, 0.1)), (4, Scores(1.0, 0.5, 0.1))]
    choice = recommend(epochs, BASE)
    assert choice.epoch == 2
    assert "earliest" in choice.reason and "95%" in choice.reason and "base model 20%" in choice.reason
    assert "第 2 轮" in choice.reason_zh


def test_overtraining_is_seen() -> None:
    choice = recommend([(1, Scores(0.9, 0.9, 0.1)), (2, Scores(1.0, 0.6, 0.5))], BASE)
    assert choice.epoch == 1
    assert "earliest" not in choice.reason


def test_nothing_measured_means_the_last_epoch() -> None:
    none = Scores(None, None, None)
    choice = recommend([(1, none), (2, none)], none)
    assert choice.epoch == 2 and choice.score is None and "no removed traits" in choice.reason
