"""Schedules, loss weights, seeds and chunks against formulas written down independently."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from lora_studio.trainer import noise
from lora_studio.trainer.clip_tokens import BOS, COMMA, EOS, ClipTokenizer, split_chunks
from lora_studio.trainer.lr import lr_at, warmup_steps
from lora_studio.trainer.sampling import Prompt, start_noise, timesteps
from lora_studio.trainer.seeds import seed_of

pytestmark = pytest.mark.torch


def test_noise_levels_are_latent_diffusions() -> None:
    betas = np.linspace(np.sqrt(0.00085), np.sqrt(0.012), 1000) ** 2
    assert np.allclose(noise.alphas_cumprod().numpy(), np.cumprod(1 - betas), rtol=1e-6)
    assert math.isclose(float(noise.alphas_cumprod()[-1]), 0.0046600, rel_tol=1e-3)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_min_snr_weights(prediction: str) -> None:
    alphas = noise.alphas_cumprod()
    weights = noise.min_snr_weights(alphas, 5.0, prediction)
    for t in (0, 1, 100, 300, 500, 999):
        a = float(alphas[t])
        ratio = a / (1 - a)
        expected = min(ratio, 5.0) / (ratio if prediction == "epsilon" else ratio + 1)
        assert math.isclose(float(weights[t]), expected, rel_tol=1e-4)
    assert torch.equal(noise.min_snr_weights(alphas, 0.0, prediction), torch.ones(1000))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_debiased_and_scaled_weights(prediction: str) -> None:
    alphas = noise.alphas_cumprod()
    both = noise.loss_weights(alphas, prediction, min_snr_gamma=5.0, debiased=True, scale_v=True)
    for t in (0, 3, 200, 640, 999):
        ratio = float(alphas[t]) / (1 - float(alphas[t]))
        if prediction == "epsilon":
            expected = min(ratio, 5) / ratio * min(ratio, 1000) ** -0.5
        else:
            expected = min(ratio, 5) / (ratio + 1) * ratio / (ratio + 1) / (min(ratio, 1000) + 1)
        assert math.isclose(float(both[t]), expected, rel_tol=1e-3)
    ended = noise.loss_weights(noise.zero_terminal_snr(alphas), prediction, min_snr_gamma=5.0, debiased=True)
    assert torch.isfinite(ended).all()


def test_huber_losses() -> None:
    alphas = noise.alphas_cumprod()
    for schedule, formula in (
        ("constant", lambda t: 0.1),
        ("exponential", lambda t: math.exp(math.log(0.1) / 1000 * t)),
        ("snr", lambda t: 0.9 / (1 + math.sqrt((1 - float(alphas[t])) / float(alphas[t]))) ** 2 + 0.1),
    ):
        widths = noise.huber_width(alphas, schedule, 0.1)
        for t in (0, 500, 999):
            assert math.isclose(float(widths[t]), formula(t), rel_tol=1e-4), (schedule, t)
    d = torch.tensor([[[[0.0, 0.05, -3.0]]]])
    c = 0.25
    for kind, factor in (("huber", 2 * c), ("smooth_l1", 2.0)):
        got = noise.elementwise_loss(d, torch.zeros_like(d), kind, torch.tensor([c])).flatten().tolist()
        assert np.allclose(got, [factor * (math.sqrt(x * x + c * c) - c) for x in (0.0, 0.05, -3.0)], atol=1e-6)
    assert np.allclose(noise.elementwise_loss(d, torch.zeros_like(d), "l2", None).flatten().tolist(), [0, 0.0025, 9.0])


def test_pyramid_noise_adds_coarse_noise_and_keeps_the_spread() -> None:
    plain = torch.randn(2, 4, 64, 48, generator=torch.Generator().manual_seed(1))
    made = noise.pyramid_noise(plain, 6, 0.9, torch.Generator().manual_seed(2))
    again = noise.pyramid_noise(plain, 6, 0.9, torch.Generator().manual_seed(2))
    assert torch.equal(made, again) and math.isclose(float(made.std()), 1.0, rel_tol=1e-5)

    def coarse(x: torch.Tensor) -> float:
        return float(torch.nn.functional.avg_pool2d(x, 8).std())

    assert coarse(made) > 2 * coarse(plain)
    one = noise.pyramid_noise(plain, 1, 0.5, torch.Generator().manual_seed(3))  # its only level is as fine as the noise itself
    generator = torch.Generator().manual_seed(3)
    torch.rand((), generator=generator)
    total = plain + torch.randn(plain.shape, generator=generator)
    assert torch.allclose(one, total / total.std(), atol=1e-6)


def test_v_target_and_noise_give_back_the_picture() -> None:
    x, e = torch.randn(3, 4, 2, 2), torch.randn(3, 4, 2, 2)
    a = torch.tensor([0.99, 0.5, 0.01])
    noisy, v = noise.add_noise(x, e, a), noise.target(x, e, a, "v_prediction")
    root, rest = a.sqrt().view(-1, 1, 1, 1), (1 - a).sqrt().view(-1, 1, 1, 1)
    assert torch.allclose(root * noisy - rest * v, x, atol=1e-5)
    assert torch.allclose(rest * noisy + root * v, e, atol=1e-5)


def test_zero_terminal_snr_ends_in_pure_noise() -> None:
    alphas = noise.zero_terminal_snr(noise.alphas_cumprod())
    assert float(alphas[-1]) == 0.0 and math.isclose(float(alphas[0]), float(noise.alphas_cumprod()[0]), rel_tol=1e-6)


@pytest.mark.parametrize(
    ("scheduler", "formula"),
    [
        ("constant_with_warmup", lambda p: 1.0),
        ("linear", lambda p: 1 - p),
        ("cosine", lambda p: (1 + math.cos(math.pi * p)) / 2),
        ("cosine_with_restarts", lambda p: (1 + math.cos(math.pi * (3 * p - math.floor(3 * p)))) / 2),
        ("polynomial", lambda p: (1 - p) ** 2),
        ("rex", lambda p: (1 - p) / (0.1 + 0.9 * (1 - p))),
    ],
)
def test_learning_rates(scheduler: str, formula) -> None:
    total, warm = 120, 20
    for step in range(warm):
        assert math.isclose(lr_at(step, total, scheduler, warmup=warm, cycles=3, power=2.0), step / warm)
    for step in range(warm, total):
        got = lr_at(step, total, scheduler, warmup=warm, cycles=3, power=2.0)
        assert math.isclose(got, formula((step - warm) / 100), abs_tol=1e-9)


def test_warmup_is_a_share_or_a_number_and_never_delays_a_constant_rate() -> None:
    assert warmup_steps(0.05, 250, "cosine") == 12
    assert warmup_steps(30, 250, "cosine") == 30
    assert warmup_steps(0.05, 250, "constant") == 0
    assert lr_at(0, 10, "constant", warmup=5) == 1.0


def test_ddim_timesteps_are_the_webuis() -> None:
    assert timesteps(20).tolist() == [1 + 50 * i for i in range(20)]
    assert timesteps(30).tolist()[-1] == 991 and len(timesteps(30)) == 31


def test_starting_noise_depends_on_the_seed_alone() -> None:
    wide = start_noise(Prompt("", seed=5, width=64, height=32))
    assert wide.shape == (1, 4, 4, 8)
    torch.manual_seed(5)
    assert torch.equal(wide[0], torch.randn(4, 4, 8))


def test_seeds_are_the_same_everywhere() -> None:
    assert seed_of(42, "noise", 1, 0) == 5910609025572582283
    assert len({seed_of(42, "noise", e, b) for e in range(20) for b in range(20)}) == 400


def test_known_token_ids() -> None:
    tokenizer = ClipTokenizer.bundled()
    assert tokenizer.encode("a photo of a cat") == [320, 1125, 539, 320, 2368]
    assert tokenizer.encode("1girl, red hair") == [272, 1611, 267, 736, 2225]
    assert tokenizer.encode(r"saber \(fate\)") == tokenizer.encode("saber (fate)")


def test_bundled_vocabulary_equals_transformers_on_odd_texts(tmp_path) -> None:
    """The same merges through transformers' own tokenizer."""
    import json

    from transformers import CLIPTokenizerFast

    from lora_studio.trainer.clip_tokens import _bundled_bpe

    vocab, merges = _bundled_bpe()
    (tmp_path / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    (tmp_path / "merges.txt").write_text(
        "#version: 0.2\n" + "\n".join(" ".join(m) for m in merges) + "\n", encoding="utf-8"
    )
    theirs = CLIPTokenizerFast(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"))
    ours, folder = ClipTokenizer.bundled(), ClipTokenizer.from_folder(tmp_path)
    for text in ("Café  déjà\tvu", "初音ミク", "it's 100% 🙂, don't", "", "a_b-c:d^_^"):
        assert ours.encode(text) == theirs(text, add_special_tokens=False).input_ids == folder.encode(text)


def test_chunks_split_at_a_near_comma_and_fill_up() -> None:
    assert split_chunks([]) == [[]]
    assert [len(c) for c in split_chunks([5] * 76)] == [75, 1]
    run = [5] * 70 + [COMMA] + [6] * 10
    assert split_chunks(run) == [[5] * 70 + [COMMA], [6] * 10]
    far = [5] * 40 + [COMMA] + [6] * 40
    assert [len(c) for c in split_chunks(far)] == [75, 6]


def test_rows_are_start_tokens_end_padding() -> None:
    tokenizer = ClipTokenizer.bundled(pad=0)
    (row,) = tokenizer.chunks("cat")
    assert row == [BOS, 2368, EOS] + [0] * 74
    assert len(tokenizer.chunks("cat " * 400, 225)) == 3 and len(tokenizer.chunks("cat " * 400, 75)) == 1
