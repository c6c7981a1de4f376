"""Brackets in prompts, as the WebUI reads them (its own examples among them)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lora_studio.trainer.clip_tokens import ClipTokenizer
from lora_studio.trainer.emphasis import BREAK, parse
from lora_studio.trainer.models import load_base
from lora_studio.trainer.text import encode_prompts

pytestmark = pytest.mark.torch

CASES = {
    "normal text": [("normal text", 1.0)],
    "an (important) word": [("an ", 1.0), ("important", 1.1), (" word", 1.0)],
    "(unbalanced": [("unbalanced", 1.1)],
    r"\(literal\]": [("(literal]", 1.0)],
    "(unnecessary)(parens)": [("unnecessaryparens", 1.1)],
    "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).": [
        ("a ", 1.0),
        ("house", 1.573),
        (" ", 1.1),
        ("on", 1.0),
        (" a ", 1.1),
        ("hill", 0.55),
        (", sun, ", 1.1),
        ("sky", 1.4641),
        (".", 1.1),
    ],
    "time 12:30": [("time 12:30", 1.0)],
    "": [("", 1.0)],
    "a BREAK b": [("a", 1.0), BREAK, ("b", 1.0)],
    "(a:1.2.3)": [("a", 1.0)],
    "hana \\(series\\), [x]": [("hana (series), ", 1.0), ("x", 1 / 1.1)],
}


@pytest.mark.parametrize("prompt", CASES)
def test_prompts_are_read_as_the_webui_reads_them(prompt: str) -> None:
    found = parse(prompt)
    assert [text for text, _ in found] == [text for text, _ in CASES[prompt]]
    assert [weight for _, weight in found] == pytest.approx([weight for _, weight in CASES[prompt]])


def test_weights_lie_beside_their_tokens_and_break_begins_a_chunk() -> None:
    tokenizer = ClipTokenizer.bundled()
    rows, weights = tokenizer.weighted_chunks("a (b:1.5) BREAK [c]")
    assert len(rows) == len(weights) == 2 and all(len(r) == len(w) == 77 for r, w in zip(rows, weights, strict=True))
    plain = tokenizer.encode("a b")
    assert rows[0][1:3] == plain and weights[0][:4] == [1.0, 1.0, 1.5, 1.0] and weights[1][1] == pytest.approx(1 / 1.1)
    long = ", ".join(f"tag{k}" for k in range(60))
    assert tokenizer.weighted_chunks(long)[0] == tokenizer.chunks(long)


def test_a_weight_scales_its_token_and_keeps_the_mean(tiny_checkpoint: Path) -> None:
    model = load_base(tiny_checkpoint)
    model.text_encoders[0].text_model.final_layer_norm.bias.data.fill_(0.3)  # as trained encoders have: a mean that is not 0
    with torch.no_grad():
        plain, weighed = (encode_prompts(model, [text, "other"], emphasis=True).hidden for text in ("a cat here", "a (cat:1.5) here"))
        literal = encode_prompts(model, ["a (cat:1.5) here", "other"]).hidden
    expected = plain[0].clone()
    expected[2] *= 1.5
    expected *= plain[0].mean() / expected.mean()
    assert torch.allclose(weighed[0], expected, atol=1e-5) and torch.allclose(weighed[1], plain[1], atol=1e-6)
    assert not torch.allclose(literal[0], plain[0], atol=1e-3)  # in a caption brackets are words
