"""Which epoch to use, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TIE = 0.01
"""Scores closer than this are a tie: with a dozen pictures, that is a single tag on a single picture."""


@dataclass(frozen=True)
class Scores:
    """Three shares from 0 to 1; None where the dataset gave nothing to measure."""

    likeness: float | None
    flexibility: float | None
    leakage: float | None


def combined(scores: Scores, base: Scores) -> float | None:
    """The harmonic mean of likeness, flexibility and (1 - leakage above the base model's); None if nothing was measured.

    The harmonic mean lets no strength pay for a weakness: a LoRA that shows the character and obeys nothing else
    scores near 0, not 0.5.
    """
    parts = [p for p in (scores.likeness, scores.flexibility) if p is not None]
    if scores.leakage is not None:
        parts.append(1.0 - max(0.0, scores.leakage - (base.leakage or 0.0)))
    if not parts:
        return None
    if min(parts) <= 0:
        return 0.0
    return len(parts) / sum(1.0 / p for p in parts)


@dataclass(frozen=True)
class Recommendation:
    """``epoch`` is the one to use; ``reason`` and ``reason_zh`` say why in one sentence."""

    epoch: int
    score: float | None
    reason: str
    reason_zh: str


def recommend(epochs: Sequence[tuple[int, Scores]], base: Scores) -> Recommendation:
    """The earliest epoch whose combined score is within TIE of the best one. ``epochs``: (number, scores), at least one."""
    scored = [(number, scores, combined(scores, base)) for number, scores in epochs]
    known = [(number, scores, value) for number, scores, value in scored if value is not None]
    if not known:
        last = scored[-1][0]
        return Recommendation(
            last,
            None,
            f"Epoch {last} is the last one; the dataset has no removed traits and no tags to measure the epochs by.",
            f"第 {last} 轮是最后一轮；数据集中没有被移除的特征，也没有可用于比较各轮的标签。",
        )
    best = max(value for _, _, value in known)
    number, scores, value = next(item for item in known if item[2] >= best - TIE)
    later = [n for n, _, v in known if n > number and v >= best - TIE]
    english, chinese = _facts(scores, base)
    reason = f"Epoch {number} has the best balance: {english}."
    reason_zh = f"第 {number} 轮最均衡：{chinese}。"
    if later:
        reason = f"Epoch {number} is the earliest with the best balance: {english}; training longer did not improve on it."
        reason_zh = f"第 {number} 轮是最早达到最佳均衡的一轮：{chinese}；继续训练没有带来提升。"
    return Recommendation(number, value, reason, reason_zh)


def _facts(scores: Scores, base: Scores) -> tuple[str, str]:
    english, chinese = [], []
    if scores.likeness is not None:
        was = "" if base.likeness is None else f" (base model {base.likeness:.0%})"
        was_zh = "" if base.likeness is None else f"（底模 {base.likeness:.0%}）"
        english.append(f"with the trigger alone {scores.likeness:.0%} of the character's traits appear{was}")
        chinese.append(f"仅用触发词即可出现 {scores.likeness:.0%} 的角色特征{was_zh}")
    if scores.flexibility is not None:
        english.append(f"{scores.flexibility:.0%} of the other prompted tags are obeyed")
        chinese.append(f"其他提示标签有 {scores.flexibility:.0%} 被遵循")
    if scores.leakage is not None:
        more = scores.leakage - (base.leakage or 0.0)
        english.append(f"without the trigger {scores.leakage:.0%} of the traits appear ({more * 100:+.0f} points against the base model)")
        chinese.append(f"不用触发词时出现 {scores.leakage:.0%} 的特征（与底模相差 {more * 100:+.0f} 个百分点）")
    return ", ".join(english), "，".join(chinese)
